/** What steps did to the world around their agents: outbox, timers, documents, dead letters. */
import type { DatabaseSync } from "node:sqlite";
import type { AgentCommit, DeadLetter, DocumentRecord, OutboxEntry, OutboxKey, StoredOutboxEntry, TimerRecord } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, text, type Row } from "./row.ts";

const KEY_OF = "(SELECT agent_key FROM agents WHERE agent_id = ?)";
/** After every key that begins as another does. */
const LAST_CHARACTER = "\u{10FFFF}";

export function prepareLetterWrite(db: DatabaseSync): (letter: DeadLetter) => void {
  const put = db.prepare(`
    INSERT INTO dead_letters (dead_letter_id, agent_id, session_id, source_agent_id, message_id, reason, explanation, attempts, dead_at, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (dead_letter_id) DO UPDATE SET reason = excluded.reason, explanation = excluded.explanation, attempts = excluded.attempts, dead_at = excluded.dead_at`);
  return (letter) => {
    const { deadLetterId, agentId, sessionId, sourceAgentId, messageId, reason, explanation, attempts, deadAt, body } = letter;
    put.run(deadLetterId, agentId, sessionId, sourceAgentId, messageId, reason, explanation, attempts, deadAt, body);
  };
}

/** The effects of one commit, all but its state and its exchange. */
export function prepareEffectWrites(db: DatabaseSync): (agentKey: number, commit: AgentCommit) => void {
  const emit = db.prepare("INSERT INTO outbox (agent_key, sequence, place, kind, target, body, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const consume = db.prepare(`DELETE FROM outbox WHERE agent_key = ${KEY_OF} AND sequence = ? AND place = ?`);
  const setTimer = db.prepare("INSERT INTO timers (agent_key, timer_id, due_at, payload) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload");
  const cancelTimer = db.prepare("DELETE FROM timers WHERE agent_key = ? AND timer_id = ?");
  const fired = db.prepare("DELETE FROM timers WHERE agent_key = ? AND timer_id = ? AND due_at = ?");
  const session = db.prepare("SELECT session_id FROM agents WHERE agent_key = ?");
  const putDocument = db.prepare(`
    INSERT INTO documents (session_id, key, version, bytes, updated_at, agent_id) VALUES (?, ?, 1, ?, ?, ?)
    ON CONFLICT (session_id, key) DO UPDATE SET version = version + 1, bytes = excluded.bytes, updated_at = excluded.updated_at, agent_id = excluded.agent_id`);
  const dropDocument = db.prepare("DELETE FROM documents WHERE session_id = ? AND key = ?");
  const dropLetter = db.prepare("DELETE FROM dead_letters WHERE dead_letter_id = ?");
  const putLetter = prepareLetterWrite(db);

  return (agentKey, commit) => {
    const { agentId, commitSequence, committedAt, outbox, consumed, timers, firedTimer, documents, deadLetter, consumedDeadLetter } = commit;
    for (const [place, { kind, target, body, createdAt }] of outbox.entries()) emit.run(agentKey, commitSequence, place, kind, target, body, createdAt);
    if (consumed !== null) consume.run(consumed.agentId, consumed.commitSequence, consumed.index);
    if (firedTimer !== null) fired.run(agentKey, firedTimer.timerId, firedTimer.dueAt);
    for (const change of timers) {
      if (change.kind === "set") setTimer.run(agentKey, change.timerId, change.dueAt, change.payload);
      else cancelTimer.run(agentKey, change.timerId);
    }
    if (documents.length > 0) {
      const sessionId = text(session.get(agentKey) as Row, "session_id");
      for (const { key, bytes: content } of documents) {
        if (content === null) dropDocument.run(sessionId, key);
        else putDocument.run(sessionId, key, content, committedAt, agentId);
      }
    }
    if (consumedDeadLetter !== null) dropLetter.run(consumedDeadLetter);
    if (deadLetter !== null) putLetter(deadLetter);
  };
}

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
  const settle = db.prepare(`DELETE FROM outbox WHERE agent_key = ${KEY_OF} AND sequence = ? AND place = ?`);
  const putLetter = prepareLetterWrite(db);
  const remove = ({ agentId, commitSequence, index }: OutboxKey): boolean => settle.run(agentId, commitSequence, index).changes > 0;
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
  const due = db.prepare("SELECT agent_id, timer_id, due_at, payload FROM timers JOIN agents USING (agent_key) WHERE due_at <= ? ORDER BY due_at, timer_id LIMIT ?");
  const next = db.prepare("SELECT min(due_at) AS due_at FROM timers WHERE due_at > ?");
  const document = db.prepare("SELECT * FROM documents WHERE session_id = ? AND key = ?");
  const documents = db.prepare("SELECT session_id, key, version, updated_at, agent_id FROM documents WHERE session_id = ? AND key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?");
  const letters = db.prepare(`
    SELECT * FROM dead_letters WHERE (?1 IS NULL OR session_id = ?1) AND (?2 IS NULL OR agent_id = ?2) AND (?3 = '' OR dead_letter_id < ?3)
    ORDER BY dead_letter_id DESC LIMIT ?4`);
  const letter = db.prepare("SELECT * FROM dead_letters WHERE dead_letter_id = ?");
  const drop = db.prepare("DELETE FROM dead_letters WHERE dead_letter_id = ?");
  return {
    listTimers: (before, limit) => due.all(before, limit).map(timerOf),
    nextTimer: (after) => (next.get(after)?.["due_at"] ?? null) as number | null,
    getDocument(sessionId, key) {
      const row = document.get(sessionId, key);
      return row === undefined ? null : { ...documentOf(row), bytes: bytes(row, "bytes") };
    },
    listDocuments: (sessionId, prefix, afterKey, limit) => documents.all(sessionId, afterKey, prefix, prefix + LAST_CHARACTER, limit).map(documentOf),
    listDeadLetters: ({ sessionId, agentId, beforeId, limit }) => letters.all(sessionId, agentId, beforeId, limit).map(letterOf),
    getDeadLetter(deadLetterId) {
      const row = letter.get(deadLetterId);
      return row === undefined ? null : letterOf(row);
    },
    dropDeadLetter: (deadLetterId) => drop.run(deadLetterId).changes > 0,
  };
}

