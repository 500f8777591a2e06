/** Exchanges as they are read and, in the end, forgotten. */
import { isId } from "../../core/ids.ts";
import type { ExchangeRecord } from "../store.ts";
import type { Link } from "./link.ts";
import { bytesOrNull, number, text, type Row } from "./row.ts";
import { boundedSequence } from "./state-table.ts";
import { keptText } from "./stored-text.ts";
import { writeOne, type Writer } from "./transaction.ts";

const NO_BODY = new Uint8Array(0);
/** An exchange that should have lost its body by now has none, whatever its row still holds (A3 in agent-desk.ts). */
const COLUMNS = "e.sequence, e.message_id, e.message_hash, e.completed_at, CASE WHEN e.sequence > p.bodies_after THEN e.body END AS body";
const JOINED = "exchanges e JOIN agent_progress p ON p.agent_id = e.agent_id";

function exchangeOf(row: Row): ExchangeRecord {
  return { sequence: number(row, "sequence"), messageId: text(row, "message_id"), messageHash: text(row, "message_hash"), body: bytesOrNull(row, "body") ?? NO_BODY, completedAt: number(row, "completed_at") };
}

export async function listExchanges(link: Link, agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]> {
  if (!isId(agentId)) return [];
  const sql = `SELECT ${COLUMNS} FROM ${JOINED} WHERE e.agent_id = $1 AND e.sequence > p.bodies_after AND e.sequence < $2 AND e.body IS NOT NULL ORDER BY e.sequence DESC LIMIT $3`;
  return (await link.query(sql, [agentId, boundedSequence(beforeSequence), limit])).map(exchangeOf);
}

export async function findExchange(link: Link, agentId: string, messageId: string): Promise<ExchangeRecord | null> {
  if (!isId(agentId)) return null;
  const [row] = await link.query(`SELECT ${COLUMNS} FROM ${JOINED} WHERE e.agent_id = $1 AND e.message_id = $2`, [agentId, keptText(messageId)]);
  return row === undefined ? null : exchangeOf(row);
}

const FORGET = `
  WITH old AS (SELECT agent_id, sequence FROM exchanges WHERE body IS NULL AND completed_at < $1 ORDER BY completed_at LIMIT $2)
  DELETE FROM exchanges e USING old WHERE e.agent_id = old.agent_id AND e.sequence = old.sequence AND e.body IS NULL`;

/** What was done stays in the history of commits, under its id. */
export async function forgetExchanges(writer: Writer, before: number, limit: number): Promise<number> {
  return (await writeOne(writer, FORGET, [before, limit])).count;
}
