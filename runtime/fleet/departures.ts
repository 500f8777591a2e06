/**
 * Agents of this host that go to others: one that an operator moves, or all when the host
 * is drained.
 *
 *   active ─drain─▶ draining ─nobody left─▶ drained ─undrain─▶ active
 *
 * An agent that is in memory goes by hand-over: it takes no step, what it has is on disk,
 * then it is the other's, which brings it to memory at once. Its pause is measured from
 * the last moment at which it took work to the moment at which the other has it. Those
 * asleep are given away many at a time; the others find out about those with work in hand.
 *
 * Invariants
 * - V1 At every moment an agent belongs to this host, to one other, or to nobody and can be
 *   taken by any: whatever fails in between, it is had by asking the store.
 * - V2 One that cannot go now stays and works; it is tried again until it goes.
 */
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { LatencyHistogram } from "../observe/histogram.ts";
import type { Logger } from "../observe/index.ts";
import type { FleetStore } from "../store/fleet-store.ts";
import type { Fleet } from "./fleet.ts";
import { type Wants, place } from "./placement.ts";

export type HandedOver =
  | { readonly kind: "moved"; readonly pauseMs: number }
  /** It is not in memory, or cannot go now. */
  | { readonly kind: "stayed"; readonly reason: string };

export interface DeparturesConfig {
  readonly clock: Clock;
  readonly store: Pick<FleetStore, "giveAgents" | "listOwned" | "countOwned">;
  readonly fleet: Fleet;
  readonly log: Logger;
  readonly isHere: (agentId: string) => boolean;
  readonly wantsOf: (agentId: string) => Promise<Wants>;
  /** `give` makes it the other's; false when it was not this host's any more. */
  readonly handOver: (agentId: string, give: () => Promise<boolean>) => Promise<HandedOver>;
  /** They are asleep and no longer this host's. */
  readonly forget: (agentIds: readonly string[]) => void;
  /** Has another host bring an agent to memory, and go on with what is in hand. */
  readonly bringThere: (hostId: string, agentId: string) => Promise<void>;
  /** Tells the others that there are agents of nobody. */
  readonly orphaned: () => void;
  readonly setState: (state: "active" | "draining" | "drained") => Promise<void>;
}

export interface DrainProgress {
  readonly moved: number;
  readonly left: number;
  readonly failed: number;
  readonly done: boolean;
  readonly pauseP50Ms: number;
  readonly pauseP99Ms: number;
  readonly pauseMaxMs: number;
  readonly elapsedMs: number;
  readonly lastFailure: string;
}

export interface Moved {
  readonly hostId: string;
  readonly stayed: boolean;
  readonly pauseMs: number;
}

const PAGE = 500;
/** So few that those who wait for one agent's flush do not wait for all of them. */
const AT_ONCE = 3;
const AGAIN_MS = 200;
const TELL_EVERY_MS = 500;

export class Departures {
  readonly #config: DeparturesConfig;
  #draining: Promise<void> | null = null;
  #stop = false;

  constructor(config: DeparturesConfig) {
    this.#config = config;
  }

  /** `toHostId`: empty for where placement wants it. AGENT_FENCED when it is not this host's; FAILED when it cannot go now. */
  async move(agentId: string, toHostId: string): Promise<Moved> {
    const { fleet } = this.#config;
    const target = toHostId === "" ? await this.#targetOf(agentId) : fleet.host(toHostId)?.hostId;
    if (target === undefined || target === null) throw new SirsiError("INVALID_ARGUMENT", `agent ${agentId} cannot move: ${toHostId === "" ? "no other host takes agents" : `host ${toHostId} is not there`}; see \`sirsi host list\``);
    if (target === fleet.self.hostId) return { hostId: target, stayed: true, pauseMs: 0 };
    const outcome = await this.#send(agentId, target);
    if (outcome.kind === "stayed") throw new SirsiError("OVERLOADED", `agent ${agentId} did not move: ${outcome.reason}; try again`, { retryAfterMs: 500 });
    return { hostId: target, stayed: false, pauseMs: outcome.pauseMs };
  }

