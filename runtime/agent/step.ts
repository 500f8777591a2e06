/**
 * Drives one guest call to its end: runs it on the agent's instance and, whenever the
 * guest waits, has the host's capabilities answer and resumes it.
 *
 * A wait is committed before its request is made, not beside it (D4): a request that went
 * out while the commit was still on its way could take effect for a step that a crash then
 * rolls back, and that nobody need ever run again. One more flush for each wait is what
 * "asked means it goes on" costs. Requests that only read are no place to commit at.
 *
 * After any end but `done` the instance is gone or must go: what it holds is half a step.
 * Rejects only when a wait cannot be committed.
 */
import { type Asker, type Capabilities, type DocumentWrites, type RequestTraits } from "../capability/index.ts";
import { encodeGuestFailure } from "../contract/guest-codec.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import { type InstanceHandle, lostError, type ShardStepOutcome, type StepBudget } from "../sandbox/index.ts";

/** Its `emits` are those since it last waited. */
export type DoneStep = Extract<ShardStepOutcome, { kind: "done" }>;
export type WaitingStep = Extract<ShardStepOutcome, { kind: "waiting" }>;
type Ended = Exclude<ShardStepOutcome, WaitingStep>;

export type StepEnd =
  | DoneStep
  /** The shard ended under it before it had waited: it can be run again from the last commit. */
  | { readonly kind: "repeatable"; readonly error: SirsiError }
  | { readonly kind: "failed"; readonly error: SirsiError };

/** Keeps the waits of a step whose level commits them. */
export interface WaitKeeper {
  /** Resolves when the wait is on disk. Rejects when it is not, or when the step was given up. */
  commit(wait: WaitingStep, requestNumber: number): Promise<void>;
  /** What it waits for is asked for now; `repeatable`: it could be asked for again. */
  asked(repeatable: boolean): void;
  /** The answer is there. Not null: the step goes on when this resolves. */
  answered(): Promise<void> | null;
  /** An instance in the wait that was committed last, in place of one that was lost. */
  reopen(): Promise<InstanceHandle>;
}

/** What answering a guest's waits takes. */
export interface WaitingRun {
  readonly clock: Clock;
  readonly handle: InstanceHandle;
  /** Its key is the step's; each request gets one of its own. */
  readonly asker: Omit<Asker, "waitedMs" | "writes">;
  readonly capabilities: Capabilities;
  /** Of the state to take when the step ends. */
  readonly state: StepBudget["state"];
  /** Null when waits are not committed. */
  readonly keeper: WaitKeeper | null;
  /** What the guest emitted before a wait. The bytes are the callee's to copy. */
  readonly onEmits: (emits: readonly Uint8Array[]) => void;
  /** Documents written so far. */
  readonly writes: () => DocumentWrites | null;
}

export interface StepRun extends WaitingRun {
  readonly call: Uint8Array;
  readonly fuel: number;
}

/** A wait that another process began. */
export interface ResumedWait {
  readonly requestNumber: number;
  readonly waitedMs: number;
}

/** Time a guest still gets to take the answer "your deadline has passed" and end in order. */
const LAST_WORDS_MS = 100;
/** How often one wait is taken up again whose shard dies at its end. */
const RESUMES_MAX = 3;

/** Ends that say nothing about the guest's code. */
const INNOCENT: ReadonlySet<string> = new Set([
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "SHARD_LOST",
  "OVERLOADED",
  "SHUTTING_DOWN",
  "STORE_UNAVAILABLE",
  "STORE_CORRUPT",
  "MESSAGE_ID_REUSED",
  "PAYLOAD_TOO_LARGE",
  "AGENT_FENCED",
  "AGENT_NOT_FOUND",
  "AGENT_TERMINATED",
]);

/** The guest's own doing, which the restart policy counts. */
export function isGuestFault(error: SirsiError): boolean {
  return !INNOCENT.has(error.code);
}

export async function driveStep(run: StepRun): Promise<StepEnd> {
  const timeoutMs = Math.max(1, run.asker.deadline - run.clock.monotonic());
  const outcome = owned(await run.handle.step(run.call, { timeoutMs, fuel: run.fuel, state: run.state, stateAtWait: run.keeper !== null }));
  return outcome.kind === "waiting" ? await answerWaits(run, outcome, null) : firstEnd(outcome);
}

