/** One work item as a guest call, and the guest's answer as what is to be committed, let go and settled. */
import type { Asker } from "../capability/index.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { GuestResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { decodeGuestResult, encodeGuestCall, encodeMessageCall } from "../contract/guest-codec.ts";
import type { Clock } from "../core/clock.ts";
import { type SirsiError, unreachable } from "../core/errors.ts";
import type { AgentRecord } from "../store/store.ts";
import type { ExchangeEnd } from "./message-end.ts";
import type { StepEffects } from "./effects.ts";
import { fromGuestError } from "./guest-error.ts";
import { NO_SIGNAL } from "./life.ts";
import { completeResponse, expectResult } from "./message-end.ts";
import type { DoneStep } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";
import { type MessageWork, stepIdOf, type Work } from "./work.ts";

export interface Answer {
  /** What the conversation keeps; null for work that is not a message. */
  readonly exchange: ExchangeEnd | null;
  /** The guest's own error value, which its caller gets; the step stands all the same. */
  readonly refusal: SirsiError | null;
  /** Suggestions that came with it. */
  readonly suggestions: number;
  /** Answers the caller. Only after the commit. */
  readonly settle: (tookMs: number) => void;
}

/** A step that ended well and was understood: what is to be committed. */
export interface Completed {
  readonly work: Work;
  readonly call: Uint8Array;
  readonly answer: Answer;
  readonly effects: StepEffects;
  readonly end: DoneStep;
  /** On the monotonic clock. */
  readonly endedAt: number;
}

export function callOf(work: Work): Uint8Array {
  switch (work.kind) {
    case "message":
      return encodeMessageCall(work.delivery.message, work.delivery.context, work.delivery.sourceAgentId);
    case "suggest":
      return encodeGuestCall({ case: "suggest", value: { $typeName: "sirsi.agent.v1.SuggestCall", context: work.context, maxSuggestions: work.max } });
    case "event":
      return encodeGuestCall({ case: "event", value: { $typeName: "sirsi.agent.v1.EventCall", event: work.event } });
    case "timer":
      return encodeGuestCall({ case: "timer", value: { $typeName: "sirsi.agent.v1.TimerCall", timerId: work.timerId, payload: work.payload } });
    case "health":
      return encodeGuestCall({ case: "health", value: { $typeName: "sirsi.agent.v1.HealthCall" } });
    default:
      return unreachable(work);
  }
}

export function askerOf(work: Work, record: AgentRecord, grants: Asker["grants"]): Omit<Asker, "waitedMs" | "writes"> {
  const { agentId, sessionId } = record;
  const traceparent = work.kind === "message" ? work.delivery.traceparent : "";
  return { agentId, sessionId, grants, deadline: work.deadline, signal: work.signal ?? NO_SIGNAL, idempotencyKey: stepIdOf(work), traceparent };
}

/** Throws GUEST_PROTOCOL when the guest's answer is malformed. */
export function answerOf(work: Work, result: Uint8Array, clock: Pick<Clock, "now">): Answer {
  const decoded = decodeGuestResult(result);
  if (decoded.case === "error") {
    const refusal = fromGuestError(decoded.value);
    return { exchange: work.kind === "message" ? { kind: "refusal", error: refusal } : null, refusal, suggestions: 0, settle: () => void work.reply.reject(refusal) };
  }
  switch (work.kind) {
    case "message":
      return messageAnswer(work, decoded, clock);
    case "suggest": {
      const { suggestions } = expectResult(decoded, "suggest", "a request for suggestions");
      return { exchange: null, refusal: null, suggestions: suggestions.length, settle: () => void work.reply.resolve(suggestions) };
    }
    case "event":
    case "timer":
      expectResult(decoded, "done", work.kind === "event" ? "an event" : "a timer");
      return { exchange: null, refusal: null, suggestions: 0, settle: () => void work.reply.resolve() };
    case "health": {
      // A guest need not know the question.
      const health = decoded.case === "health" ? decoded.value : null;
      return { exchange: null, refusal: null, suggestions: 0, settle: () => void work.reply.resolve(health) };
    }
    default:
      return unreachable(work);
  }
}

function messageAnswer(work: MessageWork, result: GuestResult["result"], clock: Pick<Clock, "now">): Answer {
  const value = expectResult(result, "message", "a message");
  const { messageId } = work.delivery.message;
  const response: Message = completeResponse(messageId, value, clock);
  const { suggestions } = value;
  return {
    exchange: { kind: "reply", response, suggestions },
    refusal: null,
    suggestions: suggestions.length,
    settle: (tookMs) => {
      const metrics = value.metrics ?? { $typeName: "sirsi.agent.v1.MessageMetrics", processingTimeMs: 0, tokensProcessed: 0n, modelUsed: "", performanceMetrics: {} };
      metrics.processingTimeMs = tookMs;
      work.reply.resolve({ messageId, response, suggestions, metrics, replayed: false });
    },
  };
}

/** Tells of a step, after its commit. */
export function announce({ work, answer }: Completed, around: Surroundings, record: AgentRecord): void {
  if (work.kind === "message" && answer.refusal === null) tell(around, record, "MESSAGE_SENT", { message_id: work.delivery.message.messageId });
  if (answer.suggestions > 0) tell(around, record, "SUGGESTION_GENERATED", { count: String(answer.suggestions) });
}

function tell(around: Surroundings, { agentId, sessionId }: AgentRecord, type: string, attributes: Readonly<Record<string, string>>): void {
  around.publish({ type, sessionId, sourceAgentId: agentId, targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" });
}

/** Lets the effects of an agent go that commits none: nothing keeps them until they arrive. */
export function letGo(effects: StepEffects, around: Surroundings, record: AgentRecord): void {
  const { agentId, sessionId } = record;
  for (const effect of effects.outgoing()) {
    if (effect.kind === "message") {
      around.deliver(effect, record);
      continue;
    }
    const payload = effect.payload.length === 0 ? null : { typeUrl: "type.googleapis.com/google.protobuf.BytesValue", value: effect.payload };
    around.publish({ type: effect.eventType, sessionId, sourceAgentId: agentId, targetAgentId: "", payload, topic: effect.topic, attributes: effect.attributes, traceparent: "" });
  }
}
