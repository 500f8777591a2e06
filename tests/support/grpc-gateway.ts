/** A real gRPC gateway over services that a test writes down, and real clients of it. */
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { create, fromBinary, type DescMethod, type MessageShape } from "@bufbuild/protobuf";
import { anyIs, anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { Client, Metadata, credentials, type CallOptions, type ClientOptions, type ServiceError } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../../runtime/contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../runtime/contract/gen/google/rpc/status_pb.ts";
import { AgentService } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { grpcDefinition } from "../../runtime/contract/grpc-definition.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { DEFAULT_HOST_LIMITS } from "../../runtime/core/limits.ts";
import { openGrpcGateway, type GrpcGateway, type GrpcGatewayOptions } from "../../runtime/gateway/grpc/index.ts";
import type { AgentServiceApi, HypervisorServiceApi } from "../../runtime/hypervisor/service-api.ts";
import { createLogger, openMetrics, type Metrics } from "../../runtime/observe/index.ts";

export const METHODS: readonly DescMethod[] = [...AgentService.methods, ...HypervisorService.methods];
export const AGENT_METHODS = grpcDefinition(AgentService);

export interface TestGateway extends AsyncDisposable {
  readonly gateway: GrpcGateway;
  readonly address: string;
  readonly client: Client;
  readonly metrics: Metrics;
  /** Lines of the log, parsed. */
  readonly log: Record<string, unknown>[];
  /** Names of the RPCs that reached their function. */
  readonly calls: string[];
}

export interface TestGatewayOptions extends Partial<Omit<GrpcGatewayOptions, "agentService" | "hypervisorService">> {
  readonly agent?: Partial<AgentServiceApi>;
  readonly hypervisor?: Partial<HypervisorServiceApi>;
}

/** RPCs that the test leaves out answer with an empty message, or an empty stream. */
export async function startGateway({ agent = {}, hypervisor = {}, ...options }: TestGatewayOptions = {}): Promise<TestGateway> {
  const log: Record<string, unknown>[] = [];
  const calls: string[] = [];
  const metrics = openMetrics({ processMetrics: false });
  const given: Record<string, unknown> = { ...agent, ...hypervisor };
  const fallback = (method: DescMethod) =>
    method.methodKind === "unary"
      ? () => Promise.resolve(create(method.output))
      : async function* empty() {
          yield* [];
        };
  const functions = METHODS.map((method) => {
    const handle = (given[method.localName] ?? fallback(method)) as (...args: unknown[]) => unknown;
    const noted = (...args: unknown[]) => {
      calls.push(method.localName);
      return handle(...args);
    };
    return [method.localName, noted] as const;
  });
  const services = Object.fromEntries(functions) as unknown as AgentServiceApi & HypervisorServiceApi;
  const gateway = await openGrpcGateway({
    listen: { host: "127.0.0.1", port: 0 },
    agentService: services,
    hypervisorService: services,
    status: () => ({ notReady: "", draining: false }),
    limits: DEFAULT_HOST_LIMITS,
    clock: systemClock,
    log: createLogger({ level: "debug", output: { write: (line) => log.push(JSON.parse(line) as Record<string, unknown>) } }),
    metrics,
    ...options,
  });
  const address = `${gateway.address.host}:${gateway.address.port}`;
  const client = newClient(address);
  return {
    gateway,
    address,
    client,
    metrics,
    log,
    calls,
    async [Symbol.asyncDispose]() {
      client.close();
      await gateway.close();
    },
  };
}

export function newClient(address: string, options: ClientOptions = {}): Client {
  return new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1, "grpc.enable_retries": 0, ...options });
}

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

export function headers(entries: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(entries)) metadata.set(name, value);
  return metadata;
}

/** One unary call. Rejects with the ServiceError. */
export function call<Request, Response>(client: Client, method: Method<Request, Response>, request: Request, metadata = new Metadata(), options: CallOptions = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize, request, metadata, options, (error, reply) => {
      if (error === null) resolve(reply as Response);
      else reject(error);
    });
  });
}

