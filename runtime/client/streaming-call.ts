/**
 * Streaming RPCs as async iterables. A call begins when the method is called, not when
 * iteration does, so nothing that happens in between is missed. Leaving the loop, or
 * `cancel`, ends it at the host too; it then holds nothing. May be iterated once.
 */
import { status } from "@grpc/grpc-js";
import type { Client, ClientDuplexStream, ClientReadableStream } from "@grpc/grpc-js";
import type { GrpcMethod } from "../contract/grpc-definition.ts";
import { ClientError } from "./client-error.ts";
import { deadlineAt, written } from "./unary-call.ts";
import type { CallConfig } from "./unary-call.ts";

/** Messages from the host. Iteration throws ClientError when the call fails. */
export interface ServerStream<Response> extends AsyncIterable<Response> {
  cancel(): void;
}

/** Messages both ways. */
export interface Conversation<Request, Response> extends ServerStream<Response> {
  /** Resolves when the transport has taken the message; rejects with ClientError when the call is over. */
  send(request: Request): Promise<void>;
  /** No more requests; the host's answers still come. */
  end(): void;
}

const asBytes = (buffer: Buffer) => buffer;

export function callServerStream<Request, Response>(
  client: Client,
  method: GrpcMethod<Request, Response>,
  request: Request,
  config: CallConfig,
): ServerStream<Response> {
  const bytes = written(method, request);
  const call = client.makeServerStreamRequest(method.path, asBytes, method.responseDeserialize, bytes, config.metadata, callOptions(config));
  const release = bind(call, config.signal);
  return {
    cancel: () => call.cancel(),
    [Symbol.asyncIterator]: () => responses<Response>(call, release),
  };
}

export function callConversation<Request, Response>(client: Client, method: GrpcMethod<Request, Response>, config: CallConfig): Conversation<Request, Response> {
  const call = client.makeBidiStreamRequest(method.path, asBytes, method.responseDeserialize, config.metadata, callOptions(config));
  const release = bind(call, config.signal);
  return {
    send: (request) => sendOn(call, method, request),
    end: () => void call.end(),
    cancel: () => call.cancel(),
    [Symbol.asyncIterator]: () => responses<Response>(call, release),
  };
}

function callOptions(config: CallConfig): { deadline?: number } {
  const deadline = deadlineAt(config.deadlineMs);
  return deadline === null ? {} : { deadline };
}

/** Ties the call to the signal; the answer unties it. */
function bind(call: ClientReadableStream<unknown>, signal: AbortSignal | null): () => void {
  const abort = () => call.cancel();
  // The iteration reports the error; without a listener of its own a late one would end the process.
  call.on("error", () => undefined);
  if (signal?.aborted === true) call.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  const release = () => signal?.removeEventListener("abort", abort);
  call.once("status", release);
  return release;
}

async function* responses<Response>(call: ClientReadableStream<unknown>, release: () => void): AsyncGenerator<Response, void, undefined> {
  try {
    for await (const response of call) yield response as Response;
  } catch (thrown) {
    throw ClientError.from(thrown);
  } finally {
    release();
    call.cancel();
  }
}

function sendOn<Request, Response>(call: ClientDuplexStream<Buffer, Response>, method: GrpcMethod<Request, Response>, request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = () => reject(new ClientError(status.CANCELLED, "the conversation is over, so nothing more can be sent; open a new one"));
    if (call.writableEnded || call.destroyed || call.errored !== null) {
      over();
      return;
    }
    const bytes = written(method, request);
    call.once("status", over);
    call.write(bytes, (error: unknown) => {
      call.off("status", over);
      if (error === null || error === undefined) resolve();
      else over();
    });
  });
}
