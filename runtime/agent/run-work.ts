/** One work item as a guest call, and the guest's answer as what is to be committed, let go and settled. */
import { create } from "@bufbuild/protobuf";
import { type Message, MessageMetricsSchema, MessageSchema, MessageType } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { GuestResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { decodeGuestResult, encodeGuestCall, encodeMessageCall } from "../contract/guest-codec.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError, unreachable } from "../core/errors.ts";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AgentRecord } from "../store/store.ts";
import type { ExchangeEnd } from "./conversation.ts";
import { type Effect, readEmit } from "./effects.ts";
import { fromGuestError } from "./guest-error.ts";
import { NO_SIGNAL, type StepOptions } from "./life.ts";
import type { StepEnd } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
import type { MessageWork, Work } from "./work.ts";

export interface DoneWork {
  readonly kind: "done";
  readonly checkpoint: Uint8Array | null;
  readonly fuelUsed: number;
  readonly memoryBytes: number;
  /** What the conversation keeps; null for work that is not a message. */
  readonly exchange: ExchangeEnd | null;
  /** The guest's own error value, which its caller gets; the step stands all the same. */
  readonly refusal: SirsiError | null;
  /** Lets the effects go. Only after the commit. */
  readonly release: (around: Surroundings, record: AgentRecord) => void;
  /** Answers the caller. Only after the commit. */
  readonly settle: (tookMs: number) => void;
}

export type WorkEnd =
  | DoneWork
  | { readonly kind: "repeatable"; readonly error: SirsiError }
  | { readonly kind: "failed"; readonly error: SirsiError; readonly guestFault: boolean };

/** Throws GUEST_PROTOCOL when the guest's answer is malformed. */
export async function runWork(work: Work, clock: Clock, durable: boolean, step: (call: Uint8Array, options: StepOptions) => Promise<StepEnd>): Promise<WorkEnd> {
  const effects: Effect[] = [];
  const onPartial = work.kind === "message" ? work.delivery.onPartial : null;
  const onEmits = (emits: readonly Uint8Array[]): readonly Uint8Array[] => {
    for (const emit of emits) {
      const effect = readEmit(emit, onPartial);
      if (effect !== null) effects.push(effect);
    }
    return NONE;
  };
  const end = await step(callOf(work), {
    deadline: work.deadline,
    signal: work.signal ?? NO_SIGNAL,
    checkpoint: durable,
    stepId: stepIdOf(work),
    traceparent: work.kind === "message" ? work.delivery.traceparent : "",
    onEmits,
  });
  return end.kind === "done" ? answered(work, end, effects, clock) : end;
}

const NONE: readonly Uint8Array[] = [];

function callOf(work: Work): Uint8Array {
  switch (work.kind) {
    case "message":
      return encodeMessageCall(work.delivery.message, work.delivery.context, work.delivery.sourceAgentId);
    case "suggest":
      return encodeGuestCall({ case: "suggest", value: { $typeName: "sirsi.agent.v1.SuggestCall", context: work.context, maxSuggestions: work.max } });
    case "event":
      return encodeGuestCall({ case: "event", value: { $typeName: "sirsi.agent.v1.EventCall", event: work.event } });
    default:
      return unreachable(work);
  }
}

function stepIdOf(work: Work): string {
  switch (work.kind) {
    case "message":
      return work.delivery.message.messageId;
    case "suggest":
      return "suggest";
    case "event":
      return work.event.eventId;
    default:
      return unreachable(work);
  }
}

function answered(work: Work, end: Extract<StepEnd, { kind: "done" }>, effects: readonly Effect[], clock: Clock): WorkEnd {
  // The batch that the bytes lie in is shared; what is decoded from a copy may be kept.
  const result = decodeGuestResult(end.result.slice());
  const { checkpoint, fuelUsed, memoryBytes } = end;
  const common = { kind: "done", checkpoint, fuelUsed, memoryBytes } as const;
  if (result.case === "error") {
    const refusal = fromGuestError(result.value);
    return {
      ...common,
      exchange: work.kind === "message" ? { kind: "refusal", error: refusal } : null,
      refusal,
      release: (around, record) => releaseEffects(effects, around, record),
      settle: () => void work.reply.reject(refusal),
    };
  }
  switch (work.kind) {
    case "message":
      return { ...common, ...answeredMessage(work, result, effects, clock) };
    case "suggest": {
      const { suggestions } = expect(result, "suggest", "a request for suggestions");
      return {
        ...common,
        exchange: null,
        refusal: null,
        release: (around, record) => {
          releaseEffects(effects, around, record);
          if (suggestions.length > 0) announce(around, record, "SUGGESTION_GENERATED", { count: String(suggestions.length) });
        },
        settle: () => void work.reply.resolve(suggestions),
      };
    }
    case "event":
      expect(result, "done", "an event");
      return { ...common, exchange: null, refusal: null, release: (around, record) => releaseEffects(effects, around, record), settle: () => void work.reply.resolve() };
    default:
      return unreachable(work);
  }
}

function answeredMessage(work: MessageWork, result: GuestResult["result"], effects: readonly Effect[], clock: Clock) {
  const value = expect(result, "message", "a message");
  const { messageId } = work.delivery.message;
  const response: Message = value.response ?? create(MessageSchema, {});
  if (response.messageId === "") response.messageId = `${messageId}:reply`;
  if (response.type === MessageType.UNSPECIFIED) response.type = MessageType.RESPONSE;
  response.timestamp ??= timestampFromMs(clock.now());
  const { suggestions } = value;
  const exchange: ExchangeEnd = { kind: "reply", response, suggestions };
  return {
    exchange,
    refusal: null,
    release: (around: Surroundings, record: AgentRecord) => {
      releaseEffects(effects, around, record);
      announce(around, record, "MESSAGE_SENT", { message_id: messageId });
      if (suggestions.length > 0) announce(around, record, "SUGGESTION_GENERATED", { message_id: messageId, count: String(suggestions.length) });
    },
    settle: (tookMs: number) => {
      const metrics = value.metrics ?? create(MessageMetricsSchema);
      metrics.processingTimeMs = tookMs;
      work.reply.resolve({ messageId, response, suggestions, metrics, replayed: false });
    },
  };
}

type ResultCase = NonNullable<GuestResult["result"]["case"]>;
type ResultValue<Case extends ResultCase> = Extract<GuestResult["result"], { case: Case }>["value"];

function expect<Case extends ResultCase>(result: GuestResult["result"], wanted: Case, call: string): ResultValue<Case> {
  if (result.case === wanted) return result.value as ResultValue<Case>;
  throw new SirsiError("GUEST_PROTOCOL", `the guest answered ${call} with ${String(result.case)} instead of ${wanted}; build it with the SDK of this host's ABI`);
}

function announce(around: Surroundings, record: AgentRecord, type: string, attributes: Readonly<Record<string, string>>): void {
  around.publish({ type, sessionId: record.sessionId, sourceAgentId: record.agentId, targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" });
}

function releaseEffects(effects: readonly Effect[], around: Surroundings, record: AgentRecord): void {
  for (const effect of effects) {
    if (effect.kind === "message") {
      around.deliver(effect, record);
      continue;
    }
    around.publish({
      type: effect.eventType,
      sessionId: record.sessionId,
      sourceAgentId: record.agentId,
      targetAgentId: "",
      payload: effect.payload.length === 0 ? null : { typeUrl: "type.googleapis.com/google.protobuf.BytesValue", value: effect.payload },
      topic: effect.topic,
      attributes: effect.attributes,
      traceparent: "",
    });
  }
}
