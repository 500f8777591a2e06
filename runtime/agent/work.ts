/** What waits in a mailbox. */
import type { SuggestionContext, Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
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

export interface MessageWork extends Queued {
  readonly kind: "message";
  readonly delivery: Delivery;
  readonly reply: Deferred<Reply>;
}

export interface SuggestWork extends Queued {
  readonly kind: "suggest";
  readonly context: SuggestionContext;
  readonly max: number;
  readonly reply: Deferred<readonly Suggestion[]>;
}

export interface EventWork extends Queued {
  readonly kind: "event";
  readonly event: AgentEvent;
  readonly reply: Deferred<void>;
}

export type Work = MessageWork | SuggestWork | EventWork;

/** UNSPECIFIED and NORMAL alike are normal. */
const RANK_OF_PRIORITY: readonly Rank[] = [1, 0, 1, 2, 3];

export function rankOf(priority: number): Rank {
  return RANK_OF_PRIORITY[priority] ?? 1;
}
