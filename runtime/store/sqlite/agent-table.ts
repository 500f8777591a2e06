/** Agents: their records and what is read to restore them. The commit is in agent-commit.ts. */
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { AgentRecord, AgentStateName, StoredAgent } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, json, number, text, textOrNull, type Row } from "./row.ts";
import { isForeignKeyFault } from "./sqlite-fault.ts";

function agentOf(row: Row): StoredAgent {
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
    commitSequence: number(row, "commit_sequence"),
    counters: {
      messagesProcessed: number(row, "messages_processed"),
      operationsCompleted: number(row, "operations_completed"),
      errorsEncountered: number(row, "errors_encountered"),
      responseTimeTotalMs: number(row, "response_time_total_ms"),
      lastActivityAt: number(row, "last_activity_at"),
    },
    exchangeSequence: number(row, "exchange_sequence"),
  };
}

const COLUMNS = [
  "agent_id", "session_id", "module", "digest", "state", "parent_agent_id", "created_at", "updated_at",
  "metadata", "config", "context", "status_message",
];

function columnsOf(agent: AgentRecord): SQLInputValue[] {
  return [
    agent.agentId, agent.sessionId, agent.module, agent.digest, agent.state, agent.parentAgentId, agent.createdAt, agent.updatedAt,
    JSON.stringify(agent.metadata), JSON.stringify(agent.config), JSON.stringify(agent.context), agent.statusMessage,
  ];
}

/** Inserts or replaces an agent's record and gives its key. */
export function prepareAgentWrite(db: DatabaseSync): (agent: AgentRecord) => number {
  const replaced = COLUMNS.slice(1).map((column) => `${column} = excluded.${column}`);
  const write = db.prepare(`
    INSERT INTO agents (${COLUMNS.join(", ")}) VALUES (${COLUMNS.map(() => "?").join(", ")})
    ON CONFLICT (agent_id) DO UPDATE SET ${replaced.join(", ")} RETURNING agent_key`);
  return (agent) => {
    try {
      return number(write.get(...columnsOf(agent)) as Row, "agent_key");
    } catch (thrown) {
      if (!isForeignKeyFault(thrown)) throw thrown;
      throw new SirsiError(
        "SESSION_NOT_FOUND",
        `Agent ${agent.agentId} was not stored: its session ${agent.sessionId} is gone. Create a session and spawn the agent in it.`,
        { cause: thrown },
      );
    }
  };
}

type AgentCalls = "putAgent" | "getAgent" | "listLiveAgents" | "listSessionAgents" | "getCheckpoint";

export function agentTable(db: DatabaseSync): Pick<SyncStore, AgentCalls> {
  const stored = "SELECT * FROM agents JOIN agent_progress USING (agent_key)";
  const write = prepareAgentWrite(db);
  const begin = db.prepare("INSERT INTO agent_progress (agent_key, last_activity_at) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const get = db.prepare(`${stored} WHERE agent_id = ?`);
  const listLive = db.prepare(`${stored} WHERE agent_id > ? AND state <> 'TERMINATED' ORDER BY agent_id LIMIT ?`);
  const listOfSession = db.prepare(`${stored} WHERE session_id = ? ORDER BY created_at, agent_key`);
  const checkpoint = db.prepare(`
    SELECT digest, preparation, image FROM checkpoints
    WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)`);

  return {
    putAgent(agent) {
      begin.run(write(agent), agent.createdAt);
    },
    getAgent(agentId) {
      const row = get.get(agentId);
      return row === undefined ? null : agentOf(row);
    },
    listLiveAgents: (afterAgentId, limit) => listLive.all(afterAgentId, limit).map(agentOf),
    listSessionAgents: (sessionId) => listOfSession.all(sessionId).map(agentOf),
    getCheckpoint(agentId) {
      const row = checkpoint.get(agentId);
      return row === undefined ? null : { digest: text(row, "digest"), preparation: text(row, "preparation"), image: bytes(row, "image") };
    },
  };
}
