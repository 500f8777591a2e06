/** A guest's answer to a message, as its caller and the conversation see it. */
import { type Message, MessageType, type Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { GuestResult, MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { fromGuestError } from "./guest-error.ts";

type ResultCase = NonNullable<GuestResult["result"]["case"]>;
export type ResultValue<Case extends ResultCase> = Extract<GuestResult["result"], { case: Case }>["value"];

/** The value of the case that a call of this kind must be answered with. Throws GUEST_PROTOCOL. */
export function expectResult<Case extends ResultCase>(result: GuestResult["result"], wanted: Case, call: string): ResultValue<Case> {
  if (result.case === wanted) return result.value as ResultValue<Case>;
  throw new SirsiError("GUEST_PROTOCOL", `the guest answered ${call} with ${String(result.case)} instead of ${wanted}; build it with the SDK of this host's ABI`);
}

/** As timestampFromMs, which takes several times as long. */
function timestampOf(ms: number): NonNullable<Message["timestamp"]> {
  const seconds = Math.floor(ms / 1000);
  return { $typeName: "google.protobuf.Timestamp", seconds: BigInt(seconds), nanos: Math.floor(ms - seconds * 1000) * 1_000_000 };
}

/** Fills in what a guest may leave out of its response. */
export function completeResponse(messageId: string, value: MessageResult, clock: Pick<Clock, "now">): Message {
  const response: Message = value.response ?? { $typeName: "sirsi.agent.v1.Message", messageId: "", type: 0, content: "", metadata: {}, attachments: [] };
  if (response.messageId === "") response.messageId = `${messageId}:reply`;
  if (response.type === MessageType.UNSPECIFIED) response.type = MessageType.RESPONSE;
  response.timestamp ??= timestampOf(clock.now());
  return response;
}

/** An exchange as it ended. */
export type ExchangeEnd = { readonly kind: "reply"; readonly response: Message; readonly suggestions: readonly Suggestion[] } | { readonly kind: "refusal"; readonly error: SirsiError };

export function readMessageEnd(messageId: string, result: GuestResult["result"], completedAt: number): ExchangeEnd {
  if (result.case === "error") return { kind: "refusal", error: fromGuestError(result.value) };
  const value = expectResult(result, "message", "a message");
  return { kind: "reply", response: completeResponse(messageId, value, { now: () => completedAt }), suggestions: value.suggestions };
}
