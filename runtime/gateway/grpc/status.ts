/** A SirsiError as the status of a gRPC call. */
import { Metadata, status as GrpcStatus } from "@grpc/grpc-js";
import { RpcCode, type SirsiError } from "../../core/errors.ts";
import { rpcStatusOf } from "../rpc-status.ts";

export const DETAILS_KEY = "grpc-status-details-bin";

/** The same numbers, in the type that grpc-js wants. */
const STATUS = Object.fromEntries(Object.entries(RpcCode).map(([name, code]) => [code, GrpcStatus[name as keyof typeof RpcCode]])) as Record<RpcCode, GrpcStatus>;

export interface CallStatus {
  readonly code: GrpcStatus;
  readonly details: string;
  readonly metadata: Metadata;
}

export function toStatus(error: SirsiError): CallStatus {
  const { code, message, bytes } = rpcStatusOf(error);
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(bytes));
  return { code: STATUS[code], details: message, metadata };
}
