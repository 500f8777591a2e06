/** Agents: their records and what is read to restore them. The commit is in agent-commit.ts. */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { AgentQuery, AgentRecord, AgentStateName, StoredAgent } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { json, number, text, textOrNull, type Row } from "./row.ts";
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

type AgentCalls = "putAgent" | "getAgent" | "listLiveAgents" | "countLiveAgents" | "listInitializing" | "countByDigest" | "listSessionAgents" | "claimAgent";

/** The conditions of a query, and what they compare with. */
function conditions({ sessionId, module, digest, parentAgentId }: AgentQuery): { readonly where: string; readonly values: readonly string[] } {
  const wanted = [["session_id", sessionId], ["module", module], ["digest", digest], ["parent_agent_id", parentAgentId]] as const;
  const set = wanted.filter((one): one is readonly [(typeof one)[0], string] => one[1] !== null);
  return { where: set.map(([column]) => ` AND ${column} = ?`).join(""), values: set.map(([, value]) => value) };
}

export function agentTable(db: DatabaseSync): Pick<SyncStore, AgentCalls> {
  const stored = "SELECT * FROM agents JOIN agent_progress USING (agent_key)";
  const write = prepareAgentWrite(db);
  const begin = db.prepare("INSERT INTO agent_progress (agent_key, last_activity_at) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const end = prepareAgentEnd(db);
  const get = db.prepare(`${stored} WHERE agent_id = ?`);
  const listOfSession = db.prepare(`${stored} WHERE session_id = ? ORDER BY created_at, agent_key`);
  const unfinished = db.prepare("SELECT agent_id FROM agents WHERE state = 'INITIALIZING' LIMIT ?");
  const byDigest = db.prepare("SELECT digest, count(*) AS agents FROM agents WHERE module = ? AND state <> 'TERMINATED' GROUP BY digest");
  const claim = db.prepare("UPDATE agent_progress SET epoch = epoch + 1 WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?) RETURNING epoch");
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    const statement = statements.get(sql) ?? db.prepare(sql);
    statements.set(sql, statement);
    return statement;
  };

  return {
    putAgent(agent) {
      const agentKey = write(agent);
      begin.run(agentKey, agent.createdAt);
      if (agent.state === "TERMINATED") end(agentKey);
    },
    getAgent(agentId) {
      const row = get.get(agentId);
      return row === undefined ? null : agentOf(row);
    },
    listLiveAgents(query, afterAgentId, limit) {
      const { where, values } = conditions(query);
      return prepared(`${stored} WHERE agent_id > ? AND state <> 'TERMINATED'${where} ORDER BY agent_id LIMIT ?`).all(afterAgentId, ...values, limit).map(agentOf);
    },
    countLiveAgents(query) {
      const { where, values } = conditions(query);
      return number(prepared(`SELECT count(*) AS agents FROM agents WHERE state <> 'TERMINATED'${where}`).get(...values) as Row, "agents");
    },
    listInitializing: (limit) => unfinished.all(limit).map((row) => text(row, "agent_id")),
    countByDigest: (module) => new Map(byDigest.all(module).map((row) => [text(row, "digest"), number(row, "agents")])),
    listSessionAgents: (sessionId) => listOfSession.all(sessionId).map(agentOf),
    claimAgent(agentId) {
      const row = claim.get(agentId);
      if (row === undefined) throw new SirsiError("AGENT_NOT_FOUND", `Agent ${agentId} was not claimed: the store has no such agent.`);
      return number(row, "epoch");
    },
  };
}

/** An ended agent has no wait and no timers. */
export function prepareAgentEnd(db: DatabaseSync): (agentKey: number) => void {
  const wait = db.prepare("DELETE FROM waits WHERE agent_key = ? RETURNING message_id");
  const timers = db.prepare("DELETE FROM timers WHERE agent_key = ?");
  const uncount = db.prepare("UPDATE agent_progress SET received = received - 1 WHERE agent_key = ?");
  return (agentKey) => {
    const ended = wait.get(agentKey);
    if (ended !== undefined && ended["message_id"] !== "") uncount.run(agentKey);
    timers.run(agentKey);
  };
}
