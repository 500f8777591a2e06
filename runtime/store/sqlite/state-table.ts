/** States as they are read: the recovery chain of each agent (D6), its history, and waits. */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { CommitCause, CommitEntry, StateChain, StateKind, WaitRecord } from "../store.ts";
import { prepareProgress, type Progress } from "./agent-progress.ts";
import { boundedSequence, commitKey, SEQUENCE } from "./commit-key.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, bytesOrNull, number, text, textOrNull, type Row } from "./row.ts";

interface ChainRow {
  readonly sequence: number;
  readonly kind: StateKind;
  readonly digest: string | null;
  readonly preparation: string | null;
  /** Null where the commit left the state as it was. */
  readonly image: Uint8Array | null;
}

function chainRowOf(row: Row): ChainRow {
  return {
    sequence: number(row, "sequence"),
    kind: text(row, "kind") as StateKind,
    digest: textOrNull(row, "digest"),
    preparation: textOrNull(row, "preparation"),
    image: bytesOrNull(row, "image"),
  };
}

/** The chain up to commit `upTo`, from rows that must be its base and everything since. */
function chainOf(agentId: string, rows: readonly ChainRow[], upTo: number, inWait: boolean): StateChain {
  const [base] = rows;
  const broken = (what: string) =>
    new SirsiError("STORE_CORRUPT", `The states of agent ${agentId} up to commit ${upTo} ${what}. Restore the data directory from a backup; keep the damaged one for a report.`, { metadata: { agent_id: agentId } });
  if (base === undefined || base.kind !== "base" || base.image === null || base.digest === null || base.preparation === null) throw broken("have lost their base");
  // Every commit has a row, so a lost one shows.
  if (rows.length !== upTo - base.sequence + 1) throw broken(`have a gap after the base of commit ${base.sequence}`);
  if (rows.some(({ digest }) => digest !== base.digest)) throw broken("are of more than one revision");
  const differences: Uint8Array[] = [];
  let commitSequence = base.sequence;
  for (const { kind, image, sequence } of rows.slice(1)) {
    if (kind !== "difference" || image === null) continue;
    differences.push(image);
    commitSequence = sequence;
  }
  const last = rows.at(-1);
  const chain = { digest: base.digest, preparation: base.preparation, commitSequence, base: base.image, differences, wait: null };
  if (!inWait || last?.kind !== "wait" || last.image === null || last.preparation === null) return chain;
  return { ...chain, commitSequence: last.sequence, wait: { image: last.image, preparation: last.preparation } };
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
