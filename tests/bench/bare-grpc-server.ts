/**
 * The baseline of every gRPC figure: grpc-js alone, in a process of its own.
 *
 * `typed` answers SendMessage with the same message shape as an echo agent's, through
 * the same generated code: what anybody would have to pay. `raw` hands bytes back unread.
 */
import { create } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { AgentService, MessageType, SendMessageResponseSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { SendMessageRequest, SendMessageResponse } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { grpcDefinition } from "../../runtime/contract/grpc-definition.ts";
import { answerParent } from "./bench-child.ts";
import { RAW_PATH } from "./raw-path.ts";

function echo({ message }: SendMessageRequest): SendMessageResponse {
  const messageId = message?.messageId ?? "";
  return create(SendMessageResponseSchema, {
    messageId,
    response: { messageId: `${messageId}:reply`, type: MessageType.RESPONSE, content: message?.content ?? "", metadata: message?.metadata ?? {}, timestamp: { seconds: 1_750_000_000n, nanos: 0 } },
    metrics: { processingTimeMs: 0.5 },
  });
}

const asIs = (bytes: Buffer) => bytes;
const { sendMessage } = grpcDefinition(AgentService);
const server = new Server({ "grpc.enable_channelz": 0 });
server.addService({ sendMessage }, {
  sendMessage: (call: ServerUnaryCall<SendMessageRequest, SendMessageResponse>, callback: sendUnaryData<SendMessageResponse>) => callback(null, echo(call.request)),
});
server.addService(
  { raw: { path: RAW_PATH, requestStream: false, responseStream: false, requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs } },
  { raw: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => callback(null, call.request) },
);

const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
});

answerParent(() => Promise.resolve({ address: `127.0.0.1:${port}` }));
