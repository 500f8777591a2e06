/**
 * The agents of this host, as the layers above see them. `AgentHouse`
 * (agent-house.ts) implements it; tests of upper layers may fake it.
 */
import type { Message, MessageMetrics, Priority, Suggestion, SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentCounters, AgentRecord, OutboxKey } from "../store/store.ts";
import type { Manifest } from "../module/revision.ts";

/** Something that happened, before it has a sequence. */
export interface HostEvent {
  /** AGENT_SPAWNED, AGENT_STOPPED, … or, from a guest, a lower-case name. */
  readonly type: string;
  readonly sessionId: string;
  readonly sourceAgentId: string;
  readonly targetAgentId: string;
  readonly payload: { readonly typeUrl: string; readonly value: Uint8Array } | null;
  /** Empty for the host's own events. */
  readonly topic: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly traceparent: string;
}

export type PublishEvent = (event: HostEvent) => void;

export interface SpawnSpec {
  /** The id that it gets; absent: a new one. */
  readonly agentId?: string;
  readonly sessionId: string;
  /** `name`, or `name@version`. */
  readonly agentType: string;
  readonly config: AgentRecord["config"];
  readonly context: Readonly<Record<string, string>>;
  readonly parentAgentId: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  /** When the caller stops waiting, on the monotonic clock. */
  readonly deadline: number | null;
}

/** A consistent look at one agent. */
export interface AgentView {
  readonly record: AgentRecord;
  readonly manifest: Manifest;
  readonly counters: AgentCounters;
  /** Messages waiting in its mailbox, the one in hand not counted. */
  readonly mailboxDepth: number;
  /** 1 while a step is in hand, suspended or running; else 0. */
  readonly activeOperations: number;
  /** By its own word, asked now and then, and by its faults; the record's statusMessage says why. */
  readonly health: "healthy" | "degraded" | "unhealthy" | "unknown";
  /** 0 while it is not in memory. */
  readonly memoryBytes: number;
  /** Latency since it last came to memory, milliseconds; 0 before the first message. */
  readonly latency: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
  readonly restarts: number;
  /** Seconds since its last activity have passed the idle threshold. */
  readonly idle: boolean;
  /** The sequence of its newest exchange in the store, when it was read there for this look; 0 for none. */
  readonly newestExchange?: number;
}

export interface Delivery {
  readonly message: Message;
  readonly context: Readonly<Record<string, string>>;
  readonly priority: Priority;
  /** Empty when a client sent it. */
  readonly sourceAgentId: string;
  /** On the monotonic clock; null for the module's step timeout. */
  readonly deadline: number | null;
  readonly signal: AbortSignal | null;
  readonly traceparent: string;
  /** Called with previews while the agent works. */
  readonly onPartial: ((content: string) => void) | null;
  /** The outbox entry that it comes from; it goes from its sender's outbox with the commit that takes the message. */
  readonly outboxKey: OutboxKey | null;
  /** The dead letter that it is sent again from; it goes with the commit that takes the message. */
  readonly deadLetterId: string | null;
  /** Agents that wait for the answer, the sender last (G2); absent for none that are known. */
  readonly askedBy?: readonly string[];
}

export interface Reply {
  readonly messageId: string;
  readonly response: Message;
  readonly suggestions: readonly Suggestion[];
  readonly metrics: MessageMetrics;
  /** It is the recorded reply to an earlier delivery of the same id. */
  readonly replayed: boolean;
}

/** Fields to change; absent ones stay. */
export interface AgentChanges {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly config?: AgentRecord["config"];
}

export interface SwapReport {
  readonly moved: number;
  readonly kept: number;
  readonly failed: number;
  readonly failureReason: string;
}

export interface AgentPage {
  readonly views: readonly AgentView[];
  /** Where the next page begins, for `afterAgentId`; null at the end. A page may be empty and have a next one. */
  readonly next: string | null;
}

/**
 * A host knows its agents through its store and has in memory those in use. What is
 * asked of one that sleeps is answered from the store, or wakes it; so some answers come
 * at once for those in memory, and later for others.
 */
export interface Agents {
  /** Resolves when the agent is READY and durable. */
  spawn(spec: SpawnSpec): Promise<AgentView>;
  /** Any agent this host knows, TERMINATED ones for as long as their session is there; null otherwise. Wakes nobody. */
  find(agentId: string): AgentView | null | Promise<AgentView | null>;
  /** The record alone, as `find` would show it but for its state: at once for those in use, and cheap enough for every message. */
  recordOf(agentId: string): AgentRecord | null | Promise<AgentRecord | null>;
  /** A session's agents that are not TERMINATED, by id, which is the order of their spawns; those being made too, from the call of spawn on. From after `afterAgentId` ("" to begin). Wakes nobody. */
  list(sessionId: string, afterAgentId: string, limit: number): Promise<AgentPage>;
  /** How many a session has, by the same count. Whoever had to wait asks again: meanwhile it may have changed. */
  countOf(sessionId: string): number | Promise<number>;
  /** Agents that are not TERMINATED. */
  readonly count: number;
  /**
   * Puts a message in the mailbox and waits for the reply (D1: until it is committed).
   * A guest's own error value is thrown as GUEST_ERROR with metadata guest_code.
   */
  send(agentId: string, delivery: Delivery): Promise<Reply>;
  suggest(agentId: string, context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]>;
  update(agentId: string, changes: AgentChanges): Promise<AgentView>;
  /** Ends an agent: messages in hand finish or fail, waiting ones are refused. Repeatable. */
  stop(agentId: string, reason: string): Promise<void>;
  /** Kept exchanges, newest first, below `beforeSequence`: serialized sirsi.agent.v1.Exchange bodies with their sequence. */
  exchanges(agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]>;
}
