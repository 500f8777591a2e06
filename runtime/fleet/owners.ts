/**
 * Which host has an agent. The store knows; here is what was heard lately. A wrong guess
 * does no harm: the host that is asked says whose the agent is by now.
 */
import { BoundedCache } from "../core/bounded-cache.ts";
import type { FleetStore } from "../store/fleet-store.ts";
import type { Fleet } from "./fleet.ts";

const KEPT = 65_536;
/** Look-ups that were asked for in one turn go to the store together. */
const TOGETHER_MAX = 500;

interface Question {
  readonly answer: Promise<string | null>;
  readonly settle: (owner: string | null) => void;
  readonly fail: (error: unknown) => void;
}

export class Owners {
  readonly #store: Pick<FleetStore, "ownersOf">;
  readonly #fleet: Fleet;
  readonly #known = new BoundedCache<string, string>(KEPT);
  readonly #asking = new Map<string, Question>();
  #gathered: string[] = [];

  constructor(store: Pick<FleetStore, "ownersOf">, fleet: Fleet) {
    this.#store = store;
    this.#fleet = fleet;
  }

  /** What was heard, if that host is still there. */
  known(agentId: string): string | null {
    const hostId = this.#known.get(agentId);
    return hostId !== undefined && this.#fleet.host(hostId) !== null ? hostId : null;
  }

  learn(agentId: string, hostId: string): void {
    this.#known.set(agentId, hostId);
  }

  forget(agentId: string): void {
    this.#known.delete(agentId);
  }

  /** Asks the store; null for an orphan, or when there is no such agent. */
  async lookUp(agentId: string): Promise<string | null> {
    const asked = this.#asking.get(agentId);
    if (asked !== undefined) return await asked.answer;
    const { promise, resolve, reject } = Promise.withResolvers<string | null>();
    this.#asking.set(agentId, { answer: promise, settle: resolve, fail: reject });
    this.#gathered.push(agentId);
    if (this.#gathered.length === 1) queueMicrotask(() => this.#askStore());
    return await promise;
  }

  #askStore(): void {
    const all = this.#gathered;
    this.#gathered = [];
    for (let from = 0; from < all.length; from += TOGETHER_MAX) void this.#askFor(all.slice(from, from + TOGETHER_MAX));
  }

  async #askFor(agentIds: readonly string[]): Promise<void> {
    try {
      const owners = await this.#store.ownersOf(agentIds);
      for (const agentId of agentIds) {
        const owner = owners.get(agentId) ?? null;
        if (owner !== null) this.learn(agentId, owner);
        this.#take(agentId)?.settle(owner);
      }
    } catch (thrown) {
      for (const agentId of agentIds) this.#take(agentId)?.fail(thrown);
    }
  }

  #take(agentId: string): Question | undefined {
    const question = this.#asking.get(agentId);
    this.#asking.delete(agentId);
    return question;
  }
}
