/**
 * What the hosts of a fleet tell each other in passing: what was said of late, small notes
 * on sessions, how fast somebody may send, who is connected where.
 *
 * Nothing here is the truth, and nothing here cannot be rebuilt: the store has the truth.
 *
 * Invariants, of every implementation:
 * - X1 No call rejects, throws or hangs, whatever happens to what is behind it.
 * - X2 Who asks for what is not there, or cannot be had in time, is told `null`: "unknown",
 *   and never that there is nothing. It goes to the store then.
 * - X3 What was written may be lost at any time, and is gone after its time to live.
 * - X4 What is read back was written as it is read: never a part, never two mixed.
 */

export interface ContextEntry {
  /** The agent's own count of its exchanges. */
  readonly sequence: number;
  /** A serialized sirsi.agent.v1.Exchange. */
  readonly body: Uint8Array;
}

/** Of each agent the newest exchanges, as they were committed. */
export interface Conversations {
  /** One that the store has by now. Whatever is not the next after the newest one known begins anew with it. */
  add(agentId: string, entry: ContextEntry): void;
  /** Newest first, one sequence after the other without a gap, at most `limit`. */
  newest(agentId: string, limit: number): Promise<readonly ContextEntry[] | null>;
  forget(agentId: string): void;
}

/** A small map of texts for each session; each write prolongs the life of all of it. */
export interface SessionNotes {
  /** Added to what there is; a name that is there gets the new value. */
  put(sessionId: string, notes: Readonly<Record<string, string>>): void;
  of(sessionId: string): Promise<Readonly<Record<string, string>> | null>;
  forget(sessionId: string): void;
}

/** A bucket that holds a minute's worth, and fills up evenly. */
export interface RateRule {
  /** Whose it is: rules of one key have one bucket. */
  readonly key: string;
  readonly perMinute: number;
}

export type RateVerdict =
  | { readonly kind: "granted" }
  /** `by` is the place of the rule that takes longest to grant it. */
  | { readonly kind: "refused"; readonly by: number; readonly retryAfterMs: number };

export interface RateLimits {
  /** One piece from every bucket, or from none. While hosts cannot share, each counts what it grants itself. */
  take(rules: readonly RateRule[]): RateVerdict | Promise<RateVerdict>;
}

export interface HostPresence {
  readonly host: string;
  readonly connections: number;
}

/** Who is connected to which session, and to which host. */
export interface Presence {
  /** Somebody is, to this host, until the result is called. */
  connect(sessionId: string): () => void;
  /** By name of the host. A host that does not say so again and again counts for nothing. */
  of(sessionId: string): Promise<readonly HostPresence[] | null>;
}

/** `away`: out of reach, and tried again and again by itself. */
export type ContextStatus = "in-process" | "connected" | "away" | "closed";

export interface ContextCounts {
  /** Questions that were not answered in time. */
  readonly unanswered: number;
  /** Writes that were given up. */
  readonly dropped: number;
}

export interface SharedContext {
  readonly status: ContextStatus;
  /** Why it is away, for people; empty otherwise. */
  readonly reason: string;
  readonly counts: ContextCounts;
  readonly conversations: Conversations;
  readonly notes: SessionNotes;
  readonly rates: RateLimits;
  readonly presence: Presence;
  /** Writes what it has, as far as that can be done in time, and lets go. Repeatable. */
  close(): Promise<void>;
}

export interface ContextLimits {
  /** After the last write. */
  readonly ttlMs: number;
  /** Of each agent. */
  readonly exchangesKept: number;
}

/** A larger exchange is not kept, and what came before it is forgotten: a conversation has no gap. */
export const ENTRY_MAX_BYTES = 64 * 1024;
