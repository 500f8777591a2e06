/** A real gRPC server of both services whose answers a test writes down. */
import { once } from "node:events";
import { create, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import type { ServerDuplexStream, ServerUnaryCall, ServerWritableStream, sendUnaryData } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../../runtime/contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../runtime/contract/gen/google/rpc/status_pb.ts";
import { AgentService } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { grpcDefinition, requireWellFormed } from "../../runtime/contract/grpc-definition.ts";
import { ERROR_TABLE } from "../../runtime/core/errors.ts";
import type { ErrorCode, ErrorDetails } from "../../runtime/core/errors.ts";

/** A handler throws this to have the call end with a rich error. */
export class CannedFailure extends Error {
  readonly status: { readonly code: number; readonly details: string; readonly metadata: Metadata };

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    const rpc = details.rpc ?? ERROR_TABLE[code].rpc;
    this.status = { code: rpc, details: message, metadata: richMetadata(rpc, code, message, details) };
  }
}

function richMetadata(rpc: number, code: ErrorCode, message: string, details: ErrorDetails): Metadata {
  const packed = [anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: code, domain: "sirsi", metadata: { ...details.metadata } }))];
  if (details.fields) packed.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...details.fields] })));
  if (details.preconditions) packed.push(anyPack(PreconditionFailureSchema, create(PreconditionFailureSchema, { violations: [...details.preconditions] })));
  if (details.retryAfterMs !== undefined) packed.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: durationFromMs(details.retryAfterMs) })));
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code: rpc, message, details: packed }))));
  return metadata;
}

export interface CannedContext {
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
  /** The deadline the caller set; Infinity for none. */
  readonly deadline: Date | number;
}

type AnyMethod = { readonly methodKind: string; readonly input: DescMessage; readonly output: DescMessage };
type CannedHandler<M extends AnyMethod> = M["methodKind"] extends "unary"
  ? (request: MessageShape<M["input"]>, context: CannedContext) => MessageInitShape<M["output"]> | Promise<MessageInitShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageShape<M["input"]>, context: CannedContext) => AsyncIterable<MessageInitShape<M["output"]>>
    : (requests: AsyncIterable<MessageShape<M["input"]>>, context: CannedContext) => AsyncIterable<MessageInitShape<M["output"]>>;

type Methods = (typeof AgentService)["method"] & (typeof HypervisorService)["method"];
/** Handlers by camelCase name; an RPC without one answers UNIMPLEMENTED. */
export type CannedHandlers = { [Name in keyof Methods]?: CannedHandler<Methods[Name]> };

export interface CannedHost extends AsyncDisposable {
  readonly address: string;
  /** Names of the RPCs that arrived, in order. */
  readonly calls: string[];
  /** May be changed between calls. */
  handlers: CannedHandlers;
}

export async function startCannedHost(handlers: CannedHandlers): Promise<CannedHost> {
  const server = new Server();
  const host = {
    address: "",
    calls: [] as string[],
    handlers,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
      await Promise.resolve();
    },
  };
  for (const service of [AgentService, HypervisorService] as readonly DescService[]) {
    const implementation = service.methods.map((method) => [method.localName, implement(host, method)] as const);
    server.addService(grpcDefinition(service), Object.fromEntries(implementation) as never);
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  host.address = `127.0.0.1:${port}`;
  return host;
}

type AnyCall = ServerUnaryCall<unknown, unknown> & ServerWritableStream<unknown, unknown> & ServerDuplexStream<unknown, unknown>;

/** Reading to the end must not destroy the half that the answers go out by. */
function requestsOf(call: AnyCall): AsyncIterable<unknown> {
  return { [Symbol.asyncIterator]: () => call.iterator({ destroyOnReturn: false }) };
}

function implement(host: CannedHost, method: DescMethod) {
  return async (call: AnyCall, callback: sendUnaryData<unknown>) => {
    host.calls.push(method.localName);
    const handler = (host.handlers as Record<string, ((request: unknown, context: CannedContext) => unknown) | undefined>)[method.localName];
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort());
    const context: CannedContext = { signal: gone.signal, metadata: call.metadata, deadline: call.getDeadline() };
    try {
      if (handler === undefined) throw new CannedFailure("UNIMPLEMENTED", `${method.name} has no canned answer`);
      if (method.methodKind === "unary") {
        const answer = await handler(requireWellFormed(call.request), context);
        callback(null, create(method.output, answer as never));
        return;
      }
      const requests = method.methodKind === "bidi_streaming" ? requestsOf(call) : requireWellFormed(call.request);
      for await (const answer of handler(requests, context) as AsyncIterable<never>) {
        if (gone.signal.aborted) break;
        if (!call.write(create(method.output, answer))) await once(call, "drain", { signal: gone.signal });
      }
      call.end();
    } catch (error) {
      if (gone.signal.aborted) return;
      const status = error instanceof CannedFailure ? error.status : { code: 13, details: String(error) };
      if (method.methodKind === "unary") callback(status);
      else call.emit("error", Object.assign(new Error("canned"), status));
    }
  };
}
