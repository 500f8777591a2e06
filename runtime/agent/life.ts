/**
 * An agent's instance over its life: opened from the pristine image or from its last
 * commit, stepped, dropped. Knows nothing of messages.
 */
import { create } from "@bufbuild/protobuf";
import { AgentConfigSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { decodeGuestResult, encodeGuestCall } from "../contract/guest-codec.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { type InstanceHandle, lostError, type StepBudget } from "../sandbox/index.ts";
import type { AgentRecord } from "../store/store.ts";
import { isDurable } from "./durability.ts";
import { StepEffects } from "./effects.ts";
import { fromGuestError } from "./guest-error.ts";
import { driveStep, type StepEnd } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";

/** What a call takes that is no work of a mailbox. None of its waits is committed. */
export interface StepOptions {
  readonly deadline: number;
  readonly signal: AbortSignal;
  /** Of the state to take when the step ends. */
  readonly state: StepBudget["state"];
  /** Names the step for good. */
  readonly stepId: string;
  readonly traceparent: string;
  /** All that the guest emits. The bytes are the callee's to copy; what it throws fails the step. */
  readonly onEmits: (emits: readonly Uint8Array[]) => void;
}

export interface OpenedLife {
  readonly handle: InstanceHandle;
  /** A base of the state after init; null when none was asked for, or the instance was restored. */
  readonly state: Uint8Array | null;
  readonly memoryBytes: number;
  /** What init emitted; nothing when the instance was restored. */
  readonly effects: StepEffects;
}

export const NO_SIGNAL: AbortSignal = new AbortController().signal;

/** A new instance of `revision`, initialised for the agent. Throws what went wrong; the instance is gone then. */
export async function openFresh(around: Surroundings, revision: Revision, record: AgentRecord, options: Omit<StepOptions, "onEmits">): Promise<OpenedLife> {
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
    const effects = new StepEffects();
    const policy = { grants: revision.grants, durable: isDurable(revision) };
    const step = stepOn(around, handle, revision, record, call, { ...options, onEmits: (emits) => effects.add(emits, policy, null) });
    // When the opening fails, so does the step; only one of the two is waited for then.
    step.catch(() => undefined);
    const openedOutcome = await opened;
    if (openedOutcome.kind === "failed") throw SirsiError.revive(openedOutcome.error);
    if (openedOutcome.kind === "lost") throw lostError(openedOutcome);
    const end = await step;
    if (end.kind !== "done") throw end.error;
    const result = decodeGuestResult(end.result);
    if (result.case === "error") throw fromGuestError(result.value);
    if (result.case !== "done") throw new SirsiError("GUEST_PROTOCOL", `the guest answered init with ${result.case}; build it with the SDK of this host's ABI`);
    return { handle, state: end.state?.image ?? null, memoryBytes: end.memoryBytes, effects };
  } catch (thrown) {
    handle.close();
    throw thrown;
  }
}

export interface RestoredLife extends OpenedLife {
  /** It is in the middle of a step that waits. */
  readonly suspended: boolean;
}

/**
 * An instance in a stored state: `images` are a base, its differences, oldest first, and
 * last the wait, when it is to be in one. Throws STORE_CORRUPT when they do not fit.
 */
export async function openFrom(around: Surroundings, revision: Revision, record: AgentRecord, images: readonly Uint8Array[]): Promise<RestoredLife> {
  const { handle, opened } = around.pool.open(revision, images, record.agentId);
  const outcome = await opened;
  if (outcome.kind === "opened") return { handle, state: null, memoryBytes: outcome.memoryBytes, effects: StepEffects.none, suspended: outcome.suspended };
  handle.close();
  throw outcome.kind === "failed" ? SirsiError.revive(outcome.error) : lostError(outcome);
}

export async function stepOn(around: Surroundings, handle: InstanceHandle, revision: Revision, record: AgentRecord, call: Uint8Array, options: StepOptions): Promise<StepEnd> {
  const end = await driveStep({
    clock: around.clock,
    handle,
    call,
    fuel: revision.limits.fuelPerStep,
    state: options.state,
    keeper: null,
    capabilities: around.capabilities,
    onEmits: options.onEmits,
    writes: () => null,
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
  if (end.kind === "done" && end.emits.length > 0) options.onEmits(end.emits);
  return end;
}

/** For calls whose emits have no place in a commit: they are dropped, and the log says so. */
export function droppedEmits(around: Surroundings, record: AgentRecord, what: string): StepOptions["onEmits"] {
  return (emits) => {
    if (emits.length > 0) around.log.warn({ agentId: record.agentId, module: record.module, emits: emits.length }, `what the agent emitted in ${what} was dropped: only messages, events, timers and its init have effects`);
  };
}

/** How long a guest may take to put its affairs in order. */
const SHUTDOWN_MS = 500;

/** Tells a guest that it ends. What it answers and emits no longer matters, nor does its shard's being busy with others. */
export async function tellShutdown(around: Surroundings, handle: InstanceHandle, revision: Revision, record: AgentRecord, reason: string): Promise<void> {
  const call = encodeGuestCall({ case: "shutdown", value: { $typeName: "sirsi.agent.v1.ShutdownCall", reason } });
  const deadline = around.clock.monotonic() + SHUTDOWN_MS;
  const told = stepOn(around, handle, revision, record, call, { deadline, stepId: "shutdown", signal: NO_SIGNAL, state: "none", traceparent: "", onEmits: () => undefined });
  await new Promise<void>((resolve) => {
    const timer = around.clock.after(SHUTDOWN_MS, resolve);
    void told.finally(() => {
      timer.cancel();
      resolve();
    });
  });
}
