/**
 * What the host keeps, as an interface. Every implementation passes the suite in
 * tests/support/store-contract.ts.
 *
 * Promises: a returned promise that resolves means "on disk"; calls take effect
 * in the order they were made; `commit` is atomic. Records are plain data; bytes
 * are never kept by reference after a call returns its promise's result.
 * Errors: STORE_UNAVAILABLE (closed, full, read-only), STORE_CORRUPT,
 * SESSION_NOT_FOUND (an agent is put into a session that is gone),
 * AGENT_NOT_FOUND (a commit to an agent that is gone),
 * MESSAGE_ID_REUSED (a commit of a message, or of an outbox entry's message, that took effect before, D2),
 * AGENT_FENCED (a commit under an epoch that is over, D5).
 */

export type SessionStateName = "ACTIVE" | "SUSPENDED" | "EXPIRED" | "TERMINATED";

export interface SessionRecord {
  readonly sessionId: string;
  readonly userId: string;
  readonly state: SessionStateName;
  /** Milliseconds since 1970, as all times here. */
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly expiresAt: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly config: {
    readonly maxAgents: number;
    readonly timeoutSeconds: number;
    readonly enableLogging: boolean;
    readonly preferences: Readonly<Record<string, string>>;
  };
}

export interface UserRecord {
  readonly userId: string;
  readonly displayName: string;
  readonly preferences: Readonly<Record<string, string>>;
  readonly updatedAt: number;
}

export type AgentStateName = "INITIALIZING" | "READY" | "BUSY" | "ERROR" | "TERMINATED";

export interface AgentRecord {
  readonly agentId: string;
  readonly sessionId: string;
  /** The module's name. */
  readonly module: string;
  /** SHA-256 of the revision that serves it, lower-case hex. */
  readonly digest: string;
  readonly state: AgentStateName;
  readonly parentAgentId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly config: {
    readonly parameters: Readonly<Record<string, string>>;
    readonly timeoutSeconds: number;
    readonly maxConcurrentOperations: number;
    readonly enableCaching: boolean;
    readonly requiredCapabilities: readonly string[];
  };
  /** The context that CreateAgent carried. */
  readonly context: Readonly<Record<string, string>>;
  /** Why it is in ERROR or TERMINATED; empty otherwise. */
  readonly statusMessage: string;
}

// --- state -----------------------------------------------------------------------

/**
 * A guest's state as one commit wrote it (codec: runtime/sandbox/checkpoint.ts).
 * `base`: whole, as a difference to the revision's pristine image. `difference`: to the
 * state of the base or difference before it. `wait`: a suspended step, as a difference to
 * that same state; it is part of no later one, because a step that fails goes back to it.
 */
export type StateKind = "base" | "difference" | "wait";

export interface StateImage {
  readonly kind: StateKind;
  /** The revision and preparer version that it was taken from. */
  readonly digest: string;
  readonly preparation: string;
  readonly image: Uint8Array;
}

/** D6: what it takes to have an agent's state again: one base and a bounded run of differences. */
export interface StateChain {
  readonly digest: string;
  readonly preparation: string;
  /** Of the newest commit in it, wait included. Commits after it left the state as it was. */
  readonly commitSequence: number;
  readonly base: Uint8Array;
  /** Oldest first. */
  readonly differences: readonly Uint8Array[];
  /** The suspended step on top of them; null when the agent was at rest. */
  readonly wait: { readonly image: Uint8Array; readonly preparation: string } | null;
}

/** A step that waits (D4). An agent has at most one. */
export interface WaitRecord {
  /** Empty for a step that is not a message's. */
  readonly messageId: string;
  readonly messageHash: string;
  /** What it takes to go on with the step; a serialized sirsi.store.v1.Wait. */
  readonly body: Uint8Array;
}

// --- effects ---------------------------------------------------------------------

/** Names an outbox entry for good: the commit that wrote it and its place there. */
export interface OutboxKey {
  readonly agentId: string;
  readonly commitSequence: number;
  readonly index: number;
}

export interface OutboxEntry {
  readonly kind: "message" | "event";
  /** The receiving agent of a message; the topic of an event, or empty. */
  readonly target: string;
  /** A serialized GuestEmit. */
  readonly body: Uint8Array;
  readonly createdAt: number;
}

export interface StoredOutboxEntry extends OutboxEntry {
  readonly key: OutboxKey;
  readonly sessionId: string;
}

export interface TimerRecord {
  readonly agentId: string;
  /** The guest's own name for it; setting it again replaces it. */
  readonly timerId: string;
  readonly dueAt: number;
  readonly payload: Uint8Array;
}

