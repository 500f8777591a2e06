/** What the operator's calls stand on, and the questions that several of them ask. */
import type { Agents, PublishEvent } from "../../agent/agents.ts";
import type { RevisionSource } from "../../agent/surroundings.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { Revision } from "../../module/revision.ts";
import type { ShardPool } from "../../sandbox/index.ts";
import type { Sessions } from "../../session/index.ts";
import type { Store, StoredAgent } from "../../store/store.ts";

export type OperatorStore = Pick<
  Store,
  "getAgent" | "commit" | "getState" | "listCommits" | "auditAgent" | "auditHost" | "listDeadLetters" | "getDeadLetter" | "dropDeadLetter"
>;

/** What these calls ask of the living agents. */
export type OperatorAgents = Pick<Agents, "send" | "recordOf" | "countOf" | "stop"> & {
  /** Takes in an agent that `put` puts into the store; it counts from the call on. AGENT_LIMIT_REACHED for the host's own limit. */
  adopt(sessionId: string, put: () => Promise<string>): Promise<string>;
  /** Lets a quarantined agent work again. */
  release(agentId: string): Promise<void>;
};

/** Where revisions come from, those in the code of an earlier preparer too. The module registry satisfies it. */
export type OperatorRevisions = Pick<RevisionSource, "revisionByDigest" | "retain" | "release"> & {
  /** Null when it is no longer kept. */
  revisionPreparedBy(digest: string, preparation: string): Promise<Revision | null>;
};

export interface OperatorDeps {
  readonly store: OperatorStore;
  readonly pool: Pick<ShardPool, "open">;
  readonly revisions: OperatorRevisions;
  readonly agents: OperatorAgents;
  readonly sessions: Pick<Sessions, "requireActive">;
  readonly publish: PublishEvent;
  readonly clock: Clock;
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
