/**
 * One agent's move from one revision to another, at a moment when it has no step in
 * hand: save on the old, init and load on the new, then one commit (S2). Until the
 * commit the old instance is whole and serves on if anything fails (S4).
 */
import { decodeGuestResult, encodeGuestCall } from "../contract/guest-codec.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { InstanceHandle } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import { fromGuestError } from "./guest-error.ts";
import { NO_SIGNAL, type OpenedLife, openFresh, type StepOptions, stepOn } from "./life.ts";
import type { Surroundings } from "./surroundings.ts";

export type SwapOutcome =
  | { readonly kind: "moved"; readonly record: AgentRecord; readonly life: OpenedLife }
  | { readonly kind: "kept"; readonly reason: string; readonly spoiled?: boolean }
  /** `spoiled`: the old instance was disturbed, and is to be opened anew from the last commit. */
  | { readonly kind: "failed"; readonly reason: string; readonly spoiled?: boolean };

export interface SwapTask {
  readonly around: Surroundings;
  readonly record: AgentRecord;
  readonly from: Revision;
  readonly to: Revision;
  readonly openOld: () => Promise<InstanceHandle>;
  readonly commit: (record: AgentRecord, checkpoint: Uint8Array | null) => Promise<void>;
}

export async function swapLife(task: SwapTask): Promise<SwapOutcome> {
  const { around, from, to } = task;
  const policy = to.manifest.onSwap;
  if (policy === "keep") return { kind: "kept", reason: `revision ${to.manifest.version} lets old agents finish on their revision (onSwap: keep)` };
  const record: AgentRecord = { ...task.record, digest: to.digest, updatedAt: around.clock.now() };
  const options = stepOptions(task);
  let saved: SavedState | null = null;
  // An instance that ended the step is whole; without commits it is also the only place where its state is.
  let spoiled = true;
  try {
    if (policy === "migrate") {
      const answer = await save(task, options);
      spoiled = isDurable(from);
      saved = readSaved(answer, from);
    }
  } catch (thrown) {
    return { kind: "failed", reason: `save() on revision ${from.manifest.version} failed: ${SirsiError.from(thrown).message}`, spoiled };
  }
  let life: OpenedLife | null = null;
  try {
    life = await openFresh(around, to, record, options);
    if (saved !== null) life = await load(task, life, saved, options);
    await task.commit(record, options.checkpoint ? life.checkpoint : null);
    return { kind: "moved", record, life };
  } catch (thrown) {
    life?.handle.close();
    return { kind: "failed", reason: `revision ${to.manifest.version} did not take over: ${SirsiError.from(thrown).message}`, spoiled: isDurable(from) };
  }
}

function isDurable(revision: Revision): boolean {
  return revision.manifest.durability !== "none";
}

interface SavedState {
  readonly schema: number;
  readonly state: Uint8Array;
}

function stepOptions(task: SwapTask): StepOptions {
  return {
    deadline: task.around.clock.monotonic() + Math.min(task.from.limits.stepTimeoutMs, task.to.limits.stepTimeoutMs),
    stepId: `swap-${task.to.digest.slice(0, 12)}`,
    signal: NO_SIGNAL,
    checkpoint: isDurable(task.to),
    traceparent: "",
    onEmits: () => [],
  };
}

/** The answer's bytes. Throws when the step did not end well; the instance is gone then. */
async function save(task: SwapTask, options: StepOptions): Promise<Uint8Array> {
  const handle = await task.openOld();
  const call = encodeGuestCall({ case: "save", value: { $typeName: "sirsi.agent.v1.SaveCall" } });
  const end = await stepOn(task.around, handle, task.from, task.record, call, { ...options, checkpoint: false });
  if (end.kind !== "done") throw end.error;
  return end.result.slice();
}

function readSaved(answer: Uint8Array, from: Revision): SavedState {
  const result = decodeGuestResult(answer);
  if (result.case === "error") throw fromGuestError(result.value);
  if (result.case !== "save") throw new SirsiError("GUEST_PROTOCOL", `the guest answered save with ${String(result.case)}`);
  const { schema, state } = result.value;
  const max = from.limits.stateMaxBytes;
  if (state.length > max) throw new SirsiError("GUEST_LIMIT", `the saved state has ${state.length} bytes, more than the ${max} it may have (state_max_bytes)`);
  return { schema, state };
}

async function load(task: SwapTask, life: OpenedLife, saved: SavedState, options: StepOptions): Promise<OpenedLife> {
  const call = encodeGuestCall({ case: "load", value: { $typeName: "sirsi.agent.v1.LoadCall", fromSchema: saved.schema, state: saved.state } });
  const end = await stepOn(task.around, life.handle, task.to, task.record, call, options);
  if (end.kind !== "done") throw end.error;
  const result = decodeGuestResult(end.result);
  if (result.case === "error") throw fromGuestError(result.value);
  if (result.case !== "done") throw new SirsiError("GUEST_PROTOCOL", `the guest answered load with ${String(result.case)}`);
  return { handle: life.handle, checkpoint: end.checkpoint, memoryBytes: end.memoryBytes };
}
