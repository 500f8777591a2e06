/** Writes the row of a commit, and trims the rows before it: first the old states, then the old bodies. */
import type { DatabaseSync } from "node:sqlite";
import { messageReused } from "../commit-rules.ts";
import type { AgentCommit } from "../store.ts";
import type { Progress } from "./agent-progress.ts";
import type { Builds } from "./builds.ts";
import { commitKey, SEQUENCE } from "./commit-key.ts";
import { number } from "./row.ts";
import { isUniqueFault } from "./sqlite-fault.ts";

/** So many rows, at most, wait to be trimmed together: neighbours share their pages. */
const TOGETHER = 16;

export interface CommitRows {
  /** Throws MESSAGE_ID_REUSED or STORE_CORRUPT; moves `progress` on. */
  append(progress: Progress, commit: AgentCommit): void;
}

export function prepareCommitRows(db: DatabaseSync, builds: Builds): CommitRows {
  const insert = db.prepare(`
    INSERT INTO commits (commit_key, agent_key, kind, cause, cause_id, committed_at, build_key, image, exchange_sequence, message_id, message_hash, completed_at, body)
    VALUES (${commitKey("?1", "?2")}, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)`);
  const trimStates = prepareStateTrim(db);
  const trimBodies = prepareBodyTrim(db);

  function insertRow(to: Progress, commit: AgentCommit): void {
    const { commitSequence, cause, causeId, committedAt, state, exchange } = commit;
    const messageId = exchange?.messageId ?? null;
    try {
      insert.run(
        to.agentKey, commitSequence, state?.kind ?? "difference", cause, causeId === messageId ? null : causeId, committedAt, to.buildKey, state?.image ?? null,
        exchange?.sequence ?? null, messageId, exchange?.messageHash ?? null, exchange?.completedAt ?? null, exchange?.body ?? null,
      );
    } catch (thrown) {
      if (!isUniqueFault(thrown)) throw thrown;
      throw messageReused(commit, thrown);
    }
  }

  return {
    append(to, commit) {
      const { commitSequence, state, exchange } = commit;
      if (state !== null) to.buildKey = builds.keyOf(state.digest, state.preparation);
      insertRow(to, commit);
      if (state?.kind === "base") to.baseSequence = commitSequence;
      trimStates(to, commitSequence, commit.keepCommits, state?.kind === "base");
      if (exchange === null) return;
      to.exchangeSequence = exchange.sequence;
      if (exchange.body.length > 0 && to.bodies++ === 0) to.bodiesFrom = commitSequence;
      trimBodies(to, commit.keepExchanges);
    },
  };
}

/**
 * With a base, the commits before the newest base that lies `keep` commits back are history no
 * more (D6 needs none of them). An agent that never commits a state keeps so many commits.
 */
function prepareStateTrim(db: DatabaseSync): (to: Progress, commitSequence: number, keep: number, base: boolean) => void {
  const range = `commit_key >= ${commitKey("?1", "?2")} AND commit_key < ${commitKey("?1", "?3")}`;
  const newestBase = db.prepare(`
    SELECT ${SEQUENCE} FROM commits WHERE commit_key BETWEEN ${commitKey("?1", "?2")} AND ${commitKey("?1", "?3")} AND kind = 'base'
    ORDER BY commit_key DESC LIMIT 1`);
  const strip = db.prepare(`
    UPDATE commits SET kind = NULL, cause = NULL, cause_id = NULL, committed_at = NULL, build_key = NULL, image = NULL
    WHERE ${range} AND message_id IS NOT NULL`);
  const remove = db.prepare(`DELETE FROM commits WHERE ${range} AND message_id IS NULL`);

  function firstKept(to: Progress, newest: number, base: boolean): number | null {
    if (!base) return to.baseSequence === 0 && newest - to.keptFrom >= TOGETHER ? newest + 1 : null;
    const row = newest < to.keptFrom ? undefined : newestBase.get(to.agentKey, to.keptFrom, newest);
    return row === undefined ? null : number(row, "sequence");
  }
  return (to, commitSequence, keep, base) => {
    const from = firstKept(to, commitSequence - keep, base);
    if (from === null || from <= to.keptFrom) return;
    strip.run(to.agentKey, to.keptFrom, from);
    remove.run(to.agentKey, to.keptFrom, from);
    to.keptFrom = from;
  };
}

/** P4: which exchanges have a body changes with each one; the rows follow some commits later. */
function prepareBodyTrim(db: DatabaseSync): (to: Progress, keep: number) => void {
  const withBody = `commit_key >= ${commitKey("?1", "?2")} AND length(body) > 0`;
  const lastOf = db.prepare(`
    SELECT ${SEQUENCE} FROM commits WHERE ${withBody} AND commit_key < ${commitKey("(?1 + 1)", "0")} ORDER BY commit_key LIMIT 1 OFFSET ?3 - 1`);
  const empty = db.prepare(`UPDATE commits SET body = x'' WHERE ${withBody} AND commit_key <= ${commitKey("?1", "?3")}`);
  return (to, keep) => {
    to.bodiesAfter = Math.max(to.bodiesAfter, to.exchangeSequence - keep);
    const surplus = to.bodies - keep;
    // Few that are kept are kept exactly, so that what is to be forgotten soon can be.
    if (surplus <= Math.min(TOGETHER, keep >> 3)) return;
    const last = lastOf.get(to.agentKey, to.bodiesFrom, surplus);
    if (last === undefined) return;
    const sequence = number(last, "sequence");
    to.bodies -= Number(empty.run(to.agentKey, to.bodiesFrom, sequence).changes);
    to.bodiesFrom = sequence + 1;
  };
}
