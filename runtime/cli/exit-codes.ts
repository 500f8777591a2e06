/** What the process ends with. Fixed: scripts rely on it. docs/cli.md has this table. */
import { ClientError } from "../client/index.ts";
import { RpcCode, SirsiError } from "../core/errors.ts";
import { UsageError } from "./failure.ts";

export const EXIT = { ok: 0, failure: 1, usage: 2, notFound: 3, refused: 4, unavailable: 5, deadline: 6, guest: 7, unbalanced: 8, interrupted: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_MEANINGS: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, "Done."],
  [EXIT.failure, "Failed in a way that no other code tells, or the host or a check is not well."],
  [EXIT.usage, "The command line or the configuration is wrong; nothing was done."],
  [EXIT.notFound, "The session, agent, agent type, module, host or dead letter does not exist."],
  [EXIT.refused, "The host refused: a wrong argument, a state that does not allow it, a limit, a missing permission."],
  [EXIT.unavailable, "No host answers, or it has no room now; the same command may succeed later."],
  [EXIT.deadline, "The time given with --timeout passed."],
  [EXIT.guest, "The agent itself failed: it answered with an error, trapped or went over a limit."],
  [EXIT.unbalanced, "The books do not balance (`sirsi audit`)."],
  [EXIT.interrupted, "Interrupted by a signal."],
];

const UNAUTHENTICATED = 16;

const BY_RPC_CODE: ReadonlyMap<number, ExitCode> = new Map<number, ExitCode>([
  [RpcCode.INVALID_ARGUMENT, EXIT.refused],
  [RpcCode.ALREADY_EXISTS, EXIT.refused],
  [RpcCode.PERMISSION_DENIED, EXIT.refused],
  [UNAUTHENTICATED, EXIT.refused],
  [RpcCode.RESOURCE_EXHAUSTED, EXIT.refused],
  [RpcCode.FAILED_PRECONDITION, EXIT.refused],
  [RpcCode.ABORTED, EXIT.refused],
  [RpcCode.OUT_OF_RANGE, EXIT.refused],
  [RpcCode.NOT_FOUND, EXIT.notFound],
  [RpcCode.UNAVAILABLE, EXIT.unavailable],
  [RpcCode.DEADLINE_EXCEEDED, EXIT.deadline],
]);

export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof SirsiError) return error.code === "CONFIG_INVALID" ? EXIT.usage : exitCodeOfCall(error.rpcCode, error.code, error.retryable);
  if (error instanceof ClientError) return exitCodeOfCall(error.rpcCode, error.reason, error.retryAfterMs !== null);
  return EXIT.failure;
}

/** By the google.rpc.Code, the reason, and whether the host said that it may succeed later. */
export function exitCodeOfCall(rpcCode: number, reason: string, again: boolean): ExitCode {
  if (reason.startsWith("GUEST_")) return EXIT.guest;
  if (rpcCode === RpcCode.RESOURCE_EXHAUSTED && again) return EXIT.unavailable;
  return BY_RPC_CODE.get(rpcCode) ?? EXIT.failure;
}
