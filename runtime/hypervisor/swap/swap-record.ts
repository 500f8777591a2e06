/** Swap records: how one begins, whether it is over, and what is remembered of it. Pure. */
import type { MoveTally } from "../../agent/index.ts";
import type { SwapRecord, SwapStateName } from "../../store/store.ts";

/** Beginnings of reasons that say nothing about the revision: it may be tried again without being asked for. */
export const SWAP_REASONS = {
  hostStopped: "the host stopped in the middle of it, before the revision was active",
  hostFailed: "the host could not go on with it: ",
  superseded: "another revision took its place before it was active, or its file is gone",
} as const;
const NO_FAULT: readonly string[] = Object.values(SWAP_REASONS);

const ENDS: ReadonlySet<SwapStateName> = new Set(["KEPT", "REVERTED", "REJECTED", "DRY_RUN"]);

export interface SwapPlan {
  readonly swapId: string;
  readonly module: string;
  readonly fromDigest: string;
  readonly toDigest: string;
  readonly canaryPercent: number;
  readonly watchMs: number;
}

export function newSwap(plan: SwapPlan, startedAt: number): SwapRecord {
  return { ...plan, state: "REHEARSING", reason: "", startedAt, endedAt: null, moved: 0, kept: 0, failed: 0, reverted: 0, pauseP50Ms: 0, pauseP99Ms: 0, pauseMaxMs: 0, rehearsal: [] };
}

export function isOver({ state }: Pick<SwapRecord, "state">): boolean {
  return ENDS.has(state);
}

/** What the record says of its agents. `before`: as an earlier life of the host left it. */
export function withTally(record: SwapRecord, before: Pick<SwapRecord, "moved" | "failed">, { moved, failed, pauses }: MoveTally): SwapRecord {
  return {
    ...record,
    moved: before.moved + moved,
    failed: before.failed + failed,
    pauseP50Ms: pauses.count === 0 ? record.pauseP50Ms : pauses.quantile(0.5),
    pauseP99Ms: pauses.count === 0 ? record.pauseP99Ms : pauses.quantile(0.99),
    pauseMaxMs: Math.max(record.pauseMaxMs, pauses.maxMs),
  };
}

/** Why the revision is not taken unasked, as the module's newest swap to it ended; empty when it may be. `newestFirst`: swaps of its module. */
export function remembered(newestFirst: readonly SwapRecord[], digest: string): string {
  const last = newestFirst.find(({ toDigest, state }) => toDigest === digest && state !== "DRY_RUN");
  if (last === undefined || (last.state !== "REJECTED" && last.state !== "REVERTED")) return "";
  return tellsNothing(last.reason) ? "" : last.reason;
}

/** Whether a swap that ended badly for this reason says nothing about its revision. */
export function tellsNothing(reason: string): boolean {
  return NO_FAULT.some((beginning) => reason.startsWith(beginning));
}
