/**
 * The published entry point of the package.
 *
 *     import { MessageType, SirsiClient } from "sirsi";
 *
 *     using client = new SirsiClient({ address: "127.0.0.1:50051" });
 *     const { session } = await client.agents.createSession({ userId: "ada" });
 *     const sessionId = session?.sessionId ?? "";
 *     const { agent } = await client.agents.createAgent({ sessionId, agentType: "echo" });
 *     const reply = await client.agents.sendMessage({
 *       sessionId,
 *       agentId: agent?.agentId ?? "",
 *       message: { messageId: crypto.randomUUID(), type: MessageType.TEXT, content: "hello" },
 *     });
 *
 * Every failure is a ClientError with the reason of docs/errors.md.
 */
export { SirsiClient } from "./client.ts";
export type { ServiceClient, SirsiClientOptions } from "./client.ts";
export { ClientError } from "./client-error.ts";
export type { ClientErrorDetails, FieldViolation, Precondition } from "./client-error.ts";
export type { Conversation, ServerStream } from "./streaming-call.ts";
export type { CallOptions } from "./unary-call.ts";

/** The contract's messages, enums and schemas. */
export * from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
export * from "../contract/gen/sirsi/agent/v1/events_pb.ts";
export * from "../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
