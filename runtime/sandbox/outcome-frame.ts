/**
 * Outcomes as they cross from a shard. A step's is written while the step runs:
 *
 *   u8 kind | f64 fuel used | f64 fuel left | u32 memory bytes | u32 emits
 *   | a run for each emit | a run: result or request | u8 state's kind, and its run
 *
 * Its numbers are filled in at the end; a step that fails is taken back and written anew.
 */
import type { PlainError } from "../core/errors.ts";
import type { FrameReader, FrameWriter } from "./frames.ts";
import type { Description, Outcome } from "./outcomes.ts";

const OutcomeKind = { opened: 1, done: 2, waiting: 3, failed: 4, state: 5, described: 6 } as const;

/** What follows a step's answer. */
export const StateMark = { none: 0, base: 1, difference: 2, wait: 3 } as const;

const FUEL_USED_AT = 1;
const FUEL_LEFT_AT = 9;
const MEMORY_AT = 17;
const EMITS_AT = 21;
const STEP_HEAD_BYTES = 25;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

export interface StepUse {
  readonly fuelUsed: number;
  readonly fuelLeft: number;
  readonly memoryBytes: number;
  readonly emits: number;
}

/** Where the step's outcome begins. */
export function beginStep(out: FrameWriter): number {
  return out.reserve(STEP_HEAD_BYTES);
}

export function sealStep(out: FrameWriter, frame: number, kind: "done" | "waiting", use: StepUse): void {
  out.putU8(frame, OutcomeKind[kind]);
  out.putNumber(frame + FUEL_USED_AT, use.fuelUsed);
  out.putNumber(frame + FUEL_LEFT_AT, use.fuelLeft);
  out.putU32(frame + MEMORY_AT, use.memoryBytes);
  out.putU32(frame + EMITS_AT, use.emits);
}

export function writeFailed(out: FrameWriter, error: PlainError, fuelUsed: number): void {
  out.u8(OutcomeKind.failed);
  out.number(fuelUsed);
  out.bytes(textEncoder.encode(JSON.stringify(error)));
}

export function writeOpened(out: FrameWriter, memoryBytes: number, suspended: boolean): void {
  out.u8(OutcomeKind.opened);
  out.u32(memoryBytes);
  out.u8(suspended ? 1 : 0);
}

/** The state's run comes after it. */
export function beginState(out: FrameWriter): void {
  out.u8(OutcomeKind.state);
}

export function writeDescribed(out: FrameWriter, description: Description): void {
  out.u8(OutcomeKind.described);
  out.bytes(textEncoder.encode(JSON.stringify(description)));
}

const NO_EMITS: readonly Uint8Array[] = [];

export function readOutcome(from: FrameReader): Outcome {
  const kind = from.u8();
  switch (kind) {
    case OutcomeKind.done:
    case OutcomeKind.waiting:
      return readStep(from, kind === OutcomeKind.waiting);
    case OutcomeKind.opened:
      return { kind: "opened", memoryBytes: from.u32(), suspended: from.u8() === 1 };
    case OutcomeKind.state:
      return { kind: "state", image: from.bytes() };
    case OutcomeKind.described:
      return { kind: "described", ...(JSON.parse(textDecoder.decode(from.bytes())) as Description) };
    default: {
      const fuelUsed = from.number();
      return { kind: "failed", error: JSON.parse(textDecoder.decode(from.bytes())) as PlainError, fuelUsed };
    }
  }
}

function readStep(from: FrameReader, waits: boolean): Outcome {
  const fuelUsed = from.number();
  const fuelLeft = from.number();
  const memoryBytes = from.u32();
  const emits = readEmits(from, from.u32());
  const answer = from.bytes();
  const mark = from.u8();
  const image = mark === StateMark.none ? null : from.bytes();
  if (waits) return { kind: "waiting", request: answer, emits, state: image, fuelUsed, fuelLeft, memoryBytes };
  return { kind: "done", result: answer, emits, state: image === null ? null : { kind: mark === StateMark.base ? "base" : "difference", image }, fuelUsed, memoryBytes };
}

function readEmits(from: FrameReader, count: number): readonly Uint8Array[] {
  if (count === 0) return NO_EMITS;
  const emits: Uint8Array[] = [];
  for (let i = 0; i < count; i++) emits.push(from.bytes());
  return emits;
}
