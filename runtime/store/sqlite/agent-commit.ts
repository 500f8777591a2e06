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
import { SirsiError } from "../../core/errors.ts";
import type { AgentCommit } from "../store.ts";
import { prepareProgress, standingBefore, type Progress } from "./agent-progress.ts";
import type { AgentWriter } from "./agent-row.ts";
import type { Builds } from "./builds.ts";
import { prepareCommitRows } from "./commit-row.ts";
import { prepareEffectWrites } from "./effect-write.ts";
import type { SyncStore } from "./protocol.ts";

/** What no agent commits; a fault of the host's if it does. */
function requireSound({ agentId, commitSequence, agent, state, wait }: AgentCommit): void {
  const fault =
    agent !== null && agent.agentId !== agentId
      ? `carried the record of agent ${agent.agentId}`
      : (wait !== null) !== (state?.kind === "wait")
        ? "had a wait without its state, or the state of a wait without the wait"
        : null;
  if (fault !== null) throw new SirsiError("INTERNAL", `Commit ${commitSequence} of agent ${agentId} ${fault}; nothing was written.`);
}

function requireFollows({ agentId, commitSequence, state, exchange }: AgentCommit, { baseSequence, exchangeSequence }: Progress): void {
  const fault =
    state !== null && state.kind !== "base" && baseSequence === 0
      ? `its state is a ${state.kind} to a state that the store does not have`
      : exchange !== null && exchange.sequence <= exchangeSequence
        ? `its exchange has the number ${exchange.sequence}, and exchange ${exchangeSequence} was committed before`
        : null;
  if (fault === null) return;
  throw new SirsiError("STORE_CORRUPT", `Commit ${commitSequence} of agent ${agentId} was refused: ${fault}. Restore the agent from the store before it goes on.`, { metadata: { agent_id: agentId } });
}

/** P1 and P2: what a commit does to the wait in hand and to the account. */
function moveBooks(to: Progress, { wait, exchange, deadLetter }: AgentCommit): void {
  const pending = wait !== null && wait.messageId !== "";
  const done = exchange === null ? 0 : 1;
  const dead = deadLetter === null ? 0 : 1;
  to.done += done;
  to.deadLettered += dead;
  // A message that was held already is not received again; one that is held no more and came to nothing never was.
  to.received += done + dead + Number(pending) - Number(to.pending);
  to.pending = pending;
  to.waiting = wait !== null;
}

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
