/** A NATS gateway before agents without guests, on any bus, and a client beside it. */
import { create, fromBinary, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { createRegistry } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Presence } from "../../runtime/agent/index.ts";
import type { Bus, BusMessage } from "../../runtime/bus/bus.ts";
import { BadRequestSchema, type ErrorInfo, ErrorInfoSchema, PreconditionFailureSchema, RetryInfoSchema } from "../../runtime/contract/gen/google/rpc/error_details_pb.ts";
import { StatusSchema, type Status } from "../../runtime/contract/gen/google/rpc/status_pb.ts";
import { SendMessageRequestSchema, SendMessageResponseSchema, type SendMessageResponse } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { openNatsGateway, type NatsGateway, type NatsGatewayOptions } from "../../runtime/gateway/nats/index.ts";
import type { ModuleView, RegistryEvent, Revision } from "../../runtime/module/index.ts";
import type { Manifest } from "../../runtime/module/revision.ts";
import { openMetrics, silentLogger, type Metrics } from "../../runtime/observe/index.ts";
import { type BenchOptions, type Fields, type ServiceBench, serviceBench } from "./service-bench.ts";

export const PREFIX = "test.agents";
/** Far beyond any test: an end that comes before it did not wait for it. */
const WAIT = { timeoutMs: 3_600_000 };
const DETAILS = createRegistry(ErrorInfoSchema, BadRequestSchema, PreconditionFailureSchema, RetryInfoSchema);

/** Modules that a test installs and removes. */
export class FakeRegistry {
  readonly #active = new Map<string, Revision>();
  readonly #subscribers = new Set<(event: RegistryEvent) => void>();

  list(): ModuleView[] {
    return Array.from(this.#active, ([name, active]): ModuleView => ({ name, state: "ACTIVE", file: `${name}.wasm`, active, revisions: [], lastError: null }));
  }

  subscribe(subscriber: (event: RegistryEvent) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }

  activate(manifest: Manifest, digest = "a".repeat(64)): Revision {
    const to = { manifest, digest } as Revision;
    const from = this.#active.get(manifest.name) ?? null;
    this.#active.set(manifest.name, to);
    this.#tell({ kind: "activated", module: manifest.name, from, to });
    return to;
  }

  revert(to: Revision): void {
    const { name } = to.manifest;
    const from = this.#active.get(name) as Revision;
    this.#active.set(name, to);
    this.#tell({ kind: "reverted", module: name, from, to, reason: "it fails" });
  }

  retire(module: string): void {
    const last = this.#active.get(module) ?? null;
    this.#active.delete(module);
    this.#tell({ kind: "retired", module, last });
  }

  #tell(event: RegistryEvent): void {
    for (const subscriber of this.#subscribers) subscriber(event);
  }
}

export interface Answered {
  readonly headers: Readonly<Record<string, string>>;
  readonly response: SendMessageResponse;
}

export interface Refused {
  readonly headers: Readonly<Record<string, string>>;
  readonly status: Status;
  readonly info: ErrorInfo;
}

export interface RigOptions extends BenchOptions {
  readonly bench?: ServiceBench;
  readonly registry?: FakeRegistry;
  readonly gateway?: Partial<NatsGatewayOptions>;
}

export class GatewayRig {
  readonly bench: ServiceBench;
  readonly modules: FakeRegistry;
  readonly gateway: NatsGateway;
  readonly metrics: Metrics;
  readonly bus: Bus;
  readonly client: Bus;
  readonly presence: Presence;

  private constructor(bus: Bus, client: Bus, bench: ServiceBench, options: RigOptions) {
    let presence: Presence | null = null;
    this.bus = bus;
    this.client = client;
    this.bench = bench;
    this.modules = options.registry ?? new FakeRegistry();
    this.metrics = openMetrics({ processMetrics: false });
    this.gateway = openNatsGateway({
      bus,
      prefix: PREFIX,
      agentService: bench.service,
      modules: this.modules,
      onPresence: (listener) => {
        presence = listener;
      },
      hostName: "h1",
      clock: bench.clock,
      log: silentLogger,
      metrics: this.metrics,
      limits: { messageMaxBytes: 4 * 1024 * 1024 },
      ...options.gateway,
    });
    this.presence = presence as unknown as Presence;
  }

  /** Of the host's side of the bus and a client's. */
  static async open(bus: Bus, client: Bus, options: RigOptions = {}): Promise<GatewayRig> {
    const rig = new GatewayRig(bus, client, options.bench ?? (await serviceBench(options)), options);
    await bus.flush();
    return rig;
  }

  get sessionId(): string {
    return this.bench.session.sessionId;
  }

  /** An agent in memory, and its subject. */
  async agent(): Promise<{ readonly agentId: string; readonly subject: string }> {
    const { agentId } = this.bench.agents.put(this.bench.echo, { sessionId: this.sessionId }, { state: "READY" }).record;
    this.presence.came(agentId, this.sessionId);
    await this.bus.flush();
    return { agentId, subject: `${PREFIX}.agent.${agentId}` };
  }

  async ask(subject: string, data: Uint8Array | string, headers: Readonly<Record<string, string>> = {}): Promise<BusMessage> {
    return await this.client.request(subject, typeof data === "string" ? new TextEncoder().encode(data) : data, { ...WAIT, headers });
  }

  request(fields: Fields<typeof SendMessageRequestSchema>): Uint8Array {
    return toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId: this.sessionId, ...fields }));
  }

  async send(subject: string, fields: Fields<typeof SendMessageRequestSchema>, headers: Readonly<Record<string, string>> = {}): Promise<Answered> {
    return answered(await this.ask(subject, this.request(fields), headers));
  }

  async refusal(subject: string, fields: Fields<typeof SendMessageRequestSchema>, headers: Readonly<Record<string, string>> = {}): Promise<Refused> {
    return refused(await this.ask(subject, this.request(fields), headers));
  }
}

export const text = ({ data }: BusMessage): string => new TextDecoder().decode(data);

/** Of an answer in protobuf. */
export function answered({ data, headers }: BusMessage): Answered {
  if (headers["Nats-Service-Error"] !== undefined) throw new TypeError(`an error came: ${headers["sirsi-error"]} ${headers["Nats-Service-Error"]}`);
  if (headers["content-type"] !== "application/protobuf") throw new TypeError(`the answer is ${headers["content-type"]}`);
  return { headers, response: fromBinary(SendMessageResponseSchema, data) };
}

/** Of an error, in either form. */
export function refused(message: BusMessage): Refused {
  const { data, headers } = message;
  if (headers["Nats-Service-Error"] === undefined) throw new TypeError("an answer came, and no error");
  const status = headers["content-type"] === "application/json" ? fromJsonString(StatusSchema, text(message), { registry: DETAILS }) : fromBinary(StatusSchema, data);
  const info = status.details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((one) => one !== undefined);
  if (info === undefined) throw new TypeError("the status has no ErrorInfo");
  return { headers, status, info };
}