/** What a failed call said, details decoded. */
export interface Failure {
  readonly code: number;
  readonly text: string;
  readonly reason: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly fields: readonly string[];
  readonly preconditions: readonly string[];
  readonly retryAfterMs: number | null;
  /** As the trailer carried it. */
  readonly detailsBytes: number;
}

export async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const thrown = await promise.then(
    () => null,
    (error: unknown) => error as ServiceError,
  );
  if (thrown === null) throw new TypeError("the call succeeded, and was to fail");
  return describeFailure(thrown);
}

export function describeFailure(error: { readonly code: number; readonly details: string; readonly metadata?: Metadata }): Failure {
  const [raw] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const bytes = Buffer.isBuffer(raw) ? raw : Buffer.alloc(0);
  const status = fromBinary(StatusSchema, bytes);
  const info = find(status.details, ErrorInfoSchema);
  const delay = find(status.details, RetryInfoSchema)?.retryDelay;
  return {
    code: error.code,
    text: error.details,
    reason: info?.domain === "sirsi" ? info.reason : "",
    facts: info?.metadata ?? {},
    fields: find(status.details, BadRequestSchema)?.fieldViolations.map(({ field }) => field) ?? [],
    preconditions: find(status.details, PreconditionFailureSchema)?.violations.map(({ subject }) => subject) ?? [],
    retryAfterMs: delay === undefined ? null : Number(delay.seconds) * 1_000 + delay.nanos / 1e6,
    detailsBytes: bytes.length,
  };
}

function find<Schema extends typeof ErrorInfoSchema | typeof BadRequestSchema | typeof RetryInfoSchema | typeof PreconditionFailureSchema>(
  details: readonly Any[],
  schema: Schema,
): MessageShape<Schema> | undefined {
  const packed = details.find((any) => anyIs(any, schema));
  return packed === undefined ? undefined : anyUnpack<Schema>(packed, schema);
}

/** A gRPC frame: flag, length, bytes. */
export function frame(bytes: Uint8Array, { flag = 0, length = bytes.length } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

export interface RawReply {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly rstCode: number;
}

/** Bytes over HTTP/2 without any gRPC library. */
export class RawClient implements AsyncDisposable {
  readonly #session: ClientHttp2Session;

  constructor(address: string) {
    this.#session = connect(`http://${address}`);
    this.#session.on("error", () => undefined);
  }

  /** A call whose reply nobody reads until the test does. */
  open(path: string, body: Uint8Array, extra: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
    const stream = this.#session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", ...extra });
    stream.on("error", () => undefined);
    stream.end(body);
    return stream;
  }

  async send(path: string, body: Uint8Array, extra: Readonly<Record<string, string>> = {}): Promise<RawReply> {
    const stream = this.open(path, body, extra);
    const reply = { headers: {} as IncomingHttpHeaders, trailers: {} as IncomingHttpHeaders, body: Buffer.alloc(0) };
    const parts: Buffer[] = [];
    stream.on("response", (found) => (reply.headers = found));
    stream.on("trailers", (found) => (reply.trailers = found));
    stream.on("data", (part: Buffer) => parts.push(part));
    await new Promise((resolve) => stream.once("close", resolve));
    return { ...reply, body: Buffer.concat(parts), rstCode: stream.rstCode ?? 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#session.close(resolve));
  }
}

/** The failure in a raw reply, whether it came as trailers or as trailers only. */
export function rawFailure(reply: RawReply): Failure {
  const found = { ...reply.headers, ...reply.trailers };
  const metadata = new Metadata();
  const details = found["grpc-status-details-bin"];
  if (typeof details === "string") metadata.set("grpc-status-details-bin", Buffer.from(details, "base64"));
  return describeFailure({ code: Number(found["grpc-status"]), details: decodeURI(String(found["grpc-message"] ?? "")), metadata });
}
