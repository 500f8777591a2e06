/** Sessions and users. */
import type { DatabaseSync } from "node:sqlite";
import type { SessionQuery, SessionRecord, SessionStateName, UserRecord } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { json, number, text, type Row } from "./row.ts";

function sessionOf(row: Row): SessionRecord {
  const sessionId = text(row, "session_id");
  return {
    sessionId,
    userId: text(row, "user_id"),
    state: text(row, "state") as SessionStateName,
    createdAt: number(row, "created_at"),
    updatedAt: number(row, "updated_at"),
    expiresAt: number(row, "expires_at"),
    metadata: json(row, "metadata", `session ${sessionId}`) as SessionRecord["metadata"],
    config: json(row, "config", `session ${sessionId}`) as SessionRecord["config"],
  };
}

function userOf(row: Row): UserRecord {
  const userId = text(row, "user_id");
  return {
    userId,
    displayName: text(row, "display_name"),
    preferences: json(row, "preferences", `user ${userId}`) as UserRecord["preferences"],
    updatedAt: number(row, "updated_at"),
  };
}

/** Two statements, because only a plain equality on the user lets SQLite use the index by user. */
function prepareListing(db: DatabaseSync): (query: SessionQuery) => Row[] {
  const page = `(created_at, session_id) < (?, ?)
    AND (? = '[]' OR state IN (SELECT value FROM json_each(?)))
    ORDER BY created_at DESC, session_id DESC LIMIT ?`;
  const ofAll = db.prepare(`SELECT * FROM sessions WHERE ${page}`);
  const ofUser = db.prepare(`SELECT * FROM sessions WHERE user_id = ? AND ${page}`);
  return (query) => {
    const states = JSON.stringify(query.states);
    const before = query.before ?? { createdAt: Infinity, sessionId: "" };
    const rest = [before.createdAt, before.sessionId, states, states, query.limit];
    return query.userId === null ? ofAll.all(...rest) : ofUser.all(query.userId, ...rest);
  };
}

type SessionCalls = "putSession" | "getSession" | "listSessions" | "deleteSession" | "putUser" | "getUser";

export function sessionTable(db: DatabaseSync): Pick<SyncStore, SessionCalls> {
  const put = db.prepare(`
    INSERT INTO sessions (session_id, user_id, state, created_at, updated_at, expires_at, metadata, config)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (session_id) DO UPDATE SET user_id = excluded.user_id, state = excluded.state,
      created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
      metadata = excluded.metadata, config = excluded.config`);
  const get = db.prepare("SELECT * FROM sessions WHERE session_id = ?");
  const remove = db.prepare("DELETE FROM sessions WHERE session_id = ?");
  const putUser = db.prepare(`
    INSERT INTO users (user_id, display_name, preferences, updated_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name,
      preferences = excluded.preferences, updated_at = excluded.updated_at`);
  const getUser = db.prepare("SELECT * FROM users WHERE user_id = ?");
  const list = prepareListing(db);

  return {
    putSession(session) {
      const { sessionId, userId, state, createdAt, updatedAt, expiresAt } = session;
      put.run(sessionId, userId, state, createdAt, updatedAt, expiresAt, JSON.stringify(session.metadata), JSON.stringify(session.config));
    },
    getSession(sessionId) {
      const row = get.get(sessionId);
      return row === undefined ? null : sessionOf(row);
    },
    listSessions: (query) => list(query).map(sessionOf),
    deleteSession: (sessionId) => void remove.run(sessionId),
    putUser: (user) => void putUser.run(user.userId, user.displayName, JSON.stringify(user.preferences), user.updatedAt),
    getUser(userId) {
      const row = getUser.get(userId);
      return row === undefined ? null : userOf(row);
    },
  };
}
