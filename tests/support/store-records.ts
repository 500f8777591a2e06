/** Records for store tests: complete, plain, and different from each other only where a test says so. */
import { newId } from "../../runtime/core/ids.ts";
import type {
  AgentCommit, AgentCounters, AgentRecord, DeadLetter, ExchangeRecord, ModuleRecord, OutboxEntry, RevisionRecord, SessionRecord, StateImage, StateKind, Store, SwapRecord, WaitRecord,
} from "../../runtime/store/store.ts";

export const START_MS = 1_750_000_000_000;

export function sessionRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    sessionId: newId(START_MS),
    userId: "ada",
    state: "ACTIVE",
    createdAt: START_MS,
    updatedAt: START_MS + 1,
    expiresAt: START_MS + 3_600_000,
    metadata: { team: "blue" },
    config: { maxAgents: 10, timeoutSeconds: 3_600, enableLogging: true, preferences: { theme: "dark" } },
    ...changes,
  };
}

export function agentRecord(sessionId: string, changes: Partial<AgentRecord> = {}): AgentRecord {
  return {
    agentId: newId(START_MS),
    sessionId,
    module: "echo",
    digest: "a".repeat(64),
    state: "READY",
    parentAgentId: null,
    createdAt: START_MS,
    updatedAt: START_MS,
    metadata: { colour: "green" },
    config: {
      parameters: { region: "eu-west-1" },
      timeoutSeconds: 30,
      maxConcurrentOperations: 1,
      enableCaching: true,
      requiredCapabilities: ["ask"],
    },
    context: { ticket: "7" },
    statusMessage: "",
    ...changes,
  };
}

export function stateImage(kind: StateKind, ...image: number[]): StateImage {
  return { kind, digest: "a".repeat(64), preparation: "p1", image: Uint8Array.from(image) };
}

export function waitRecord(messageId: string, changes: Partial<WaitRecord> = {}): WaitRecord {
  return { messageId, messageHash: messageId === "" ? "" : "b".repeat(64), body: Uint8Array.of(7), ...changes };
}

export function exchangeRecord(sequence: number, changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
  return { sequence, messageId: `m-${sequence}`, messageHash: "b".repeat(64), body: Uint8Array.of(sequence), completedAt: START_MS + sequence, ...changes };
}

export function outboxEntry(target: string, changes: Partial<OutboxEntry> = {}): OutboxEntry {
  return { kind: "message", target, body: Uint8Array.of(1, 2), createdAt: START_MS, ...changes };
}

export function deadLetter(agentId: string, sessionId: string, changes: Partial<DeadLetter> = {}): DeadLetter {
  return {
    deadLetterId: newId(START_MS),
    agentId,
    sessionId,
    sourceAgentId: "",
    messageId: "m-dead",
    reason: "GUEST_TRAP",
    explanation: "it trapped twice",
    attempts: 2,
    deadAt: START_MS + 5,
    body: Uint8Array.of(4, 4),
    ...changes,
  };
}

export function agentCounters(messagesProcessed: number): AgentCounters {
  return { messagesProcessed, operationsCompleted: 2, errorsEncountered: 3, responseTimeTotalMs: 4.25, lastActivityAt: START_MS + messagesProcessed };
}

/** A commit that changes nothing but the sequence, unless told. */
export function agentCommit(agentId: string, commitSequence: number, changes: Partial<AgentCommit> = {}): AgentCommit {
  return {
    agentId,
    epoch: 1,
    commitSequence,
    cause: "message",
    causeId: "",
    committedAt: START_MS + commitSequence,
    agent: null,
    state: null,
    wait: null,
    exchange: null,
    counters: null,
    outbox: [],
    consumed: null,
    timers: [],
    firedTimer: null,
    documents: [],
    deadLetter: null,
    consumedDeadLetter: null,
    keepExchanges: 100,
    keepCommits: 100,
    ...changes,
  };
}

/** A step that waits: its state and its record, which go together. */
export function waitCommit(agentId: string, commitSequence: number, messageId: string, changes: Partial<AgentCommit> = {}): AgentCommit {
  return agentCommit(agentId, commitSequence, { cause: "wait", causeId: messageId, state: stateImage("wait", 50 + commitSequence), wait: waitRecord(messageId), ...changes });
}

/** A session and an agent in it. */
export async function newAgent(store: Store, sessionId: string | null = null, changes: Partial<AgentRecord> = {}): Promise<string> {
  const session = sessionRecord(sessionId === null ? {} : { sessionId });
  const agent = agentRecord(session.sessionId, changes);
  if (sessionId === null) await store.putSession(session);
  await store.putAgent(agent);
  return agent.agentId;
}

export async function sessionOf(store: Store, agentId: string): Promise<string> {
  return (await store.getAgent(agentId))!.record.sessionId;
}

export function moduleRecord(module: string, changes: Partial<ModuleRecord> = {}): ModuleRecord {
  return { module, activeDigest: "c".repeat(64), retired: false, file: `${module}.wasm`, ...changes };
}

export function revisionRecord(module: string, digest: string, changes: Partial<RevisionRecord> = {}): RevisionRecord {
  return { digest, module, version: "1.0.0", state: "ACTIVE", reason: "", sizeBytes: 10_240, installedAt: START_MS, ...changes };
}

export function swapRecord(module: string, changes: Partial<SwapRecord> = {}): SwapRecord {
  return {
    swapId: newId(START_MS),
    module,
    fromDigest: "1".repeat(64),
    toDigest: "2".repeat(64),
    state: "MOVING",
    reason: "",
    startedAt: START_MS,
    endedAt: null,
    canaryPercent: 10,
    watchMs: 10_000,
    moved: 1,
    kept: 2,
    failed: 3,
    reverted: 4,
    pauseP50Ms: 1.5,
    pauseP99Ms: 2.5,
    pauseMaxMs: 3.5,
    rehearsal: ["the reply to m-1 differs"],
    ...changes,
  };
}
