/**
 * One agent's move from one revision to another, at a moment when it has no step in
 * hand: save on the old, init and load on the new, then one commit (S2). Until the
 * commit the old instance is whole and serves on if anything fails (S4).
 *
 * A revert goes the same way. When that fails, because the revision that is left cannot
 * even save, the agent is brought up from before it came there (turn-back.ts); when that
 * fails too it stays where it is, and can be reached (S6).
 */
import { decodeGuestResult, encodeGuestCall } from "../contract/guest-codec.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { Revision } from "../module/revision.ts";
import type { InstanceHandle } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import { isDurable } from "./durability.ts";
import { StepEffects } from "./effects.ts";
import { fromGuestError } from "./guest-error.ts";
import { droppedEmits, NO_SIGNAL, type OpenedLife, openFresh, type StepOptions, stepOn } from "./life.ts";
import { isGuestFault } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
import { turnBack } from "./turn-back.ts";

/** Why agents move: their module has another revision, or the one they moved to is not kept. */
export type SwapCause = "swap" | "revert";

export type SwapOutcome =
  /** `pauseMs`: how long the agent took no messages for it. */
  | { readonly kind: "moved"; readonly record: AgentRecord; readonly life: OpenedLife; readonly pauseMs: number }
  | { readonly kind: "kept"; readonly reason: string }
  /**
   * `spoiled`: the old instance was disturbed, and is to be opened anew from the last commit.
   * `culprit`: whose code failed; absent when it was the host.
   */
  | { readonly kind: "failed"; readonly reason: string; readonly spoiled?: boolean; readonly culprit?: "old" | "new" };

export interface SwapTask {
  readonly around: Surroundings;
  readonly record: AgentRecord;
  readonly from: Revision;
  readonly to: Revision;
  readonly cause: SwapCause;
  /** The agent's instance, at rest, all of whose steps are committed. */
  readonly openOld: () => Promise<InstanceHandle>;
  /** The new record, and a base of its state; null when it keeps none. */
  readonly commit: (record: AgentRecord, base: Uint8Array | null) => Promise<void>;
}

type Failed = Extract<SwapOutcome, { kind: "failed" }>;
/** An instance of the new revision in the state that the agent is to have there. */
type Arrival = { readonly kind: "arrived"; readonly life: OpenedLife } | Failed;

export async function swapLife(task: SwapTask): Promise<SwapOutcome> {
  const { clock } = task.around;
  const { onSwap, version } = task.to.manifest;
  if (onSwap === "keep") return { kind: "kept", reason: `revision ${version} lets old agents finish on their revision (onSwap: keep)` };
  const began = clock.monotonic();
  const record: AgentRecord = { ...task.record, digest: task.to.digest, updatedAt: clock.now() };
  const arrival = task.cause === "swap" ? await straight(task, record) : await back(task, record);
  if (arrival.kind === "failed") return arrival;
  const { life } = arrival;
  try {
    faultPoint("swap.before-commit");
    await task.commit(record, isDurable(task.to) ? life.state : null);
    return { kind: "moved", record, life, pauseMs: clock.monotonic() - began };
  } catch (thrown) {
    life.handle.close();
    return { kind: "failed", reason: `the move to revision ${version} could not be committed: ${SirsiError.from(thrown).message}`, spoiled: isDurable(task.from) };
  }
}

/** As the new revision's manifest says. */
async function straight(task: SwapTask, record: AgentRecord): Promise<Arrival> {
  return task.to.manifest.onSwap === "reset" ? await begin(task, record, null) : await migrate(task, record);
}

/** What was reset on the way there is still to be had from before; what was migrated is, when it cannot migrate back. */
async function back(task: SwapTask, record: AgentRecord): Promise<Arrival> {
  const reset = task.to.manifest.onSwap === "reset";
  const first = reset ? await fromBefore(task, record) : await migrate(task, record);
  // A host that is short of something is no reason to tell messages twice.
  if (first.kind === "arrived" || (!reset && first.culprit === undefined)) return first;
  const second = reset ? await begin(task, record, null) : await fromBefore(task, record);
  return second.kind === "arrived" ? second : { ...first, reason: `${first.reason}; and ${second.reason}` };
}