export type TimerChange =
  | { readonly kind: "set"; readonly timerId: string; readonly dueAt: number; readonly payload: Uint8Array }
  | { readonly kind: "cancel"; readonly timerId: string };

/** A session's document: shared by its agents. */
export interface DocumentRecord {
  readonly sessionId: string;
  readonly key: string;
  /** From 1; rises with each write. */
  readonly version: number;
  readonly bytes: Uint8Array;
  readonly updatedAt: number;
  /** The agent that wrote it last. */
  readonly agentId: string;
}

export interface DocumentChange {
  readonly key: string;
  /** Null removes it. */
  readonly bytes: Uint8Array | null;
}

/** A message that was given up, kept for an operator. */
export interface DeadLetter {
  readonly deadLetterId: string;
  /** The agent it was for. */
  readonly agentId: string;
  readonly sessionId: string;
  /** Empty when a client sent it. */
  readonly sourceAgentId: string;
  readonly messageId: string;
  /** An ErrorCode. */
  readonly reason: string;
  /** For a person. */
  readonly explanation: string;
  readonly attempts: number;
  readonly deadAt: number;
  /** A serialized sirsi.agent.v1.MessageCall. */
  readonly body: Uint8Array;
}

// --- commit ----------------------------------------------------------------------

/** One message and what came of it. */
export interface ExchangeRecord {
  /** The agent's own count, from 1. */
  readonly sequence: number;
  readonly messageId: string;
  /** SHA-256 of the canonical message bytes, lower-case hex: tells a repeat from a reused id. */
  readonly messageHash: string;
  /** A serialized sirsi.agent.v1.Exchange; empty once only its id is remembered. */
  readonly body: Uint8Array;
  readonly completedAt: number;
}

export interface AgentCounters {
  readonly messagesProcessed: number;
  readonly operationsCompleted: number;
  readonly errorsEncountered: number;
  /** Sum over processed messages, for the average. */
  readonly responseTimeTotalMs: number;
  readonly lastActivityAt: number;
}

/** What kind of step a commit ended, for its history. */
export type CommitCause = "init" | "message" | "wait" | "suggest" | "event" | "timer" | "task" | "swap" | "revert" | "fork" | "dead_letter" | "given_up" | "compaction";

/**
 * The atomic, durable record of what one step did. Null and empty fields change nothing.
 * A commit ends the wait in hand, if there is one, unless it sets another.
 */
export interface AgentCommit {
  readonly agentId: string;
  /** D5: must be the agent's epoch in the store. */
  readonly epoch: number;
  /** Rises by one with each commit of the agent; a commit that does not is refused with STORE_CORRUPT. */
  readonly commitSequence: number;
  readonly cause: CommitCause;
  /** The message, event, timer or task behind it; empty when there is none. */
  readonly causeId: string;
  readonly committedAt: number;
  /** With the first commit (epoch 1, sequence 1) of an agent that the store does not have: creates it, as putAgent would. */
  readonly agent: AgentRecord | null;
  /** The first is a base. A difference or wait without a base is refused with STORE_CORRUPT. */
  readonly state: StateImage | null;
  /** With it comes a state of kind `wait`, and never one without the other (INTERNAL). */
  readonly wait: WaitRecord | null;
  /** Refused with MESSAGE_ID_REUSED when an exchange of the same message id is remembered: the message took effect before (D2). Its sequence rises, else STORE_CORRUPT. */
  readonly exchange: ExchangeRecord | null;
  readonly counters: AgentCounters | null;
  /** In order; entry i has the key {agentId, commitSequence, i}. */
  readonly outbox: readonly OutboxEntry[];
  /**
   * The outbox entry whose message this step took: it goes from its sender's outbox in the same commit.
   * An entry that is gone by then was taken or given up before: with an exchange the commit is refused
   * with MESSAGE_ID_REUSED, unless it ends the wait of that message, whose own commit may have taken it.
   */
  readonly consumed: OutboxKey | null;
  readonly timers: readonly TimerChange[];
  /** The timer that this step was: it goes, unless it was set anew to another time; before `timers`, so that the step may set it again. */
  readonly firedTimer: { readonly timerId: string; readonly dueAt: number } | null;
  readonly documents: readonly DocumentChange[];
  /** The message in hand, given up. */
  readonly deadLetter: DeadLetter | null;
  /** The dead letter that was sent again as this message: it goes. */
  readonly consumedDeadLetter: string | null;
  /** Exchanges older than this many keep their id and lose their body. */
  readonly keepExchanges: number;
  /** With a base: commits are history from the newest base that lies this many commits back. An agent without a base keeps about so many. */
  readonly keepCommits: number;
}

