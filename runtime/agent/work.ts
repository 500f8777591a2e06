/** What waits in a mailbox. */
import type { SuggestionContext, Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { HealthResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Wait } from "../contract/gen/sirsi/store/v1/wait_pb.ts";
import type { Deferred } from "../core/deferred.ts";
import type { Delivery, Reply } from "./agents.ts";
import type { Rank } from "./mailbox.ts";

interface Queued {
  /** When it arrived, on the monotonic clock. */
  readonly queuedAt: number;
  /** On the monotonic clock. */
  readonly deadline: number;
  readonly signal: AbortSignal | null;
}

/** Work that goes on after a crash where it waited; `wait` is null unless it does so now. */
interface Resumable extends Queued {
  readonly wait: Wait | null;
}

export interface MessageWork extends Resumable {
  readonly kind: "message";
  readonly delivery: Delivery;
  readonly reply: Deferred<Reply>;
}

export interface EventWork extends Resumable {
  readonly kind: "event";
  readonly event: AgentEvent;
  readonly reply: Deferred<void>;
}

export interface TimerWork extends Resumable {
  readonly kind: "timer";
  readonly timerId: string;
  readonly dueAt: number;
  readonly payload: Uint8Array;
  readonly reply: Deferred<void>;
}

export interface SuggestWork extends Queued {
  readonly kind: "suggest";
  readonly context: SuggestionContext;
  readonly max: number;
  readonly reply: Deferred<readonly Suggestion[]>;
}

export interface HealthWork extends Queued {
  readonly kind: "health";
  /** Null when the guest says nothing about it. */
  readonly reply: Deferred<HealthResult | null>;
}

export type ResumableWork = MessageWork | EventWork | TimerWork;
export type Work = ResumableWork | SuggestWork | HealthWork;

export function isResumable(work: Work): work is ResumableWork {
  return work.kind === "message" || work.kind === "event" || work.kind === "timer";
}

/** What stands behind a commit: the message, event or timer; empty for the rest. */
export function causeIdOf(work: Work): string {
  switch (work.kind) {
    case "message":
      return work.delivery.message.messageId;
    case "event":
      return work.event.eventId;
    case "timer":
      return work.timerId;
    case "suggest":
    case "health":
      return "";
  }
}

/**
 * Names the work for good: a step that is run again, in this process or in another, makes
 * the same requests under the same keys. A suggestion or a look at its health is never run again.
 */
export function stepIdOf(work: Work): string {
  switch (work.kind) {
    case "message":
      return work.delivery.message.messageId;
    case "event":
      return `event-${work.event.eventId}`;
    case "timer":
      return `timer-${work.timerId}@${work.dueAt}`;
    case "suggest":
    case "health":
      return `${work.kind}-${work.queuedAt}`;
  }
}

/** UNSPECIFIED and NORMAL alike are normal. */
const RANK_OF_PRIORITY: readonly Rank[] = [1, 0, 1, 2, 3];

export function rankOf(priority: number): Rank {
  return RANK_OF_PRIORITY[priority] ?? 1;
}
