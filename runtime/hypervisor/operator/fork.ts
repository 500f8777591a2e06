/**
 * A new agent from a state of another: same session, module, revision, configuration
 * and context; an id, a history and a conversation of its own; no parent, no timers.
 *
 * The state is opened and taken again whole before anything is written, so a fork of
 * what cannot be opened fails without a trace. What the guest keeps in its memory comes
 * along as it is, the agent id that it was told at its init included.
 */
import { SirsiError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import { lostError } from "../../sandbox/index.ts";
import type { AgentCommit, AgentRecord, CommitEntry, SessionRecord, StateChain, StateImage } from "../../store/store.ts";
import { hasRoom } from "../spawn-room.ts";
import { type OperatorDeps, storedAgent } from "./operator-deps.ts";
import type { Rebuilt, Scratch } from "./scratch.ts";

export const FORKED_FROM = "sirsi.forked_from";

/** Commits looked through for one at rest: far more than one step's waits are. */
const SEARCH_MAX = 1_000;

export class AgentForks {
  readonly #deps: OperatorDeps;
  readonly #scratch: Scratch;

  constructor(deps: OperatorDeps, scratch: Scratch) {
    this.#deps = deps;
    this.#scratch = scratch;
  }

  /** Resolves when the fork is durable and can be addressed. Null for the newest state. */
  async fork(agentId: string, atSequence: number | null): Promise<AgentRecord> {
    const { store, sessions } = this.#deps;
    const source = (await storedAgent(store, agentId)).record;
    const session = await sessions.requireActive(source.sessionId);
    const state = await this.#scratch.at(agentId, atSequence, (rebuilt) => this.#wholeState(agentId, rebuilt));
    return await this.#begin(session, source, state);
  }

  async #wholeState(agentId: string, { chain, revision, handle, suspended }: Rebuilt): Promise<ForkedState> {
    if (suspended) throw await this.#suspended(agentId, chain);
    const taken = await handle.takeState();
    if (taken.kind === "failed") throw SirsiError.revive(taken.error);
    if (taken.kind === "lost") throw lostError(taken);
    return { sequence: chain.commitSequence, image: { kind: "base", digest: revision.digest, preparation: revision.preparation, image: taken.image } };
  }

  async #begin(session: SessionRecord, source: AgentRecord, { sequence, image }: ForkedState): Promise<AgentRecord> {
    const { store, agents, sessions, clock, publish } = this.#deps;
    const now = clock.now();
    const origin = `${source.agentId}@${sequence}`;
    const record: AgentRecord = {
      ...source,
      agentId: newId(now),
      digest: image.digest,
      state: "READY",
      parentAgentId: null,
      createdAt: now,
      updatedAt: now,
      metadata: { ...source.metadata, [FORKED_FROM]: origin },
      statusMessage: "",
    };
    while (!hasRoom(agents, session)) await agents.countOf(session.sessionId);
    await agents.adopt(session.sessionId, async () => {
      await store.commit(this.#firstCommit(record, origin, image));
      return record.agentId;
    });
    try {
      await sessions.requireActive(session.sessionId);
    } catch (thrown) {
      await agents.stop(record.agentId, "its session closed while it was made");
      throw thrown;
    }
    publish({
      type: "AGENT_SPAWNED",
      sessionId: record.sessionId,
      sourceAgentId: record.agentId,
      targetAgentId: "",
      payload: null,
      topic: "",
      attributes: { module: record.module, digest: record.digest, forked_from: origin },
      traceparent: "",
    });
    return record;
  }

  /** It creates the agent: there is none without its state. */
  #firstCommit(record: AgentRecord, origin: string, state: StateImage): AgentCommit {
    const { keepExchanges, keepCommits } = this.#deps;
    return {
      agentId: record.agentId,
      epoch: 1,
      commitSequence: 1,
      cause: "fork",
      causeId: origin,
      committedAt: record.createdAt,
      agent: record,
      state,
      wait: null,
      exchange: null,
      counters: { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: record.createdAt },
      outbox: [],
      consumed: null,
      timers: [],
      firedTimer: null,
      documents: [],
      deadLetter: null,
      consumedDeadLetter: null,
      keepExchanges,
      keepCommits,
    };
  }

  /** Names the commit that can be forked in its place. */
  async #suspended(agentId: string, { commitSequence }: StateChain): Promise<SirsiError> {
    const nearest = await this.#nearestRest(agentId, commitSequence);
    const what = `agent ${agentId} was in the middle of a wait at commit ${commitSequence}, and two agents cannot go on with one step`;
    const next = nearest === null ? "no commit at rest is kept, so fork when the step has ended" : `fork commit ${nearest}, the nearest one at rest`;
    return new SirsiError("INVALID_ARGUMENT", `${what}; ${next}`, {
      fields: [{ field: "at_sequence", description: `names a commit in the middle of a wait (${commitSequence}); ${next}` }],
      metadata: { agent_id: agentId, ...(nearest === null ? {} : { nearest_sequence: String(nearest) }) },
    });
  }

  /** The last one before it, for that is what the step began from; else the first one after it. */
  async #nearestRest(agentId: string, sequence: number): Promise<number | null> {
    const { store } = this.#deps;
    const before = (await store.listCommits(agentId, sequence, SEARCH_MAX)).find(isAtRest);
    if (before !== undefined) return before.commitSequence;
    const after = (await store.listCommits(agentId, sequence + SEARCH_MAX, SEARCH_MAX)).findLast((entry) => isAtRest(entry) && entry.commitSequence > sequence);
    return after?.commitSequence ?? null;
  }
}

interface ForkedState {
  /** The commit that it is the state after. */
  readonly sequence: number;
  readonly image: StateImage;
}

function isAtRest({ kind }: CommitEntry): boolean {
  return kind !== "wait";
}
