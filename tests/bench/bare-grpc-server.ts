/**
 * The baseline of every gRPC figure: grpc-js alone, in a process of its own.
 *
 * `typed` answers SendMessage with the same message shape as an echo agent's, through
 * the same generated code: what anybody would have to pay. `raw` hands bytes back unread.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { MessageType, SendMessageRequestSchema, SendMessageResponseSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { SendMessageRequest, SendMessageResponse } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { answerParent } from "./bench-child.ts";
import { RAW_PATH, SEND_PATH } from "./grpc-paths.ts";

function echo({ message }: SendMessageRequest): SendMessageResponse {
  const messageId = message?.messageId ?? "";
  return create(SendMessageResponseSchema, {
    messageId,
    response: { messageId: `${messageId}:reply`, type: MessageType.RESPONSE, content: message?.content ?? "", metadata: message?.metadata ?? {}, timestamp: { seconds: 1_750_000_000n, nanos: 0 } },
    metrics: { processingTimeMs: 0.5 },
  });
}

const asIs = (bytes: Buffer) => bytes;
const unary = { requestStream: false, responseStream: false } as const;
const server = new Server({ "grpc.enable_channelz": 0 });
server.addService(
  {
    sendMessage: {
      ...unary,
      path: SEND_PATH,
      requestSerialize: (message: SendMessageRequest) => Buffer.from(toBinary(SendMessageRequestSchema, message)),
      requestDeserialize: (bytes: Buffer) => fromBinary(SendMessageRequestSchema, bytes),
      responseSerialize: (message: SendMessageResponse) => {
        const { buffer, byteOffset, byteLength } = toBinary(SendMessageResponseSchema, message);
        return Buffer.from(buffer, byteOffset, byteLength);
      },
      responseDeserialize: (bytes: Buffer) => fromBinary(SendMessageResponseSchema, bytes),
    },
    raw: { ...unary, path: RAW_PATH, requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
  },
  {
    sendMessage: (call: ServerUnaryCall<SendMessageRequest, SendMessageResponse>, callback: sendUnaryData<SendMessageResponse>) => callback(null, echo(call.request)),
    raw: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => callback(null, call.request),
  },
);

const port = await new Promise<number>((resolve, reject) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
});

answerParent(() => Promise.resolve({ address: `127.0.0.1:${port}` }));
