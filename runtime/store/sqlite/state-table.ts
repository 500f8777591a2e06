/** States as they are read: the recovery chain of each agent (D6), its history, and waits. */
import type { DatabaseSync } from "node:sqlite";
import { chainOf, type ChainRow } from "../state-chain.ts";
import type { CommitCause, CommitEntry, StateChain, StateKind, WaitRecord } from "../store.ts";
import { prepareProgress, type Progress } from "./agent-progress.ts";
import { boundedSequence, commitKey, SEQUENCE } from "./commit-key.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, bytesOrNull, number, text, textOrNull, type Row } from "./row.ts";

function chainRowOf(row: Row): ChainRow {
  return {
    sequence: number(row, "sequence"),
    kind: text(row, "kind") as StateKind,
    digest: textOrNull(row, "digest"),
    preparation: textOrNull(row, "preparation"),
    image: bytesOrNull(row, "image"),
  };
}

function prepareChains(db: DatabaseSync): (agentId: string, progress: Progress, atSequence: number | null) => StateChain | null {
  const read = db.prepare(`
    SELECT ${SEQUENCE}, kind, digest, preparation, iif(kind <> 'wait' OR commit_key = ${commitKey("?1", "?3")}, image, NULL) AS image
    FROM commits LEFT JOIN builds USING (build_key)
    WHERE commit_key BETWEEN ${commitKey("?1", "?2")} AND ${commitKey("?1", "?3")} AND kind IS NOT NULL ORDER BY commit_key`);
  const baseBefore = db.prepare(`
    SELECT ${SEQUENCE} FROM commits WHERE commit_key BETWEEN ${commitKey("?1", "?2")} AND ${commitKey("?1", "?3")} AND kind = 'base'
    ORDER BY commit_key DESC LIMIT 1`);
  const chain = (agentId: string, agentKey: number, from: number, upTo: number, inWait: boolean) => chainOf(agentId, read.all(agentKey, from, upTo).map(chainRowOf), upTo, inWait);

  return (agentId, { agentKey, baseSequence, keptFrom, commitSequence, waiting }, at) => {
    if (baseSequence === 0) return null;
    if (at === null) return chain(agentId, agentKey, baseSequence, commitSequence, waiting);
    if (!Number.isInteger(at) || at < keptFrom || at > commitSequence) return null;
    const base = at >= baseSequence ? baseSequence : baseBefore.get(agentKey, keptFrom, at);
    if (base === undefined) return null;
    return chain(agentId, agentKey, typeof base === "number" ? base : number(base, "sequence"), at, true);
  };
}

function entryOf(row: Row): CommitEntry {
  return {
    commitSequence: number(row, "sequence"),
    cause: text(row, "cause") as CommitCause,
    causeId: text(row, "cause_id"),
    committedAt: number(row, "committed_at"),
    digest: text(row, "digest"),
    kind: text(row, "kind") as StateKind,
    imageBytes: number(row, "image_bytes"),
  };
}

function waitOf(row: Row): WaitRecord {
  return { messageId: text(row, "message_id"), messageHash: text(row, "message_hash"), body: bytes(row, "body") };
}

type StateCalls = "getState" | "listCommits" | "getWait" | "listWaiting";

export function stateTable(db: DatabaseSync): Pick<SyncStore, StateCalls> {
  const progress = prepareProgress(db);
  const chainAt = prepareChains(db);
  const commits = db.prepare(`
    SELECT ${SEQUENCE}, kind, cause, coalesce(cause_id, message_id) AS cause_id, committed_at,
      coalesce(builds.digest, (SELECT digest FROM agents WHERE agent_key = ?1)) AS digest, coalesce(length(image), 0) AS image_bytes
    FROM commits LEFT JOIN builds USING (build_key)
    WHERE commit_key >= ${commitKey("?1", "?2")} AND commit_key < ${commitKey("?1", "?3")} ORDER BY commit_key DESC LIMIT ?4`);
  const wait = db.prepare("SELECT message_id, message_hash, body FROM waits WHERE agent_id = ?");
  const waiting = db.prepare("SELECT agent_id FROM waits WHERE agent_id > ? ORDER BY agent_id LIMIT ?");

  return {
    getState(agentId, atSequence) {
      const stands = progress.get(agentId);
      return stands === null ? null : chainAt(agentId, stands, atSequence);
    },
    listCommits(agentId, beforeSequence, limit) {
      const stands = progress.get(agentId);
      return stands === null ? [] : commits.all(stands.agentKey, stands.keptFrom, boundedSequence(Math.ceil(beforeSequence)), limit).map(entryOf);
    },
    getWait(agentId) {
      const row = wait.get(agentId);
      return row === undefined ? null : waitOf(row);
    },
    listWaiting: (afterAgentId, limit) => waiting.all(afterAgentId, limit).map((row) => text(row, "agent_id")),
  };
}
