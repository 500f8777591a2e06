/**
 * What a commit must be, and how it moves an agent's books: the part of the commit
 * protocol that is the same in every store. All of it is decided before anything of the
 * commit is written, so that a refusal changes nothing.
 */
import { SirsiError } from "../core/errors.ts";
import type { AgentCommit, AgentRecord, OutboxKey } from "./store.ts";

/** Where an agent stands in the store. */
export interface Standing {
  readonly epoch: number;
  readonly commitSequence: number;
  readonly exchangeSequence: number;
  /** The newest base; 0 for none. */
  readonly baseSequence: number;
}

/** Its account, and the wait that it is in. received = done + deadLettered + pending. */
export interface Books {
  received: number;
  done: number;
  deadLettered: number;
  waiting: boolean;
  /** In the wait of a message. */
  pending: boolean;
}

/** INTERNAL for what no agent commits; a fault of the host's if it does. */
export function requireSound({ agentId, commitSequence, agent, state, wait }: AgentCommit): void {
  const fault =
    agent !== null && agent.agentId !== agentId
      ? `carried the record of agent ${agent.agentId}`
      : (wait !== null) !== (state?.kind === "wait")
        ? "had a wait without its state, or the state of a wait without the wait"
        : null;
  if (fault !== null) throw new SirsiError("INTERNAL", `Commit ${commitSequence} of agent ${agentId} ${fault}; nothing was written.`);
}

/** Whether the commit brings into being the agent that the store does not have. */
export function mayCreate({ agent, epoch, commitSequence }: AgentCommit): boolean {
  return agent !== null && epoch === 1 && commitSequence === 1;
}

/** AGENT_NOT_FOUND; D5: AGENT_FENCED; STORE_CORRUPT for a sequence that is not the next one, or that is beyond `lastSequence`. The fence comes first: who has lost the agent has lost count, too. */
export function requireStanding<Stands extends Standing>({ agentId, epoch, commitSequence }: AgentCommit, stands: Stands | null, lastSequence = Number.MAX_SAFE_INTEGER): asserts stands is Stands {
  if (stands === null) {
    throw new SirsiError("AGENT_NOT_FOUND", `Commit ${commitSequence} of agent ${agentId} was refused: the store has no such agent. Its session was deleted, or it was never stored.`);
  }
  if (epoch !== stands.epoch) {
    throw new SirsiError(
      "AGENT_FENCED",
      `Commit ${commitSequence} of agent ${agentId} was refused: it was made under epoch ${epoch}, and epoch ${stands.epoch} has begun. The agent has another owner by now; send the request again.`,
      { metadata: { agent_id: agentId, expected: String(stands.epoch), got: String(epoch) } },
    );
  }
  const next = stands.commitSequence + 1;
  if (commitSequence !== next || next > lastSequence) {
    throw new SirsiError(
      "STORE_CORRUPT",
      `Commit ${commitSequence} of agent ${agentId} was refused: the next one is ${next}. ` +
        "Something else committed for the agent, or a commit was lost; restore the agent from the store before it goes on.",
      { metadata: { agent_id: agentId, expected: String(next), got: String(commitSequence) } },
    );
  }
}

/** STORE_CORRUPT for a state or an exchange that does not follow from what the store has. */
export function requireFollows({ agentId, commitSequence, state, exchange }: AgentCommit, { baseSequence, exchangeSequence }: Standing): void {
  const fault =
    state !== null && state.kind !== "base" && baseSequence === 0
      ? `its state is a ${state.kind} to a state that the store does not have`
      : exchange !== null && exchange.sequence <= exchangeSequence
        ? `its exchange has the number ${exchange.sequence}, and exchange ${exchangeSequence} was committed before`
        : null;
  if (fault === null) return;
  throw new SirsiError("STORE_CORRUPT", `Commit ${commitSequence} of agent ${agentId} was refused: ${fault}. Restore the agent from the store before it goes on.`, { metadata: { agent_id: agentId } });
}

/** What a commit does to the wait in hand and to the account. */
export function moveBooks(to: Books, { wait, exchange, deadLetter }: AgentCommit): void {
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

/** D2. */
export function messageReused({ agentId, commitSequence, exchange }: AgentCommit, cause?: unknown): SirsiError {
  const messageId = String(exchange?.messageId);
  return new SirsiError("MESSAGE_ID_REUSED", `Commit ${commitSequence} of agent ${agentId} was refused: message ${messageId} took effect before. Answer it with what findExchange gives.`, {
    metadata: { agent_id: agentId, message_id: messageId },
    cause,
  });
}

/** D3. `held` is the message of the wait that the commit ends: empty for none, null for no wait. The commit of that wait may have taken the entry. */
export function mustConsume({ consumed, exchange }: AgentCommit, held: string | null): boolean {
  return consumed !== null && exchange !== null && exchange.messageId !== held;
}

export function consumedBefore({ agentId, commitSequence, exchange }: AgentCommit, key: OutboxKey): SirsiError {
  const entry = `${key.agentId}/${key.commitSequence}/${key.index}`;
  return new SirsiError(
    "MESSAGE_ID_REUSED",
    `Commit ${commitSequence} of agent ${agentId} was refused: outbox entry ${entry} is gone, so its message ${String(exchange?.messageId)} took effect before or was given up. Let the message go.`,
    { metadata: { agent_id: agentId, outbox_entry: entry } },
  );
}

export function sessionGone({ agentId, sessionId }: AgentRecord, cause?: unknown): SirsiError {
  return new SirsiError("SESSION_NOT_FOUND", `Agent ${agentId} was not stored: its session ${sessionId} is gone. Create a session and spawn the agent in it.`, { cause });
}

export function nobodyToClaim(agentId: string): SirsiError {
  return new SirsiError("AGENT_NOT_FOUND", `Agent ${agentId} cannot be claimed: the store has no such agent. Its session was deleted, or it was never stored.`);
}
