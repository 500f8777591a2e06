/** The frames between the main thread and a shard, and the shard's shared counters. */
import type { PlainError } from "../core/errors.ts";
import type { FrameReader, FrameWriter } from "./frames.ts";
import type { StepBudget, StepOutcome } from "./instance.ts";
import type { ShardRevision } from "./loaded-revision.ts";

/** A batch of frames, or one of the rarer messages that are not bytes. */
export type ToShard =
  | { readonly kind: "batch"; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: "revision"; readonly revision: ShardRevision }
  | { readonly kind: "forget_revision"; readonly key: number };

export type FromShard =
  | { readonly kind: "batch"; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly kind: "log"; readonly instanceId: number; readonly level: number; readonly line: string };

/** Int32 counters in shared memory that the watchdog reads. */
export const COUNTERS = {
  /** Moves whenever the shard shows a sign of life. */
  heartbeat: 0,
  /** The instance whose code runs now; 0 for none. */
  running: 1,
  count: 2,
} as const;

export const CommandKind = { open: 1, step: 2, resume: 3, close: 4 } as const;

export type Command =
  | { readonly kind: "open"; readonly callId: number; readonly instanceId: number; readonly revisionKey: number; readonly image: Uint8Array | null }
  | { readonly kind: "step"; readonly callId: number; readonly instanceId: number; readonly budget: StepBudget; readonly call: Uint8Array }
  | { readonly kind: "resume"; readonly callId: number; readonly instanceId: number; readonly timeoutMs: number; readonly response: Uint8Array }
  | { readonly kind: "close"; readonly instanceId: number };

export function writeCommand(out: FrameWriter, command: Command): void {
  out.u8(CommandKind[command.kind]);
  out.number(command.instanceId);
  switch (command.kind) {
    case "open":
      out.number(command.callId);
      out.number(command.revisionKey);
      out.u8(command.image === null ? 0 : 1);
      if (command.image !== null) out.bytes(command.image);
      return;
    case "step":
      out.number(command.callId);
      out.number(command.budget.timeoutMs);
      out.number(command.budget.fuel);
      out.u8(command.budget.checkpoint ? 1 : 0);
      out.bytes(command.call);
      return;
    case "resume":
      out.number(command.callId);
      out.number(command.timeoutMs);
      out.bytes(command.response);
      return;
    case "close":
  }
}

export function readCommand(from: FrameReader): Command {
  const kind = from.u8();
  const instanceId = from.number();
  switch (kind) {
    case CommandKind.open: {
      const callId = from.number();
      const revisionKey = from.number();
      return { kind: "open", callId, instanceId, revisionKey, image: from.u8() === 1 ? from.bytes() : null };
    }
    case CommandKind.step: {
      const callId = from.number();
      const timeoutMs = from.number();
      const fuel = from.number();
      const checkpoint = from.u8() === 1;
      return { kind: "step", callId, instanceId, budget: { timeoutMs, fuel, checkpoint }, call: from.bytes() };
    }
    case CommandKind.resume: {
      const callId = from.number();
      const timeoutMs = from.number();
      return { kind: "resume", callId, instanceId, timeoutMs, response: from.bytes() };
    }
    default:
      return { kind: "close", instanceId };
  }
}

export type OpenOutcome = { readonly kind: "opened"; readonly memoryBytes: number } | { readonly kind: "failed"; readonly error: PlainError; readonly fuelUsed: number };

export type Answer = { readonly callId: number; readonly outcome: StepOutcome | OpenOutcome };

const OutcomeKind = { opened: 1, done: 2, waiting: 3, failed: 4 } as const;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

export function writeAnswer(out: FrameWriter, callId: number, outcome: StepOutcome | OpenOutcome): void {
  out.u8(OutcomeKind[outcome.kind]);
  out.number(callId);
  switch (outcome.kind) {
    case "opened":
      out.number(outcome.memoryBytes);
      return;
    case "failed":
      out.number(outcome.fuelUsed);
      out.bytes(textEncoder.encode(JSON.stringify(outcome.error)));
      return;
    case "done":
      writeUse(out, outcome);
      out.bytes(outcome.result);
      out.u8(outcome.checkpoint === null ? 0 : 1);
      if (outcome.checkpoint !== null) out.bytes(outcome.checkpoint);
      return;
    case "waiting":
      writeUse(out, outcome);
      out.bytes(outcome.request);
  }
}

interface StepUse {
  readonly fuelUsed: number;
  readonly memoryBytes: number;
  readonly emits: readonly Uint8Array[];
}

function writeUse(out: FrameWriter, use: StepUse): void {
  out.number(use.fuelUsed);
  out.number(use.memoryBytes);
  out.number(use.emits.length);
  for (const emit of use.emits) out.bytes(emit);
}

const NOTHING: readonly Uint8Array[] = [];

function readUse(from: FrameReader): StepUse {
  const fuelUsed = from.number();
  const memoryBytes = from.number();
  const count = from.number();
  const emits = count === 0 ? NOTHING : Array.from({ length: count }, () => from.bytes());
  return { fuelUsed, memoryBytes, emits };
}

export function readAnswer(from: FrameReader): Answer {
  const kind = from.u8();
  const callId = from.number();
  switch (kind) {
    case OutcomeKind.opened:
      return { callId, outcome: { kind: "opened", memoryBytes: from.number() } };
    case OutcomeKind.done: {
      const { fuelUsed, memoryBytes, emits } = readUse(from);
      const result = from.bytes();
      return { callId, outcome: { kind: "done", result, emits, checkpoint: from.u8() === 1 ? from.bytes() : null, fuelUsed, memoryBytes } };
    }
    case OutcomeKind.waiting: {
      const { fuelUsed, memoryBytes, emits } = readUse(from);
      return { callId, outcome: { kind: "waiting", request: from.bytes(), emits, fuelUsed, memoryBytes } };
    }
    default: {
      const fuelUsed = from.number();
      return { callId, outcome: { kind: "failed", error: JSON.parse(textDecoder.decode(from.bytes())) as PlainError, fuelUsed } };
    }
  }
}
