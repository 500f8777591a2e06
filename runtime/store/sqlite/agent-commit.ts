/**
 * The commit of one step: the hot path of the store, four or five statements on
 * narrow rows. Exchanges are here too, since a commit is the only thing that
 * writes them.
 *
 * One statement finds the agent, checks the sequence and moves the counters, so
 * that a stale or doubled commit changes nothing at all.
 *
 * This is also the place of the wider commit protocol: the outbox of a step is
 * written beside its exchange, the epoch of the owning host is compared in the
 * statement that compares the sequence, and a checkpoint becomes a base image
 * with a bounded run of differences.
 */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { AgentCommit, CheckpointRecord, ExchangeRecord } from "../store.ts";
import { prepareAgentWrite } from "./agent-table.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, text, type Row } from "./row.ts";

/** Moves an agent to the next sequence and gives its key, or says why not. */
function prepareAdvance(db: DatabaseSync): (commit: AgentCommit) => number {
  const advance = db.prepare(`
    UPDATE agent_progress SET commit_sequence = commit_sequence + 1,
      exchange_sequence = coalesce(?, exchange_sequence),
      messages_processed = coalesce(?, messages_processed),
      operations_completed = coalesce(?, operations_completed),
      errors_encountered = coalesce(?, errors_encountered),
      response_time_total_ms = coalesce(?, response_time_total_ms),
      last_activity_at = coalesce(?, last_activity_at)
    WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?) AND commit_sequence = ? - 1
    RETURNING agent_key`);
  const standing = db.prepare("SELECT commit_sequence FROM agent_progress WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)");

  return ({ agentId, commitSequence, exchange, counters }) => {
    const row = advance.get(
      exchange?.sequence ?? null,
      counters?.messagesProcessed ?? null,
      counters?.operationsCompleted ?? null,
      counters?.errorsEncountered ?? null,
      counters?.responseTimeTotalMs ?? null,
      counters?.lastActivityAt ?? null,
      agentId,
      commitSequence,
    );
    if (row !== undefined) return number(row, "agent_key");
    const stands = standing.get(agentId);
    if (stands === undefined) {
      throw new SirsiError("AGENT_NOT_FOUND", `Commit ${commitSequence} of agent ${agentId} was refused: the store has no such agent. Its session was deleted, or it was never stored.`);
    }
    const next = number(stands, "commit_sequence") + 1;
    throw new SirsiError(
      "STORE_CORRUPT",
      `Commit ${commitSequence} of agent ${agentId} was refused: the next one is ${next}. ` +
        "Something else committed for the agent, or a commit was lost; restore the agent from the store before it goes on.",
      { metadata: { agent_id: agentId, expected: String(next), got: String(commitSequence) } },
    );
  };
}

function prepareCheckpointWrite(db: DatabaseSync): (agentKey: number, checkpoint: CheckpointRecord) => void {
  const write = db.prepare(`
    INSERT INTO checkpoints (agent_key, digest, preparation, image) VALUES (?, ?, ?, ?)
    ON CONFLICT (agent_key) DO UPDATE SET digest = excluded.digest, preparation = excluded.preparation, image = excluded.image`);
  return (agentKey, { digest, preparation, image }) => void write.run(agentKey, digest, preparation, image);
}

/** Appends an exchange and drops those that are now too old. */
function prepareExchangeWrite(db: DatabaseSync): (agentKey: number, exchange: ExchangeRecord, keep: number) => void {
  const append = db.prepare("INSERT INTO exchanges (agent_key, sequence, message_id, message_hash, body) VALUES (?, ?, ?, ?, ?)");
  const trim = db.prepare("DELETE FROM exchanges WHERE agent_key = ? AND sequence <= ?");
  return (agentKey, exchange, keep) => {
    append.run(agentKey, exchange.sequence, exchange.messageId, exchange.messageHash, exchange.body);
    const oldest = exchange.sequence - keep;
    if (oldest > 0) trim.run(agentKey, oldest);
  };
}

function exchangeOf(row: Row): ExchangeRecord {
  return {
    sequence: number(row, "sequence"),
    messageId: text(row, "message_id"),
    messageHash: text(row, "message_hash"),
    body: bytes(row, "body"),
  };
}

export function agentCommit(db: DatabaseSync): Pick<SyncStore, "commit" | "listExchanges" | "findExchange"> {
  const advance = prepareAdvance(db);
  const writeRecord = prepareAgentWrite(db);
  const writeCheckpoint = prepareCheckpointWrite(db);
  const writeExchange = prepareExchangeWrite(db);
  const ofAgent = `SELECT sequence, message_id, message_hash, body FROM exchanges
    WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?)`;
  const list = db.prepare(`${ofAgent} AND sequence < ? ORDER BY sequence DESC LIMIT ?`);
  const find = db.prepare(`${ofAgent} AND message_id = ? ORDER BY sequence DESC LIMIT 1`);

  return {
    commit(commit) {
      const agentKey = advance(commit);
      if (commit.agent !== null && writeRecord(commit.agent) !== agentKey) {
        throw new SirsiError("INTERNAL", `A commit of agent ${commit.agentId} carried the record of agent ${commit.agent.agentId}; nothing was written.`);
      }
      if (commit.checkpoint !== null) writeCheckpoint(agentKey, commit.checkpoint);
      if (commit.exchange !== null) writeExchange(agentKey, commit.exchange, commit.keepExchanges);
    },
    listExchanges: (agentId, beforeSequence, limit) => list.all(agentId, beforeSequence, limit).map(exchangeOf),
    findExchange(agentId, messageId) {
      const row = find.get(agentId, messageId);
      return row === undefined ? null : exchangeOf(row);
    },
  };
}
