/**
 * Gets work to where its agent is: here, or on the host that owns it, or, for an agent of
 * nobody, to the host that placement wants it on, which then takes it.
 *
 * Agents move while work is on its way to them. Whoever no longer has one answers
 * AGENT_FENCED, saying whose it is when it knows, and the work goes there: callers see a
 * pause, and an error only when that lasts too long.
 *
 * Invariants
 * - F1 Nothing is answered from here while this host's lease is not sure (D5).
 * - F2 Work is sent again only when it surely had no effect, or under an id that has
 *   effect once (D2).
 */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { type ErrorCode, SirsiError } from "../core/errors.ts";
import type { Fleet } from "./fleet.ts";
import type { Owners } from "./owners.ts";
import { type Wants, place } from "./placement.ts";

export interface RoutingConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly fleet: Fleet;
  readonly owners: Owners;
  /** It is in memory here. */
  readonly isHere: (agentId: string) => boolean;
  /** What the agent's module asks of its host. */
  readonly wantsOf: (agentId: string) => Promise<Wants>;
}

export interface Route<T> {
  readonly here: () => Promise<T>;
  readonly there: (hostId: string) => Promise<T>;
}

/** How long work looks for its agent: longer than a dead host's lease, its burial and its agents' take-over take. */
export const PATIENCE_MS = 15_000;
/** At once; later ones after a pause, for two hosts may each believe the other to have it. */
const HINTS_FOLLOWED = 3;
const BACKOFF: BackoffConfig = { firstMs: 10, maxMs: 500, factor: 2 };
/** Of a host that is not there, not ready, or no longer the one: the work has not been begun. */
const MOVED: ReadonlySet<ErrorCode> = new Set(["AGENT_FENCED", "SHUTTING_DOWN"]);

export class Routing {
  readonly #config: RoutingConfig;

  constructor(config: RoutingConfig) {
    this.#config = config;
  }

  /** `deadline`: on the steady clock; null for none of its own. */
  async to<T>(agentId: string, deadline: number | null, route: Route<T>): Promise<T> {
    const { clock, owners, random } = this.#config;
    const patientUntil = clock.monotonic() + PATIENCE_MS;
    const until = deadline === null ? patientUntil : Math.min(deadline, patientUntil);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#attempt(agentId, route);
      } catch (thrown) {
        const error = SirsiError.from(thrown);
        if (!MOVED.has(error.code) || clock.monotonic() >= until) throw error;
        const hinted = this.relearn(agentId, error);
        if (hinted && attempt < HINTS_FOLLOWED) continue;
        owners.forget(agentId);
        await new Promise<void>((resolve) => clock.after(Math.min(backoffMs(BACKOFF, attempt, random()), Math.max(0, until - clock.monotonic())), resolve));
      }
    }
  }

  /** Whoever refused an agent's work may have said whose it is; what was known is not so any more. True for such a hint. */
  relearn(agentId: string, { code, details }: SirsiError): boolean {
    if (!MOVED.has(code)) return false;
    const { owners } = this.#config;
    owners.forget(agentId);
    const owner = details.metadata?.["owner"];
    if (owner === undefined) return false;
    owners.learn(agentId, owner);
    return true;
  }

  async #attempt<T>(agentId: string, { here, there }: Route<T>): Promise<T> {
    const { fleet, isHere } = this.#config;
    this.requireHeld();
    const hostId = isHere(agentId) ? fleet.self.hostId : await this.hostOf(agentId);
    if (hostId !== fleet.self.hostId) return await there(hostId);
    const result = await here();
    this.requireHeld();
    return result;
  }

  /** The host that has the agent, or should take it. */
  async hostOf(agentId: string): Promise<string> {
    const { fleet, owners, wantsOf } = this.#config;
    const owner = owners.known(agentId) ?? (await owners.lookUp(agentId));
    if (owner !== null && fleet.host(owner) !== null) return owner;
    // Its owner may be dead and not seen as such yet; whoever takes it asks the store.
    return place(agentId, fleet.hosts, await wantsOf(agentId))?.hostId ?? fleet.self.hostId;
  }

  /** F1. */
  requireHeld(): void {
    if (this.#config.fleet.held) return;
    throw new SirsiError("AGENT_FENCED", "this host cannot be sure of its place in the fleet at the moment (its lease was not renewed in time), so it answers for no agent; send again, another host may", { retryAfterMs: 500 });
  }
}
