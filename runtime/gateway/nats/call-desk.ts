/**
 * The calls that came over NATS and are not answered yet, whatever subject they came on.
 *
 * A call: open, then exactly one of answered, refused (with the error), or cut off when
 * the gateway closes. One that asked for no answer ends the same way, unheard.
 *
 * An error is told as NATS micro services do, by the headers `Nats-Service-Error` (words)
 * and `Nats-Service-Error-Code` (the number of google.rpc.Code), with google.rpc.Status as
 * the body: the bytes that gRPC has in `grpc-status-details-bin`. `sirsi-error` is the
 * reason of docs/errors.md, `sirsi-retry-after-ms` when to send again.
 *
 * Invariants
 * 1. No answer leaves that the service did not give (D5 is its affair), none is sent twice,
 *    and none is cut: what does not fit is refused with PAYLOAD_TOO_LARGE.
 * 2. `serve` never rejects.
 */
import type { BusMessage } from "../../bus/bus.ts";
import type { SendMessageRequest, SendMessageResponse } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../../core/clock.ts";
import { RpcCode, SirsiError } from "../../core/errors.ts";
import type { HostLimits } from "../../core/limits.ts";
import type { CallContext } from "../../hypervisor/service-api.ts";
import type { Logger, Metrics } from "../../observe/index.ts";
import { type RpcStatus, rpcStatusOf, tellable } from "../rpc-status.ts";
import { applyHeaders, type CallHeaders, deadlineIn, readCallHeaders } from "./call-headers.ts";
import { decodeRequest, encodeAnswer, encodeStatus, type Format } from "./formats.ts";

export interface CallDeskConfig {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly limits: Pick<HostLimits, "messageMaxBytes">;
}

/** The kinds of subjects. */
export type Door = "agent" | "call" | "module";

export interface NatsCall {
  readonly request: SendMessageRequest;
  readonly context: CallContext;
  /** Headers of the answer, also when it is an error. */
  readonly replyHeaders: Record<string, string>;
}

export interface Service {
  readonly door: Door;
  /** INVALID_ARGUMENT. */
  readonly format: (headers: CallHeaders) => Format;
  readonly act: (call: NatsCall) => Promise<SendMessageResponse>;
}

export interface CallEnd {
  /** Null for an answer. */
  readonly error: RpcStatus | null;
  readonly elapsedMs: number;
}

interface OpenCall {
  readonly message: BusMessage;
  readonly abort: AbortController;
  readonly replyHeaders: Record<string, string>;
  format: Format;
  /** Somebody was told already. */
  ended: boolean;
}

/** As many as a gRPC connection may have streams. */
const OPEN_MAX = 10_000;
const OVERLOAD_RETRY_MS = 100;
const CLOSING_RETRY_MS = 1_000;
const CODE_NAMES = new Map<RpcCode, string>(Object.entries(RpcCode).map(([name, code]) => [code, name]));

export class CallDesk {
  readonly #config: CallDeskConfig;
  readonly #open = new Set<OpenCall>();

  constructor(config: CallDeskConfig) {
    this.#config = config;
  }

  get openCalls(): number {
    return this.#open.size;
  }

  async serve(message: BusMessage, service: Service): Promise<CallEnd> {
    const began = this.#config.clock.monotonic();
    const call: OpenCall = { message, abort: new AbortController(), replyHeaders: {}, format: "protobuf", ended: false };
    let error: RpcStatus | null = null;
    this.#open.add(call);
    try {
      const response = await this.#act(call, service);
      if (!call.ended) this.#answer(call, response);
    } catch (thrown) {
      error = this.#refuse(call, SirsiError.from(thrown), message.subject);
    } finally {
      this.#open.delete(call);
    }
    const elapsedMs = this.#config.clock.monotonic() - began;
    this.#count(service.door, error, elapsedMs);
    return { error, elapsedMs };
  }

  /** Cuts off what is open: the callers are told to come back. */
  cutAll(): void {
    for (const call of this.#open) {
      const reason = new SirsiError("SHUTTING_DOWN", "the host is shutting down", { retryAfterMs: CLOSING_RETRY_MS });
      this.#refuse(call, reason, call.message.subject);
      call.abort.abort(reason);
    }
  }

  async #act(call: OpenCall, service: Service): Promise<SendMessageResponse> {
    const { clock, limits } = this.#config;
    const { data } = call.message;
    const headers = readCallHeaders(call.message.headers);
    call.format = service.format(headers);
    if (this.#open.size > OPEN_MAX) throw new SirsiError("OVERLOADED", `the host has ${OPEN_MAX} calls over NATS in hand, which is as many as it takes`, { retryAfterMs: OVERLOAD_RETRY_MS });
    if (data.length > limits.messageMaxBytes) throw tooLarge("request", data.length, limits.messageMaxBytes);
    const context: CallContext = { deadline: deadlineIn(headers, clock), signal: call.abort.signal, traceparent: headers.traceparent };
    const request = decodeRequest(call.format, data);
    applyHeaders(request, headers);
    return await service.act({ request, context, replyHeaders: call.replyHeaders });
  }

  /** PAYLOAD_TOO_LARGE, also from the bus. */
  #answer(call: OpenCall, response: SendMessageResponse): void {
    const { message, format, replyHeaders } = call;
    if (message.reply !== null) {
      const { contentType, data } = encodeAnswer(format, response);
      const { messageMaxBytes } = this.#config.limits;
      if (data.length > messageMaxBytes) throw tooLarge("reply", data.length, messageMaxBytes);
      message.respond(data, { "content-type": contentType, "sirsi-message-id": response.messageId, ...replyHeaders });
    }
    call.ended = true;
  }

  #refuse(call: OpenCall, thrown: SirsiError, method: string): RpcStatus {
    const { log } = this.#config;
    const error = tellable(thrown, method, this.#config);
    const status = rpcStatusOf(error);
    const { message, format, replyHeaders, ended } = call;
    call.ended = true;
    if (ended || message.reply === null) return status;
    const { retryAfterMs } = error;
    const { contentType, data } = encodeStatus(format, status.bytes);
    try {
      message.respond(data, {
        ...replyHeaders,
        "content-type": contentType,
        "Nats-Service-Error": oneLine(status.message),
        "Nats-Service-Error-Code": String(status.code),
        "sirsi-error": error.code,
        ...(retryAfterMs !== null && { "sirsi-retry-after-ms": String(Math.max(0, Math.ceil(retryAfterMs))) }),
      });
    } catch (cause) {
      log.warn({ subject: method, reason: error.code, err: SirsiError.from(cause).message }, "a caller over NATS could not be told of an error");
    }
    return status;
  }

  #count(door: Door, error: RpcStatus | null, elapsedMs: number): void {
    const { metrics } = this.#config;
    metrics.counter("sirsi_nats_requests_total", door, error === null ? "OK" : (CODE_NAMES.get(error.code) ?? String(error.code))).inc();
    metrics.histogram("sirsi_nats_seconds", door).observe(elapsedMs / 1_000);
  }
}

/** A line break in a header would begin another one. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}

function tooLarge(what: "request" | "reply", bytes: number, limit: number): SirsiError {
  return new SirsiError("PAYLOAD_TOO_LARGE", `the ${what} has ${bytes} bytes, more than the ${limit} bytes that grpc.message_max_bytes allows`, {
    metadata: { limit: "grpc.message_max_bytes", limit_bytes: String(limit) },
  });
}
