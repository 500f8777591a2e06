/**
 * An agent's instance over its life: opened from the pristine image or from its last
 * commit, stepped, dropped. Knows nothing of messages.
 */
import { create } from "@bufbuild/protobuf";
import { AgentConfigSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { decodeGuestResult, encodeGuestCall } from "../contract/guest-codec.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { type InstanceHandle, lostError } from "../sandbox/index.ts";
import type { AgentRecord, CheckpointRecord } from "../store/store.ts";
import { fromGuestError } from "./guest-error.ts";
import { driveStep, type StepEnd } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";

export interface StepOptions {
  readonly deadline: number;
  readonly signal: AbortSignal;
  readonly checkpoint: boolean;
  /** Names the step for good: the message's id, or what stands for it. */
  readonly stepId: string;
  readonly traceparent: string;
  readonly onEmits: (emits: readonly Uint8Array[]) => void;
}

export interface OpenedLife {
  readonly handle: InstanceHandle;
  /** Of the state after init; null when the instance was restored or is not durable. */
  readonly checkpoint: Uint8Array | null;
  readonly memoryBytes: number;
}

export const NO_SIGNAL: AbortSignal = new AbortController().signal;

/** A new instance of `revision`, initialised for the agent. Throws what went wrong; the instance is gone then. */
export async function openFresh(around: Surroundings, revision: Revision, record: AgentRecord, options: StepOptions): Promise<OpenedLife> {
  const { handle, opened } = around.pool.open(revision, null, record.agentId);
  try {
    const call = encodeGuestCall({
      case: "init",
      value: {
        $typeName: "sirsi.agent.v1.InitCall",
        agentId: record.agentId,
        sessionId: record.sessionId,
        agentType: record.module,
        config: create(AgentConfigSchema, { ...record.config, parameters: { ...revision.manifest.defaultConfig, ...record.config.parameters }, requiredCapabilities: [...record.config.requiredCapabilities] }),
        context: { ...record.context },
      },
    });
    const step = stepOn(around, handle, revision, record, call, options);
    const openedOutcome = await opened;
    if (openedOutcome.kind === "failed") throw SirsiError.revive(openedOutcome.error);
    if (openedOutcome.kind === "lost") throw lostError(openedOutcome);
    const end = await step;
    if (end.kind !== "done") throw end.error;
    const result = decodeGuestResult(end.result);
    if (result.case === "error") throw fromGuestError(result.value);
    if (result.case !== "done") throw new SirsiError("GUEST_PROTOCOL", `the guest answered init with ${result.case}; build it with the SDK of this host's ABI`);
    return { handle, checkpoint: end.checkpoint, memoryBytes: end.memoryBytes };
  } catch (thrown) {
    handle.close();
    throw thrown;
  }
}

/** An instance in the state of a checkpoint. Throws STORE_CORRUPT when the two do not fit. */
export async function openFrom(around: Surroundings, revision: Revision, record: AgentRecord, checkpoint: CheckpointRecord): Promise<OpenedLife> {
  if (checkpoint.digest !== revision.digest || checkpoint.preparation !== revision.preparation) {
    throw new SirsiError("STORE_CORRUPT", `agent ${record.agentId} was checkpointed on revision ${checkpoint.digest.slice(0, 12)} as prepared by ${checkpoint.preparation}, and this host has ${revision.digest.slice(0, 12)} by ${revision.preparation}; run the host version that wrote it, or delete the agent`);
  }
  const { handle, opened } = around.pool.open(revision, checkpoint.image, record.agentId);
  const outcome = await opened;
  if (outcome.kind === "opened") return { handle, checkpoint: null, memoryBytes: outcome.memoryBytes };
  handle.close();
  throw outcome.kind === "failed" ? SirsiError.revive(outcome.error) : lostError(outcome);
}

export function stepOn(around: Surroundings, handle: InstanceHandle, revision: Revision, record: AgentRecord, call: Uint8Array, options: StepOptions): Promise<StepEnd> {
  return driveStep({
    clock: around.clock,
    handle,
    call,
    fuel: revision.limits.fuelPerStep,
    checkpoint: options.checkpoint,
    capabilities: around.capabilities,
    onEmits: options.onEmits,
    asker: {
      agentId: record.agentId,
      sessionId: record.sessionId,
      grants: revision.grants,
      deadline: options.deadline,
      signal: options.signal,
      idempotencyKey: options.stepId,
      traceparent: options.traceparent,
    },
  });
}

/** How long a guest may take to put its affairs in order. */
const SHUTDOWN_MS = 500;

/** Tells a guest that it ends. What it answers and emits no longer matters, nor does its shard's being busy with others. */
export async function tellShutdown(around: Surroundings, handle: InstanceHandle, revision: Revision, record: AgentRecord, reason: string): Promise<void> {
  const call = encodeGuestCall({ case: "shutdown", value: { $typeName: "sirsi.agent.v1.ShutdownCall", reason } });
  const deadline = around.clock.monotonic() + SHUTDOWN_MS;
  const told = stepOn(around, handle, revision, record, call, { deadline, stepId: "shutdown", signal: NO_SIGNAL, checkpoint: false, traceparent: "", onEmits: () => undefined });
  await new Promise<void>((resolve) => {
    const timer = around.clock.after(SHUTDOWN_MS, resolve);
    void told.finally(() => {
      timer.cancel();
      resolve();
    });
  });
}