  async #targetOf(agentId: string): Promise<string | null> {
    const { fleet, wantsOf } = this.#config;
    return place(agentId, fleet.hosts, await wantsOf(agentId))?.hostId ?? null;
  }

  async #send(agentId: string, hostId: string): Promise<HandedOver> {
    const { bringThere, clock, forget, handOver, isHere, log, store } = this.#config;
    const give = async (): Promise<boolean> => (await store.giveAgents([agentId], hostId)).length > 0;
    if (!isHere(agentId)) {
      const given = await give();
      if (!given) return { kind: "stayed", reason: "it is not this host's any more" };
      forget([agentId]);
      await bringThere(hostId, agentId);
      return { kind: "moved", pauseMs: 0 };
    }
    const outcome = await handOver(agentId, give);
    if (outcome.kind === "stayed") return outcome;
    const began = clock.monotonic();
    try {
      await bringThere(hostId, agentId);
    } catch (thrown) {
      // It is the other's all the same, and comes to memory when somebody asks for it.
      log.warn({ agentId, hostId, err: SirsiError.from(thrown).message }, "an agent was given to another host, which did not bring it to memory");
    }
    return { kind: "moved", pauseMs: outcome.pauseMs + (clock.monotonic() - began) };
  }

  // --- all of them -------------------------------------------------------------------------

  /** Begins, or joins, a drain; tells how far it is until it is done. Leaving the iteration does not stop it. */
  async *drain(): AsyncGenerator<DrainProgress> {
    const tally = this.#tally;
    this.#draining ??= this.#drainAll(tally).finally(() => {
      this.#draining = null;
    });
    const drained = this.#draining.then(() => true);
    drained.catch(() => undefined);
    for (;;) {
      const done = await Promise.race([drained, new Promise<false>((resolve) => this.#config.clock.after(TELL_EVERY_MS, () => resolve(false)))]);
      yield this.#progress(tally, done);
      if (done) return;
    }
  }

  /** Gives up a drain, and takes agents again. */
  async undrain(): Promise<void> {
    this.#stop = true;
    await this.#draining?.catch(() => undefined);
    this.#stop = false;
    await this.#config.setState("active");
  }

  /** Gives up a drain; those that have gone stay where they are. */
  stop(): void {
    this.#stop = true;
  }

  #tally = newTally(0);

  #progress({ moved, left, failed, pauses, startedAt, lastFailure }: Tally, done: boolean): DrainProgress {
    const elapsedMs = this.#config.clock.monotonic() - startedAt;
    return { moved, left: Math.max(0, left), failed, done, pauseP50Ms: pauses.quantile(0.5), pauseP99Ms: pauses.quantile(0.99), pauseMaxMs: pauses.maxMs, elapsedMs, lastFailure };
  }

  async #drainAll(tally: Tally): Promise<void> {
    const { clock, fleet, log, orphaned, setState, store } = this.#config;
    // Another host asks for how far it is again and again, and may do so first when it is over.
    if (fleet.self.state === "drained" && (await store.countOwned()) === 0) return;
    Object.assign(tally, newTally(clock.monotonic()));
    await setState("draining");
    if (!fleet.hosts.some(({ hostId, state }) => hostId !== fleet.self.hostId && state === "active")) {
      await setState("active");
      throw new SirsiError("INVALID_ARGUMENT", "this host cannot be drained: no other host of the fleet takes agents; start one, or undrain one");
    }
    for (let round = 0; !this.#stop; round++) {
      tally.left = await store.countOwned();
      const left = await this.#round(tally);
      orphaned();
      if (left === 0) {
        await setState("drained");
        tally.left = 0;
        log.info({ moved: tally.moved, elapsedMs: Math.round(clock.monotonic() - tally.startedAt) }, "the host is drained: its agents are on others");
        return;
      }
      await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
    }
  }

  /** Once over all that it owns; how many it still does. */
  async #round(tally: Tally): Promise<number> {
    const { forget, isHere, store } = this.#config;
    let failed = 0;
    for (let after = ""; !this.#stop; ) {
      const page = await store.listOwned(after, PAGE);
      const asleep = page.filter((agentId) => !isHere(agentId));
      const given = asleep.length === 0 ? [] : await store.giveAgents(asleep, null);
      forget(given);
      tally.moved += given.length;
      tally.left -= given.length;
      failed += await this.#sendAll(page.filter((agentId) => isHere(agentId)), tally);
      tally.failed = failed;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      after = last;
    }
    return this.#stop ? Math.max(1, failed) : failed;
  }

  async #sendAll(agentIds: readonly string[], tally: Tally): Promise<number> {
    let failed = 0;
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < agentIds.length && !this.#stop) {
        const agentId = agentIds[next++] as string;
        const outcome = await this.#attempt(agentId);
        if (outcome.kind === "moved") {
          tally.moved++;
          tally.left--;
          tally.pauses.record(outcome.pauseMs);
        } else {
          failed++;
          tally.lastFailure = `agent ${agentId}: ${outcome.reason}`;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    return failed;
  }

  /** Never rejects. */
  async #attempt(agentId: string): Promise<HandedOver> {
    try {
      const hostId = await this.#targetOf(agentId);
      if (hostId === null) return { kind: "stayed", reason: "no other host takes agents" };
      return await this.#send(agentId, hostId);
    } catch (thrown) {
      return { kind: "stayed", reason: SirsiError.from(thrown).message };
    }
  }
}

interface Tally {
  moved: number;
  left: number;
  failed: number;
  pauses: LatencyHistogram;
  startedAt: number;
  lastFailure: string;
}

function newTally(startedAt: number): Tally {
  return { moved: 0, left: 0, failed: 0, pauses: new LatencyHistogram(5), startedAt, lastFailure: "" };
}
