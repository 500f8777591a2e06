/**
 * A generated service descriptor as the service definition that grpc-js takes,
 * for a client and for a server.
 *
 * grpc-js answers INTERNAL when a request's deserializer throws, but the fault is
 * the caller's. So requestDeserialize never throws: malformed bytes become a
 * MalformedRequest, and a server passes every request through `requireWellFormed`,
 * which turns that into INVALID_ARGUMENT. A response that cannot be read does throw.
 */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescService, MessageShape } from "@bufbuild/protobuf";
import { SirsiError } from "../core/errors.ts";
import { SendMessageRequestSchema, SendMessageResponseSchema } from "./gen/sirsi/agent/v1/agent_service_pb.ts";
import { decodePlainSend, encodePlainAnswer } from "./send-message-codec.ts";

/** Bytes that are not a message of the request's type. */
export class MalformedRequest {
  readonly typeName: string;
  readonly reason: string;

  constructor(typeName: string, reason: string) {
    this.typeName = typeName;
    this.reason = reason;
  }
}

export interface GrpcMethod<Request, Response> {
  /** `/package.Service/Method` */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** The camelCase name. */
  readonly originalName: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => Request | MalformedRequest;
  readonly responseSerialize: (response: Response) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

/** Assignable to grpc.ServiceDefinition; one entry for each RPC, by its camelCase name. */
export type GrpcDefinition<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: GrpcMethod<
    MessageShape<Service["method"][Name]["input"]>,
    MessageShape<Service["method"][Name]["output"]>
  >;
};

export function grpcDefinition<Service extends DescService>(service: Service): GrpcDefinition<Service> {
  const methods = service.methods.map((method) => {
    const definition: GrpcMethod<never, never> = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      originalName: method.localName,
      requestSerialize: serializer(method.input),
      requestDeserialize: tolerantParser(method.input),
      responseSerialize: serializer(method.output),
      responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes) as never,
    };
    return [method.localName, definition] as const;
  });
  return Object.freeze(Object.fromEntries(methods)) as unknown as GrpcDefinition<Service>;
}

/** The request itself, or INVALID_ARGUMENT that says what it should have been. */
export function requireWellFormed<Request>(request: Request | MalformedRequest): Request {
  if (!(request instanceof MalformedRequest)) return request;
  throw new SirsiError(
    "INVALID_ARGUMENT",
    `the request's bytes are not a ${request.typeName} (${request.reason}); send it with code generated from the published .proto files`,
  );
}

function serializer(schema: DescMessage): (message: never) => Buffer {
  const generated = (message: never) => {
    const bytes = toBinary(schema, message);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
  if (schema !== SendMessageResponseSchema) return generated;
  return (message) => encodePlainAnswer(message) ?? generated(message);
}

function tolerantParser(schema: DescMessage): (bytes: Buffer) => never {
  const plain = schema === SendMessageRequestSchema ? decodePlainSend : () => null;
  return (bytes) => {
    try {
      return (plain(bytes) ?? fromBinary(schema, bytes)) as never;
    } catch (error) {
      return new MalformedRequest(schema.typeName, error instanceof Error ? error.message : String(error)) as never;
    }
  };
}
