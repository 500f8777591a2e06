/** One step of an agent: on its instance, through its waits, to an answer that is understood. */
import type { Revision } from "../module/revision.ts";
import type { HistogramCell } from "../observe/index.ts";
import type { InstanceHandle } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import type { Effect } from "./effects.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import { answerOf, askerOf, callOf, collectEffects, type Completed } from "./run-work.ts";
import { answerWaits, firstEnd, type WaitingRun } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Work } from "./work.ts";

/** How often a step is begun whose shard dies under it. */
const STARTS_MAX = 3;

export interface Stepper {
  readonly around: Surroundings;
  readonly slot: InstanceSlot;
  readonly revision: Revision;
  readonly record: AgentRecord;
  readonly durable: boolean;
  readonly seconds: HistogramCell;
}

/** Runs the step, and again when a shard died under it before it had done anything that shows. Throws what ended it. */
export async function runStep(stepper: Stepper, work: Work): Promise<Completed> {
  const { slot, revision, durable } = stepper;
  const { clock } = stepper.around;
  const call = callOf(work);
  const started = clock.monotonic();
  for (let attempt = 1; ; attempt++) {
    const handle = slot.live ?? (await slot.open());
    const timeoutMs = Math.max(1, work.deadline - clock.monotonic());
    const outcome = await handle.step(call, { timeoutMs, fuel: revision.limits.fuelPerStep, checkpoint: durable });
    const effects: Effect[] = [];
    const end = outcome.kind === "waiting" ? await answerWaits(waitingRun(stepper, work, handle, effects), outcome) : firstEnd(outcome);
    if (end.kind === "done") {
      stepper.seconds.observe((clock.monotonic() - started) / 1000);
      if (end.emits.length > 0) collectEffects(work, end.emits, effects);
      // The batch that the bytes lie in is shared; this copy may be kept.
      const result = end.result.slice();
      return { work, call, result, answer: answerOf(work, result, clock.now()), effects, end };
    }
    if (end.kind === "failed" || attempt === STARTS_MAX) throw end.error;
    slot.drop();
  }
}

function waitingRun({ around, record, revision }: Stepper, work: Work, handle: InstanceHandle, effects: Effect[]): WaitingRun {
  return {
    clock: around.clock,
    handle,
    capabilities: around.capabilities,
    onEmits: (emits) => collectEffects(work, emits, effects),
    asker: askerOf(work, record, revision.grants),
  };
}
