/** What becomes of something that was handed to an agent and came back with an error. Pure. */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";
import type { ErrorCode, SirsiError } from "../core/errors.ts";

export type DeliveryFate =
  /** The agent has dealt with it, with an error for its answer. */
  | { readonly kind: "done" }
  | { readonly kind: "again"; readonly delayMs: number }
  | { readonly kind: "dead" };

/** The agent took it, and its end is on record. */
const DEALT_WITH: ReadonlySet<ErrorCode> = new Set(["GUEST_ERROR", "DEAD_LETTERED", "REPLY_FORGOTTEN"]);

/** It will never be taken. */
const PERMANENT: ReadonlySet<ErrorCode> = new Set(["AGENT_NOT_FOUND", "AGENT_TERMINATED", "SESSION_NOT_FOUND", "MESSAGE_ID_REUSED", "PAYLOAD_TOO_LARGE", "INVALID_ARGUMENT"]);

/** Not the doing of what is delivered: tried for as long as it takes. */
const PATIENT: ReadonlySet<ErrorCode> = new Set([
  "MAILBOX_FULL",
  "AGENT_QUARANTINED",
  "AGENT_FENCED",
  "SHUTTING_DOWN",
  "STORE_UNAVAILABLE",
  "OVERLOADED",
  "SHARD_LOST",
  "BUS_UNAVAILABLE",
  "BUS_NO_RESPONDERS",
  "MODULE_NOT_FOUND",
  "MODULE_REJECTED",
  "MODULE_TIMEOUT",
  "MODULE_RETIRED",
  "MODULE_PENDING_APPROVAL",
]);

/** An agent that fails on it this often is not asked again. */
export const ATTEMPTS_MAX = 10;

export const DELIVERY_BACKOFF: BackoffConfig = { firstMs: 50, maxMs: 30_000, factor: 2 };

/** `attempt` is the one that failed, from 1; `random` is in [0, 1). */
export function fateOf(error: SirsiError, attempt: number, random: number): DeliveryFate {
  if (DEALT_WITH.has(error.code)) return { kind: "done" };
  if (PERMANENT.has(error.code)) return { kind: "dead" };
  if (!PATIENT.has(error.code) && attempt >= ATTEMPTS_MAX) return { kind: "dead" };
  return { kind: "again", delayMs: Math.max(error.details.retryAfterMs ?? 0, backoffMs(DELIVERY_BACKOFF, attempt - 1, random)) };
}

/** It was refused before the agent began on it. */
export function wasRefused({ code }: SirsiError): boolean {
  return PATIENT.has(code) || PERMANENT.has(code);
}

/** Trying again will never help. */
export function isForGood({ code }: SirsiError): boolean {
  return PERMANENT.has(code);
}
