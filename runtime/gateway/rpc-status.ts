/**
 * A SirsiError as google.rpc.Status, which is what clients of every gateway get: a
 * code, a message that says what happened and what to do next, and the details for
 * programs.
 *
 * Over gRPC it travels in trailers, which are headers to HTTP/2, and clients refuse
 * large ones (8 KiB in some), so everything here is cut to fit: a long message loses
 * its end, never its code.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { anyPack, durationFromMs, type Any } from "@bufbuild/protobuf/wkt";
import { adviceBeside, type RpcCode, SirsiError } from "../core/errors.ts";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../contract/gen/google/rpc/status_pb.ts";
import type { Clock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import type { Logger } from "../observe/logger.ts";

const DOMAIN = "sirsi";

const MESSAGE_CHARS = 1_000;
/** Percent-encoded, as it travels. */
const MESSAGE_ENCODED_BYTES = 2_048;
const DETAIL_CHARS = 256;
const DETAIL_ENTRIES = 16;
/** Before base64, which adds a third. */
const DETAILS_BYTES = 4_096;

export interface RpcStatus {
  readonly code: RpcCode;
  readonly message: string;
  /** google.rpc.Status: both of them, and the details. */
  readonly bytes: Uint8Array;
}

export function rpcStatusOf(error: SirsiError): RpcStatus {
  const message = messageOf(error);
  return { code: error.rpcCode, message, bytes: encodeDetails(error, message) };
}

/**
 * What a caller may be told of an error. A fault of the host itself is written to the
 * log under a reference; the caller gets that reference and nothing of our insides.
 */
export function tellable(error: SirsiError, method: string, { clock, log }: { readonly clock: Clock; readonly log: Logger }): SirsiError {
  if (error.code !== "INTERNAL") {
    if (log.isLevelEnabled("debug")) log.debug({ method, reason: error.code, detail: error.message }, "a call ended with an error");
    return error;
  }
  const reference = newId(clock.now());
  log.error({ err: error, method, reference }, "a call failed by a fault of the host");
  return new SirsiError("INTERNAL", `the host failed in this call; the reference is ${reference}`, { metadata: { reference } });
}

/** What happened, then what to do next. */
function messageOf(error: SirsiError): string {
  const what = clip(error.message, MESSAGE_CHARS);
  const advice = adviceBeside(what, error.row);
  const text = advice === "" ? what : `${what.replace(/\.$/, "")}. ${advice}`;
  const encoded = encodeURI(text).length;
  return encoded <= MESSAGE_ENCODED_BYTES ? text : clip(text, Math.floor((text.length * MESSAGE_ENCODED_BYTES) / encoded / 2));
}

/** At most `chars` long, and fit to be encoded: a lone surrogate would make encodeURI throw. */
function clip(text: string, chars: number): string {
  return (text.length <= chars ? text : `${text.slice(0, chars - 1)}…`).toWellFormed();
}

function encodeDetails(error: SirsiError, message: string): Uint8Array {
  const all = encodeStatus(error, message, packDetails(error));
  return all.length <= DETAILS_BYTES ? all : encodeStatus(error, message, [errorInfo(error, {})]);
}

function encodeStatus(error: SirsiError, message: string, details: Any[]): Uint8Array {
  return toBinary(StatusSchema, create(StatusSchema, { code: error.rpcCode, message, details }));
}

function packDetails(error: SirsiError): Any[] {
  const { fields, preconditions, metadata } = error.details;
  const { retryAfterMs } = error;
  const packed = [errorInfo(error, metadata ?? {})];
  if (fields !== undefined && fields.length > 0) {
    const fieldViolations = fields.slice(0, DETAIL_ENTRIES).map(({ field, description }) => ({
      field: clip(field, DETAIL_CHARS),
      description: clip(description, DETAIL_CHARS),
    }));
    packed.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations })));
  }
  if (preconditions !== undefined && preconditions.length > 0) {
    const violations = preconditions.slice(0, DETAIL_ENTRIES).map(({ type, subject, description }) => ({
      type: clip(type, DETAIL_CHARS),
      subject: clip(subject, DETAIL_CHARS),
      description: clip(description, DETAIL_CHARS),
    }));
    packed.push(anyPack(PreconditionFailureSchema, create(PreconditionFailureSchema, { violations })));
  }
  if (retryAfterMs !== null) {
    packed.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(Math.max(0, Math.ceil(retryAfterMs))) })));
  }
  return packed;
}

function errorInfo(error: SirsiError, facts: Readonly<Record<string, string>>): Any {
  const entries = Object.entries(facts).slice(0, DETAIL_ENTRIES);
  const metadata = Object.fromEntries(entries.map(([key, value]) => [clip(key, DETAIL_CHARS), clip(value, DETAIL_CHARS)]));
  return anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: error.code, domain: DOMAIN, metadata }));
}
