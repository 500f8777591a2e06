/**
 * The commit of one step: the hot path of the store. One read finds where the agent
 * stands; what does not follow from there is refused before anything is written. Then
 * one row is added and one is brought up to date, and the effects, which most steps
 * have none of. A refusal that comes later is undone by the batch (batch.ts, B2).
 *
 * The books (AgentAccount) move by what the commit itself holds, and are proven
 * from the rows by audit.ts.
 */
import type { DatabaseSync } from "node:sqlite";
import { moveBooks, requireFollows, requireSound } from "../commit-rules.ts";
import { prepareProgress, standingBefore } from "./agent-progress.ts";
import type { AgentWriter } from "./agent-row.ts";
import type { Builds } from "./builds.ts";
import { prepareCommitRows } from "./commit-row.ts";
import { prepareEffectWrites } from "./effect-write.ts";
import type { SyncStore } from "./protocol.ts";

export function agentCommit(db: DatabaseSync, writer: AgentWriter, builds: Builds): Pick<SyncStore, "commit"> {
  const progress = prepareProgress(db);
  const rows = prepareCommitRows(db, builds);
  const effects = prepareEffectWrites(db);
  const setWait = db.prepare(`
    INSERT INTO waits (agent_key, agent_id, sequence, message_id, message_hash, body) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (agent_key) DO UPDATE SET sequence = excluded.sequence, message_id = excluded.message_id, message_hash = excluded.message_hash, body = excluded.body`);
  const endWait = db.prepare("DELETE FROM waits WHERE agent_key = ? RETURNING message_id");

  return {
    commit(commit) {
      requireSound(commit);
      const { agentId, commitSequence, agent, wait, counters } = commit;
      const to = standingBefore(commit, progress, writer);
      requireFollows(commit, to);
      const ended = to.waiting && wait === null ? endWait.get(to.agentKey) : undefined;
      if (wait !== null) setWait.run(to.agentKey, agentId, commitSequence, wait.messageId, wait.messageHash, wait.body);
      moveBooks(to, commit);
      rows.append(to, commit);
      effects.write(to.agentKey, commit, ended === undefined ? null : (ended["message_id"] as string));
      to.commitSequence = commitSequence;
      progress.write(to, counters);
      // Last, since an end takes away what was just written.
      if (agent !== null && !to.created) writer.replace(agent);
    },
  };
}
