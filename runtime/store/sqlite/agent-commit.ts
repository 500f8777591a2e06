/**
 * The commit of one step: the hot path of the store, a few statements on narrow
 * rows. Exchanges are here too, since a commit is the only thing that writes them.
 *
 * One read finds the agent and where it stands; what does not follow from there is
 * refused before anything is written. A refusal later in the commit is undone by
 * the batch (batch.ts, B2).
 *
 * The books (AgentAccount): a message counts as received with the first commit that
 * holds it, be that its wait or its end.
 */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import type { AgentCommit, ExchangeRecord, WaitRecord } from "../store.ts";
import { prepareAgentEnd, prepareAgentWrite } from "./agent-table.ts";
import { prepareEffectWrites } from "./effect-tables.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, text, type Row } from "./row.ts";
import { prepareStateWrite } from "./state-table.ts";

interface Standing {
  readonly agentKey: number;
  readonly epoch: number;
  readonly commitSequence: number;
  /** The message in the agent's wait; empty for a wait of something else, null for none. */
  readonly waitingMessage: string | null;
}

/** Where the agent stands, which must be just before the commit. */
function prepareStanding(db: DatabaseSync): (commit: AgentCommit) => Standing {
  const look = db.prepare(`
    SELECT agent_key, epoch, commit_sequence, waits.message_id AS waiting
    FROM agents JOIN agent_progress USING (agent_key) LEFT JOIN waits USING (agent_key) WHERE agent_id = ?`);
  const writeRecord = prepareAgentWrite(db);
  const begin = db.prepare("INSERT INTO agent_progress (agent_key, last_activity_at) VALUES (?, ?)");

  return (commit) => {
    const { agentId, epoch, commitSequence, agent } = commit;
    const row = look.get(agentId);
    if (row === undefined) {
      if (agent === null || commitSequence !== 1 || epoch !== 1) {
        throw new SirsiError("AGENT_NOT_FOUND", `Commit ${commitSequence} of agent ${agentId} was refused: the store has no such agent. Its session was deleted, or it was never stored.`);
      }
      const agentKey = writeRecord(agent);
      begin.run(agentKey, agent.createdAt);
      return { agentKey, epoch: 1, commitSequence: 0, waitingMessage: null };
    }
    const standing: Standing = { agentKey: number(row, "agent_key"), epoch: number(row, "epoch"), commitSequence: number(row, "commit_sequence"), waitingMessage: row["waiting"] as string | null };
    requireNext(commit, standing);
    return standing;
  };
}

function requireNext({ agentId, epoch, commitSequence }: AgentCommit, standing: Standing): void {
  if (epoch !== standing.epoch) {
    throw new SirsiError("AGENT_FENCED", `Commit ${commitSequence} of agent ${agentId} was refused: it is of epoch ${epoch}, and the agent is in epoch ${standing.epoch}. Another owner has it; send again to reach that one.`, {
      metadata: { agent_id: agentId, epoch: String(standing.epoch) },
    });
  }
  const next = standing.commitSequence + 1;
  if (commitSequence === next) return;
  throw new SirsiError(
    "STORE_CORRUPT",
    `Commit ${commitSequence} of agent ${agentId} was refused: the next one is ${next}. ` +
      "Something else committed for the agent, or a commit was lost; restore the agent from the store before it goes on.",
    { metadata: { agent_id: agentId, expected: String(next), got: String(commitSequence) } },
  );
}

/** By how much a commit moves the books. */
function booksOf({ exchange, wait, deadLetter }: AgentCommit, waiting: string | null): readonly [received: number, done: number, dead: number] {
  const inWait = waiting !== null && waiting !== "" ? waiting : null;
  const held = (messageId: string): number => (inWait === messageId ? 0 : 1);
  let received = 0;
  if (exchange !== null) received += held(exchange.messageId);
  if (deadLetter !== null) received += held(deadLetter.messageId);
  if (wait !== null && wait.messageId !== "") received += held(wait.messageId);
  const ended = inWait !== null && exchange?.messageId !== inWait && deadLetter?.messageId !== inWait && wait?.messageId !== inWait;
  return [received - (ended ? 1 : 0), exchange === null ? 0 : 1, deadLetter === null ? 0 : 1];
}

function prepareAdvance(db: DatabaseSync): (commit: AgentCommit, standing: Standing) => void {
  const advance = db.prepare(`
    UPDATE agent_progress SET commit_sequence = ?,
      exchange_sequence = coalesce(?, exchange_sequence),
      messages_processed = coalesce(?, messages_processed),
      operations_completed = coalesce(?, operations_completed),
      errors_encountered = coalesce(?, errors_encountered),
      response_time_total_ms = coalesce(?, response_time_total_ms),
      last_activity_at = coalesce(?, last_activity_at),
      received = received + ?, done = done + ?, dead_lettered = dead_lettered + ?
    WHERE agent_key = ?`);
  return (commit, { agentKey, waitingMessage }) => {
    const { counters, exchange } = commit;
    advance.run(
      commit.commitSequence,
      exchange?.sequence ?? null,
      counters?.messagesProcessed ?? null,
      counters?.operationsCompleted ?? null,
      counters?.errorsEncountered ?? null,
      counters?.responseTimeTotalMs ?? null,
      counters?.lastActivityAt ?? null,
      ...booksOf(commit, waitingMessage),
      agentKey,
    );
  };
}

