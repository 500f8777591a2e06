/**
 * Holds a session to its max_agents.
 *
 * Counting a session's agents costs a pass over them. So the gate keeps a bound
 * from above (the last count, and every entry since) and counts again only when
 * that bound is reached.
 * Invariant: agents of the session, those being made included, never exceed the
 * limit, as long as whoever enters calls spawn in the same turn of the event loop.
 */
import { BoundedCache } from "../core/bounded-cache.ts";
import { SirsiError } from "../core/errors.ts";

const SESSIONS_CACHED = 4_096;

export class SpawnGate {
  readonly #bounds = new BoundedCache<string, number>(SESSIONS_CACHED);

  /** `count` tells how many agents the session has, those being made included. AGENT_LIMIT_REACHED. */
  enter(sessionId: string, max: number, count: () => number): void {
    let bound = this.#bounds.get(sessionId) ?? max;
    if (bound >= max) bound = count();
    if (bound >= max) {
      throw new SirsiError("AGENT_LIMIT_REACHED", `the session has ${bound} agents and may have ${max}; delete those that are done, or create a session with a larger config.max_agents`, {
        metadata: { session_id: sessionId, max_agents: String(max) },
      });
    }
    this.#bounds.set(sessionId, bound + 1);
  }
}
