/**
 * A copy of an agent in an instance of its own, for trying things: its requests are
 * never made, its emits never leave, nothing of it is committed.
 */
import { create } from "@bufbuild/protobuf";
import { AgentConfigSchema } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { decodeGuestResult, encodeGuestCall } from "../../contract/guest-codec.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { fromGuestError } from "../../agent/guest-error.ts";
import type { Revision } from "../../module/index.ts";
import { type InstanceHandle, lostError, type ShardPool } from "../../sandbox/index.ts";
import type { AgentRecord } from "../../store/store.ts";

export type CopyEnd =
  | { readonly kind: "done"; readonly result: Uint8Array; readonly emits: number; readonly fuelUsed: number; readonly memoryBytes: number; readonly tookMs: number }
  /** It asked for something: the copy is of no further use. */
  | { readonly kind: "waits" }
  | { readonly kind: "failed"; readonly error: SirsiError };

export class Copy {
  readonly revision: Revision;
  readonly #clock: Clock;
  readonly #handle: InstanceHandle;

  private constructor(clock: Clock, revision: Revision, handle: InstanceHandle) {
    this.#clock = clock;
    this.revision = revision;
    this.#handle = handle;
  }

  /** In a stored state at rest, or pristine. Throws what went wrong. */
  static async open(pool: Pick<ShardPool, "open">, clock: Clock, revision: Revision, images: readonly Uint8Array[] | null, agentId: string): Promise<Copy> {
    const { handle, opened } = pool.open(revision, images, `copy-of-${agentId}`);
    const outcome = await opened;
    if (outcome.kind === "opened") return new Copy(clock, revision, handle);
    handle.close();
    throw outcome.kind === "failed" ? SirsiError.revive(outcome.error) : lostError(outcome);
  }

  async call(call: Uint8Array): Promise<CopyEnd> {
    const { stepTimeoutMs, fuelPerStep } = this.revision.limits;
    const began = this.#clock.monotonic();
    const outcome = await this.#handle.step(call, { timeoutMs: stepTimeoutMs, fuel: fuelPerStep, state: "none", stateAtWait: false });
    switch (outcome.kind) {
      case "waiting":
        return { kind: "waits" };
      case "failed":
        return { kind: "failed", error: SirsiError.revive(outcome.error) };
      case "lost":
        return { kind: "failed", error: lostError(outcome) };
      case "done": {
        const { result, emits, fuelUsed, memoryBytes } = outcome;
        return { kind: "done", result: result.slice(), emits: emits.length, fuelUsed, memoryBytes, tookMs: this.#clock.monotonic() - began };
      }
    }
  }

  /** Has it initialise itself as this agent. Throws what it said instead of done. */
  async init(record: AgentRecord): Promise<void> {
    const end = requireDone(await this.call(encodeInitCall(this.revision, record)), "init");
    const result = decodeGuestResult(end.result);
    if (result.case === "error") throw fromGuestError(result.value);
    if (result.case !== "done") throw new SirsiError("GUEST_PROTOCOL", `the guest answered init with ${String(result.case)}`);
  }

  close(): void {
    this.#handle.close();
  }
}

/** Throws the failure; a wait is one too. */
export function requireDone(end: CopyEnd, what: string): Extract<CopyEnd, { kind: "done" }> {
  if (end.kind === "done") return end;
  throw end.kind === "failed" ? end.error : new SirsiError("INTERRUPTED", `${what} asked the host for something, and a copy gets no answers`);
}

function encodeInitCall(revision: Revision, { agentId, sessionId, module, config, context }: AgentRecord): Uint8Array {
  const parameters = { ...revision.manifest.defaultConfig, ...config.parameters };
  return encodeGuestCall({
    case: "init",
    value: {
      $typeName: "sirsi.agent.v1.InitCall",
      agentId,
      sessionId,
      agentType: module,
      config: create(AgentConfigSchema, { ...config, parameters, requiredCapabilities: [...config.requiredCapabilities] }),
      context: { ...context },
    },
  });
}