/** A commit ends the wait in hand unless it sets another. */
function prepareWaitWrite(db: DatabaseSync): (commit: AgentCommit, standing: Standing) => void {
  const set = db.prepare(`
    INSERT INTO waits (agent_key, sequence, message_id, message_hash, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (agent_key) DO UPDATE SET sequence = excluded.sequence, message_id = excluded.message_id, message_hash = excluded.message_hash, body = excluded.body`);
  const end = db.prepare("DELETE FROM waits WHERE agent_key = ?");
  return ({ wait, commitSequence }, { agentKey, waitingMessage }) => {
    if (wait !== null) set.run(agentKey, commitSequence, wait.messageId, wait.messageHash, wait.body);
    else if (waitingMessage !== null) end.run(agentKey);
  };
}

/** Appends an exchange; those that are now too old keep their id alone: one, and all below it when fewer are kept than before. */
function prepareExchangeWrite(db: DatabaseSync): (agentKey: number, exchange: ExchangeRecord, keep: number) => void {
  const known = db.prepare("SELECT 1 FROM exchanges WHERE agent_key = ? AND message_id = ?");
  const append = db.prepare("INSERT INTO exchanges (agent_key, sequence, message_id, message_hash, completed_at, body) VALUES (?, ?, ?, ?, ?, ?)");
  const empty = db.prepare("UPDATE exchanges SET body = x'' WHERE agent_key = ? AND sequence = ? AND length(body) > 0");
  return (agentKey, exchange, keep) => {
    if (known.get(agentKey, exchange.messageId) !== undefined) {
      throw new SirsiError("MESSAGE_ID_REUSED", `The message ${exchange.messageId} took effect on its agent before, so it was not committed again. Send a new message under a new id.`);
    }
    append.run(agentKey, exchange.sequence, exchange.messageId, exchange.messageHash, exchange.completedAt, exchange.body);
    for (let old = exchange.sequence - keep; old > 0 && empty.run(agentKey, old).changes === 1; old--);
  };
}

function exchangeOf(row: Row): ExchangeRecord {
  return {
    sequence: number(row, "sequence"),
    messageId: text(row, "message_id"),
    messageHash: text(row, "message_hash"),
    body: bytes(row, "body"),
    completedAt: number(row, "completed_at"),
  };
}

function waitOf(row: Row): WaitRecord {
  return { messageId: text(row, "message_id"), messageHash: text(row, "message_hash"), body: bytes(row, "body") };
}

type CommitCalls = "commit" | "getWait" | "listWaiting" | "listExchanges" | "findExchange" | "forgetExchanges";

export function agentCommit(db: DatabaseSync): Pick<SyncStore, CommitCalls> {
  const standingOf = prepareStanding(db);
  const advance = prepareAdvance(db);
  const writeRecord = prepareAgentWrite(db);
  const endAgent = prepareAgentEnd(db);
  const writeState = prepareStateWrite(db);
  const writeWait = prepareWaitWrite(db);
  const writeExchange = prepareExchangeWrite(db);
  const writeEffects = prepareEffectWrites(db);
  const columns = "SELECT sequence, message_id, message_hash, completed_at, body FROM exchanges WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)";
  const list = db.prepare(`${columns} AND sequence < ? AND length(body) > 0 ORDER BY sequence DESC LIMIT ?`);
  const find = db.prepare(`${columns} AND message_id = ?`);
  const forget = db.prepare("DELETE FROM exchanges WHERE exchange_key IN (SELECT exchange_key FROM exchanges WHERE length(body) = 0 AND completed_at < ? ORDER BY completed_at LIMIT ?)");
  const wait = db.prepare("SELECT message_id, message_hash, body FROM waits JOIN agents USING (agent_key) WHERE agent_id = ?");
  const waiting = db.prepare("SELECT agent_id FROM waits JOIN agents USING (agent_key) WHERE agent_id > ? AND state <> 'TERMINATED' ORDER BY agent_id LIMIT ?");

  return {
    commit(commit) {
      const standing = standingOf(commit);
      const { agentKey } = standing;
      advance(commit, standing);
      writeWait(commit, standing);
      if (commit.agent !== null) {
        if (writeRecord(commit.agent) !== agentKey) throw new SirsiError("INTERNAL", `A commit of agent ${commit.agentId} carried the record of agent ${commit.agent.agentId}; nothing was written.`);
        if (commit.agent.state === "TERMINATED") endAgent(agentKey);
      }
      writeState(agentKey, commit);
      if (commit.exchange !== null) writeExchange(agentKey, commit.exchange, commit.keepExchanges);
      writeEffects(agentKey, commit);
      faultPoint("commit.in-transaction");
    },
    getWait(agentId) {
      const row = wait.get(agentId);
      return row === undefined ? null : waitOf(row);
    },
    listWaiting: (afterAgentId, limit) => waiting.all(afterAgentId, limit).map((row) => text(row, "agent_id")),
    listExchanges: (agentId, beforeSequence, limit) => list.all(agentId, beforeSequence, limit).map(exchangeOf),
    findExchange(agentId, messageId) {
      const row = find.get(agentId, messageId);
      return row === undefined ? null : exchangeOf(row);
    },
    forgetExchanges: (before, limit) => Number(forget.run(before, limit).changes),
  };
}
