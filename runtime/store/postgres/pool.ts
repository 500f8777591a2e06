/**
 * The connections to the database, at most so many. They are made when they are needed
 * and kept; one that broke is forgotten.
 *
 * While the server cannot be reached, a call is told so at once, and only now and then
 * one of them tries anew: a host with thousands of calls must not storm a server that is
 * about to start.
 *
 * Invariants
 * - P1 A link is lent to one borrower at a time.
 * - P2 Never more than `max` links, those being made included.
 */
import { backoffMs, type BackoffConfig } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { ConnectionTarget } from "./connection-url.ts";
import { Link, type LinkLimits } from "./link.ts";
import { unreachable } from "./postgres-fault.ts";

const RECONNECT: BackoffConfig = { firstMs: 50, maxMs: 1_000, factor: 2 };

export interface PoolOptions extends LinkLimits {
  readonly target: ConnectionTarget;
  readonly clock: Clock;
  readonly max: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #idle: Link[] = [];
  readonly #all = new Set<Link>();
  #opening = 0;
  #closed = false;
  /** The server that took the last connection, as its place in the URL. */
  #server = 0;
  #failures = 0;
  /** What the last try said; null while the server is there. */
  #down: { readonly reason: SirsiError; readonly until: number } | null = null;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** How many may be lent now. */
  get free(): number {
    return this.#options.max - (this.#all.size - this.#idle.length) - this.#opening;
  }

  /** STORE_UNAVAILABLE when there is none to be had. Call it while `free` is above 0. */
  async borrow(): Promise<Link> {
    for (let link = this.#idle.pop(); link !== undefined; link = this.#idle.pop()) if (!link.isGone) return link;
    const { clock } = this.#options;
    if (this.#down !== null && clock.monotonic() < this.#down.until) throw this.#down.reason;
    if (this.#down !== null) this.#down = { ...this.#down, until: clock.monotonic() + RECONNECT.maxMs };
    this.#opening++;
    try {
      return this.#keep(await this.#open());
    } finally {
      this.#opening--;
    }
  }

  #keep(link: Link): Link {
    this.#failures = 0;
    this.#down = null;
    this.#all.add(link);
    void link.gone.then(() => {
      this.#all.delete(link);
      const at = this.#idle.indexOf(link);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return link;
  }

  /** Each server once, from the one that was good last. */
  async #open(): Promise<Link> {
    const { target, clock, random } = this.#options;
    let said: unknown;
    for (let tried = 0; tried < target.servers.length; tried++) {
      const server = target.servers[this.#server] ?? target.servers[0];
      try {
        return await Link.open(target, server, this.#options);
      } catch (thrown) {
        said = thrown;
        this.#server = (this.#server + 1) % target.servers.length;
      }
    }
    const waitMs = backoffMs(RECONNECT, this.#failures++, random());
    const reason = unreachable(said, target.label, waitMs);
    this.#down = { reason, until: clock.monotonic() + waitMs };
    throw reason;
  }

  /** P1. */
  giveBack(link: Link): void {
    if (link.isGone) return;
    if (this.#closed) void link.end();
    else this.#idle.push(link);
  }

  /** For when nothing is lent any more. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all].map((link) => link.end()));
  }
}

export function closedStore(label: string): SirsiError {
  return new SirsiError("STORE_UNAVAILABLE", `The store in ${label} is closed and takes no more calls. Start the host again to use it.`);
}
