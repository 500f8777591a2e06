/** What steps did to the world around their agents, as it is read and let go: outbox, timers, documents, dead letters. */
import { isId } from "../../core/ids.ts";
import type { DeadLetter, DeadLetterQuery, DocumentRecord, OutboxCursor, OutboxEntry, OutboxKey, StoredOutboxEntry, TimerRecord } from "../store.ts";
import { lettersStatement, takeStatement } from "./batch-write.ts";
import type { Link, Parameter } from "./link.ts";
import { inScope, type Scope } from "./scope.ts";
import { bytes, number, orderedText, plain, text, type Row } from "./row.ts";
import { keptBytes, keptText, prefixEnd } from "./stored-text.ts";
import { begin, commitWith, rollBack, writeOne, type Writer } from "./transaction.ts";

function entryOf(row: Row): StoredOutboxEntry {
  return {
    key: { agentId: plain(row, "agent_id"), commitSequence: number(row, "sequence"), index: number(row, "place") },
    sessionId: plain(row, "session_id"),
    kind: plain(row, "kind") as OutboxEntry["kind"],
    target: text(row, "target"),
    body: bytes(row, "body"),
    createdAt: number(row, "created_at"),
  };
}

const entriesSql = (owned: string): string => `
  SELECT o.entry_key, o.agent_id, a.session_id, o.sequence, o.place, o.kind, o.target, o.body, o.created_at
  FROM outbox o JOIN agents a ON a.agent_id = o.agent_id WHERE o.entry_key > $1${owned} ORDER BY o.entry_key LIMIT $2`;

/** In the order of their keys, which rise for each sender. Entries of a commit that is under way elsewhere may come to lie before the cursor: they are their committer's to deliver. */
export async function listOutbox(link: Link, scope: Scope, after: OutboxCursor | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: OutboxCursor | null }> {
  const rows = await inScope(link, scope, "o", entriesSql, [after ?? 0, limit]);
  const last = rows.at(-1);
  return { entries: rows.map(entryOf), next: last === undefined || rows.length < limit ? null : number(last, "entry_key") };
}

export async function deadLetterOutbox(writer: Writer, key: OutboxKey, letter: DeadLetter): Promise<void> {
  if (!isId(key.agentId)) return;
  const take = takeStatement([key]);
  const put = lettersStatement([letter]);
  if (take === null || put === null) return;
  const { link } = writer;
  try {
    const [taken] = await begin(writer, [take]);
    await commitWith(link, taken !== undefined && taken.count > 0 ? [put] : []);
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}

function timerOf(row: Row): TimerRecord {
  return { agentId: plain(row, "agent_id"), timerId: text(row, "timer_id"), dueAt: number(row, "due_at"), payload: bytes(row, "payload") };
}

const timersSql = (owned: string): string => `SELECT t.agent_id, t.timer_id, t.due_at, t.payload FROM timers t WHERE t.due_at <= $1${owned} ORDER BY t.due_at, t.agent_id, t.timer_id LIMIT $2`;
const nextTimerSql = (owned: string): string => `SELECT t.due_at FROM timers t WHERE t.due_at > $1${owned} ORDER BY t.due_at LIMIT 1`;

export async function listTimers(link: Link, scope: Scope, before: number, limit: number): Promise<TimerRecord[]> {
  return (await inScope(link, scope, "t", timersSql, [before, limit])).map(timerOf);
}

export async function nextTimer(link: Link, scope: Scope, after: number): Promise<number | null> {
  const [row] = await inScope(link, scope, "t", nextTimerSql, [after]);
  return row === undefined ? null : number(row, "due_at");
}

const DOCUMENT = "session_id, key, version, updated_at, agent_id";

function documentOf(row: Row): Omit<DocumentRecord, "bytes"> {
  return { sessionId: plain(row, "session_id"), key: orderedText(row, "key"), version: number(row, "version"), updatedAt: number(row, "updated_at"), agentId: plain(row, "agent_id") };
}

export async function getDocument(link: Link, sessionId: string, key: string): Promise<DocumentRecord | null> {
  if (!isId(sessionId)) return null;
  const [row] = await link.query(`SELECT ${DOCUMENT}, bytes FROM documents WHERE session_id = $1 AND key = $2`, [sessionId, keptBytes(key)]);
  return row === undefined ? null : { ...documentOf(row), bytes: bytes(row, "bytes") };
}

export async function listDocuments(link: Link, sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]> {
  if (!isId(sessionId)) return [];
  const parameters: Parameter[] = [sessionId, keptBytes(afterKey), keptBytes(prefix), limit];
  const end = prefixEnd(prefix);
  const below = end === null ? "" : `AND key < $${parameters.push(end)}`;
  return (await link.query(`SELECT ${DOCUMENT} FROM documents WHERE session_id = $1 AND key > $2 AND key >= $3 ${below} ORDER BY key LIMIT $4`, parameters)).map(documentOf);
}

const LETTER = "SELECT dead_letter_id, agent_id, session_id, source_agent_id, message_id, reason, explanation, attempts, dead_at, body FROM dead_letters";

function letterOf(row: Row): DeadLetter {
  return {
    deadLetterId: orderedText(row, "dead_letter_id"),
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

export async function listDeadLetters(link: Link, { sessionId, agentId, beforeId, limit }: DeadLetterQuery): Promise<DeadLetter[]> {
  const parameters: Parameter[] = [];
  const given = (value: Parameter): string => `$${parameters.push(value)}`;
  const conditions: string[] = [];
  if (agentId !== null) conditions.push(`agent_id = ${given(keptText(agentId))}`);
  if (sessionId !== null) conditions.push(`session_id = ${given(keptText(sessionId))}`);
  if (beforeId !== "") conditions.push(`dead_letter_id < ${given(keptBytes(beforeId))}`);
  const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
  return (await link.query(`${LETTER} ${where} ORDER BY dead_letter_id DESC LIMIT ${given(limit)}`, parameters)).map(letterOf);
}

export async function getDeadLetter(link: Link, deadLetterId: string): Promise<DeadLetter | null> {
  const [row] = await link.query(`${LETTER} WHERE dead_letter_id = $1`, [keptBytes(deadLetterId)]);
  return row === undefined ? null : letterOf(row);
}

export async function dropDeadLetter(writer: Writer, deadLetterId: string): Promise<boolean> {
  return (await writeOne(writer, "DELETE FROM dead_letters WHERE dead_letter_id = $1", [keptBytes(deadLetterId)])).count > 0;
}
