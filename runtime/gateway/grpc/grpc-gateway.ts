/**
 * The gRPC server: AgentService and HypervisorService, with the standard health
 * service, reflection and, when switched on, channelz.
 *
 * States: serving, draining (new calls get SHUTTING_DOWN, calls in hand finish),
 * closed. Health says NOT_SERVING for every service until told otherwise by
 * `setServing`, and from the first moment of a drain.
 */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  Server,
  ServerCredentials,
  getChannelzHandlers,
  getChannelzServiceDefinition,
  setLogger,
  type MethodDefinition,
  type ServerOptions,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { formatAddress, type ListenAddress } from "../../config/index.ts";
import { AgentService } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { grpcDefinition, type GrpcMethod } from "../../contract/grpc-definition.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { HostLimits } from "../../core/limits.ts";
import type { AgentServiceApi, HostStatus, HypervisorServiceApi } from "../../hypervisor/service-api.ts";
import type { Logger } from "../../observe/logger.ts";
import type { Metrics } from "../../observe/metrics.ts";
import { bidiStreamingCall, serverStreamingCall, unaryCall, type CallHost, type StreamFunction, type UnaryFunction } from "./calls.ts";
import { FaultTeller } from "./fault.ts";
import { reflectionOf } from "./reflection.ts";
import { StreamLedger } from "./stream-ledger.ts";
import { WireEncoder, type Compression } from "./wire.ts";

export interface GrpcGatewayOptions {
  /** Port 0 takes a free one. */
  readonly listen: ListenAddress;
  readonly agentService: AgentServiceApi;
  readonly hypervisorService: HypervisorServiceApi;
  readonly status: () => HostStatus;
  readonly limits: Pick<HostLimits, "messageMaxBytes" | "metadataMaxBytes">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Offers the channelz service; it costs a little on every call. Default false. */
  readonly channelz?: boolean;
  /** Compresses replies of 1 KiB and more for callers that accept it; requests may always be compressed. Default "none". */
  readonly compression?: Compression;
}

/** The names that health knows: the whole server, and each service. */
export const HEALTH_SERVICES = ["", AgentService.typeName, HypervisorService.typeName] as const;
export type HealthService = (typeof HEALTH_SERVICES)[number];

export interface GrpcGateway {
  /** With the port that was taken. */
  readonly address: ListenAddress;
  setServing(service: HealthService, status: "SERVING" | "NOT_SERVING"): void;
  /** Refuses new calls, lets those in hand finish for `graceMs`, then closes. Repeatable. */
  drain(graceMs: number): Promise<void>;
  /** Closes now: calls in hand are cut off. Repeatable. */
  close(): Promise<void>;
}

const CONCURRENT_STREAMS_MAX = 10_000;
const KEEPALIVE_TIME_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** How long clients get to take note of the end once every call is answered. */
const GOODBYE_MS = 1_000;

export async function openGrpcGateway(options: GrpcGatewayOptions): Promise<GrpcGateway> {
  const gateway = new Gateway(options);
  await gateway.listen();
  return gateway;
}

class Gateway implements GrpcGateway {
  readonly #options: GrpcGatewayOptions;
  readonly #server: Server;
  readonly #ledger: StreamLedger;
  readonly #health = new HealthImplementation(Object.fromEntries(HEALTH_SERVICES.map((name) => [name, "NOT_SERVING"])));
  readonly #onDrain = new Set<() => void>();
  #address: ListenAddress;
  #draining = false;
  #drained: Promise<void> | null = null;
  #listenersClosed: Promise<unknown> = Promise.resolve();

  constructor(options: GrpcGatewayOptions) {
    const { clock, log, metrics, limits } = options;
    this.#options = options;
    this.#address = options.listen;
    const fault = new FaultTeller(log, clock, limits.messageMaxBytes);
    const services = [AgentService, HypervisorService];
    const paths = services.flatMap((service) => service.methods.map((method) => `/${service.typeName}/${method.name}`));
    this.#ledger = new StreamLedger({ paths, metadataMaxBytes: limits.metadataMaxBytes, compression: options.compression ?? "none", clock, metrics, fault });
    this.#server = new Server(serverOptions(options, this.#ledger));
    const host: CallHost = {
      clock,
      fault,
      metadataMaxBytes: limits.metadataMaxBytes,
      isDraining: () => this.#draining || options.status().draining,
      onDrain: this.#onDrain,
    };
    addService(this.#server, AgentService, options.agentService, host, options);
    addService(this.#server, HypervisorService, options.hypervisorService, host, options);
    this.#health.addToServer(this.#server);
    reflectionOf(services).addToServer(this.#server);
    if (options.channelz === true) this.#server.addService(getChannelzServiceDefinition(), getChannelzHandlers());
    const note = (...texts: unknown[]) => log.warn({ detail: texts.join(" ") }, "the gRPC library reports");
    setLogger({ error: note, info: note, debug: note });
  }

  get address(): ListenAddress {
    return this.#address;
  }

  async listen(): Promise<void> {
    const wanted = this.#options.listen;
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(formatAddress(wanted), ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(cannotListen(wanted, error));
      });
    });
    this.#address = { host: wanted.host, port };
    const servers = this.#ledger.attach(this.#server);
    this.#listenersClosed = Promise.all(servers.map((server) => new Promise((resolve) => server.once("close", resolve))));
  }

