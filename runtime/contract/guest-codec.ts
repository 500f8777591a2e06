/**
 * GuestCall, GuestResult and their like as bytes, on the host's side. Whatever a
 * guest sends is decoded here and nowhere else; what does not decode is GUEST_PROTOCOL.
 */
import { create, type DescMessage, fromBinary, type MessageInitShape, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { SirsiError } from "../core/errors.ts";
import {
  type GuestCall,
  GuestCallSchema,
  type GuestEmit,
  GuestEmitSchema,
  type GuestError,
  type GuestRequest,
  GuestRequestSchema,
  type GuestResponse,
  GuestResponseSchema,
  type GuestResult,
  GuestResultSchema,
} from "./gen/sirsi/agent/v1/guest_pb.ts";
import type { Message } from "./gen/sirsi/agent/v1/agent_service_pb.ts";
import { decodePlainResult, encodePlainMessageCall } from "./message-codec.ts";

export function encodeGuestCall(call: GuestCall["call"]): Uint8Array {
  return toBinary(GuestCallSchema, create(GuestCallSchema, { call }));
}

export function encodeMessageCall(message: Message, context: Readonly<Record<string, string>>, sourceAgentId: string): Uint8Array {
  const plain = sourceAgentId === "" && isEmpty(context) ? encodePlainMessageCall(message) : null;
  return plain ?? encodeGuestCall({ case: "message", value: { $typeName: "sirsi.agent.v1.MessageCall", message, context: { ...context }, sourceAgentId } });
}

function isEmpty(map: Readonly<Record<string, string>>): boolean {
  for (const _ in map) return false;
  return true;
}

function decode<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array, what: string): MessageShape<Desc> {
  try {
    return fromBinary(schema, bytes);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SirsiError("GUEST_PROTOCOL", `the guest sent ${what} that is not a ${schema.typeName}: ${why}`, { cause: thrown });
  }
}

export function decodeGuestResult(bytes: Uint8Array): GuestResult["result"] {
  const plain = decodePlainResult(bytes);
  if (plain !== null) return plain;
  const { result } = decode(GuestResultSchema, bytes, "a result");
  if (result.case === undefined) throw new SirsiError("GUEST_PROTOCOL", "the guest sent an empty result; every call is answered with one of GuestResult's cases");
  return result;
}

/** The message in a GuestCall that this host encoded. */
export function decodeMessageCall(bytes: Uint8Array): Message {
  const { call } = decode(GuestCallSchema, bytes, "a call");
  if (call.case !== "message" || call.value.message === undefined) throw new SirsiError("INTERNAL", "a kept call holds no message");
  return call.value.message;
}

export function decodeGuestRequest(bytes: Uint8Array): GuestRequest {
  return decode(GuestRequestSchema, bytes, "a request");
}

export function decodeGuestEmit(bytes: Uint8Array): GuestEmit["emit"] {
  return decode(GuestEmitSchema, bytes, "a message to emit").emit;
}

export function encodeGuestResponse(response: MessageInitShape<typeof GuestResponseSchema>["response"] & object): Uint8Array {
  return toBinary(GuestResponseSchema, create(GuestResponseSchema, { response }));
}

/** A host error as the value that a guest's request gets. */
export function encodeGuestFailure(error: SirsiError): Uint8Array {
  const value: Omit<GuestError, "$typeName" | "$unknown"> = {
    code: error.details.metadata?.["guest_code"] ?? error.code.toLowerCase(),
    message: error.message,
    retryable: error.retryable,
    details: { ...error.details.metadata },
  };
  const response: GuestResponse["response"] = { case: "error", value: { $typeName: "sirsi.agent.v1.GuestError", ...value } };
  return toBinary(GuestResponseSchema, create(GuestResponseSchema, { response }));
}
