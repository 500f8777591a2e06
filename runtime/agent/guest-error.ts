/** A guest's own error value as the error its caller gets. */
import type { GuestError } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { RpcCode, SirsiError } from "../core/errors.ts";

/** Codes of a guest that have a status of their own; all others travel as FAILED_PRECONDITION. */
const RPC_OF_GUEST_CODE: ReadonlyMap<string, RpcCode> = new Map([
  ["invalid_argument", RpcCode.INVALID_ARGUMENT],
  ["not_found", RpcCode.NOT_FOUND],
  ["already_exists", RpcCode.ALREADY_EXISTS],
  ["permission_denied", RpcCode.PERMISSION_DENIED],
  ["resource_exhausted", RpcCode.RESOURCE_EXHAUSTED],
  ["out_of_range", RpcCode.OUT_OF_RANGE],
  ["unimplemented", RpcCode.UNIMPLEMENTED],
  ["unavailable", RpcCode.UNAVAILABLE],
  ["deadline_exceeded", RpcCode.DEADLINE_EXCEEDED],
]);

const CODE = /^[a-z][a-z0-9_]{0,63}$/;
const MESSAGE_MAX_CHARS = 4_096;

export function guestError(code: string, message: string, details: Readonly<Record<string, string>>, retryable: boolean): SirsiError {
  const safeCode = CODE.test(code) ? code : "unknown";
  const text = message === "" ? `the agent answered ${safeCode}` : message.slice(0, MESSAGE_MAX_CHARS);
  return new SirsiError("GUEST_ERROR", text, {
    metadata: { ...details, guest_code: safeCode },
    rpc: RPC_OF_GUEST_CODE.get(safeCode) ?? RpcCode.FAILED_PRECONDITION,
    ...(retryable ? { retryAfterMs: 1_000 } : {}),
  });
}

export function fromGuestError(value: GuestError): SirsiError {
  return guestError(value.code, value.message, value.details, value.retryable);
}
