/** A client of one sirsi host: every RPC of its services, typed by the contract. */
import { create } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Client, compressionAlgorithms, credentials, status } from "@grpc/grpc-js";
import type { ChannelCredentials } from "@grpc/grpc-js";
import { isLoopback, parseAddress } from "../core/address.ts";
import { AgentService } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { grpcDefinition } from "../contract/grpc-definition.ts";
import type { GrpcMethod } from "../contract/grpc-definition.ts";
import { systemClock } from "../core/clock.ts";
import { ClientError } from "./client-error.ts";
import { isSafeToRepeat } from "./retry.ts";
import { callConversation, callServerStream } from "./streaming-call.ts";
import type { Conversation, ServerStream } from "./streaming-call.ts";
import { callMetadata, callUnary } from "./unary-call.ts";
import type { CallConfig, CallOptions } from "./unary-call.ts";

interface AnyMethod {
  readonly methodKind: DescMethod["methodKind"];
  readonly input: DescMessage;
  readonly output: DescMessage;
}

type ClientMethod<M extends AnyMethod> = M["methodKind"] extends "unary"
  ? (request: MessageInitShape<M["input"]>, options?: CallOptions) => Promise<MessageShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageInitShape<M["input"]>, options?: CallOptions) => ServerStream<MessageShape<M["output"]>>
    : M["methodKind"] extends "bidi_streaming"
      ? (options?: CallOptions) => Conversation<MessageInitShape<M["input"]>, MessageShape<M["output"]>>
      : never;

/** Every RPC of a service by its camelCase name. Requests may be plain objects. */
export type ServiceClient<Service extends { readonly method: Record<string, AnyMethod> }> = {
  readonly [Name in keyof Service["method"]]: ClientMethod<Service["method"][Name]>;
};

export interface SirsiClientOptions {
  /** host:port. Default: 127.0.0.1:50051. */
  readonly address?: string;
  /** Default: plain text, which a host accepts on loopback only. */
  readonly credentials?: ChannelCredentials;
  /** Of unary calls that state none; null for never. Default: 30,000. Streams have none by default. */
  readonly deadlineMs?: number | null;
  /** Of calls that are safe to repeat. Default: 2. */
  readonly retries?: number;
  /** The largest message to take and to send. Default: 64 MiB, the most a host can be set to. */
  readonly messageMaxBytes?: number;
  /** How requests are compressed. Default: "identity", not at all. */
  readonly compression?: "identity" | "gzip" | "deflate";
}

interface ClientConfig {
  readonly deadlineMs: number | null;
  readonly retries: number;
}

const DEFAULT_ADDRESS = "127.0.0.1:50051";
const DEFAULT_MESSAGE_MAX_BYTES = 64 * 1024 * 1024;

export class SirsiClient {
  readonly address: string;
  /** Sessions, agents, messages, events. */
  readonly agents: ServiceClient<typeof AgentService>;
  /** Modules and their revisions; the same service as `operator`. */
  readonly modules: ServiceClient<typeof HypervisorService>;
  /** Books, history, dead letters, quarantine. */
  readonly operator: ServiceClient<typeof HypervisorService>;
  readonly #channel: Client;

  constructor(options: SirsiClientOptions = {}) {
    this.address = options.address ?? DEFAULT_ADDRESS;
    const target = parseAddress(this.address);
    if (target.kind === "problem") throw new ClientError(status.INVALID_ARGUMENT, `the address ${JSON.stringify(this.address)} ${target.problem}`);
    const config: ClientConfig = { deadlineMs: options.deadlineMs === undefined ? 30_000 : options.deadlineMs, retries: options.retries ?? 2 };
    const messageMaxBytes = options.messageMaxBytes ?? DEFAULT_MESSAGE_MAX_BYTES;
    this.#channel = new Client(this.address, options.credentials ?? credentials.createInsecure(), {
      "grpc.max_receive_message_length": messageMaxBytes,
      "grpc.max_send_message_length": messageMaxBytes,
      "grpc.default_compression_algorithm": compressionAlgorithms[options.compression ?? "identity"],
      // Its own retries know nothing of what is safe to repeat here.
      "grpc.enable_retries": 0,
      // A proxy cannot reach this machine's loopback.
      ...(isLoopback(target.address.host) ? { "grpc.enable_http_proxy": 0 } : {}),
    });
    this.agents = serviceClient(this.#channel, AgentService, config);
    this.modules = serviceClient(this.#channel, HypervisorService, config);
    this.operator = this.modules;
  }

  /** Resolves when the host can be reached; rejects with UNAVAILABLE after the time. */
  connect(timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#channel.waitForReady(systemClock.now() + timeoutMs, (error) => {
        if (error === undefined) resolve();
        else reject(new ClientError(status.UNAVAILABLE, `no host answers at ${this.address}; start one with \`sirsi serve\`, or correct the address`, { cause: error }));
      });
    });
  }

  /** Ends the connection; calls in progress end with an error. Repeatable. */
  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function serviceClient<Service extends DescService>(channel: Client, service: Service, config: ClientConfig): ServiceClient<Service> {
  const definition = grpcDefinition(service) as Readonly<Record<string, GrpcMethod<unknown, unknown>>>;
  const methods = service.methods.map((method) => {
    const grpc = definition[method.localName] as GrpcMethod<unknown, unknown>;
    return [method.localName, clientMethod(channel, method, grpc, config)] as const;
  });
  return Object.freeze(Object.fromEntries(methods)) as unknown as ServiceClient<Service>;
}

function clientMethod(channel: Client, method: DescMethod, grpc: GrpcMethod<unknown, unknown>, config: ClientConfig): unknown {
  switch (method.methodKind) {
    case "unary":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) => {
        const retries = options.retries ?? (isSafeToRepeat(method.localName, request) ? config.retries : 0);
        return callUnary(channel, grpc, create(method.input, request), callConfig(options, config.deadlineMs, retries));
      };
    case "server_streaming":
      return (request: MessageInitShape<DescMessage>, options: CallOptions = {}) =>
        callServerStream(channel, grpc, create(method.input, request), callConfig(options, null, 0));
    case "bidi_streaming":
      return (options: CallOptions = {}): Conversation<MessageInitShape<DescMessage>, unknown> => {
        const conversation = callConversation(channel, grpc, callConfig(options, null, 0));
        return { ...conversation, send: (request) => conversation.send(create(method.input, request)) };
      };
    default:
      throw new ClientError(status.UNIMPLEMENTED, `${method.localName} streams requests only, which this client does not offer`);
  }
}

function callConfig(options: CallOptions, deadlineMs: number | null, retries: number): CallConfig {
  return {
    deadlineMs: options.deadlineMs === undefined ? deadlineMs : options.deadlineMs,
    signal: options.signal ?? null,
    retries,
    metadata: callMetadata(options),
  };
}
