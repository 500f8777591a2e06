/** Sessions and users. */
import { isId, requireId } from "../../core/ids.ts";
import type { SessionQuery, SessionRecord, SessionStateName, UserRecord } from "../store.ts";
import type { Link, Parameter } from "./link.ts";
import { json, number, plain, text, type Row } from "./row.ts";
import { arrayText, keptText } from "./stored-text.ts";
import { begin, commitWith, inTransaction, rollBack, writeOne, type Writer } from "./transaction.ts";
import { userKey } from "./user-id.ts";

const SESSION = `
  SELECT s.session_id, u.user_id, s.state, (extract(epoch FROM s.created_at) * 1000)::double precision AS created_at, s.updated_at, s.expires_at, s.metadata, s.config
  FROM agent_sessions s JOIN users u ON u.id = s.user_id`;

function sessionOf(row: Row): SessionRecord {
  const sessionId = plain(row, "session_id");
  return {
    sessionId,
    userId: text(row, "user_id"),
    state: plain(row, "state") as SessionStateName,
    createdAt: Math.round(number(row, "created_at")),
    updatedAt: number(row, "updated_at"),
    expiresAt: number(row, "expires_at"),
    metadata: json(row, "metadata", `session ${sessionId}`) as SessionRecord["metadata"],
    config: json(row, "config", `session ${sessionId}`) as SessionRecord["config"],
  };
}

function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}

/** A user that was only named has neither a display name nor a time. */
const NAME_USER = "INSERT INTO users (id, user_id, display_name, preferences, updated_at) VALUES ($1, $2, '', '{}', NULL) ON CONFLICT (id) DO NOTHING";
const PUT_SESSION = `
  INSERT INTO agent_sessions (session_id, user_id, active_agents, created_at, state, updated_at, expires_at, metadata, config)
  VALUES ($1, $2, '[]'::jsonb, $3, $4, $5, $6, $7, $8)
  ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, created_at = excluded.created_at, state = excluded.state,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at, metadata = excluded.metadata, config = excluded.config`;

export async function putSession(writer: Writer, session: SessionRecord): Promise<void> {
  const { sessionId, userId, state, createdAt, updatedAt, expiresAt, metadata, config } = session;
  requireId(sessionId, "session_id");
  const key = userKey(userId);
  await inTransaction(writer, [
    { sql: NAME_USER, parameters: [key, keptText(userId)] },
    { sql: PUT_SESSION, parameters: [sessionId, key, timestamp(createdAt), state, updatedAt, expiresAt, JSON.stringify(metadata), JSON.stringify(config)] },
  ]);
}

export async function getSession(link: Link, sessionId: string): Promise<SessionRecord | null> {
  if (!isId(sessionId)) return null;
  const [row] = await link.query(`${SESSION} WHERE s.session_id = $1`, [sessionId]);
  return row === undefined ? null : sessionOf(row);
}

export async function listSessions(link: Link, { userId, states, before, limit }: SessionQuery): Promise<SessionRecord[]> {
  const parameters: Parameter[] = [];
  const given = (value: Parameter): string => `$${parameters.push(value)}`;
  const conditions: string[] = [];
  if (userId !== null) conditions.push(`s.user_id = ${given(userKey(userId))}`);
  if (states.length > 0) conditions.push(`s.state = ANY(${given(arrayText(states))}::text[])`);
  if (before !== null) conditions.push(`(s.created_at, s.session_id) < (${given(timestamp(before.createdAt))}, ${given(isId(before.sessionId) ? before.sessionId : "00000000-0000-0000-0000-000000000000")})`);
  const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  const rows = await link.query(`${SESSION} ${where} ORDER BY s.created_at DESC, s.session_id DESC LIMIT ${given(limit)}`, parameters);
  return rows.map(sessionOf);
}

const LOCK_SESSION = "SELECT session_id FROM agent_sessions WHERE session_id = $1 FOR UPDATE";
const LOCK_AGENTS = "SELECT agent_id FROM agent_progress WHERE agent_id IN (SELECT agent_id FROM agents WHERE session_id = $1) ORDER BY agent_id FOR UPDATE";
const OF_AGENTS = ["agent_progress", "commits", "exchanges", "waits", "timers", "outbox"];

/** The session's lock keeps new agents out, the agents' locks keep commits out, as long as it takes. */
export async function deleteSession(writer: Writer, sessionId: string): Promise<void> {
  const { link } = writer;
  if (!isId(sessionId)) return;
  try {
    await begin(writer, [{ sql: LOCK_SESSION, parameters: [sessionId] }, { sql: LOCK_AGENTS, parameters: [sessionId] }]);
    await commitWith(link, [
      ...OF_AGENTS.map((table) => ({ sql: `DELETE FROM ${table} WHERE agent_id IN (SELECT agent_id FROM agents WHERE session_id = $1)`, parameters: [sessionId] })),
      { sql: "DELETE FROM agents WHERE session_id = $1", parameters: [sessionId] },
      { sql: "DELETE FROM documents WHERE session_id = $1", parameters: [sessionId] },
      { sql: "DELETE FROM dead_letters WHERE session_id = $1", parameters: [sessionId] },
      { sql: "DELETE FROM agent_sessions WHERE session_id = $1", parameters: [sessionId] },
    ]);
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}

const PUT_USER = `
  INSERT INTO users (id, user_id, display_name, preferences, updated_at) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name, preferences = excluded.preferences, updated_at = excluded.updated_at`;

export async function putUser(writer: Writer, { userId, displayName, preferences, updatedAt }: UserRecord): Promise<void> {
  await writeOne(writer, PUT_USER, [userKey(userId), keptText(userId), keptText(displayName), JSON.stringify(preferences), updatedAt]);
}

export async function getUser(link: Link, userId: string): Promise<UserRecord | null> {
  const [row] = await link.query("SELECT user_id, display_name, preferences, updated_at FROM users WHERE id = $1 AND updated_at IS NOT NULL", [userKey(userId)]);
  if (row === undefined) return null;
  return { userId: text(row, "user_id"), displayName: text(row, "display_name"), preferences: json(row, "preferences", `user ${userId}`) as UserRecord["preferences"], updatedAt: number(row, "updated_at") };
}

const DUE = `
  SELECT session_id FROM agent_sessions WHERE state IN ('ACTIVE', 'SUSPENDED') AND expires_at <= $1
  UNION ALL
  SELECT s.session_id FROM agent_sessions s WHERE s.state IN ('EXPIRED', 'TERMINATED') AND EXISTS (SELECT 1 FROM agents a WHERE a.session_id = s.session_id AND a.live)
  LIMIT $2`;

export async function listDueSessions(link: Link, before: number, limit: number): Promise<string[]> {
  return (await link.query(DUE, [before, limit])).map((row) => plain(row, "session_id"));
}
