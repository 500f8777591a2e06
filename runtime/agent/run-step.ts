/**
 * One step of an agent: on its instance, through its waits, to an answer that is
 * understood. Begun anew, or gone on with where another process left it (D4).
 */
import { waitedMs, waitRecord } from "./wait-record.ts";
import type { Revision } from "../module/revision.ts";
import type { HistogramCell } from "../observe/index.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { InstanceHandle, ShardStepOutcome, StepBudget } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { commitsSteps, commitsWaits, isDurable } from "./durability.ts";
import { StepEffects } from "./effects.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import { droppedEmits } from "./life.ts";
import { answerOf, askerOf, callOf, type Completed } from "./run-work.ts";
import { answerWaits, type DoneStep, firstEnd, owned, type StepEnd, type WaitingRun, type WaitingStep, type WaitKeeper } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
import type { WaitGate } from "./wait-gate.ts";
import { isResumable, type Work } from "./work.ts";

/** How often a step is begun whose shard dies under it. */
const STARTS_MAX = 3;

/** The agent, as its steps see it. */
export interface Stepper {
  readonly around: Surroundings;
  readonly slot: InstanceSlot;
  readonly ledger: AgentLedger;
  readonly revision: Revision;
  readonly record: AgentRecord;
  readonly stepSeconds: HistogramCell;
  /** Knows when its step waits. */
  readonly gate: WaitGate;
  /** False once the step was given up: the agent was stopped, or the host closes. */
  isCurrent(work: Work): boolean;
}

/** Of the same work, though not of the same object: it may have been given another deadline. */
export function isSame(work: Work, other: Work | null): boolean {
  return other !== null && work.reply === other.reply;
}

/** A step that was given to its instance. */
export interface SentStep {
  readonly handle: InstanceHandle;
  readonly call: Uint8Array;
  readonly state: StepBudget["state"];
  /** On the monotonic clock. */
  readonly started: number;
}

/**
 * Gives a step to its instance; `settle` gets the outcome as it comes, and must not throw.
 * Throws when the work cannot be put into a call.
 */
export function sendStep(stepper: Stepper, work: Work, handle: InstanceHandle, settle: (sent: SentStep, outcome: ShardStepOutcome) => void): void {
  const { revision } = stepper;
  const call = callOf(work);
  if (call.length > revision.limits.memoryMaxBytes) throw tooLarge(call, revision);
  const sent: SentStep = { handle, call, state: stateOf(stepper, work), started: stepper.around.clock.monotonic() };
  const timeoutMs = Math.max(1, work.deadline - sent.started);
  handle.stepThen(call, { timeoutMs, fuel: revision.limits.fuelPerStep, state: sent.state, stateAtWait: isResumable(work) && commitsWaits(revision) }, (outcome) => settle(sent, owned(outcome)));
}

/** A step's outcome so far, and where it came from. */
export interface FirstOutcome {
  readonly sent: SentStep;
  readonly outcome: ShardStepOutcome;
}

function firstOutcome(stepper: Stepper, work: Work, handle: InstanceHandle): Promise<FirstOutcome> {
  return new Promise((resolve) => sendStep(stepper, work, handle, (sent, outcome) => resolve({ sent, outcome })));
}

/** Runs the step, and again when a shard died under it before it had done anything that shows. `first`: what came of it already. Throws what ended it. */
export async function runStep(stepper: Stepper, work: Work, first: FirstOutcome | null): Promise<Completed> {
  const { slot } = stepper;
  let reached = first ?? (await firstOutcome(stepper, work, slot.live ?? (await slot.open())));
  for (let attempt = 1; ; attempt++) {
    const { sent, outcome } = reached;
    let effects = StepEffects.none;
    let end: StepEnd;
    if (outcome.kind === "waiting") {
      effects = new StepEffects();
      end = await answerWaits(waitingRun(stepper, work, sent.handle, effects, sent.state), outcome, null);
    } else {
      end = firstEnd(outcome);
    }
    if (end.kind === "done") return completeStep(stepper, work, sent, end, effects);
    if (end.kind === "failed" || attempt === STARTS_MAX) throw blamed(end.error, sent.call, stepper.revision);
    slot.drop();
    reached = await firstOutcome(stepper, work, await slot.open());
  }
}

/**
 * Goes on with a step that waited when another process ended. When its wait cannot be
 * opened (another preparation, a damaged image) the step is rolled back to rest and its work
 * is done from the beginning, under the same keys: nothing of it was ever seen.
 */
