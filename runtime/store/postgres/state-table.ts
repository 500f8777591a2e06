/**
 * States as they are read: the recovery chain of each agent (D6), its history, and waits.
 * Each is one statement, and so of one moment, whoever commits meanwhile.
 */
import { isId } from "../../core/ids.ts";
import { chainOf, type ChainRow } from "../state-chain.ts";
import type { CommitCause, CommitEntry, StateChain, StateKind, WaitRecord } from "../store.ts";
import { afterId } from "./agent-table.ts";
import type { Link } from "./link.ts";
import { inScope, type Scope } from "./scope.ts";
import { bytes, bytesOrNull, number, numberOrNull, plain, text, textOrNull, type Row } from "./row.ts";

const IMAGE = "CASE WHEN c.kind <> 'wait' OR c.sequence = s.upto THEN c.image END";

/** `upto` is the commit that the state is wanted of, `base` the newest base at it or before. */
function chainSql(upto: string, base: string): string {
  return `
  SELECT s.upto, s.base, s.waiting, c.sequence, c.kind, b.digest, b.preparation, ${IMAGE} AS image
  FROM (SELECT p.agent_id, ${upto} AS upto, ${base} AS base, p.wait_message_id IS NOT NULL AS waiting FROM agent_progress p WHERE p.agent_id = $1) s
  LEFT JOIN commits c ON c.agent_id = s.agent_id AND c.sequence >= s.base AND c.sequence <= s.upto
  LEFT JOIN builds b ON b.build_id = c.build_id ORDER BY c.sequence`;
}

const NEWEST = chainSql("p.commit_sequence", "p.base_sequence");
const EARLIER = chainSql("$2::bigint", `
  CASE WHEN $2::bigint < p.kept_from OR $2::bigint > p.commit_sequence OR p.base_sequence = 0 THEN 0 WHEN $2::bigint >= p.base_sequence THEN p.base_sequence
  ELSE (SELECT max(e.sequence) FROM commits e WHERE e.agent_id = $1 AND e.sequence >= p.kept_from AND e.sequence <= $2::bigint AND e.kind = 'base') END`);

function chainRowOf(row: Row): ChainRow {
  return { sequence: number(row, "sequence"), kind: plain(row, "kind") as StateKind, digest: textOrNull(row, "digest"), preparation: textOrNull(row, "preparation"), image: bytesOrNull(row, "image") };
}

export async function getState(link: Link, agentId: string, atSequence: number | null): Promise<StateChain | null> {
  if (!isId(agentId) || (atSequence !== null && !Number.isSafeInteger(atSequence))) return null;
  const rows = atSequence === null ? await link.query(NEWEST, [agentId]) : await link.query(EARLIER, [agentId, atSequence]);
  const [first] = rows;
  // No agent, or none that ever committed a base, or none at or before that commit.
  if (first === undefined || (numberOrNull(first, "base") ?? 0) === 0) return null;
  const known = rows.filter((row) => row["sequence"] !== null).map(chainRowOf);
  return chainOf(agentId, known, number(first, "upto"), atSequence !== null || first["waiting"] === true);
}

const COMMITS = `
  SELECT c.sequence, c.kind, c.cause, c.cause_id, c.committed_at, coalesce(b.digest, a.digest) AS digest, coalesce(length(c.image), 0) AS image_bytes
  FROM commits c JOIN agents a ON a.agent_id = c.agent_id LEFT JOIN builds b ON b.build_id = c.build_id
  WHERE c.agent_id = $1 AND c.sequence < $2 ORDER BY c.sequence DESC LIMIT $3`;

function entryOf(row: Row): CommitEntry {
  return {
    commitSequence: number(row, "sequence"),
    cause: plain(row, "cause") as CommitCause,
    causeId: text(row, "cause_id"),
    committedAt: number(row, "committed_at"),
    digest: text(row, "digest"),
    kind: plain(row, "kind") as StateKind,
    imageBytes: number(row, "image_bytes"),
  };
}

/** A bound that a caller gave, Infinity included, as one that the database counts to. */
export function boundedSequence(sequence: number): number {
  return Math.min(Math.max(Math.ceil(sequence), 0), Number.MAX_SAFE_INTEGER);
}

export async function listCommits(link: Link, agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]> {
  if (!isId(agentId)) return [];
  return (await link.query(COMMITS, [agentId, boundedSequence(beforeSequence), limit])).map(entryOf);
}

export async function getWait(link: Link, agentId: string): Promise<WaitRecord | null> {
  if (!isId(agentId)) return null;
  const [row] = await link.query("SELECT message_id, message_hash, body FROM waits WHERE agent_id = $1", [agentId]);
  return row === undefined ? null : { messageId: text(row, "message_id"), messageHash: text(row, "message_hash"), body: bytes(row, "body") };
}

const waitingSql = (owned: string): string => `SELECT w.agent_id FROM waits w WHERE w.agent_id > $1${owned} ORDER BY w.agent_id LIMIT $2`;

export async function listWaiting(link: Link, scope: Scope, afterAgentId: string, limit: number): Promise<string[]> {
  return (await inScope(link, scope, "w", waitingSql, [afterId(afterAgentId), limit])).map((row) => plain(row, "agent_id"));
}
