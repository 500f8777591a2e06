/**
 * What happens to the host, cycle by cycle: a pure function of the seed. The moments are
 * times after the load began, and hits of fault points, so a seed brings the same plan
 * back, but not the same interleaving.
 */
import { FAULT_POINTS, type Fault, type FaultPoint } from "../../runtime/core/fault-points.ts";
import { Draw } from "./draw.ts";
import type { BuildKind } from "./ledger-builds.ts";
import { SOUND, UNSOUND } from "./ledger-builds.ts";

/** How the life of a host ends, or what befalls it before it is killed at random. */
export type Ordeal =
  /** kill -9 at a random moment under load. */
  | "random"
  /** kill -9 at a random moment after the start, before anything was verified. */
  | "recovery"
  /** An armed fault point kills it. */
  | "point"
  /** Commits fail from a certain one on. */
  | "failing"
  /** Commits are slow. */
  | "slow"
  /** No file may grow, for a while. */
  | "disk-full"
  /** Stopped and continued. */
  | "frozen";

export type SwapAct = { readonly atMs: number } & (
  /** `fresh`: a digest that no host has seen; it has to be prepared first. */
  | { readonly kind: "install"; readonly build: BuildKind; readonly fresh: boolean }
  /** The bytes that were installed before. */
  | { readonly kind: "reinstall" }
  | { readonly kind: "rollback" }
  | { readonly kind: "reload" }
);

export interface Cycle {
  readonly number: number;
  readonly ordeal: Ordeal;
  readonly fault: Fault | null;
  /** The kill, after the load (or, for recovery, the process) began. */
  readonly killAtMs: number;
  /** For disk-full and frozen: from and to. */
  readonly spell: { readonly fromMs: number; readonly toMs: number };
  readonly swaps: readonly SwapAct[];
  /** Files of the cache to tear before the start. */
  readonly tears: number;
  readonly settings: Readonly<Record<string, string>>;
}

const ORDEALS = { random: 26, recovery: 13, point: 42, failing: 5, slow: 4, "disk-full": 6, frozen: 4 } as const;

/** How often a point is reached in one life of a host, roughly: hits are drawn up to it. */
const HITS: Readonly<Partial<Record<FaultPoint, number>>> = {
  "step.done": 300,
  "commit.before-write": 300,
  "commit.in-transaction": 300,
  "commit.written": 300,
  "commit.settled": 300,
  "wait.committed": 60,
  "wait.resumed": 60,
  "outbox.before-deliver": 40,
  "outbox.delivered": 40,
  "timer.before-fire": 30,
  "page.before-out": 40,
  "page.in": 40,
  "swap.saved": 12,
  "swap.before-commit": 12,
  "swap.committed": 12,
  "swap.before-revert": 2,
  "swap.rehearsed": 2,
  "swap.before-activate": 2,
  "swap.activated": 2,
  "swap.before-end": 2,
  "cache.half-written": 2,
  "module.file-written": 2,
};

const COMMIT_POINTS = ["commit.before-write", "commit.in-transaction", "commit.written"] as const satisfies readonly FaultPoint[];

export function planCycle(seed: number, number: number): Cycle {
  const draw = new Draw(seed, `cycle ${number}`);
  const ordeal = draw.weighted(ORDEALS);
  const loadMs = draw.whole(1_000, 5_500);
  // Points take turns, so that a run of some length reaches each.
  const point = FAULT_POINTS[(number + draw.whole(0, 3)) % FAULT_POINTS.length] as FaultPoint;
  const fromMs = draw.whole(100, Math.floor(loadMs / 2));
  const swapPoint = ordeal === "point" && isSwapPoint(point);
  return {
    number,
    ordeal,
    fault: planFault(draw, ordeal, point),
    killAtMs: ordeal === "recovery" ? draw.whole(50, 3_200) : ordeal === "point" ? loadMs + 2_500 : loadMs,
    spell: { fromMs, toMs: fromMs + draw.whole(200, 1_000) },
    swaps: planSwaps(draw, loadMs, swapPoint, point === "swap.before-revert"),
    tears: draw.chance(0.2) ? draw.whole(1, 3) : 0,
    settings: { ...planSettings(draw), ...(swapPoint && point === "swap.before-revert" ? { SIRSI_SWAP_WATCH_MS: "3000" } : {}) },
  };
}