/**
 * An agent's books: received = done + pending + deadLettered, always. A message is
 * received when a commit first holds it, and pending while it is in a wait. A message
 * whose step was rolled back and answered with an error was never received.
 */
export interface AgentAccount {
  readonly received: number;
  readonly done: number;
  readonly deadLettered: number;
}

/** An agent as the store has it, for restoring it. */
export interface StoredAgent {
  readonly record: AgentRecord;
  readonly epoch: number;
  readonly commitSequence: number;
  readonly counters: AgentCounters;
  readonly account: AgentAccount;
  /** Sequence of its newest exchange, dropped or not; 0 when it never had one. */
  readonly exchangeSequence: number;
}

/** One commit, as its history has it. One that left the state as it was is a `difference` of no bytes. */
export interface CommitEntry {
  readonly commitSequence: number;
  readonly cause: CommitCause;
  readonly causeId: string;
  readonly committedAt: number;
  readonly digest: string;
  readonly kind: StateKind;
  readonly imageBytes: number;
}

/** One thing in the books that does not add up. */
export interface AuditFinding {
  readonly agentId: string;
  /** "account", "doubled", "sequence", "chain", "wait", "outbox", "timer": what was checked. */
  readonly check: string;
  readonly explanation: string;
}

export interface Audit {
  readonly agents: number;
  readonly received: number;
  readonly done: number;
  readonly deadLettered: number;
  /** Messages in a wait. */
  readonly pending: number;
  /** Committed messages that are not yet taken by their receivers. */
  readonly outbox: number;
  readonly timers: number;
  readonly findings: readonly AuditFinding[];
}

// --- modules ---------------------------------------------------------------------

export type RevisionStateName = "ACTIVE" | "SUPERSEDED" | "REJECTED" | "PENDING_APPROVAL";

export interface RevisionRecord {
  readonly digest: string;
  readonly module: string;
  readonly version: string;
  readonly state: RevisionStateName;
  readonly reason: string;
  readonly sizeBytes: number;
  readonly installedAt: number;
}

export interface ModuleRecord {
  readonly module: string;
  readonly activeDigest: string | null;
  readonly retired: boolean;
  readonly file: string;
}

export type SwapStateName = "REHEARSING" | "CANARY" | "MOVING" | "WATCHING" | "KEPT" | "REVERTING" | "REVERTED" | "REJECTED" | "DRY_RUN";

/** One hot swap, written at each of its turns, so that a host that died in it knows where it was. */
export interface SwapRecord {
  readonly swapId: string;
  readonly module: string;
  readonly fromDigest: string;
  readonly toDigest: string;
  readonly state: SwapStateName;
  /** Why it was rejected or reverted; empty otherwise. */
  readonly reason: string;
  readonly startedAt: number;
  /** Null while it goes on. */
  readonly endedAt: number | null;
  /** 1 to 100. */
  readonly canaryPercent: number;
  readonly watchMs: number;
  readonly moved: number;
  readonly kept: number;
  readonly failed: number;
  readonly reverted: number;
  /** Time that an agent took no messages, milliseconds. */
  readonly pauseP50Ms: number;
  readonly pauseP99Ms: number;
  readonly pauseMaxMs: number;
  /** The rehearsal's findings, in words. */
  readonly rehearsal: readonly string[];
}

export interface SessionQuery {
  readonly userId: string | null;
  /** Empty for any. */
  readonly states: readonly SessionStateName[];
  /** Sessions come newest first; only those older than this (createdAt, sessionId) are wanted. */
  readonly before: { readonly createdAt: number; readonly sessionId: string } | null;
  readonly limit: number;
}

/** Null matches any. TERMINATED agents never match. */
export interface AgentQuery {
  readonly sessionId: string | null;
  readonly module: string | null;
  readonly digest: string | null;
  readonly parentAgentId: string | null;
}

export interface DeadLetterQuery {
  readonly sessionId: string | null;
  readonly agentId: string | null;
  /** Newest first (ids rise with time); only those with a lower id are wanted; "" to begin. */
  readonly beforeId: string;
  readonly limit: number;
}

/** Opaque; made by listOutbox. */
export type OutboxCursor = number;

export interface Store {
  /** Writes something small, reads it back. For health. */
  probe(): Promise<void>;

