/** A recorded exchange as the answer to a repeat of its message. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { ExchangeSchema, type Message, MessageMetricsSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { type ErrorCode, ERROR_TABLE, SirsiError } from "../core/errors.ts";
import type { Reply } from "./agents.ts";
import { messageHash } from "./conversation.ts";
import type { ExchangeEnd } from "./message-end.ts";
import { guestError } from "./guest-error.ts";

/** Throws MESSAGE_ID_REUSED when the repeat is not the same message. */
export function requireSameMessage(message: Message, knownHash: string): void {
  if (messageHash(message) === knownHash) return;
  throw new SirsiError("MESSAGE_ID_REUSED", `message id ${message.messageId} was used before for a message with other content; choose a new id`, {
    fields: [{ field: "message.message_id", description: "used before with other content" }],
  });
}

/** The recorded reply, or the recorded refusal thrown. */
export function replay(messageId: string, end: ExchangeEnd): Reply {
  if (end.kind === "refusal") throw end.error;
  return { messageId, response: end.response, suggestions: end.suggestions, metrics: create(MessageMetricsSchema), replayed: true };
}

export function readExchangeEnd(body: Uint8Array): ExchangeEnd {
  const exchange = fromBinary(ExchangeSchema, body);
  if (exchange.response !== undefined) return { kind: "reply", response: exchange.response, suggestions: exchange.suggestions };
  const [code = "", guestCode] = exchange.errorReason.split(":");
  if (guestCode !== undefined) return { kind: "refusal", error: guestError(guestCode, exchange.errorMessage, exchange.errorDetails, exchange.errorRetryable) };
  const known: ErrorCode = Object.hasOwn(ERROR_TABLE, code) ? (code as ErrorCode) : "INTERNAL";
  return { kind: "refusal", error: new SirsiError(known, exchange.errorMessage) };
}
