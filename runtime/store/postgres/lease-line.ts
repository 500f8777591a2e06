/**
 * Connections apart for the lease. A host that has much to ask of its store must not lose
 * its lease for that, so renewals wait behind nothing; and one whose connection hangs is
 * given up while there is time for another, on a new connection.
 */
import type { HostLoad, Renewal } from "../fleet-store.ts";
import { SirsiError } from "../../core/errors.ts";
import { renewLease } from "./host-table.ts";
import { Pool, type PoolOptions } from "./pool.ts";
import { faultKind, LinkFault, lostConnection, storeFault } from "./postgres-fault.ts";

/** One is in use when all is well. */
const CONNECTIONS = 3;
/** Of a lease, that one renewal may take; and what it may take of a very short one. */
const SHARE = 0.5;
const LEAST_MS = 1_000;

export class LeaseLine {
  readonly #pool: Pool;
  readonly #options: PoolOptions;
  readonly #limitMs: number;

  constructor(options: PoolOptions, leaseMs: number) {
    const limitMs = Math.max(LEAST_MS, Math.ceil(leaseMs * SHARE));
    this.#limitMs = limitMs;
    this.#options = options;
    this.#pool = new Pool({ ...options, max: CONNECTIONS, connectTimeoutMs: Math.min(options.connectTimeoutMs, limitMs), statementTimeoutMs: limitMs });
  }

  async renew(hostId: string, load: HostLoad, leaseMs: number): Promise<Renewal> {
    const { clock, target } = this.#options;
    if (this.#pool.free <= 0) throw new SirsiError("STORE_UNAVAILABLE", `The lease was not renewed: ${CONNECTIONS} renewals before it have no answer of the store's database ${target.label} yet. Try again.`);
    const link = await this.#pool.borrow();
    const limit = clock.after(this.#limitMs, () => link.cut(new LinkFault("CONNECTION_DESTROYED", `no answer within ${this.#limitMs} ms`)));
    try {
      return await renewLease(link, hostId, load, leaseMs);
    } catch (thrown) {
      throw faultKind(thrown) === "lost" ? lostConnection(thrown, target.label, true) : storeFault(thrown);
    } finally {
      limit.cancel();
      this.#pool.giveBack(link);
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
