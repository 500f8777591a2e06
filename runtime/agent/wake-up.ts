/**
 * A host's start, as far as its agents go. Serving does not wait for any of it:
 *
 *   spawns that were cut off are ended
 *   the modules' topics are heard ──▶ what is in the outbox goes out, timers fire
 *   agents in a wait come to memory and go on
 *
 * Topics come first, for an event that is published before is heard by nobody.
 */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { Logger } from "../observe/index.ts";
import type { Store } from "../store/store.ts";
import { isForGood } from "./delivery-fate.ts";
import type { RevisionSource } from "./surroundings.ts";
import { eachAtMost } from "./turnstile.ts";

export interface WakeUpConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: Pick<Store, "listModules" | "countByDigest" | "listLiveAgents" | "listWaiting" | "listInitializing">;
  readonly revisions: Pick<RevisionSource, "revisionByDigest">;
  readonly log: Logger;
  readonly hear: (agentId: string, sessionId: string, topics: readonly string[]) => void;
  /** Brings one to memory; resolves when its step goes on. */
  readonly resume: (agentId: string) => Promise<void>;
  /** Ends an agent that never was. */
  readonly remove: (agentId: string) => Promise<void>;
  /** Begins with outbox and timers. */
  readonly deliver: () => void;
  readonly closed: () => boolean;
}

/** Agents whose revision is gone: they are kept in the store, and are there again when the revision is. */
export interface UnreachableAgents {
  readonly module: string;
  readonly digest: string;
  readonly agents: number;
  readonly reason: string;
}

export interface Awakening {
  /** Agents in a wait that went on. */
  readonly resumed: number;
  readonly unreachable: readonly UnreachableAgents[];
}

const PAGE = 500;
const AT_ONCE = 16;
const RETRY: BackoffConfig = { firstMs: 250, maxMs: 30_000, factor: 2 };

export class WakeUp {
  readonly #config: WakeUpConfig;

  constructor(config: WakeUpConfig) {
    this.#config = config;
  }

  /** Resolves when all of it is done, or the host closes. */
  async run(): Promise<Awakening> {
    const { deliver } = this.#config;
    const heard = this.#untilDone("the topics of the modules could not be heard", () => this.#hearTopics());
    const [unreachable, resumed] = await Promise.all([
      heard.then((found) => {
        if (!this.#config.closed()) deliver();
        return found ?? [];
      }),
      this.#resumeWaits(),
      this.#untilDone("spawns that were cut off could not be ended", () => this.#removeUnfinished()),
    ]);
    return { resumed, unreachable };
  }

  /** Null when the host closed before it was done. */
  async #untilDone<T>(trouble: string, act: () => Promise<T>): Promise<T | null> {
    for (let attempt = 0; !this.#config.closed(); attempt++) {
      try {
        return await act();
      } catch (thrown) {
        await this.#pause(attempt, SirsiError.from(thrown), trouble);
      }
    }
    return null;
  }

  async #pause(attempt: number, error: SirsiError, trouble: string): Promise<void> {
    const { clock, closed, log, random } = this.#config;
    if (closed()) return;
    log.warn({ err: error.message }, `${trouble}; tried again until it is done`);
    await new Promise<void>((resolve) => clock.after(backoffMs(RETRY, attempt, random()), resolve));
  }

  async #removeUnfinished(): Promise<void> {
    const { closed, remove, store } = this.#config;
    while (!closed()) {
      const page = await store.listInitializing(PAGE);
      for (const agentId of page) await remove(agentId);
      if (page.length < PAGE) return;
    }
  }

  // --- topics ------------------------------------------------------------------------

  async #hearTopics(): Promise<UnreachableAgents[]> {
    const { store } = this.#config;
    const unreachable: UnreachableAgents[] = [];
    for (const { module } of await store.listModules()) {
      for (const [digest, agents] of await store.countByDigest(module)) {
        const outcome = await this.#revision(digest);
        if (typeof outcome === "string") unreachable.push({ module, digest, agents, reason: outcome });
        else if (outcome.manifest.topics.length > 0) await this.#hearAll(module, digest, outcome.manifest.topics);
      }
    }
    return unreachable;
  }

  /** Or why it cannot be had. */
  async #revision(digest: string): Promise<Revision | string> {
    try {
      return await this.#config.revisions.revisionByDigest(digest);
    } catch (thrown) {
      return SirsiError.from(thrown).message;
    }
  }

  async #hearAll(module: string, digest: string, topics: readonly string[]): Promise<void> {
    const { closed, hear, store } = this.#config;
    for (let after = ""; !closed(); ) {
      const page = await store.listLiveAgents({ sessionId: null, module, digest, parentAgentId: null }, after, PAGE);
      for (const { record } of page) hear(record.agentId, record.sessionId, topics);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last.record.agentId;
    }
  }

  // --- waits -------------------------------------------------------------------------

  async #resumeWaits(): Promise<number> {
    const { closed, store } = this.#config;
    let resumed = 0;
    const failed: string[] = [];
    for (let after: string | null = ""; after !== null && !closed(); ) {
      const from: string = after;
      const page = await this.#untilDone("the agents in a wait could not be listed", () => store.listWaiting(from, PAGE));
      const came = await this.#resumeAll(page ?? []);
      resumed += (page?.length ?? 0) - came.length;
      failed.push(...came);
      after = page !== null && page.length === PAGE ? (page.at(-1) ?? null) : null;
    }
    if (failed.length > 0) void this.#resumeLater(failed);
    return resumed;
  }

  /** Those that could not be brought to memory, and may be later. */
  async #resumeAll(agentIds: readonly string[]): Promise<string[]> {
    const { closed, log, resume } = this.#config;
    const failed: string[] = [];
    await eachAtMost(AT_ONCE, agentIds, async (agentId) => {
      if (closed()) return;
      try {
        await resume(agentId);
      } catch (thrown) {
        const error = SirsiError.from(thrown);
        if (isForGood(error)) return;
        failed.push(agentId);
        if (failed.length === 1 && !closed()) log.warn({ agentId, err: error.message }, "an agent in a wait could not go on; tried again later, as are others");
      }
    });
    return failed;
  }

  /** It waits for a store that reads, or a revision that comes back; and goes on at once when it is addressed. */
  async #resumeLater(agentIds: readonly string[]): Promise<void> {
    let left = agentIds;
    for (let attempt = 0; left.length > 0 && !this.#config.closed(); attempt++) {
      await new Promise<void>((resolve) => this.#config.clock.after(backoffMs(RETRY, attempt, this.#config.random()), resolve));
      left = await this.#resumeAll(left);
    }
  }
}
