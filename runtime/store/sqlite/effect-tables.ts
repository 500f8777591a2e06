/** Reading what steps did to the world around their agents, and letting go of it: outbox, timers, documents, dead letters. */
import type { DatabaseSync } from "node:sqlite";
import type { DeadLetter, DeadLetterQuery, DocumentRecord, OutboxEntry, StoredOutboxEntry, TimerRecord } from "../store.ts";
import { prepareLetterWrite, prepareOutboxRemoval } from "./effect-write.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, numberOrNull, text, type Row } from "./row.ts";

function entryOf(row: Row): StoredOutboxEntry {
  return {
    key: { agentId: text(row, "agent_id"), commitSequence: number(row, "sequence"), index: number(row, "place") },
    sessionId: text(row, "session_id"),
    kind: text(row, "kind") as OutboxEntry["kind"],
    target: text(row, "target"),
    body: bytes(row, "body"),
    createdAt: number(row, "created_at"),
  };
}

function letterOf(row: Row): DeadLetter {
  return {
    deadLetterId: text(row, "dead_letter_id"),
    agentId: text(row, "agent_id"),
    sessionId: text(row, "session_id"),
    sourceAgentId: text(row, "source_agent_id"),
    messageId: text(row, "message_id"),
    reason: text(row, "reason"),
    explanation: text(row, "explanation"),
    attempts: number(row, "attempts"),
    deadAt: number(row, "dead_at"),
    body: bytes(row, "body"),
  };
}

function timerOf(row: Row): TimerRecord {
  return { agentId: text(row, "agent_id"), timerId: text(row, "timer_id"), dueAt: number(row, "due_at"), payload: bytes(row, "payload") };
}

function documentOf(row: Row): Omit<DocumentRecord, "bytes"> {
  return { sessionId: text(row, "session_id"), key: text(row, "key"), version: number(row, "version"), updatedAt: number(row, "updated_at"), agentId: text(row, "agent_id") };
}

export function outboxTable(db: DatabaseSync): Pick<SyncStore, "listOutbox" | "settleOutbox" | "deadLetterOutbox"> {
  const list = db.prepare(`
    SELECT entry_key, agent_id, session_id, sequence, place, kind, target, body, outbox.created_at AS created_at
    FROM outbox JOIN agents USING (agent_key) WHERE entry_key > ? ORDER BY entry_key LIMIT ?`);
  const remove = prepareOutboxRemoval(db);
  const putLetter = prepareLetterWrite(db);
  return {
    listOutbox(after, limit) {
      const rows = list.all(after ?? 0, limit);
      const last = rows.at(-1);
      return { entries: rows.map(entryOf), next: last === undefined || rows.length < limit ? null : number(last, "entry_key") };
    },
    settleOutbox(keys) {
      for (const key of keys) remove(key);
    },
    deadLetterOutbox(key, letter) {
      if (remove(key)) putLetter(letter);
    },
  };
}

type EffectCalls = "listTimers" | "nextTimer" | "getDocument" | "listDocuments" | "listDeadLetters" | "getDeadLetter" | "dropDeadLetter";

export function effectTables(db: DatabaseSync): Pick<SyncStore, EffectCalls> {
  const due = db.prepare("SELECT agent_id, timer_id, due_at, payload FROM timers JOIN agents USING (agent_key) WHERE due_at <= ? ORDER BY due_at, timer_key LIMIT ?");
  const next = db.prepare("SELECT min(due_at) AS due_at FROM timers WHERE due_at > ?");
  const document = db.prepare("SELECT * FROM documents WHERE session_id = ? AND key = ?");
  const documents = db.prepare(`
    SELECT session_id, key, version, updated_at, agent_id FROM documents
    WHERE session_id = ?1 AND key > ?2 AND key >= ?3 AND substr(key, 1, length(?3)) = ?3 ORDER BY key LIMIT ?4`);
  const letter = db.prepare("SELECT * FROM dead_letters WHERE dead_letter_id = ?");
  const letters = prepareLetterList(db);
  const drop = db.prepare("DELETE FROM dead_letters WHERE dead_letter_id = ?");
  return {
    listTimers: (before, limit) => due.all(before, limit).map(timerOf),
    nextTimer: (after) => numberOrNull(next.get(after) ?? {}, "due_at"),
    getDocument(sessionId, key) {
      const row = document.get(sessionId, key);
      return row === undefined ? null : { ...documentOf(row), bytes: bytes(row, "bytes") };
    },
    listDocuments: (sessionId, prefix, afterKey, limit) => documents.all(sessionId, afterKey, prefix, limit).map(documentOf),
    listDeadLetters: letters,
    getDeadLetter(deadLetterId) {
      const row = letter.get(deadLetterId);
      return row === undefined ? null : letterOf(row);
    },
    dropDeadLetter: (deadLetterId) => drop.run(deadLetterId).changes > 0,
  };
}

/** A statement for each filter, because only a plain equality lets SQLite use the index. */
function prepareLetterList(db: DatabaseSync): (query: DeadLetterQuery) => DeadLetter[] {
  const select = (where: string) => db.prepare(`SELECT * FROM dead_letters WHERE ${where} (? = '' OR dead_letter_id < ?) ORDER BY dead_letter_id DESC LIMIT ?`);
  const all = select("");
  const ofSession = select("session_id = ? AND");
  const ofAgent = select("agent_id = ? AND");
  const ofBoth = select("agent_id = ? AND session_id = ? AND");
  return ({ sessionId, agentId, beforeId, limit }) => {
    const page = [beforeId, beforeId, limit];
    const rows =
      agentId === null
        ? sessionId === null
          ? all.all(...page)
          : ofSession.all(sessionId, ...page)
        : sessionId === null
          ? ofAgent.all(agentId, ...page)
          : ofBoth.all(agentId, sessionId, ...page);
    return rows.map(letterOf);
  };
}
