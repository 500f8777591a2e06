/** Agents as they are read: one by one, of a session, and all that live, page by page. They are written in batches (batch.ts). */
import { isId } from "../../core/ids.ts";
import type { AgentQuery, AgentRecord, AgentStateName, StoredAgent } from "../store.ts";
import type { Link, Parameter } from "./link.ts";
import { inScope, type Scope } from "./scope.ts";
import { json, number, plain, text, textOrNull, type Row } from "./row.ts";
import { keptText } from "./stored-text.ts";

const PROGRESS = "JOIN agent_progress p ON p.agent_id = a.agent_id";
const STORED = `
  SELECT a.agent_id, a.session_id, a.module, a.digest, a.state, a.parent_agent_id, a.created_at, a.updated_at, a.metadata, a.config, a.context, a.status_message,
    p.epoch, p.commit_sequence, p.exchange_sequence, p.received, p.done, p.dead_lettered,
    p.messages_processed, p.operations_completed, p.errors_encountered, p.response_time_total_ms, p.last_activity_at
  FROM agents a ${PROGRESS}`;
const NOBODY = "00000000-0000-0000-0000-000000000000";

function storedAgentOf(row: Row): StoredAgent {
  const agentId = plain(row, "agent_id");
  const record = `agent ${agentId}`;
  return {
    record: {
      agentId,
      sessionId: plain(row, "session_id"),
      module: text(row, "module"),
      digest: text(row, "digest"),
      state: plain(row, "state") as AgentStateName,
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

/** The lowest id that may come after one that was given; "" to begin. */
export function afterId(agentId: string): string {
  return isId(agentId) ? agentId : NOBODY;
}

export async function getAgent(link: Link, agentId: string): Promise<StoredAgent | null> {
  if (!isId(agentId)) return null;
  const [row] = await link.query(`${STORED} WHERE a.agent_id = $1`, [agentId]);
  return row === undefined ? null : storedAgentOf(row);
}

/** Null when nobody can match. A session's agents, or an agent's children, may be on any host. */
function conditionsOf({ sessionId, module, digest, parentAgentId }: AgentQuery, scope: Scope): { readonly where: string; readonly parameters: Parameter[] } | null {
  if (sessionId !== null && !isId(sessionId)) return null;
  const parameters: Parameter[] = [];
  const named = { "a.session_id": sessionId, "a.module": module, "a.digest": digest, "a.parent_agent_id": parentAgentId };
  const conditions = Object.entries(named).flatMap(([column, value]) => (value === null ? [] : [`${column} = $${parameters.push(keptText(value))}`]));
  if (scope !== null && sessionId === null && parentAgentId === null) conditions.push(`p.owner = $${parameters.push(scope)}`);
  return { where: ["a.live", ...conditions].join(" AND "), parameters };
}

export async function listLiveAgents(link: Link, scope: Scope, query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]> {
  const conditions = conditionsOf(query, scope);
  if (conditions === null) return [];
  const { where, parameters } = conditions;
  const after = parameters.push(afterId(afterAgentId));
  const most = parameters.push(limit);
  return (await link.query(`${STORED} WHERE ${where} AND a.agent_id > $${after} ORDER BY a.agent_id LIMIT $${most}`, parameters)).map(storedAgentOf);
}

export async function countLiveAgents(link: Link, scope: Scope, query: AgentQuery): Promise<number> {
  const conditions = conditionsOf(query, scope);
  if (conditions === null) return 0;
  const [row] = await link.query(`SELECT count(*) AS n FROM agents a ${scope === null ? "" : PROGRESS} WHERE ${conditions.where}`, conditions.parameters);
  return row === undefined ? 0 : number(row, "n");
}

const initializingSql = (owned: string): string => `SELECT a.agent_id FROM agents a WHERE a.state = 'INITIALIZING'${owned} LIMIT $1`;

export async function listInitializing(link: Link, scope: Scope, limit: number): Promise<string[]> {
  return (await inScope(link, scope, "a", initializingSql, [limit])).map((row) => plain(row, "agent_id"));
}

const digestsSql = (owned: string): string => `SELECT a.digest, count(*) AS n FROM agents a WHERE a.module = $1 AND a.live${owned} GROUP BY a.digest`;

export async function countByDigest(link: Link, scope: Scope, module: string): Promise<ReadonlyMap<string, number>> {
  const rows = await inScope(link, scope, "a", digestsSql, [keptText(module)]);
  return new Map(rows.map((row) => [text(row, "digest"), number(row, "n")]));
}

export async function listSessionAgents(link: Link, sessionId: string): Promise<StoredAgent[]> {
  if (!isId(sessionId)) return [];
  return (await link.query(`${STORED} WHERE a.session_id = $1 ORDER BY a.created_at, a.agent_id`, [sessionId])).map(storedAgentOf);
}
