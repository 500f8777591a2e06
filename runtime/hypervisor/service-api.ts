/**
 * The two services as plain functions over contract messages, free of transport.
 * The gRPC gateway, and later the WebSocket bridge, only adapt to these.
 */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { AgentService } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { HypervisorService } from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";

/** What a transport knows of one call. */
export interface CallContext {
  /** When the caller stops waiting, on the host's monotonic clock; null for never. */
  readonly deadline: number | null;
  /** Aborted when the caller cancels or is gone. */
  readonly signal: AbortSignal;
  /** W3C traceparent of the caller; empty for none. */
  readonly traceparent: string;
}

interface AnyMethod {
  readonly methodKind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming";
  readonly input: DescMessage;
  readonly output: DescMessage;
}

type Handler<M extends AnyMethod> = M["methodKind"] extends "unary"
  ? (request: MessageShape<M["input"]>, context: CallContext) => Promise<MessageShape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: MessageShape<M["input"]>, context: CallContext) => AsyncIterable<MessageShape<M["output"]>>
    : M["methodKind"] extends "bidi_streaming"
      ? (requests: AsyncIterable<MessageShape<M["input"]>>, context: CallContext) => AsyncIterable<MessageShape<M["output"]>>
      : never;

/** Every RPC of a service by its camelCase name. Handlers throw SirsiError. */
export type ServiceApi<Service extends { readonly method: Record<string, AnyMethod> }> = {
  readonly [Name in keyof Service["method"]]: Handler<Service["method"][Name]>;
};

export type AgentServiceApi = ServiceApi<typeof AgentService>;
export type HypervisorServiceApi = ServiceApi<typeof HypervisorService>;

/** How a gateway learns whether the host is fit to serve. */
export interface HostStatus {
  /** Empty when a message has gone through a guest and the store lately; otherwise why not, in words. */
  readonly notReady: string;
  readonly draining: boolean;
}