async function migrate(task: SwapTask, record: AgentRecord): Promise<Arrival> {
  const { from } = task;
  // An instance that ended the step is whole; without commits it is also the only place where its state is.
  let spoiled = true;
  try {
    const answer = await save(task);
    spoiled = isDurable(from);
    const saved = readSaved(answer, from);
    faultPoint("swap.saved");
    return await begin(task, record, saved); // does not throw
  } catch (thrown) {
    const error = SirsiError.from(thrown);
    return { kind: "failed", reason: `save() on revision ${from.manifest.version} failed: ${error.message}`, spoiled, ...(isGuestFault(error) ? { culprit: "old" } : {}) };
  }
}

async function begin(task: SwapTask, record: AgentRecord, saved: SavedState | null): Promise<Arrival> {
  const { around, to } = task;
  let life: OpenedLife | null = null;
  try {
    life = await openFresh(around, to, record, optionsOf(task, to));
    if (saved !== null) life = await load(task, life, saved);
    // The agent began long ago: what init emits now has been emitted then.
    return { kind: "arrived", life: { ...life, effects: StepEffects.none } };
  } catch (thrown) {
    life?.handle.close();
    const error = SirsiError.from(thrown);
    return { kind: "failed", reason: `revision ${to.manifest.version} did not take over: ${error.message}`, spoiled: isDurable(task.from), ...(isGuestFault(error) ? { culprit: "new" } : {}) };
  }
}

async function fromBefore(task: SwapTask, record: AgentRecord): Promise<Arrival> {
  try {
    return { kind: "arrived", life: await turnBack({ around: task.around, record, from: task.from, to: task.to }) };
  } catch (thrown) {
    return { kind: "failed", reason: `it could not be brought up from before its move: ${SirsiError.from(thrown).message}`, spoiled: isDurable(task.from) };
  }
}

export interface SavedState {
  readonly schema: number;
  readonly state: Uint8Array;
}

function optionsOf({ around, from, to }: SwapTask, at: Revision): Omit<StepOptions, "onEmits"> {
  return {
    deadline: around.clock.monotonic() + Math.min(from.limits.stepTimeoutMs, to.limits.stepTimeoutMs),
    stepId: `swap-${to.digest.slice(0, 12)}`,
    signal: NO_SIGNAL,
    state: at === to && isDurable(to) ? "base" : "none",
    traceparent: "",
  };
}

/** The answer's bytes. Throws when the step did not end well; the instance is gone then. */
async function save(task: SwapTask): Promise<Uint8Array> {
  const { around, from, record } = task;
  const handle = await task.openOld();
  const end = await stepOn(around, handle, from, record, encodeSaveCall(), { ...optionsOf(task, from), onEmits: droppedEmits(around, record, "save()") });
  if (end.kind !== "done") throw end.error;
  return end.result.slice();
}

async function load(task: SwapTask, life: OpenedLife, saved: SavedState): Promise<OpenedLife> {
  const { around, to, record } = task;
  const end = await stepOn(around, life.handle, to, record, encodeLoadCall(saved), { ...optionsOf(task, to), onEmits: droppedEmits(around, record, "load()") });
  if (end.kind !== "done") throw end.error;
  requireLoaded(end.result);
  return { handle: life.handle, state: end.state?.image ?? null, memoryBytes: end.memoryBytes, effects: life.effects };
}

export function encodeSaveCall(): Uint8Array {
  return encodeGuestCall({ case: "save", value: { $typeName: "sirsi.agent.v1.SaveCall" } });
}

export function encodeLoadCall({ schema, state }: SavedState): Uint8Array {
  return encodeGuestCall({ case: "load", value: { $typeName: "sirsi.agent.v1.LoadCall", fromSchema: schema, state } });
}

/** What save() answered. Throws what it said instead. */
export function readSaved(answer: Uint8Array, from: Revision): SavedState {
  const result = decodeGuestResult(answer);
  if (result.case === "error") throw fromGuestError(result.value);
  if (result.case !== "save") throw new SirsiError("GUEST_PROTOCOL", `the guest answered save with ${String(result.case)}`);
  const { schema, state } = result.value;
  const max = from.limits.stateMaxBytes;
  if (state.length > max) throw new SirsiError("GUEST_LIMIT", `the saved state has ${state.length} bytes, more than the ${max} it may have (state_max_bytes)`);
  return { schema, state };
}

/** Throws what load() said instead of done. */
export function requireLoaded(answer: Uint8Array): void {
  const result = decodeGuestResult(answer);
  if (result.case === "error") throw fromGuestError(result.value);
  if (result.case !== "done") throw new SirsiError("GUEST_PROTOCOL", `the guest answered load with ${String(result.case)}`);
}