/** An outcome that may be kept for long: bytes of a wait lie in a batch with those of many others, which they would hold in memory. */
export function owned(outcome: ShardStepOutcome): ShardStepOutcome {
  if (outcome.kind !== "waiting") return outcome;
  const { request, emits, state } = outcome;
  return { ...outcome, request: request.slice(), emits: emits.map((emit) => emit.slice()), state: state?.slice() ?? null };
}

/** The end of a step that never waited. */
export function firstEnd(outcome: Ended): StepEnd {
  if (outcome.kind === "lost" && !outcome.culprit) return { kind: "repeatable", error: lostError(outcome) };
  return endOf(outcome);
}

/** Answers the guest's requests until the step ends. `resumed`: the first of them is one that was under way already. */
export async function answerWaits(run: WaitingRun, first: WaitingStep, resumed: ResumedWait | null): Promise<StepEnd> {
  let outcome: ShardStepOutcome = first;
  let { handle } = run;
  let goesOn = resumed;
  for (let number = resumed?.requestNumber ?? 1; outcome.kind === "waiting"; number++) {
    const waiting: WaitingStep = outcome;
    run.onEmits(waiting.emits);
    const traits = run.capabilities.traitsOf(waiting.request);
    const kept = run.keeper !== null && (goesOn !== null || !traits.reading);
    if (kept && goesOn === null) await run.keeper.commit(waiting, number);
    if (kept) run.keeper.asked(traits.repeatable);
    const response = await answer(run, waiting.request, traits, number, goesOn?.waitedMs ?? 0);
    const held = kept ? run.keeper.answered() : null;
    if (held !== null) await held;
    if (run.asker.signal.aborted) return givenUp(handle);
    if (goesOn !== null) faultPoint("wait.resumed");
    goesOn = null;
    outcome = owned(await handle.resume(response, budgetOf(run, waiting)));
    if (kept && isBystander(outcome)) ({ handle, outcome } = await resumeElsewhere(run, run.keeper, response, waiting, outcome));
  }
  return endOf(outcome);
}

/** Its shard ended, through no doing of its own. */
function isBystander(outcome: ShardStepOutcome): boolean {
  return outcome.kind === "lost" && !outcome.culprit;
}

/** In another instance that is in the wait. */
async function resumeElsewhere(run: WaitingRun, keeper: WaitKeeper, response: Uint8Array, waiting: WaitingStep, lost: ShardStepOutcome): Promise<{ readonly handle: InstanceHandle; readonly outcome: ShardStepOutcome }> {
  let { handle } = run;
  let outcome = lost;
  for (let again = 1; isBystander(outcome) && again < RESUMES_MAX; again++) {
    handle = await keeper.reopen();
    outcome = owned(await handle.resume(response, budgetOf(run, waiting)));
  }
  return { handle, outcome };
}

function answer(run: WaitingRun, request: Uint8Array, traits: RequestTraits, number: number, waitedMs: number): Promise<Uint8Array> {
  if (waitedMs > 0 && !traits.repeatable) {
    const error = new SirsiError("INTERRUPTED", "the host stopped while this request was under way, and it may not be made twice; find out whether it took effect");
    return Promise.resolve(encodeGuestFailure(error));
  }
  const asker: Asker = { ...run.asker, idempotencyKey: `${run.asker.idempotencyKey}.${number}`, waitedMs, writes: run.writes() };
  return run.capabilities.perform(request, asker);
}

function budgetOf(run: WaitingRun, { fuelLeft }: WaitingStep): StepBudget {
  const timeoutMs = Math.max(LAST_WORDS_MS, run.asker.deadline - run.clock.monotonic());
  return { timeoutMs, fuel: fuelLeft, state: run.state, stateAtWait: run.keeper !== null };
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

function givenUp(handle: InstanceHandle): StepEnd {
  handle.close();
  return { kind: "failed", error: new SirsiError("CANCELLED", "the step was given up while it waited; it had no effect") };
}
