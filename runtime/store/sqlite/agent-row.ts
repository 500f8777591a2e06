/** One agent's record and progress: how they are written and read. */
import type { DatabaseSync } from "node:sqlite";
import { sessionGone } from "../commit-rules.ts";
import type { AgentRecord, AgentStateName, StoredAgent } from "../store.ts";
import { json, number, text, textOrNull, type Row } from "./row.ts";
import { isForeignKeyFault } from "./sqlite-fault.ts";

/** What `storedAgentOf` reads; a query goes on with WHERE. */
export const STORED_AGENTS = "agents JOIN agent_progress USING (agent_key)";

export function storedAgentOf(row: Row): StoredAgent {
  const agentId = text(row, "agent_id");
  const record = `agent ${agentId}`;
  return {
    record: {
      agentId,
      sessionId: text(row, "session_id"),
      module: text(row, "module"),
      digest: text(row, "digest"),
      state: text(row, "state") as AgentStateName,
      parentAgentId: textOrNull(row, "parent_agent_id"),
      createdAt: number(row, "created_at"),
      updatedAt: number(row, "updated_at"),
      metadata: json(row, "metadata", record) as AgentRecord["metadata"],
      config: json(row, "config", record) as AgentRecord["config"],
      context: json(row, "context", record) as AgentRecord["context"],
      statusMessage: text(row, "status_message"),
    },
    epoch: number(row, "epoch"),
    commitSequence: number(row, "commit_sequence"),
    counters: {
      messagesProcessed: number(row, "messages_processed"),
      operationsCompleted: number(row, "operations_completed"),
      errorsEncountered: number(row, "errors_encountered"),
      responseTimeTotalMs: number(row, "response_time_total_ms"),
      lastActivityAt: number(row, "last_activity_at"),
    },
    account: { received: number(row, "received"), done: number(row, "done"), deadLettered: number(row, "dead_lettered") },
    exchangeSequence: number(row, "exchange_sequence"),
  };
}

const COLUMNS = [
  "session_id", "module", "digest", "state", "parent_agent_id", "created_at", "updated_at",
  "metadata", "config", "context", "status_message", "agent_id",
];

export interface AgentWriter {
  /** Its key; null when the store does not have it. */
  find(agentId: string): number | null;
  /** A new one, at commit 0. SESSION_NOT_FOUND. */
  create(agent: AgentRecord): void;
  /** The record of one that is there. SESSION_NOT_FOUND. */
  replace(agent: AgentRecord): void;
}

export function prepareAgentWriter(db: DatabaseSync): AgentWriter {
  const find = db.prepare("SELECT agent_key FROM agents WHERE agent_id = ?");
  const insert = db.prepare(`
    INSERT INTO agents (${COLUMNS.join(", ")}, agent_key) VALUES (${COLUMNS.map(() => "?").join(", ")},
      coalesce((SELECT min(agent_key) FROM free_agent_keys), (SELECT coalesce(max(agent_key), 0) + 1 FROM agents))) RETURNING agent_key`);
  const begin = db.prepare("INSERT INTO agent_progress (agent_key, last_activity_at) VALUES (?, ?)");
  const update = db.prepare(`UPDATE agents SET ${COLUMNS.slice(0, -1).map((column) => `${column} = ?`).join(", ")} WHERE agent_id = ?`);

  const valuesOf = (agent: AgentRecord) => [
    agent.sessionId, agent.module, agent.digest, agent.state, agent.parentAgentId, agent.createdAt, agent.updatedAt,
    JSON.stringify(agent.metadata), JSON.stringify(agent.config), JSON.stringify(agent.context), agent.statusMessage, agent.agentId,
  ];
  const inSession = <Value>(agent: AgentRecord, write: () => Value): Value => {
    try {
      return write();
    } catch (thrown) {
      if (!isForeignKeyFault(thrown)) throw thrown;
      throw sessionGone(agent, thrown);
    }
  };

  return {
    find(agentId) {
      const row = find.get(agentId);
      return row === undefined ? null : number(row, "agent_key");
    },
    create(agent) {
      const row = inSession(agent, () => insert.get(...valuesOf(agent))) ?? {};
      begin.run(number(row, "agent_key"), agent.createdAt);
    },
    replace(agent) {
      inSession(agent, () => update.run(...valuesOf(agent)));
    },
  };
}
