/** One unary RPC as a promise that settles once: on the answer, the deadline or the abort. */
import { setTimeout as wait } from "node:timers/promises";
import { Metadata, status } from "@grpc/grpc-js";
import type { Client } from "@grpc/grpc-js";
import type { GrpcMethod } from "../contract/grpc-definition.ts";
import { systemClock } from "../core/clock.ts";
import { ClientError } from "./client-error.ts";
import { retryDelayMs } from "./retry.ts";

export interface CallOptions {
  /** Milliseconds from now after which the call ends with DEADLINE_EXCEEDED; null for never. Default: the client's. */
  readonly deadlineMs?: number | null | undefined;
  /** Cancels the call, at the host too. */
  readonly signal?: AbortSignal | undefined;
  /**
   * How often to send it again when the host is unavailable or full. Default: the client's for
   * reads and for SendMessage with a message id, 0 for the others: they could take effect twice.
   */
  readonly retries?: number | undefined;
  /** Headers, such as `traceparent`. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface CallConfig {
  readonly deadlineMs: number | null;
  readonly signal: AbortSignal | null;
  readonly retries: number;
  readonly metadata: Metadata;
}

export function callMetadata(options: CallOptions): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
  return metadata;
}

/** On the machine's clock, which is what grpc-js counts by; null for none. */
export function deadlineAt(deadlineMs: number | null): number | null {
  return deadlineMs === null ? null : systemClock.now() + deadlineMs;
}

export async function callUnary<Request, Response>(client: Client, method: GrpcMethod<Request, Response>, request: Request, config: CallConfig): Promise<Response> {
  const bytes = written(method, request);
  const deadline = deadlineAt(config.deadlineMs);
  for (let attempt = 0; ; attempt++) {
    try {
      return await attemptUnary(client, method, bytes, config, deadline);
    } catch (thrown) {
      const error = ClientError.from(thrown);
      const delayMs = attempt < config.retries ? retryDelayMs(error, attempt, Math.random()) : null;
      if (delayMs === null || (deadline !== null && systemClock.now() + delayMs >= deadline)) throw error;
      await pause(delayMs, config.signal);
    }
  }
}

async function pause(delayMs: number, signal: AbortSignal | null): Promise<void> {
  try {
    await wait(delayMs, undefined, signal === null ? {} : { signal });
  } catch (cause) {
    throw cancelled(cause);
  }
}

function attemptUnary<Request, Response>(
  client: Client,
  method: GrpcMethod<Request, Response>,
  bytes: Buffer,
  config: CallConfig,
  deadline: number | null,
): Promise<Response> {
  const { signal } = config;
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(cancelled(signal.reason));
      return;
    }
    const abort = () => call.cancel();
    const call = client.makeUnaryRequest(
      method.path,
      (buffer: Buffer) => buffer,
      method.responseDeserialize,
      bytes,
      config.metadata,
      deadline === null ? {} : { deadline },
      (error, response) => {
        signal?.removeEventListener("abort", abort);
        if (error !== null) reject(error);
        else if (response === undefined) reject(new ClientError(status.INTERNAL, "the host ended the call without an answer; look at its log"));
        else resolve(response);
      },
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Written once for all attempts; a request that cannot be written is the caller's fault and never leaves. */
export function written<Request, Response>(method: GrpcMethod<Request, Response>, request: Request): Buffer {
  try {
    return method.requestSerialize(request);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ClientError(status.INVALID_ARGUMENT, `the request of ${method.originalName} cannot be written (${why}); correct the field`, { cause });
  }
}

function cancelled(cause: unknown): ClientError {
  return new ClientError(status.CANCELLED, "the call was cancelled by its caller", { reason: "CANCELLED", cause });
}
