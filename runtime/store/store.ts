/**
 * What the host keeps, as an interface. Every implementation passes the suite in
 * tests/support/store-contract.ts.
 *
 * Promises: a returned promise that resolves means "on disk"; calls take effect
 * in the order they were made; `commit` is atomic. Records are plain data; bytes
 * are never kept by reference after a call returns its promise's result.
 * Errors: STORE_UNAVAILABLE (closed, full, read-only), STORE_CORRUPT,
 * SESSION_NOT_FOUND (an agent is put into a session that is gone),
 * AGENT_NOT_FOUND (a commit to an agent that is gone).
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

/** An agent's complete guest state at one commit. */
export interface CheckpointRecord {
  /** The revision and preparer version whose pristine image `image` is a difference to. */
  readonly digest: string;
  readonly preparation: string;
  /** The checkpoint codec's bytes (runtime/sandbox/checkpoint.ts). */
  readonly image: Uint8Array;
}

/** One message and what came of it. */
export interface ExchangeRecord {
  /** The agent's own count, from 1. */
  readonly sequence: number;
  readonly messageId: string;
  /** SHA-256 of the canonical message bytes, lower-case hex: tells a repeat from a reused id. */
  readonly messageHash: string;
  /** A serialized sirsi.agent.v1.Exchange. */
  readonly body: Uint8Array;
}

export interface AgentCounters {
  readonly messagesProcessed: number;
  readonly operationsCompleted: number;
  readonly errorsEncountered: number;
  /** Sum over processed messages, for the average. */
  readonly responseTimeTotalMs: number;
  readonly lastActivityAt: number;
}

/** The atomic, durable record of what one step did. Null fields stay as they are. */
export interface AgentCommit {
  readonly agentId: string;
  /** Rises by one with each commit of the agent; a commit that does not is refused with STORE_CORRUPT. */
  readonly commitSequence: number;
  readonly agent: AgentRecord | null;
  readonly checkpoint: CheckpointRecord | null;
  readonly exchange: ExchangeRecord | null;
  readonly counters: AgentCounters | null;
  /** Exchanges older than this many are dropped. */
  readonly keepExchanges: number;
}

/** An agent as the store has it, for restoring it. */
export interface StoredAgent {
  readonly record: AgentRecord;
  readonly commitSequence: number;
  readonly counters: AgentCounters;
  /** Sequence of its newest exchange, dropped or not; 0 when it never had one. */
  readonly exchangeSequence: number;
}

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

export interface SessionQuery {
  readonly userId: string | null;
  /** Empty for any. */
  readonly states: readonly SessionStateName[];
  /** Sessions come newest first; only those older than this (createdAt, sessionId) are wanted. */
  readonly before: { readonly createdAt: number; readonly sessionId: string } | null;
  readonly limit: number;
}

export interface Store {
  /** Writes something small, reads it back. For health. */
  probe(): Promise<void>;

  putSession(session: SessionRecord): Promise<void>;
  getSession(sessionId: string): Promise<SessionRecord | null>;
  listSessions(query: SessionQuery): Promise<SessionRecord[]>;
  /** Removes a session with its agents, checkpoints and exchanges. */
  deleteSession(sessionId: string): Promise<void>;

  putUser(user: UserRecord): Promise<void>;
  getUser(userId: string): Promise<UserRecord | null>;

  /** Creates an agent (commit sequence 0, last active when it was created) or replaces its record; never touches its checkpoint or counters. */
  putAgent(agent: AgentRecord): Promise<void>;
  getAgent(agentId: string): Promise<StoredAgent | null>;
  /** Pages through all agents not TERMINATED, by agentId, from after `afterAgentId` ("" to begin). */
  listLiveAgents(afterAgentId: string, limit: number): Promise<StoredAgent[]>;
  /** All agents of a session, TERMINATED ones too, in creation order. */
  listSessionAgents(sessionId: string): Promise<StoredAgent[]>;
  getCheckpoint(agentId: string): Promise<CheckpointRecord | null>;
  commit(commit: AgentCommit): Promise<void>;

  /** Newest first, only those with a sequence below `beforeSequence` (Infinity to begin). */
  listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]>;
  /** The newest kept exchange of this message id. */
  findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null>;

  putModule(module: ModuleRecord, revision: RevisionRecord | null): Promise<void>;
  putRevision(revision: RevisionRecord): Promise<void>;
  listModules(): Promise<ModuleRecord[]>;
  /** Newest first. */
  listRevisions(module: string): Promise<RevisionRecord[]>;

  /** Waits for what was asked, then closes. Repeatable; later calls get STORE_UNAVAILABLE. */
  close(): Promise<void>;
}
