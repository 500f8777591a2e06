/** The events of all sessions, as the layers above know them; of one host or of a fleet. */
import type { HostEvent, PublishEvent } from "../agent/agents.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";

export interface FollowOptions {
  /** Only these event types; empty for all. */
  readonly types: readonly string[];
  /** 0n for live events only; otherwise the first sequence wanted. */
  readonly fromSequence: bigint;
  /** False when the session is over: what is kept, and then the end. */
  readonly live: boolean;
  /** Ends the following with CANCELLED. */
  readonly signal: AbortSignal | null;
}

export interface SessionEvents {
  /** Takes what happened. Never waits, never throws; may be handed on as it is. */
  readonly publish: PublishEvent;
  /** A session was made: all of its events will have been seen. */
  begin(sessionId: string): void;
  /** The session's last event, after which its followers end. Repeatable: the first one counts. */
  end(sessionId: string, last: HostEvent): void;
  /** Drops what is kept of a session that was removed. */
  forget(sessionId: string): void;
  /**
   * Follows from this call on, whether or not it is read at once; leave it by ending the
   * iteration or by the signal. EVENTS_NOT_KEPT, at once or at the first reading, when
   * events from `fromSequence` on are gone.
   */
  follow(sessionId: string, options: FollowOptions): AsyncIterableIterator<AgentEvent>;
  /** Resolves when what was published is kept, or after `withinMs`. Left out where publishing is keeping. */
  settled?(withinMs: number): Promise<void>;
  /** Ends every follower, for the host is going down. */
  close(): void;
}
