/** A guest's answer to a message, as its caller and the conversation see it. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Message, MessageType, type Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { GuestResult, MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { fromGuestError } from "./guest-error.ts";

type ResultCase = NonNullable<GuestResult["result"]["case"]>;
export type ResultValue<Case extends ResultCase> = Extract<GuestResult["result"], { case: Case }>["value"];

/** The value of the case that a call of this kind must be answered with. Throws GUEST_PROTOCOL. */
export function expectResult<Case extends ResultCase>(result: GuestResult["result"], wanted: Case, call: string): ResultValue<Case> {
  if (result.case === wanted) return result.value as ResultValue<Case>;
  throw new SirsiError("GUEST_PROTOCOL", `the guest answered ${call} with ${String(result.case)} instead of ${wanted}; build it with the SDK of this host's ABI`);
}

/** Fills in what a guest may leave out of its response. */
export function completeResponse(messageId: string, value: MessageResult, now: number): Message {
  const response: Message = value.response ?? { $typeName: "sirsi.agent.v1.Message", messageId: "", type: 0, content: "", metadata: {}, attachments: [] };
  if (response.messageId === "") response.messageId = `${messageId}:reply`;
  if (response.type === MessageType.UNSPECIFIED) response.type = MessageType.RESPONSE;
  response.timestamp ??= timestampFromMs(now);
  return response;
}

/** An exchange as it ended. */
export type ExchangeEnd = { readonly kind: "reply"; readonly response: Message; readonly suggestions: readonly Suggestion[] } | { readonly kind: "refusal"; readonly error: SirsiError };

export function readMessageEnd(messageId: string, result: GuestResult["result"], now: number): ExchangeEnd {
  if (result.case === "error") return { kind: "refusal", error: fromGuestError(result.value) };
  const value = expectResult(result, "message", "a message");
  return { kind: "reply", response: completeResponse(messageId, value, now), suggestions: value.suggestions };
}
