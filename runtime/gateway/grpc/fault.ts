/** What a caller is told of a failure. */
import { status as GrpcStatus, type ServerInterceptingCallInterface } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Logger } from "../../observe/logger.ts";
import { tellable } from "../rpc-status.ts";
import { DETAILS_KEY, toStatus, type CallStatus } from "./status.ts";

/** A status as grpc-js hands it around. */
export type TransportStatus = Parameters<ServerInterceptingCallInterface["sendStatus"]>[0];

export class FaultTeller {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #messageMaxBytes: number;

  constructor(log: Logger, clock: Clock, messageMaxBytes: number) {
    this.#log = log;
    this.#clock = clock;
    this.#messageMaxBytes = messageMaxBytes;
  }

  tell(error: SirsiError, method: string): CallStatus {
    return toStatus(tellable(error, method, { clock: this.#clock, log: this.#log }));
  }

  /** Statuses that grpc-js makes itself, such as for a message over the limit, brought to the form of ours. */
  complete(status: TransportStatus, method: string): TransportStatus {
    if (status.code === GrpcStatus.OK || (status.metadata?.get(DETAILS_KEY).length ?? 0) > 0) return status;
    return this.tell(this.#fromTransport(status), method);
  }

  #fromTransport(status: TransportStatus): SirsiError {
    const text = status.details;
    switch (status.code) {
      case GrpcStatus.DEADLINE_EXCEEDED:
        return new SirsiError("DEADLINE_EXCEEDED", "the call's deadline passed before the answer was there");
      case GrpcStatus.CANCELLED:
        return new SirsiError("CANCELLED", "the caller cancelled the call or went away");
      case GrpcStatus.RESOURCE_EXHAUSTED:
        return tooLarge("request", /max \((\d+) vs/.exec(text)?.[1] ?? null, this.#messageMaxBytes);
      case GrpcStatus.UNIMPLEMENTED:
        return new SirsiError("UNIMPLEMENTED", text);
      default:
        if (/decompress|grpc-timeout/.test(text)) return new SirsiError("INVALID_ARGUMENT", `the request cannot be read: ${text}`);
        return new SirsiError("INTERNAL", `the gRPC server ended the call with ${status.code}: ${text}`);
    }
  }
}

/** `size` is null when all that is known is that it is too much. */
export function tooLarge(what: "request" | "reply", size: string | number | null, messageMaxBytes: number): SirsiError {
  const has = size === null ? "is larger than" : `has ${size} bytes, more than`;
  return new SirsiError("PAYLOAD_TOO_LARGE", `the ${what} ${has} the ${messageMaxBytes} bytes that grpc.message_max_bytes allows`, {
    metadata: { limit: "grpc.message_max_bytes", limit_bytes: String(messageMaxBytes) },
  });
}