  putSession(session: SessionRecord): Promise<void>;
  getSession(sessionId: string): Promise<SessionRecord | null>;
  listSessions(query: SessionQuery): Promise<SessionRecord[]>;
  /** Removes a session with its agents, their states, exchanges and effects, its documents and its dead letters. */
  deleteSession(sessionId: string): Promise<void>;

  putUser(user: UserRecord): Promise<void>;
  getUser(userId: string): Promise<UserRecord | null>;

  /**
   * Creates an agent (epoch 1, commit sequence 0, last active when it was created) or replaces its record; never touches its
   * state or counters. One that is put TERMINATED, here or by a commit, loses its wait and its timers: nothing is done for it any more.
   */
  putAgent(agent: AgentRecord): Promise<void>;
  getAgent(agentId: string): Promise<StoredAgent | null>;
  /** Pages through all agents not TERMINATED, by agentId, from after `afterAgentId` ("" to begin). */
  listLiveAgents(query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]>;
  countLiveAgents(query: AgentQuery): Promise<number>;
  /** Agents in state INITIALIZING, in any order: at a start, those whose spawn was cut off. */
  listInitializing(limit: number): Promise<string[]>;
  /** Live agents of a module by digest. */
  countByDigest(module: string): Promise<ReadonlyMap<string, number>>;
  /** All agents of a session, TERMINATED ones too, in creation order. */
  listSessionAgents(sessionId: string): Promise<StoredAgent[]>;
  /** Raises the epoch: what the owner before commits from now on is refused (D5). Gives the new epoch. */
  claimAgent(agentId: string): Promise<number>;

  commit(commit: AgentCommit): Promise<void>;
  /**
   * The newest state, or the state as commit `atSequence` left it, a wait included that it was or is in;
   * null when there is none (any more), or no such commit. STORE_CORRUPT when part of it is lost.
   */
  getState(agentId: string, atSequence: number | null): Promise<StateChain | null>;
  getWait(agentId: string): Promise<WaitRecord | null>;
  /** Agents in a wait, by agentId. */
  listWaiting(afterAgentId: string, limit: number): Promise<string[]>;
  /** Newest first, only those below `beforeSequence` (Infinity to begin). */
  listCommits(agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]>;

  /** Newest first, only those with a sequence below `beforeSequence` (Infinity to begin) that still have a body. */
  listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]>;
  /** The newest exchange of this message id that is remembered; its body may be empty. */
  findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null>;
  /** Forgets message ids without a body that were done before `before`; at most `limit`. Gives how many. */
  forgetExchanges(before: number, limit: number): Promise<number>;

  /** Every entry, oldest commit first, for each sender in order; from after a cursor (null to begin). */
  listOutbox(after: OutboxCursor | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: OutboxCursor | null }>;
  /** Entries that were delivered to somebody who commits nothing: they go. */
  settleOutbox(keys: readonly OutboxKey[]): Promise<void>;
  /** An entry that cannot be delivered becomes a dead letter, in one transaction; one that is gone makes none. */
  deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void>;

  /** Timers due at or before `before`, earliest first. */
  listTimers(before: number, limit: number): Promise<TimerRecord[]>;
  /** When the earliest timer after `after` is due; null when there is none. */
  nextTimer(after: number): Promise<number | null>;

  getDocument(sessionId: string, key: string): Promise<DocumentRecord | null>;
  /** Without bytes, by key, from after `afterKey`. */
  listDocuments(sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]>;

  listDeadLetters(query: DeadLetterQuery): Promise<DeadLetter[]>;
  getDeadLetter(deadLetterId: string): Promise<DeadLetter | null>;
  /** False when it was not there. */
  dropDeadLetter(deadLetterId: string): Promise<boolean>;

  /** One agent's books; null when there is no such agent. */
  auditAgent(agentId: string): Promise<Audit | null>;
  /** Every agent's books, ended ones too; at most `findingsMax` findings. Other calls are served meanwhile. */
  auditHost(findingsMax: number): Promise<Audit>;

  putModule(module: ModuleRecord, revision: RevisionRecord | null): Promise<void>;
  putRevision(revision: RevisionRecord): Promise<void>;
  listModules(): Promise<ModuleRecord[]>;
  /** Newest first. */
  listRevisions(module: string): Promise<RevisionRecord[]>;
  putSwap(swap: SwapRecord): Promise<void>;
  /** Newest first; null for every module. */
  listSwaps(module: string | null, limit: number): Promise<SwapRecord[]>;

  /** Waits for what was asked, then closes. Repeatable; later calls get STORE_UNAVAILABLE. */
  close(): Promise<void>;
}
