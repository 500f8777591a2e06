/**
 * Drives one guest call to its end: runs it on the agent's instance and, whenever the
 * guest waits, has the host's capabilities answer and resumes it.
 *
 * Never rejects. After any end but `done` the instance is gone or must go: what it
 * holds is half a step.
 */
import type { Asker, Capabilities } from "../capability/index.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { type InstanceHandle, lostError, type ShardStepOutcome } from "../sandbox/index.ts";

export type StepEnd =
  | {
      readonly kind: "done";
      readonly result: Uint8Array;
      /** Everything the step emitted, in order, previews left out. */
      readonly emits: readonly Uint8Array[];
      readonly checkpoint: Uint8Array | null;
      readonly fuelUsed: number;
      readonly memoryBytes: number;
    }
  /** The shard ended under it before it had waited: it can be run again from the last commit. */
  | { readonly kind: "repeatable"; readonly error: SirsiError }
  /** `guestFault`: the guest's own doing, which the restart policy counts. */
  | { readonly kind: "failed"; readonly error: SirsiError; readonly guestFault: boolean; readonly fuelUsed: number };

export interface StepRun {
  readonly clock: Clock;
  readonly handle: InstanceHandle;
  readonly call: Uint8Array;
  readonly fuel: number;
  readonly checkpoint: boolean;
  readonly asker: Asker;
  readonly capabilities: Capabilities;
  /** What the guest emitted so far, as it waits: previews are let out here. Returns those to keep. */
  readonly onEmits: (emits: readonly Uint8Array[]) => readonly Uint8Array[];
}

/** Time a guest still gets to take the answer "your deadline has passed" and end in order. */
const LAST_WORDS_MS = 100;

/** Ends that say nothing about the guest's code. */
const INNOCENT: ReadonlySet<string> = new Set(["DEADLINE_EXCEEDED", "CANCELLED", "SHARD_LOST", "OVERLOADED", "SHUTTING_DOWN", "STORE_UNAVAILABLE"]);

export function isGuestFault(error: SirsiError): boolean {
  return !INNOCENT.has(error.code);
}

export async function driveStep(run: StepRun): Promise<StepEnd> {
  const timeoutMs = Math.max(1, run.asker.deadline - run.clock.monotonic());
  let outcome = await run.handle.step(run.call, { timeoutMs, fuel: run.fuel, checkpoint: run.checkpoint });
  if (outcome.kind === "lost" && !outcome.culprit) return { kind: "repeatable", error: lostError(outcome) };
  const kept: Uint8Array[] = [];
  let waits = 0;
  while (outcome.kind === "waiting") {
    // The frames of one batch share a buffer: what outlives this turn is copied.
    kept.push(...run.onEmits(outcome.emits).map((emit) => emit.slice()));
    const asker = { ...run.asker, idempotencyKey: `${run.asker.idempotencyKey}.${++waits}` };
    const response = await run.capabilities.perform(outcome.request, asker);
    if (run.asker.signal.aborted) return givenUp(run);
    const left = Math.max(LAST_WORDS_MS, run.asker.deadline - run.clock.monotonic());
    outcome = await run.handle.resume(response, left);
  }
  return ended(outcome, kept, run);
}

function ended(outcome: Exclude<ShardStepOutcome, { kind: "waiting" }>, kept: Uint8Array[], run: StepRun): StepEnd {
  switch (outcome.kind) {
    case "done": {
      const last = run.onEmits(outcome.emits);
      return kept.length === 0 ? { ...outcome, emits: last } : { ...outcome, emits: [...kept, ...last] };
    }
    case "failed": {
      const error = SirsiError.revive(outcome.error);
      return { kind: "failed", error, guestFault: isGuestFault(error), fuelUsed: outcome.fuelUsed };
    }
    case "lost":
      return { kind: "failed", error: lostError(outcome), guestFault: outcome.culprit, fuelUsed: 0 };
  }
}

function givenUp(run: StepRun): StepEnd {
  run.handle.close();
  const error = new SirsiError("CANCELLED", "the step was given up while it waited; it had no effect");
  return { kind: "failed", error, guestFault: false, fuelUsed: 0 };
}
