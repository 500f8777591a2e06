/**
 * Moves many agents to a revision: some at a time, each at a quiet moment of its own.
 *
 * An agent with a long step in hand, or in a wait, is not waited for beyond a short
 * patience: it moves when its step has ended (S3), and is counted then.
 */
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { LatencyHistogram, type Logger, type Metrics } from "../observe/index.ts";
import type { AgentRecord } from "../store/store.ts";
import type { SwapCause, SwapOutcome } from "./swap.ts";
import { eachAtMost } from "./turnstile.ts";

/** What moves need of the agents. */
export interface MoveHouse {
  /** Those in memory. */
  residents(): Iterable<{ readonly id: string; readonly record: AgentRecord; readonly restful: boolean }>;
  recordOf(agentId: string): AgentRecord | null | Promise<AgentRecord | null>;
  swapAgent(agentId: string, to: Revision, cause: SwapCause): Promise<SwapOutcome>;
}

/** What became of the agents that were to move. */
export class MoveTally {
  moved = 0;
  /** They stay where they are, by their module's word or because they were set aside. */
  kept = 0;
  failed = 0;
  /** Agents whose steps are not over: they move when they are. */
  readonly late = new Set<string>();
  /** Told when one of those has moved, or failed. */
  onLate: (() => void) | null = null;
  /** Failures by the code of the revision that they were to move to. */
  refused = 0;
  /** The first failure, for a person. */
  failureReason = "";
  readonly pauses = new LatencyHistogram(5);
}

export interface MovePlan {
  readonly agentIds: readonly string[];
  readonly to: Revision;
  readonly cause: SwapCause;
  readonly tally: MoveTally;
  /** No further agent begins to move. */
  readonly signal: AbortSignal;
}

/** On each shard: one is saved and loaded while another is committed. More would be no faster, and each would take longer. */
const AT_ONCE = 2;
/** One at rest moves at once; what takes this long hangs. */
const RESTFUL_MS = 5_000;
/** One at work moves when its step has ended, and most steps are short. */
const WORKING_MS = 250;
/** After so many long ones, the rest is not waited for like that. */
const LATE_MAX = 32;
const IMPATIENT_MS = 25;

export class Moves {
  readonly #house: MoveHouse;
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #log: Logger;

  readonly #atOnce: number;

  constructor({ house, clock, metrics, log, shards }: { readonly house: MoveHouse; readonly clock: Clock; readonly metrics: Metrics; readonly log: Logger; readonly shards: number }) {
    this.#atOnce = AT_ONCE * shards;
    this.#house = house;
    this.#clock = clock;
    this.#metrics = metrics;
    this.#log = log;
  }

  /** Those of a module in memory that are on another revision, or on a certain one; those at rest first. */
  candidates(module: string, wanted: (record: AgentRecord) => boolean): string[] {
    const found = [...this.#house.residents()].filter(({ record }) => record.module === module && record.state !== "TERMINATED" && wanted(record));
    return [...found.filter(({ restful }) => restful), ...found.filter(({ restful }) => !restful)].map(({ id }) => id);
  }

  /** Resolves when each has moved, failed, or is left to its step. Never rejects. */
  async move({ agentIds, to, cause, tally, signal }: MovePlan): Promise<void> {
    const there = new Map(Array.from(this.#house.residents(), (agent) => [agent.id, agent]));
    let late = 0;
    await eachAtMost(this.#atOnce, agentIds, async (agentId) => {
      if (signal.aborted) return;
      const working = there.get(agentId)?.restful === false;
      const moving = this.#one(agentId, to, cause);
      if (await this.#settledWithin(moving, working ? (late < LATE_MAX ? WORKING_MS : IMPATIENT_MS) : RESTFUL_MS)) {
        this.count(tally, agentId, to, await moving);
        return;
      }
      late++;
      tally.late.add(agentId);
      void moving.then((outcome) => {
        tally.late.delete(agentId);
        this.count(tally, agentId, to, outcome);
        tally.onLate?.();
      });
    });
  }

  /** Null when it ended meanwhile. */
  async #one(agentId: string, to: Revision, cause: SwapCause): Promise<SwapOutcome | null> {
    try {
      return await this.#house.swapAgent(agentId, to, cause);
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "AGENT_NOT_FOUND" || error.code === "AGENT_TERMINATED") return null;
      return { kind: "failed", reason: error.message };
    }
  }

  #settledWithin(moving: Promise<unknown>, ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(ms, () => resolve(false));
      void moving.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  count(tally: MoveTally, agentId: string, to: Revision, outcome: SwapOutcome | null): void {
    if (outcome === null || (outcome.kind === "kept" && this.#isOn(agentId, to))) return;
    const module = to.manifest.name;
    tally[outcome.kind]++;
    this.#metrics.counter("sirsi_swaps_total", module, outcome.kind).inc();
    if (outcome.kind === "moved") tally.pauses.record(outcome.pauseMs);
    if (outcome.kind !== "failed") return;
    if (outcome.culprit === "new") tally.refused++;
    tally.failureReason ||= outcome.reason;
    this.#log.warn({ agentId, module, to: to.digest, reason: outcome.reason }, "an agent could not move to the other revision and serves on where it is");
  }

  /** It moved by another way, such as on coming to memory. */
  #isOn(agentId: string, { digest }: Revision): boolean {
    const record = this.#house.recordOf(agentId);
    return record !== null && !(record instanceof Promise) && record.digest === digest;
  }
}
