/** What the operator's calls stand on, and the questions that several of them ask. */
import type { Agents, PublishEvent } from "../../agent/agents.ts";
import type { RevisionSource } from "../../agent/surroundings.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { ShardPool } from "../../sandbox/index.ts";
import type { Sessions } from "../../session/index.ts";
import type { Store, StoredAgent } from "../../store/store.ts";

export type OperatorStore = Pick<
  Store,
  "getAgent" | "commit" | "getState" | "listCommits" | "auditAgent" | "auditHost" | "listDeadLetters" | "getDeadLetter" | "dropDeadLetter"
>;

/** What these calls ask of the living agents. */
export type OperatorAgents = Pick<Agents, "send" | "count" | "countOf"> & {
  /** Takes in an agent that was put into the store by others. */
  adopt(agentId: string): Promise<void>;
  /** Lets a quarantined agent work again. */
  release(agentId: string): Promise<void>;
};

export interface OperatorDeps {
  readonly store: OperatorStore;
  readonly pool: Pick<ShardPool, "open">;
  readonly revisions: Pick<RevisionSource, "revisionByDigest" | "retain" | "release">;
  readonly agents: OperatorAgents;
  readonly sessions: Pick<Sessions, "requireActive">;
  readonly publish: PublishEvent;
  readonly clock: Clock;
  /** Agents that the host may have. */
  readonly maxAgents: number;
  /** As for every commit: AgentCommit.keepExchanges and keepCommits. */
  readonly keepExchanges: number;
  readonly keepCommits: number;
}

/** The agent as the store has it, ended or not. */
export async function storedAgent(store: Pick<Store, "getAgent">, agentId: string): Promise<StoredAgent> {
  const stored = await store.getAgent(agentId);
  if (stored === null) throw noSuchAgent(agentId);
  return stored;
}

export function noSuchAgent(agentId: string): SirsiError {
  return new SirsiError("AGENT_NOT_FOUND", `no agent has the id ${agentId}; list a session's agents with \`sirsi agent list\``, { metadata: { agent_id: agentId } });
}

export function requireAgentId(agentId: string): void {
  const wrong = new FieldViolations();
  wrong.requireId(agentId, "agent_id");
  wrong.throwIfAny();
}

/** A commit's sequence as the wire has it. A wrong one is added to `wrong`; null for 0. */
export function sequenceOf(value: bigint, field: string, meaning: string, wrong: FieldViolations): number | null {
  const sound = value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER);
  wrong.require(sound, field, `must be a commit's sequence, or 0 for ${meaning}; got ${value}`);
  return sound && value > 0n ? Number(value) : null;
}
