/** States: the recovery chain of each agent (D6), which is also its history. */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { AgentCommit, CommitCause, CommitEntry, StateChain, StateKind } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { bytes, number, text, type Row } from "./row.ts";

/** Appends the state of a commit; a base drops what is older than the history goes back. */
export function prepareStateWrite(db: DatabaseSync): (agentKey: number, commit: AgentCommit) => void {
  const knownBuild = db.prepare("SELECT build_key FROM builds WHERE digest = ? AND preparation = ?");
  const newBuild = db.prepare("INSERT INTO builds (digest, preparation) VALUES (?, ?) RETURNING build_key");
  const append = db.prepare("INSERT INTO states (agent_key, sequence, kind, cause, cause_id, committed_at, build_key, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const oldestKept = db.prepare("SELECT max(sequence) AS sequence FROM states WHERE agent_key = ? AND kind = 'base' AND sequence <= ?");
  const trim = db.prepare("DELETE FROM states WHERE agent_key = ? AND sequence < ?");
  return (agentKey, { commitSequence, cause, causeId, committedAt, state, keepCommits }) => {
    if (state === null) return;
    const { kind, digest, preparation, image } = state;
    // Looked up each time: what a rolled-back batch had added is not there any more.
    const build = knownBuild.get(digest, preparation) ?? (newBuild.get(digest, preparation) as Row);
    append.run(agentKey, commitSequence, kind, cause, causeId, committedAt, number(build, "build_key"), image);
    if (kind !== "base" || commitSequence <= keepCommits) return;
    const oldest = oldestKept.get(agentKey, commitSequence - keepCommits)?.["sequence"];
    if (typeof oldest === "number") trim.run(agentKey, oldest);
  };
}

interface StateRow {
  readonly sequence: number;
  readonly kind: StateKind;
  readonly digest: string;
  readonly preparation: string;
  readonly image: Uint8Array;
}

function stateOf(row: Row): StateRow {
  return { sequence: number(row, "sequence"), kind: text(row, "kind") as StateKind, digest: text(row, "digest"), preparation: text(row, "preparation"), image: bytes(row, "image") };
}

type StateCalls = "getState" | "listCommits";

export function stateTable(db: DatabaseSync): Pick<SyncStore, StateCalls> {
  const key = db.prepare("SELECT agent_key FROM agents WHERE agent_id = ?");
  const newest = db.prepare("SELECT max(sequence) AS sequence FROM states WHERE agent_key = ?1 AND (?2 IS NULL OR sequence <= ?2)");
  const inWait = db.prepare("SELECT sequence FROM waits WHERE agent_key = ?");
  const chain = db.prepare(`
    SELECT sequence, kind, digest, preparation, image FROM states JOIN builds USING (build_key)
    WHERE agent_key = ?1 AND sequence <= ?2 AND (kind <> 'wait' OR sequence = ?2)
      AND sequence >= (SELECT max(sequence) FROM states WHERE agent_key = ?1 AND kind = 'base' AND sequence <= ?2)
    ORDER BY sequence`);
  const commits = db.prepare(`
    SELECT sequence, kind, cause, cause_id, committed_at, digest, length(image) AS image_bytes FROM states JOIN builds USING (build_key)
    WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?) AND sequence < ? ORDER BY sequence DESC LIMIT ?`);

  return {
    getState(agentId, atSequence) {
      const agent = key.get(agentId);
      if (agent === undefined) return null;
      const agentKey = number(agent, "agent_key");
      const last = newest.get(agentKey, atSequence)?.["sequence"];
      if (typeof last !== "number") return null;
      const rows = chain.all(agentKey, last).map(stateOf);
      // A wait that has ended without another state: the agent is at rest as before it.
      const waiting = atSequence !== null || inWait.get(agentKey)?.["sequence"] === last;
      const kept = waiting ? rows : rows.filter(({ kind }) => kind !== "wait");
      return chainOf(agentId, kept, last);
    },
    listCommits: (agentId, beforeSequence, limit) => commits.all(agentId, beforeSequence, limit).map(entryOf),
  };
}

function chainOf(agentId: string, rows: readonly StateRow[], commitSequence: number): StateChain | null {
  const [base, ...rest] = rows;
  if (base === undefined) return null;
  const differences = rest.filter(({ kind }) => kind === "difference");
  const wait = rest.find(({ kind }) => kind === "wait");
  if (base.kind !== "base" || differences.some(({ digest }) => digest !== base.digest)) {
    throw new SirsiError("STORE_CORRUPT", `The states of agent ${agentId} up to commit ${commitSequence} do not follow one base of one revision. Restore the data directory from a backup; keep the damaged one for a report.`);
  }
  return {
    digest: base.digest,
    preparation: base.preparation,
    commitSequence,
    base: base.image,
    differences: differences.map(({ image }) => image),
    wait: wait === undefined ? null : { image: wait.image, preparation: wait.preparation },
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