export async function resumeStep(stepper: Stepper, work: Work): Promise<Completed> {
  if (!isResumable(work) || work.wait === null) return await runStep(stepper, work, null);
  const { slot, around, record } = stepper;
  const { wait } = work;
  const started = around.clock.monotonic();
  const found = await slot.openWait();
  if (found.kind === "rolled_back") {
    around.log.warn({ agentId: record.agentId, reason: found.reason }, "a step that waited cannot be gone on with; its work is done again from the beginning");
    const { stepTimeoutMs } = stepper.revision.limits;
    return await runStep(stepper, { ...work, wait: null, deadline: Math.max(work.deadline, started + stepTimeoutMs) }, null);
  }
  const effects = new StepEffects();
  const run = waitingRun(stepper, work, found.handle, effects, stateOf(stepper, work));
  const first: WaitingStep = { kind: "waiting", request: wait.request, emits: wait.emits, state: null, fuelUsed: 0, fuelLeft: Number(wait.fuelLeft), memoryBytes: slot.memoryBytes };
  const end = await answerWaits(run, first, { requestNumber: wait.requestNumber, waitedMs: waitedMs(wait, around.clock) });
  if (end.kind === "done") return completeStep(stepper, work, { call: callOf(work), started }, end, effects);
  throw end.error;
}

function stateOf({ revision, ledger }: Stepper, work: Work): StepBudget["state"] {
  return work.kind === "health" || !commitsSteps(revision) ? "none" : ledger.wantedState;
}

/** The end of a step that ended well, understood. Throws GUEST_PROTOCOL and the like when it cannot be. */
export function completeStep({ around, record, revision, stepSeconds }: Stepper, work: Work, { call, started }: Pick<SentStep, "call" | "started">, end: DoneStep, before: StepEffects): Completed {
  const endedAt = around.clock.monotonic();
  stepSeconds.observe((endedAt - started) / 1000);
  let effects = before;
  if (end.emits.length > 0) {
    if (effects === StepEffects.none) effects = new StepEffects();
    if (work.kind === "health") droppedEmits(around, record, "health()")(end.emits);
    else collect(revision, work, end.emits, effects);
  }
  const answer = answerOf(work, end.result, around.clock);
  faultPoint("step.done");
  return { work, call, answer, effects, end, endedAt };
}

function collect(revision: Revision, work: Work, emits: readonly Uint8Array[], effects: StepEffects): void {
  effects.add(emits, { grants: revision.grants, durable: isDurable(revision) }, work.kind === "message" ? work.delivery.onPartial : null);
}

function waitingRun(stepper: Stepper, work: Work, handle: InstanceHandle, effects: StepEffects, state: StepBudget["state"]): WaitingRun {
  const { around, record, revision } = stepper;
  return {
    clock: around.clock,
    handle,
    capabilities: around.capabilities,
    asker: askerOf(work, record, revision.grants),
    state,
    keeper: isResumable(work) && commitsWaits(revision) ? keeperOf(stepper, work, effects) : null,
    onEmits: (emits) => collect(revision, work, emits, effects),
    writes: () => effects.writes,
  };
}

function keeperOf(stepper: Stepper, work: Work, effects: StepEffects): WaitKeeper {
  const requireCurrent = () => {
    if (!stepper.isCurrent(work)) throw new SirsiError("CANCELLED", "the step was given up while it waited; it had no effect");
  };
  return {
    async commit(waiting, requestNumber) {
      requireCurrent();
      if (!isResumable(work) || waiting.state === null) throw new SirsiError("INTERNAL", "a step waits whose state was not taken");
      const record = waitRecord(work, { emits: effects.emits, request: waiting.request, requestNumber, fuelLeft: waiting.fuelLeft }, stepper.around.clock);
      await stepper.ledger.commitWait(stepper.revision, waiting.state, record);
      faultPoint("wait.committed");
    },
    asked: (repeatable) => stepper.gate.asked(repeatable),
    answered: () => stepper.gate.answered(),
    async reopen() {
      requireCurrent();
      const found = await stepper.slot.openWait();
      if (found.kind === "open") return found.handle;
      throw new SirsiError("SHARD_LOST", `the agent's shard ended while it waited, and it could not go on elsewhere (${found.reason}); the step had no effect, send again`, { retryAfterMs: 100 });
    },
  };
}

/** A message that takes more than half of the memory that its agent may have is its sender's doing, not the guest's. */
function blamed(error: SirsiError, call: Uint8Array, revision: Revision): SirsiError {
  return error.code === "GUEST_MEMORY_EXHAUSTED" && call.length * 2 > revision.limits.memoryMaxBytes ? tooLarge(call, revision) : error;
}

function tooLarge(call: Uint8Array, { limits }: Revision): SirsiError {
  return new SirsiError("PAYLOAD_TOO_LARGE", `the message takes ${call.length} bytes and its agent has at most ${limits.memoryMaxBytes} of memory; send less at once, or raise the module's memory limit`);
}
