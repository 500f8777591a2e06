/**
 * One step of an agent: on its instance, through its waits, to an answer that is
 * understood. Begun anew, or gone on with where another process left it (D4).
 */
import { waitedMs, waitRecord } from "./wait-record.ts";
import type { Revision } from "../module/revision.ts";
import type { HistogramCell } from "../observe/index.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { InstanceHandle, StepBudget } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { commitsSteps, commitsWaits, isDurable } from "./durability.ts";
import { StepEffects } from "./effects.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import { droppedEmits } from "./life.ts";
import { answerOf, askerOf, callOf, type Completed } from "./run-work.ts";
import { answerWaits, type DoneStep, firstEnd, type StepEnd, type WaitingRun, type WaitingStep, type WaitKeeper } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
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
  /** False once the step was given up: the agent was stopped, or the host closes. */
  isCurrent(work: Work): boolean;
}

/** Of the same work, though not of the same object: it may have been given another deadline. */
export function isSame(work: Work, other: Work | null): boolean {
  return other !== null && work.reply === other.reply;
}

/** Runs the step, and again when a shard died under it before it had done anything that shows. Throws what ended it. */
export async function runStep(stepper: Stepper, work: Work): Promise<Completed> {
  const { slot, revision } = stepper;
  const { clock } = stepper.around;
  const call = callOf(work);
  const started = clock.monotonic();
  for (let attempt = 1; ; attempt++) {
    const handle = slot.live ?? (await slot.open());
    const state = stateOf(stepper, work);
    const timeoutMs = Math.max(1, work.deadline - clock.monotonic());
    const outcome = await handle.step(call, { timeoutMs, fuel: revision.limits.fuelPerStep, state, stateAtWait: isResumable(work) && commitsWaits(revision) });
    let effects = StepEffects.none;
    let end: StepEnd;
    if (outcome.kind === "waiting") {
      effects = new StepEffects();
      end = await answerWaits(waitingRun(stepper, work, handle, effects, state), outcome, null);
    } else {
      end = firstEnd(outcome);
    }
    if (end.kind === "done") return complete(stepper, work, call, end, effects, started);
    if (end.kind === "failed" || attempt === STARTS_MAX) throw end.error;
    slot.drop();
  }
}

/**
 * Goes on with a step that waited when another process ended. When its wait cannot be
 * opened (another preparation, a damaged image) the step is rolled back to rest and its work
 * is done from the beginning, under the same keys: nothing of it was ever seen.
 */
export async function resumeStep(stepper: Stepper, work: Work): Promise<Completed> {
  if (!isResumable(work) || work.wait === null) return await runStep(stepper, work);
  const { slot, around, record } = stepper;
  const { wait } = work;
  const started = around.clock.monotonic();
  const found = await slot.openWait();
  if (found.kind === "rolled_back") {
    around.log.warn({ agentId: record.agentId, reason: found.reason }, "a step that waited cannot be gone on with; its work is done again from the beginning");
    const { stepTimeoutMs } = stepper.revision.limits;
    return await runStep(stepper, { ...work, wait: null, deadline: Math.max(work.deadline, started + stepTimeoutMs) });
  }
  const effects = new StepEffects();
  const run = waitingRun(stepper, work, found.handle, effects, stateOf(stepper, work));
  const first: WaitingStep = { kind: "waiting", request: wait.request, emits: wait.emits, state: null, fuelUsed: 0, fuelLeft: Number(wait.fuelLeft), memoryBytes: slot.memoryBytes };
  const end = await answerWaits(run, first, { requestNumber: wait.requestNumber, waitedMs: waitedMs(wait, around.clock) });
  if (end.kind === "done") return complete(stepper, work, callOf(work), end, effects, started);
  throw end.error;
}

function stateOf({ revision, ledger }: Stepper, work: Work): StepBudget["state"] {
  return work.kind === "health" || !commitsSteps(revision) ? "none" : ledger.wantedState;
}

function complete({ around, record, revision, stepSeconds }: Stepper, work: Work, call: Uint8Array, end: DoneStep, before: StepEffects, started: number): Completed {
  stepSeconds.observe((around.clock.monotonic() - started) / 1000);
  let effects = before;
  if (end.emits.length > 0) {
    if (effects === StepEffects.none) effects = new StepEffects();
    if (work.kind === "health") droppedEmits(around, record, "health()")(end.emits);
    else collect(revision, work, end.emits, effects);
  }
  // The batch that the bytes lie in is shared; this copy may be kept.
  const result = end.result.slice();
  const answer = answerOf(work, result, around.clock.now());
  faultPoint("step.done");
  return { work, call, result, answer, effects, end };
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
    async reopen() {
      requireCurrent();
      const found = await stepper.slot.openWait();
      if (found.kind === "open") return found.handle;
      throw new SirsiError("SHARD_LOST", `the agent's shard ended while it waited, and it could not go on elsewhere (${found.reason}); the step had no effect, send again`, { retryAfterMs: 100 });
    },
  };
}
