/**
 * Holds a session to its max_agents, also when many agents are made at once.
 *
 * Counting a session's agents costs a pass over them. So the gate keeps a bound
 * from above (the last count, and every spawn since) and counts again only when
 * that bound is reached.
 * Invariant: agents of the session, with those being made, never exceed the limit.
 */
import { BoundedCache } from "../core/bounded-cache.ts";
import { SirsiError } from "../core/errors.ts";

const SESSIONS_CACHED = 4_096;

export class SpawnGate {
  readonly #bounds = new BoundedCache<string, number>(SESSIONS_CACHED);
  readonly #flying = new Map<string, Set<Promise<void>>>();

  /** `count` tells how many agents the session has, some of those being made perhaps included. AGENT_LIMIT_REACHED. */
  async run<T>(sessionId: string, max: number, count: () => number, spawn: () => Promise<T>): Promise<T> {
    let bound = this.#bounds.get(sessionId) ?? max;
    while (bound >= max) {
      const flying = this.#flying.get(sessionId);
      const counted = count();
      if (counted >= max) {
        throw new SirsiError("AGENT_LIMIT_REACHED", `the session has ${counted} agents and may have ${max}; delete those that are done, or create a session with a larger config.max_agents`, {
          metadata: { session_id: sessionId, max_agents: String(max) },
        });
      }
      bound = counted + (flying?.size ?? 0);
      // One of those being made may fail, or be in the count already: wait and see.
      if (bound >= max && flying !== undefined) await Promise.race(flying);
    }
    this.#bounds.set(sessionId, bound + 1);
    const spawned = spawn();
    this.#track(sessionId, spawned);
    return await spawned;
  }

  #track(sessionId: string, spawned: Promise<unknown>): void {
    const flying = this.#flying.get(sessionId) ?? new Set<Promise<void>>();
    this.#flying.set(sessionId, flying);
    const settled: Promise<void> = spawned.then(
      () => {},
      () => {},
    ).then(() => {
      flying.delete(settled);
      if (flying.size === 0) this.#flying.delete(sessionId);
    });
    flying.add(settled);
  }
}
