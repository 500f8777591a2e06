/** The frames that a shard is sent, and the shard's shared counters. What it answers: outcome-frame.ts. */
import type { FrameReader, FrameWriter } from "./frames.ts";
import type { ShardRevision } from "./loaded-revision.ts";
import type { StepBudget } from "./outcomes.ts";

/** A batch of frames, or one of the rarer messages that are not bytes. */
export type ToShard =
  | { readonly kind: "batch"; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: "revision"; readonly revision: ShardRevision }
  | { readonly kind: "forget_revision"; readonly key: number };

/** Each answer in a batch: u32 call, outcome. */
export type FromShard =
  | { readonly kind: "batch"; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: "log"; readonly instanceId: number; readonly level: number; readonly line: string };

/** Int32 counters in shared memory that the watchdog reads. */
export const COUNTERS = {
  /** Moves whenever the shard shows a sign of life. */
  heartbeat: 0,
  /** The instance whose command is carried out now; 0 for none. */
  running: 1,
  count: 2,
} as const;

/** The first byte of a command; u32 instance and u32 call come after it. */
export const CommandKind = { open: 1, step: 2, resume: 3, takeState: 4, describe: 5, close: 6 } as const;
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

/** Commands with nothing but their head. `close` is not answered: its call is 0. */
export function writeCommand(out: FrameWriter, kind: CommandKind, instanceId: number, callId: number): void {
  out.u8(kind);
  out.u32(instanceId);
  out.u32(callId);
}

export function writeOpen(out: FrameWriter, instanceId: number, callId: number, revisionKey: number, images: readonly Uint8Array[]): void {
  writeCommand(out, CommandKind.open, instanceId, callId);
  out.u32(revisionKey);
  out.u32(images.length);
  for (const image of images) out.bytes(image);
}

/** What comes after an open's head. */
export function readOpen(from: FrameReader): { readonly revisionKey: number; readonly images: readonly Uint8Array[] } {
  const revisionKey = from.u32();
  const images: Uint8Array[] = [];
  for (let left = from.u32(); left > 0; left--) images.push(from.bytes());
  return { revisionKey, images };
}

const STATES = ["none", "difference", "base"] as const;

/** `bytes` are a step's call, or the response to a resume. */
export function writeRun(out: FrameWriter, kind: typeof CommandKind.step | typeof CommandKind.resume, instanceId: number, callId: number, budget: StepBudget, bytes: Uint8Array): void {
  writeCommand(out, kind, instanceId, callId);
  out.number(budget.timeoutMs);
  out.number(budget.fuel);
  out.u8(STATES.indexOf(budget.state) * 2 + (budget.stateAtWait ? 1 : 0));
  out.bytes(bytes);
}

/** What comes after a step's or a resume's head but its bytes. */
export function readBudget(from: FrameReader): StepBudget {
  const timeoutMs = from.number();
  const fuel = from.number();
  const wishes = from.u8();
  return { timeoutMs, fuel, state: STATES[wishes >> 1] ?? "none", stateAtWait: (wishes & 1) === 1 };
}
