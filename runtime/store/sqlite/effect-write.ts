/** What a step did to the world around its agent, written in its commit: outbox, timers, documents, dead letters. */
import type { DatabaseSync } from "node:sqlite";
import { consumedBefore, mustConsume } from "../commit-rules.ts";
import type { AgentCommit, DeadLetter, DocumentChange, OutboxEntry, OutboxKey, TimerChange } from "../store.ts";

/** Removes an entry; false when it was not there. */
export function prepareOutboxRemoval(db: DatabaseSync): (key: OutboxKey) => boolean {
  const remove = db.prepare("DELETE FROM outbox WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?) AND sequence = ? AND place = ?");
  return ({ agentId, commitSequence, index }) => remove.run(agentId, commitSequence, index).changes > 0;
}

/** A letter of the same id is replaced: it was sent again, and came back. */
export function prepareLetterWrite(db: DatabaseSync): (letter: DeadLetter) => void {
  const put = db.prepare(`
    INSERT OR REPLACE INTO dead_letters (dead_letter_id, agent_id, session_id, source_agent_id, message_id, reason, explanation, attempts, dead_at, body)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  return (letter) => {
    const { deadLetterId, agentId, sessionId, sourceAgentId, messageId, reason, explanation, attempts, deadAt, body } = letter;
    put.run(deadLetterId, agentId, sessionId, sourceAgentId, messageId, reason, explanation, attempts, deadAt, body);
  };
}

function prepareTimerWrite(db: DatabaseSync): (agentKey: number, changes: readonly TimerChange[], fired: AgentCommit["firedTimer"]) => void {
  const set = db.prepare(`
    INSERT INTO timers (agent_key, timer_id, due_at, payload) VALUES (?, ?, ?, ?)
    ON CONFLICT (agent_key, timer_id) DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload`);
  const cancel = db.prepare("DELETE FROM timers WHERE agent_key = ? AND timer_id = ?");
  const fire = db.prepare("DELETE FROM timers WHERE agent_key = ? AND timer_id = ? AND due_at = ?");
  return (agentKey, changes, fired) => {
    // First, so that a step may set its own timer anew, to the same time too.
    if (fired !== null) fire.run(agentKey, fired.timerId, fired.dueAt);
    for (const change of changes) {
      if (change.kind === "set") set.run(agentKey, change.timerId, change.dueAt, change.payload);
      else cancel.run(agentKey, change.timerId);
    }
  };
}

function prepareDocumentWrite(db: DatabaseSync): (agentKey: number, change: DocumentChange, at: number) => void {
  const put = db.prepare(`
    INSERT INTO documents (session_id, key, version, updated_at, agent_id, bytes)
    SELECT session_id, ?2, 1, ?3, agent_id, ?4 FROM agents WHERE agent_key = ?1
    ON CONFLICT (session_id, key) DO UPDATE SET version = version + 1, updated_at = excluded.updated_at, agent_id = excluded.agent_id, bytes = excluded.bytes`);
  const drop = db.prepare("DELETE FROM documents WHERE session_id = (SELECT session_id FROM agents WHERE agent_key = ?) AND key = ?");
  return (agentKey, { key, bytes }, at) => void (bytes === null ? drop.run(agentKey, key) : put.run(agentKey, key, at, bytes));
}

export interface EffectWrites {
  /** `held` is the message of the wait that the commit ends: empty for none, null for no wait. Throws MESSAGE_ID_REUSED. */
  write(agentKey: number, commit: AgentCommit, held: string | null): void;
}

export function prepareEffectWrites(db: DatabaseSync): EffectWrites {
  const emit = db.prepare("INSERT INTO outbox (agent_key, sequence, place, kind, target, body, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)");
  const consume = prepareOutboxRemoval(db);
  const writeTimers = prepareTimerWrite(db);
  const writeDocument = prepareDocumentWrite(db);
  const dropLetter = db.prepare("DELETE FROM dead_letters WHERE dead_letter_id = ?");
  const putLetter = prepareLetterWrite(db);

  const writeOutbox = (agentKey: number, sequence: number, entries: readonly OutboxEntry[]): void => {
    for (const [place, { kind, target, body, createdAt }] of entries.entries()) emit.run(agentKey, sequence, place, kind, target, body, createdAt);
  };
  return {
    write(agentKey, commit, held) {
      const { commitSequence, consumed, timers, firedTimer, documents, deadLetter, consumedDeadLetter } = commit;
      if (consumed !== null && !consume(consumed) && mustConsume(commit, held)) throw consumedBefore(commit, consumed);
      if (commit.outbox.length > 0) writeOutbox(agentKey, commitSequence, commit.outbox);
      if (timers.length > 0 || firedTimer !== null) writeTimers(agentKey, timers, firedTimer);
      for (const change of documents) writeDocument(agentKey, change, commit.committedAt);
      if (consumedDeadLetter !== null) dropLetter.run(consumedDeadLetter);
      if (deadLetter !== null) putLetter(deadLetter);
    },
  };
}