export function isSwapPoint(point: FaultPoint): boolean {
  return point.startsWith("swap.") || point.startsWith("cache.") || point.startsWith("module.");
}

function planFault(draw: Draw, ordeal: Ordeal, point: FaultPoint): Fault | null {
  switch (ordeal) {
    case "point":
      return { point, hit: draw.scaled(1, HITS[point] ?? 1), action: "kill" };
    case "failing":
      return { point: draw.one(COMMIT_POINTS), hit: draw.scaled(40, 400), action: "fail" };
    case "slow":
      return { point: draw.one(COMMIT_POINTS), hit: 1, action: "slow" };
    default:
      return null;
  }
}

function planSwaps(draw: Draw, loadMs: number, sure: boolean, revert: boolean): SwapAct[] {
  const acts: SwapAct[] = [];
  // Every few seconds of load, not in each cycle; sometimes two in quick succession.
  let atMs = sure ? draw.whole(0, 200) : draw.whole(0, 2_500);
  while (atMs < loadMs && acts.length < 3) {
    acts.push({ atMs, ...planSwap(draw, revert && acts.length === 0) });
    atMs += draw.chance(0.2) ? draw.whole(0, 50) : draw.whole(500, 2_500);
  }
  return acts;
}

function planSwap(draw: Draw, revert: boolean): { readonly kind: "install"; readonly build: BuildKind; readonly fresh: boolean } | { readonly kind: "reinstall" | "rollback" | "reload" } {
  if (revert) return { kind: "install", build: "sik", fresh: false };
  const kind = draw.weighted({ install: 60, rollback: 20, reinstall: 10, reload: 10 });
  if (kind !== "install") return { kind };
  return { kind, build: draw.chance(0.75) ? draw.one(SOUND) : draw.one(UNSOUND), fresh: draw.chance(0.2) };
}

function planSettings(draw: Draw): Record<string, string> {
  return {
    SIRSI_AGENTS_MAX_RESIDENT: String(draw.one([2, 6, 6, 500])),
    SIRSI_DURABILITY_BASE_EVERY: String(draw.one([1, 4, 32])),
    SIRSI_DURABILITY_HISTORY_COMMITS: String(draw.one([0, 8, 64])),
    SIRSI_SHARDS_COUNT: String(draw.one([1, 1, 2])),
    SIRSI_SWAP_WATCH_MS: String(draw.one([0, 300, 1_200])),
    SIRSI_SWAP_CANARY_PERCENT: String(draw.one([10, 50, 100])),
    SIRSI_SWAP_REHEARSE_AGENTS: String(draw.one([0, 1, 3])),
    // Fewer, and a client that comes back after a crash could find its reply forgotten: it would have to look, not to know.
    SIRSI_AGENTS_EXCHANGES_KEPT: String(draw.one([40, 100])),
  };
}

/** The same for every cycle: faults on purpose are not to set an agent aside, and nothing is to expire. */
export const FIXED_SETTINGS: Readonly<Record<string, string>> = {
  SIRSI_LOG_LEVEL: "info",
  SIRSI_LOG_FORMAT: "json",
  SIRSI_AGENTS_RESTART_MAX_RESTARTS: "1000",
  SIRSI_AGENTS_RESTART_BACKOFF_FIRST_MS: "5",
  SIRSI_AGENTS_RESTART_BACKOFF_MAX_MS: "40",
  SIRSI_AGENTS_HEALTH_INTERVAL_SECONDS: "1",
  SIRSI_GRPC_DRAIN_TIMEOUT_MS: "500",
};
