/**
 * From grpc-js's handlers to the transport-free functions of the services, for each
 * kind of RPC. Every call gets exactly one status; a handler's iteration is always
 * ended (return()), however the call ends.
 */
import type { ServerUnaryCall, handleBidiStreamingCall, handleServerStreamingCall, handleUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { requireWellFormed } from "../../contract/grpc-definition.ts";
import type { CallContext } from "../../hypervisor/service-api.ts";
import { CallScope, type SurfaceCall } from "./call-scope.ts";
import type { FaultTeller } from "./fault.ts";
import { openRequestStream } from "./request-stream.ts";
import { OVERSIZE_HEADER } from "./marks.ts";
import type { CallStatus } from "./status.ts";
import { worthCompressing, type WireEncoder, type WireMessage } from "./wire.ts";

/** What all calls of a gateway share. */
export interface CallHost {
  readonly clock: Clock;
  readonly fault: FaultTeller;
  readonly metadataMaxBytes: number;
  isDraining(): boolean;
  /** Streams that a drain has to end, each by its own way. */
  readonly onDrain: Set<() => void>;
}

export type UnaryFunction = (request: never, context: CallContext) => Promise<unknown>;
export type StreamFunction = (request: never, context: CallContext) => AsyncIterable<unknown>;

const DRAIN_RETRY_MS = 1_000;

export function shuttingDown(): SirsiError {
  return new SirsiError("SHUTTING_DOWN", "the host is shutting down", { retryAfterMs: DRAIN_RETRY_MS });
}

/** Throws when the call must not begin. */
function admit(call: SurfaceCall, host: CallHost): void {
  if (host.isDraining()) throw shuttingDown();
  const [oversize] = call.metadata.get(OVERSIZE_HEADER);
  if (oversize === undefined) return;
  throw new SirsiError("PAYLOAD_TOO_LARGE", `the call's metadata has ${String(oversize)} bytes; grpc.metadata_max_bytes allows ${host.metadataMaxBytes}`, {
    metadata: { limit: "grpc.metadata_max_bytes", limit_bytes: String(host.metadataMaxBytes) },
  });
}

export function unaryCall(path: string, handle: UnaryFunction, wire: WireEncoder, host: CallHost): handleUnaryCall<unknown, WireMessage> {
  const answer = async (call: ServerUnaryCall<unknown, WireMessage>, callback: sendUnaryData<WireMessage>) => {
    const scope = new CallScope(call, host.clock);
    try {
      admit(call, host);
      const bytes = wire.encode(await handle(requireWellFormed(call.request) as never, scope.context));
      const message = worthCompressing(bytes) && wire.begin(call) ? await wire.compress(bytes) : bytes;
      scope.end();
      callback(null, message);
    } catch (error) {
      const failure = scope.failure(error);
      scope.end();
      callback(host.fault.tell(failure, path));
    }
  };
  return (call, callback) => void answer(call, callback);
}

export function serverStreamingCall(path: string, handle: StreamFunction, wire: WireEncoder, host: CallHost): handleServerStreamingCall<unknown, WireMessage> {
  return (call) => {
    const scope = new CallScope(call, host.clock);
    // A follower has no work in hand that would finish: it is told to come back elsewhere.
    const cutOff = () => scope.interrupt(shuttingDown());
    host.onDrain.add(cutOff);
    const answer = () => {
      admit(call, host);
      return handle(requireWellFormed(call.request) as never, scope.context);
    };
    void stream(call, answer, { scope, wire, host, path }).finally(() => host.onDrain.delete(cutOff));
  };
}

export function bidiStreamingCall(path: string, handle: StreamFunction, wire: WireEncoder, host: CallHost): handleBidiStreamingCall<unknown, WireMessage> {
  return (call) => {
    const scope = new CallScope(call, host.clock);
    const input = openRequestStream(call, scope);
    host.onDrain.add(input.stop);
    const answer = () => {
      admit(call, host);
      return handle(input.requests as never, scope.context);
    };
    void stream(call, answer, { scope, wire, host, path }).finally(() => host.onDrain.delete(input.stop));
  };
}

interface OutputStream extends SurfaceCall {
  write(message: WireMessage): boolean;
  end(): unknown;
  /** Ends the call with this status, once what was written has left. */
  emit(event: "error", status: CallStatus): unknown;
  once(event: "drain" | "close" | "cancelled", listener: () => void): unknown;
  off(event: "drain" | "close" | "cancelled", listener: () => void): unknown;
}

interface StreamParts {
  readonly scope: CallScope;
  readonly wire: WireEncoder;
  readonly host: CallHost;
  readonly path: string;
}

/** Never rejects. */
async function stream(call: OutputStream, answer: () => AsyncIterable<unknown>, { scope, wire, host, path }: StreamParts): Promise<void> {
  let failure: SirsiError | null;
  try {
    await pump(call, answer(), scope, wire);
    failure = scope.interruption;
  } catch (error) {
    failure = scope.failure(error);
  }
  scope.end();
  if (call.cancelled) return;
  if (failure === null) call.end();
  else call.emit("error", host.fault.tell(failure, path));
}

/** Writes replies as fast as the client takes them. */
async function pump(call: OutputStream, replies: AsyncIterable<unknown>, scope: CallScope, wire: WireEncoder): Promise<void> {
  const iterator = replies[Symbol.asyncIterator]();
  // return() of a generator waits for its pending next(); the signal is what wakes that.
  const finish = () => iterator.return?.().catch(() => undefined);
  scope.context.signal.addEventListener("abort", () => void finish(), { once: true });
  const compressed = wire.begin(call);
  try {
    for (;;) {
      const step = await iterator.next();
      if (step.done === true || scope.interruption !== null) return;
      const bytes = wire.encode(step.value);
      if (!call.write(compressed ? await wire.compress(bytes) : bytes)) await writable(call);
    }
  } finally {
    await finish();
  }
}

/** Resolves when the client has taken enough, or will take no more. */
function writable(call: OutputStream): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.off("drain", done);
      call.off("close", done);
      call.off("cancelled", done);
      resolve();
    };
    call.once("drain", done);
    call.once("close", done);
    call.once("cancelled", done);
  });
}
