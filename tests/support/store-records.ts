/** Records for store tests: complete, plain, and different from each other only where a test says so. */
import { newId } from "../../runtime/core/ids.ts";
import type {
  AgentCommit, AgentCounters, AgentRecord, CheckpointRecord, ExchangeRecord, ModuleRecord, RevisionRecord, SessionRecord,
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

export function checkpointRecord(...image: number[]): CheckpointRecord {
  return { digest: "a".repeat(64), preparation: "p1", image: Uint8Array.from(image) };
}

export function exchangeRecord(sequence: number, changes: Partial<ExchangeRecord> = {}): ExchangeRecord {
  return { sequence, messageId: `m-${sequence}`, messageHash: "b".repeat(64), body: Uint8Array.of(sequence), ...changes };
}

export function agentCounters(messagesProcessed: number): AgentCounters {
  return { messagesProcessed, operationsCompleted: 2, errorsEncountered: 3, responseTimeTotalMs: 4.25, lastActivityAt: START_MS + messagesProcessed };
}

/** A commit that changes nothing but the sequence, unless told. */
export function agentCommit(agentId: string, commitSequence: number, changes: Partial<AgentCommit> = {}): AgentCommit {
  return { agentId, commitSequence, agent: null, checkpoint: null, exchange: null, counters: null, keepExchanges: 100, ...changes };
}

export function moduleRecord(module: string, changes: Partial<ModuleRecord> = {}): ModuleRecord {
  return { module, activeDigest: "c".repeat(64), retired: false, file: `${module}.wasm`, ...changes };
}

export function revisionRecord(module: string, digest: string, changes: Partial<RevisionRecord> = {}): RevisionRecord {
  return { digest, module, version: "1.0.0", state: "ACTIVE", reason: "", sizeBytes: 10_240, installedAt: START_MS, ...changes };
}
