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

/** Its `emits` are those since it last waited. */
export type DoneStep = Extract<ShardStepOutcome, { kind: "done" }>;

export type StepEnd =
  | DoneStep
  /** The shard ended under it before it had waited: it can be run again from the last commit. */
  | { readonly kind: "repeatable"; readonly error: SirsiError }
  | { readonly kind: "failed"; readonly error: SirsiError };

/** What answering a guest's waits takes. */
export interface WaitingRun {
  readonly clock: Clock;
  readonly handle: InstanceHandle;
  readonly asker: Asker;
  readonly capabilities: Capabilities;
  /** What the guest emitted before a wait. The bytes are the callee's to copy. */
  readonly onEmits: (emits: readonly Uint8Array[]) => void;
}

export interface StepRun extends WaitingRun {
  readonly call: Uint8Array;
  readonly fuel: number;
  readonly checkpoint: boolean;
}

/** Time a guest still gets to take the answer "your deadline has passed" and end in order. */
const LAST_WORDS_MS = 100;

/** Ends that say nothing about the guest's code. */
const INNOCENT: ReadonlySet<string> = new Set(["DEADLINE_EXCEEDED", "CANCELLED", "SHARD_LOST", "OVERLOADED", "SHUTTING_DOWN", "STORE_UNAVAILABLE"]);

/** The guest's own doing, which the restart policy counts. */
export function isGuestFault(error: SirsiError): boolean {
  return !INNOCENT.has(error.code);
}

export async function driveStep(run: StepRun): Promise<StepEnd> {
  const timeoutMs = Math.max(1, run.asker.deadline - run.clock.monotonic());
  const outcome = await run.handle.step(run.call, { timeoutMs, fuel: run.fuel, checkpoint: run.checkpoint });
  return outcome.kind === "waiting" ? await answerWaits(run, outcome) : firstEnd(outcome);
}

type Waiting = Extract<ShardStepOutcome, { kind: "waiting" }>;
type Ended = Exclude<ShardStepOutcome, Waiting>;

/** The end of a step that never waited. */
export function firstEnd(outcome: Ended): StepEnd {
  if (outcome.kind === "lost" && !outcome.culprit) return { kind: "repeatable", error: lostError(outcome) };
  return endOf(outcome);
}

/** Answers the guest's requests until the step ends. */
export async function answerWaits(run: WaitingRun, first: Waiting): Promise<StepEnd> {
  let outcome: ShardStepOutcome = first;
  for (let waits = 1; outcome.kind === "waiting"; waits++) {
    run.onEmits(outcome.emits);
    const asker = { ...run.asker, idempotencyKey: `${run.asker.idempotencyKey}.${waits}` };
    const response = await run.capabilities.perform(outcome.request, asker);
    if (run.asker.signal.aborted) return givenUp(run);
    const left = Math.max(LAST_WORDS_MS, run.asker.deadline - run.clock.monotonic());
    outcome = await run.handle.resume(response, left);
  }
  return endOf(outcome);
}

function endOf(outcome: Ended): StepEnd {
  switch (outcome.kind) {
    case "done":
      return outcome;
    case "failed":
      return { kind: "failed", error: SirsiError.revive(outcome.error) };
    case "lost":
      return { kind: "failed", error: lostError(outcome) };
  }
}

function givenUp(run: WaitingRun): StepEnd {
  run.handle.close();
  return { kind: "failed", error: new SirsiError("CANCELLED", "the step was given up while it waited; it had no effect") };
}
