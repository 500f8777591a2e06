/**
 * The forms that a message and its answer may have, by `content-type`:
 *
 * | form | request | answer | error |
 * |---|---|---|---|
 * | `application/protobuf` | sirsi.agent.v1.SendMessageRequest | SendMessageResponse | google.rpc.Status |
 * | `application/json` | the same in protobuf's JSON | in JSON | in JSON |
 * | `text/plain` (modules alone) | the message's content | the answer's content | in JSON |
 */
import { create, createRegistry, fromBinary, fromJson, type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../../contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../contract/gen/google/rpc/status_pb.ts";
import { AgentService, SendMessageRequestSchema, SendMessageResponseSchema } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { SendMessageRequest, SendMessageResponse } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { grpcDefinition, requireWellFormed } from "../../contract/grpc-definition.ts";
import { SirsiError } from "../../core/errors.ts";

export type Format = "protobuf" | "json" | "text";

export interface Encoded {
  readonly data: Uint8Array;
  readonly contentType: string;
}

export const CONTENT_TYPE: Readonly<Record<Format, string>> = { protobuf: "application/protobuf", json: "application/json", text: "text/plain; charset=utf-8" };

const FORMATS: ReadonlyMap<string, Format> = new Map([
  ["application/protobuf", "protobuf"],
  ["application/x-protobuf", "protobuf"],
  ["application/json", "json"],
  ["text/plain", "text"],
]);

const DETAILS = createRegistry(ErrorInfoSchema, BadRequestSchema, PreconditionFailureSchema, RetryInfoSchema);

/** As over gRPC: the plain ones by hand, the others by the generated codec. */
const { requestDeserialize, responseSerialize } = grpcDefinition(AgentService).sendMessage;

/** Null for a type that none is of. */
export function formatOf(contentType: string): Format | null {
  return FORMATS.get(contentType) ?? null;
}

export function unknownFormat(contentType: string, known: readonly Format[]): SirsiError {
  const description = `must be ${known.map((format) => CONTENT_TYPE[format].split(";", 1)[0]).join(" or ")}; got ${JSON.stringify(contentType.slice(0, 80))}`;
  return new SirsiError("INVALID_ARGUMENT", `the header content-type ${description}`, { fields: [{ field: "content-type", description }] });
}

/** INVALID_ARGUMENT. */
export function decodeRequest(format: Format, data: Uint8Array): SendMessageRequest {
  switch (format) {
    case "protobuf":
      return requireWellFormed(requestDeserialize(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
    case "json":
      return requestFromJson(data);
    case "text":
      return create(SendMessageRequestSchema, { message: { content: textOf(data) } });
  }
}

export function encodeAnswer(format: Format, answer: SendMessageResponse): Encoded {
  const contentType = CONTENT_TYPE[format];
  switch (format) {
    case "protobuf":
      return { contentType, data: responseSerialize(answer) };
    case "json":
      return { contentType, data: Buffer.from(toJsonString(SendMessageResponseSchema, answer)) };
    case "text":
      return { contentType, data: Buffer.from(answer.response?.content ?? "") };
  }
}

/** `status`: google.rpc.Status. Whoever speaks text gets JSON. */
export function encodeStatus(format: Format, status: Uint8Array): Encoded {
  if (format === "protobuf") return { contentType: CONTENT_TYPE.protobuf, data: status };
  return { contentType: CONTENT_TYPE.json, data: Buffer.from(toJsonString(StatusSchema, fromBinary(StatusSchema, status), { registry: DETAILS })) };
}

function textOf(data: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new SirsiError("INVALID_ARGUMENT", "the body is not text in UTF-8; send bytes as an attachment, with content-type application/protobuf or application/json");
  }
}

/** Of a SendMessageRequest in JSON, or of one whose message is only a `content`. */
function requestFromJson(data: Uint8Array): SendMessageRequest {
  const text = textOf(data);
  try {
    return fromJson(SendMessageRequestSchema, withMessage(JSON.parse(text) as JsonValue));
  } catch (thrown) {
    const reason = SirsiError.from(thrown).message;
    throw new SirsiError("INVALID_ARGUMENT", `the body is not a sirsi.agent.v1.SendMessageRequest in JSON (${reason}); a short one is {"sessionId": "…", "content": "…"}`);
  }
}

function withMessage(json: JsonValue): JsonValue {
  if (typeof json !== "object" || json === null || Array.isArray(json) || !Object.hasOwn(json, "content") || Object.hasOwn(json, "message")) return json;
  const { content, ...rest } = json;
  return { ...rest, message: { content: content ?? "" } };
}
