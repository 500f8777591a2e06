/**
 * What befalls the fleet, fault by fault: a pure function of the seed. A seed brings the same
 * plan back, but not the same interleaving.
 */
import { Draw } from "../draw.ts";
import { SOUND, UNSOUND } from "../ledger-builds.ts";
import type { SwapAct } from "../schedule.ts";

export const FAULT_KINDS = [
  /** kill -9; started again later. */
  "host-killed",
  /** Stopped and continued, within its lease. */
  "host-paused",
  /** Stopped for longer than its lease. */
  "host-paused-long",
  /** A host's connections to NATS are ended, and no new ones made. */
  "nats-cut",
  /** Everything between a host and NATS comes late. */
  "nats-slow",
  /** A host's connections to NATS stay open, and nothing passes, in one direction or both. */
  "nats-half-open",
  "store-cut",
  "store-slow",
  "store-half-open",
  /** kill -9; started again. */
  "nats-killed",
  /** Stopped and continued. */
  "nats-paused",
  "postgres-killed",
  /** Stopped as its operator does it, and started again. */
  "postgres-restarted",
  /** kill -9; stays away for as long as the plan says, which may be for good. */
  "redis-killed",
  /** Drained, and then undrained. */
  "host-drained",
  "agents-moved",
  /** Each host is told to end, and started again, one after the other. */
  "rolling-restart",
  "module-swapped",
  /** A host is started again with its clock minutes off. */
  "clock-skewed",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface FleetFault {
  /** From 1. */
  readonly number: number;
  readonly kind: FaultKind;
  /** Which host, and through whose door the operator speaks: 0, 1 or 2. */
  readonly host: number;
  readonly door: number;
  /** Load before the fault. */
  readonly leadMs: number;
  /** How long the fault lasts, where that is not its own affair. */
  readonly holdMs: number;
  /** Load after the fault. */
  readonly tailMs: number;
  readonly halfOpen: "to-server" | "to-client" | "both";
  readonly delayMs: number;
  readonly skewMs: number;
  /** Redis comes back. */
  readonly back: boolean;
  /** By number of the agent and of the host it is moved to. */
  readonly moves: readonly { readonly agent: number; readonly host: number }[];
  readonly swaps: readonly SwapAct[];
  /** Begins while this one lasts. */
  readonly besides: { readonly afterMs: number; readonly fault: FleetFault } | null;
}

export interface PlanOptions {
  readonly seed: number;
  readonly hosts: number;
  readonly agents: number;
  readonly leaseMs: number;
  /** Empty: all, and now and then two at once. */
  readonly kinds: readonly FaultKind[];
}

const MINUTE_MS = 60_000;
const MOVES_MAX = 8;
const TWO_AT_ONCE = 0.4;

export function planFault(options: PlanOptions, number: number): FleetFault {
  const fault = planOne(options, number, kindOf(options, number), new Draw(options.seed, `fault ${number}`));
  const draw = new Draw(options.seed, `besides ${number}`);
  if (options.kinds.length > 0 || !draw.chance(TWO_AT_ONCE)) return fault;
  const other = planOne(options, number, draw.one(FAULT_KINDS), draw);
  return disturb(fault, other) ? fault : { ...fault, besides: { afterMs: draw.whole(0, fault.holdMs), fault: other } };
}

/** Both are done to the same thing: what one has begun, the other would undo. */
function disturb(one: FleetFault, other: FleetFault): boolean {
  const subjects = [subjectOf(one), subjectOf(other)];
  return subjects[0] === subjects[1] || (subjects.includes("every process") && subjects.every((subject) => subject.includes("process")));
}

function subjectOf({ host, kind }: FleetFault): string {
  switch (kind) {
    case "host-killed":
    case "host-paused":
    case "host-paused-long":
    case "clock-skewed":
      return `process ${host}`;
    case "rolling-restart":
      return "every process";
    case "nats-cut":
    case "nats-slow":
    case "nats-half-open":
      return `link to NATS ${host}`;
    case "store-cut":
    case "store-slow":
    case "store-half-open":
      return `link to the store ${host}`;
    case "nats-killed":
    case "nats-paused":
      return "NATS";
    case "postgres-killed":
    case "postgres-restarted":
      return "PostgreSQL";
    default:
      return kind;
  }
}

function planOne({ agents, hosts, leaseMs }: PlanOptions, number: number, kind: FaultKind, draw: Draw): FleetFault {
  return {
    number,
    kind,
    host: draw.whole(0, hosts - 1),
    door: draw.whole(0, hosts - 1),
    leadMs: draw.whole(200, 1_200),
    holdMs: holdOf(draw, kind, leaseMs),
    tailMs: draw.whole(200, 1_500),
    halfOpen: draw.one(["to-server", "to-client", "both"] as const),
    delayMs: draw.whole(20, 250),
    skewMs: draw.whole(1, 15) * MINUTE_MS * (draw.chance(0.5) ? 1 : -1),
    back: draw.chance(0.5),
    moves: Array.from({ length: draw.whole(1, MOVES_MAX) }, () => ({ agent: draw.whole(0, agents - 1), host: draw.whole(0, hosts - 1) })),
    swaps: planSwaps(draw),
    besides: null,
  };
}

/** Every kind once before any comes again, in an order of its own each time. */
function kindOf({ kinds, seed }: PlanOptions, number: number): FaultKind {
  if (kinds.length > 0) return kinds[(number - 1) % kinds.length] as FaultKind;
  const turn = Math.floor((number - 1) / FAULT_KINDS.length);
  const draw = new Draw(seed, `turn ${turn}`);
  const order = FAULT_KINDS.map((kind) => ({ kind, at: draw.next() })).toSorted((a, b) => a.at - b.at);
  return (order[(number - 1) % FAULT_KINDS.length] as { readonly kind: FaultKind }).kind;
}

/** In leases: links and hosts are away for shorter and for longer than one. */
function holdOf(draw: Draw, kind: FaultKind, leaseMs: number): number {
  const leases = (least: number, most: number) => Math.round(leaseMs * (least + draw.next() * (most - least)));
  switch (kind) {
    case "host-paused":
      return leases(0.1, 0.6);
    case "host-paused-long":
      return leases(1.5, 3.5);
    default:
      return leases(0.2, 2.5);
  }
}

function planSwaps(draw: Draw): SwapAct[] {
  return Array.from({ length: draw.whole(1, 2) }, () => {
    const atMs = draw.whole(0, 800);
    const kind = draw.weighted({ install: 80, rollback: 20 });
    if (kind !== "install") return { atMs, kind };
    return { atMs, kind, build: draw.chance(0.75) ? draw.one(SOUND) : draw.one(UNSOUND), fresh: draw.chance(0.15) };
  });
}
