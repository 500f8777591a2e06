/**
 * Named places in the commit and swap protocols where a test may stop, slow or fail
 * the process. Unarmed, which is always so outside the crash tests, a point costs one
 * comparison. A thread is armed with what `armedFault` of its parent gives.
 */
import process from "node:process";
import { SirsiError } from "./errors.ts";

export const FAULT_POINTS = [
  "step.done",
  "commit.before-write",
  "commit.in-transaction",
  "commit.written",
  "commit.settled",
  "wait.committed",
  "wait.resumed",
  "outbox.before-deliver",
  "outbox.delivered",
  "timer.before-fire",
  "page.before-out",
  "page.in",
  "swap.rehearsed",
  "swap.before-activate",
  "swap.activated",
  "swap.saved",
  "swap.before-commit",
  "swap.committed",
  "swap.before-end",
  "swap.before-revert",
  "cache.half-written",
  "module.file-written",
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number];

export interface Fault {
  readonly point: FaultPoint;
  /** The how-manieth time the point is reached, from 1. */
  readonly hit: number;
  /** `kill`: SIGKILL to this process. Each time from `hit` on, until disarmed: `fail` throws STORE_UNAVAILABLE there, `slow` holds the thread for a while. */
  readonly action: "kill" | "fail" | "slow";
}

const SLOW_MS = 25;

let armed: Fault | null = null;
let hits = 0;

export function armFault(fault: Fault | null): void {
  armed = fault;
  hits = 0;
}

export function armedFault(): Fault | null {
  return armed;
}

export function faultPoint(point: FaultPoint): void {
  if (armed !== null && armed.point === point) reached(armed);
}

function reached(fault: Fault): void {
  if (++hits < fault.hit) return;
  if (fault.action === "kill") process.kill(process.pid, "SIGKILL");
  if (fault.action === "slow") return void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, SLOW_MS);
  throw new SirsiError("STORE_UNAVAILABLE", `the fault point ${fault.point} was armed to fail`);
}
