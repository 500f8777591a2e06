/** Exchanges as they are read and, in the end, forgotten. They lie in the rows of commits. */
import type { DatabaseSync } from "node:sqlite";
import type { ExchangeRecord } from "../store.ts";
import { prepareProgress } from "./agent-progress.ts";
import { commitKey } from "./commit-key.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, text, type Row } from "./row.ts";

const COLUMNS = "exchange_sequence, message_id, message_hash, completed_at, body";
const NO_BODY = new Uint8Array(0);

/** P4: an exchange that should have lost its body by now has none, whatever its row still holds. */
function exchangeOf(row: Row, bodiesAfter: number): ExchangeRecord {
  const sequence = number(row, "exchange_sequence");
  return {
    sequence,
    messageId: text(row, "message_id"),
    messageHash: text(row, "message_hash"),
    body: sequence > bodiesAfter ? bytes(row, "body") : NO_BODY,
    completedAt: number(row, "completed_at"),
  };
}

export function exchangeTable(db: DatabaseSync): Pick<SyncStore, "listExchanges" | "findExchange" | "forgetExchanges"> {
  const progress = prepareProgress(db);
  const list = db.prepare(`
    SELECT ${COLUMNS} FROM commits WHERE commit_key >= ${commitKey("?1", "?2")} AND commit_key <= ${commitKey("?1", "?3")}
      AND exchange_sequence > ?4 AND exchange_sequence < ?5 AND length(body) > 0 ORDER BY commit_key DESC LIMIT ?6`);
  const find = db.prepare(`SELECT ${COLUMNS} FROM commits WHERE agent_key = ? AND message_id = ?`);
  const forgettable = db.prepare("SELECT commit_key FROM commits INDEXED BY commits_to_forget WHERE body = x'' AND completed_at < ? ORDER BY completed_at LIMIT ?");
  forgettable.setReadBigInts(true);
  // A commit that is history still keeps the id as its cause.
  const strip = db.prepare(`
    UPDATE commits SET cause_id = coalesce(cause_id, message_id), exchange_sequence = NULL, message_id = NULL, message_hash = NULL, completed_at = NULL, body = NULL
    WHERE commit_key = ? AND kind IS NOT NULL`);
  const remove = db.prepare("DELETE FROM commits WHERE commit_key = ? AND kind IS NULL");

  return {
    listExchanges(agentId, beforeSequence, limit) {
      const stands = progress.get(agentId);
      if (stands === null) return [];
      const { agentKey, bodiesFrom, bodiesAfter, commitSequence } = stands;
      return list.all(agentKey, bodiesFrom, commitSequence, bodiesAfter, beforeSequence, limit).map((row) => exchangeOf(row, bodiesAfter));
    },
    findExchange(agentId, messageId) {
      const stands = progress.get(agentId);
      const row = stands === null ? undefined : find.get(stands.agentKey, messageId);
      return stands === null || row === undefined ? null : exchangeOf(row, stands.bodiesAfter);
    },
    forgetExchanges(before, limit) {
      const keys = forgettable.all(before, limit).map((row) => row["commit_key"] as bigint);
      for (const key of keys) if (Number(strip.run(key).changes) === 0) remove.run(key);
      return keys.length;
    },
  };
}
