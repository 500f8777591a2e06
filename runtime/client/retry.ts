/** Which calls may be sent again by themselves, and when. Pure. */
import { backoffMs } from "../core/backoff.ts";
import { RpcCode } from "../core/errors.ts";
import type { ClientError } from "./client-error.ts";

/** RPCs that change nothing. */
const READS: ReadonlySet<string> = new Set([
  "getSession",
  "listSessions",
  "getAgent",
  "listAgents",
  "getAgentStatus",
  "getSystemHealth",
  "listMessages",
  "listModules",
  "getModule",
  "listSwaps",
  "auditAgent",
  "auditHost",
  "listCommits",
  "inspectState",
  "listDeadLetters",
  "getDeadLetter",
]);

const BACKOFF = { firstMs: 100, maxMs: 2_000, factor: 2 };

/** A read, or a message whose id makes it take effect at most once. */
export function isSafeToRepeat(method: string, request: unknown): boolean {
  if (READS.has(method)) return true;
  return method === "sendMessage" && hasMessageId(request);
}

function hasMessageId(request: unknown): boolean {
  const message = typeof request === "object" && request !== null && "message" in request ? request.message : null;
  return typeof message === "object" && message !== null && "messageId" in message && Boolean(message.messageId);
}

/**
 * Milliseconds until the next attempt, or null for none. A host that cannot be reached
 * is tried again after a backoff; one that is full only when it says when.
 */
export function retryDelayMs(error: ClientError, attempt: number, random: number): number | null {
  if (error.rpcCode === RpcCode.UNAVAILABLE) return error.retryAfterMs ?? backoffMs(BACKOFF, attempt, random);
  if (error.rpcCode === RpcCode.RESOURCE_EXHAUSTED) return error.retryAfterMs;
  return null;
}