  setServing(service: HealthService, status: "SERVING" | "NOT_SERVING"): void {
    // Once a drain has begun, a late report of good health must not draw new calls.
    if (!this.#draining) this.#health.setStatus(service, status);
  }

  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs);
    return this.#drained;
  }

  async close(): Promise<void> {
    this.#stopServing();
    this.#server.forceShutdown();
    this.#ledger.cutAll();
    await this.#listenersClosed;
  }

  async #drain(graceMs: number): Promise<void> {
    this.#stopServing();
    for (const end of this.#onDrain) end();
    const inTime = await this.#within(graceMs, this.#ledger.whenIdle());
    if (!inTime) this.#options.log.warn({ calls: this.#ledger.openCalls, graceMs }, "calls were still in hand when the time to drain was over; they are cut off");
    else await this.#sayGoodbye();
    await this.close();
  }

  #stopServing(): void {
    if (this.#draining) return;
    for (const name of HEALTH_SERVICES) this.#health.setStatus(name, "NOT_SERVING");
    this.#draining = true;
  }

  /** Nothing is left but streams without an end of their own: tells every client that the connection ends. */
  async #sayGoodbye(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    this.#ledger.refuseAll();
    await this.#within(GOODBYE_MS, closed);
  }

  /** Whether `done` came in time. */
  async #within(ms: number, done: Promise<void>): Promise<boolean> {
    return await new Promise((resolve) => {
      const timer = this.#options.clock.after(ms, () => resolve(false));
      void done.finally(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }
}

function serverOptions(options: GrpcGatewayOptions, ledger: StreamLedger): ServerOptions {
  return {
    interceptors: [ledger.interceptor],
    "grpc.max_receive_message_length": options.limits.messageMaxBytes,
    // What we send is measured when it is encoded.
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": CONCURRENT_STREAMS_MAX,
    "grpc.keepalive_time_ms": KEEPALIVE_TIME_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.enable_channelz": options.channelz === true ? 1 : 0,
  };
}

function cannotListen(wanted: ListenAddress, error: Error): SirsiError {
  return new SirsiError("CONFIG_INVALID", `the gRPC server cannot listen on ${formatAddress(wanted)} (${error.message}); free the port or choose another with --grpc-listen`, {
    cause: error,
  });
}

function addService(
  server: Server,
  service: DescService,
  api: AgentServiceApi | HypervisorServiceApi,
  host: CallHost,
  { limits, compression }: GrpcGatewayOptions,
): void {
  const methods = grpcDefinition(service) as unknown as Readonly<Record<string, GrpcMethod<never, never>>>;
  const functions = api as unknown as Readonly<Record<string, UnaryFunction & StreamFunction>>;
  const definition: Record<string, MethodDefinition<unknown, Buffer>> = {};
  const handlers: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const name = method.localName;
    const { responseSerialize, ...entry } = methods[name] as GrpcMethod<never, never>;
    const wire = new WireEncoder(responseSerialize, limits.messageMaxBytes, compression ?? "none");
    // Replies arrive here encoded already; see wire.ts.
    definition[name] = { ...entry, requestSerialize: entry.requestSerialize as (request: unknown) => Buffer, responseSerialize: (bytes) => bytes };
    handlers[name] = handlerOf(method, entry.path, (functions[name] as UnaryFunction & StreamFunction).bind(api), wire, host);
  }
  server.addService(definition, handlers);
}

function handlerOf(method: DescMethod, path: string, handle: UnaryFunction & StreamFunction, wire: WireEncoder, host: CallHost) {
  switch (method.methodKind) {
    case "unary":
      return unaryCall(path, handle, wire, host);
    case "server_streaming":
      return serverStreamingCall(path, handle, wire, host);
    case "bidi_streaming":
      return bidiStreamingCall(path, handle, wire, host);
    default:
      throw new SirsiError("INTERNAL", `${path} streams from the client alone, which no adapter here serves; add one in gateway/grpc/calls.ts`);
  }
}
