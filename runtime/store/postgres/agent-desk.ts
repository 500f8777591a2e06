/**
 * Where the calls of a batch are decided: agents as they were read under their locks, and
 * as each call leaves them for the next. A call is either refused, with nothing changed, or
 * goes into the plan whole. Nothing here waits.
 *
 * Invariants
 * - A1 Everything that can be refused is refused before the first change.
 * - A2 `history` of an agent is from commit `keptFrom` on; `bases` are the bases in it that
 *   may be trimmed to.
 * - A3 Of the exchanges, those after `bodiesAfter` have a body; the rows up to
 *   `bodiesTrimmed` have lost theirs, and the rest follow many at once.
 */
import { SirsiError } from "../../core/errors.ts";
import { consumedBefore, mayCreate, messageReused, moveBooks, mustConsume, nobodyToClaim, requireFollows, requireSound, requireStanding, sessionGone, type Books, type Standing } from "../commit-rules.ts";
import type { Acquisition } from "../fleet-store.ts";
import type { AgentCommit, AgentCounters, AgentRecord, OutboxKey } from "../store.ts";
import { BatchPlan, entryName } from "./batch-plan.ts";

/** So many rows, at most, wait to be trimmed together when an agent commits no state. */
const TOGETHER = 16;

export interface DeskAgent extends Books, Standing {
  readonly agentId: string;
  /** The host that has it; null for nobody. */
  owner: string | null;
  epoch: number;
  commitSequence: number;
  exchangeSequence: number;
  /** The message of its wait; empty for a wait of no message, null for none. */
  held: string | null;
  baseSequence: number;
  keptFrom: number;
  /** Of the newest state. */
  buildId: string | null;
  bodiesAfter: number;
  bodiesTrimmed: number;
  counters: AgentCounters;
}

/** What of an agent's record matters to others; read when a call of the batch needs it. */
export interface Place {
  readonly sessionId: string;
  readonly live: boolean;
}

export interface Loaded {
  /** Whose calls these are; null for a host of no fleet, to whom every agent belongs. */
  readonly hostId: string | null;
  /** False once that host was buried. */
  readonly standing: { readonly stands: boolean };
  /** All that were not buried; read when a call of the batch needs it. */
  readonly liveHosts: ReadonlySet<string>;
  readonly agents: Map<string, DeskAgent>;
  readonly places: Map<string, Place>;
  readonly sessions: ReadonlySet<string>;
  /** Of the messages that the batch is about to do: those that were done before, as `doneName`. */
  readonly done: Set<string>;
  /** Of the entries that the batch is about to take: those that are there, as `entryName`. */
  readonly entries: Set<string>;
  /** Bases of agents that are about to commit one, oldest first. */
  readonly bases: Map<string, number[]>;
}

export function doneName(agentId: string, messageId: string): string {
  return `${agentId} ${messageId}`;
}

function newAgent({ agentId, createdAt }: AgentRecord, owner: string | null): DeskAgent {
  const counters = { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: createdAt };
  return {
    agentId, owner, epoch: 1, commitSequence: 0, exchangeSequence: 0, received: 0, done: 0, deadLettered: 0, waiting: false, pending: false, held: null,
    baseSequence: 0, keptFrom: 1, buildId: null, bodiesAfter: 0, bodiesTrimmed: 0, counters,
  };
}

function notOwned(agentId: string, owner: string | null, hostId: string): SirsiError {
  const whose = owner === null ? "to no host" : `to host ${owner}`;
  const metadata = { agent_id: agentId, host_id: hostId, ...(owner === null ? {} : { owner }) };
  return new SirsiError("AGENT_FENCED", `Nothing was written to agent ${agentId}: it belongs ${whose}, and not to host ${hostId}. Send the request again, to the host that has it.`, { metadata });
}

export class AgentDesk {
  readonly plan = new BatchPlan();
  /** Agents whose progress is to be written. */
  readonly moved = new Set<DeskAgent>();
  /** Where those agents were that the plan has records of; null for new ones. */
  readonly placesBefore = new Map<string, Place | null>();
  readonly #loaded: Loaded;

  constructor(loaded: Loaded) {
    this.#loaded = loaded;
  }

  putAgent(record: AgentRecord): void {
    this.#requireSession(record);
    const known = this.#loaded.agents.get(record.agentId);
    if (known === undefined) return this.#create(record);
    this.#requireOwn(known);
    this.#replace(known, record);
  }

  claimAgent(agentId: string): number {
    const agent = this.#loaded.agents.get(agentId);
    if (agent === undefined) throw nobodyToClaim(agentId);
    this.#requireOwn(agent);
    this.moved.add(agent);
    return ++agent.epoch;
  }

  acquire(agentId: string): Acquisition {
    const { hostId, agents, liveHosts } = this.#loaded;
    const agent = agents.get(agentId);
    if (agent === undefined) return { kind: "missing" };
    if (agent.owner === hostId) return { kind: "owned", taken: false };
    if (agent.owner !== null && liveHosts.has(agent.owner)) return { kind: "elsewhere", hostId: agent.owner };
    this.#pass(agent, hostId);
    return { kind: "owned", taken: true };
  }

  /** To a host that was buried meanwhile nothing is given: its agents would be nobody's all the same. */
  give(agentIds: readonly string[], toHostId: string | null): string[] {
    const { hostId, agents, liveHosts } = this.#loaded;
    const to = toHostId !== null && liveHosts.has(toHostId) ? toHostId : null;
    const own = [...new Set(agentIds)].flatMap((agentId) => agents.get(agentId) ?? []).filter((agent) => agent.owner === hostId);
    for (const agent of own) this.#pass(agent, to);
    return own.map(({ agentId }) => agentId);
  }

  settle(keys: readonly OutboxKey[]): void {
    for (const key of keys) this.plan.take(key);
  }

  commit(commit: AgentCommit): void {
    const { agentId, commitSequence, agent: record, wait, exchange, consumed, counters } = commit;
    requireSound(commit);
    const known = this.#loaded.agents.get(agentId) ?? null;
    const creates = known === null && record !== null && mayCreate(commit);
    const to = creates ? newAgent(record, this.#loaded.hostId) : known;
    requireStanding(commit, to);
    this.#requireOwn(to);
    requireFollows(commit, to);
    if (record !== null) this.#requireSession(record);
    if (exchange !== null && this.#loaded.done.has(doneName(agentId, exchange.messageId))) throw messageReused(commit);
    if (consumed !== null && !this.#isThere(consumed) && mustConsume(commit, wait === null ? to.held : null)) throw consumedBefore(commit, consumed);
    // A1: from here on nothing is refused.
    if (creates) this.#create(record, to);
    if (to.waiting || wait !== null) this.plan.waits.set(agentId, wait === null ? null : { sequence: commitSequence, wait });
    moveBooks(to, commit);
    to.held = wait?.messageId ?? null;
    this.#writeState(to, commit);
    this.#writeExchange(to, commit);
    this.#writeEffects(commit);
    to.commitSequence = commitSequence;
    if (counters !== null) to.counters = counters;
    this.moved.add(to);
    // Last, since an end takes away what was just written.
    if (record !== null && !creates) this.#replace(to, record);
  }

  #requireSession(record: AgentRecord): void {
    if (!this.#loaded.sessions.has(record.sessionId)) throw sessionGone(record);
  }

  /** D5. Whoever has an agent in hand acquired it, or made it; the epoch tells as much of commits. */
  #requireOwn({ agentId, owner }: DeskAgent): void {
    const { hostId } = this.#loaded;
    if (hostId !== null && owner !== hostId) throw notOwned(agentId, owner, hostId);
  }

  #pass(agent: DeskAgent, to: string | null): void {
    agent.owner = to;
    agent.epoch++;
    this.moved.add(agent);
  }

  #isThere(key: OutboxKey): boolean {
    const name = entryName(key);
    return this.#loaded.entries.has(name) || this.plan.entries.has(name);
  }

  #create(record: AgentRecord, agent = newAgent(record, this.#loaded.hostId)): void {
    this.#loaded.agents.set(record.agentId, agent);
    this.moved.add(agent);
    this.#place(record, null);
  }

  #replace(agent: DeskAgent, record: AgentRecord): void {
    this.#place(record, this.#loaded.places.get(record.agentId) ?? null);
    if (record.state !== "TERMINATED") return;
    this.plan.silence(agent.agentId);
    if (!agent.waiting) return;
    this.plan.waits.set(agent.agentId, null);
    agent.received -= Number(agent.pending);
    agent.pending = false;
    agent.waiting = false;
    agent.held = null;
    this.moved.add(agent);
  }

  #place(record: AgentRecord, before: Place | null): void {
    const { agentId, sessionId, state } = record;
    if (!this.placesBefore.has(agentId)) this.placesBefore.set(agentId, before);
    this.#loaded.places.set(agentId, { sessionId, live: state !== "TERMINATED" });
    this.plan.records.set(agentId, record);
  }

  #writeState(to: DeskAgent, { agentId, commitSequence, cause, causeId, committedAt, state, keepCommits }: AgentCommit): void {
    if (state !== null) to.buildId = this.plan.build(state.digest, state.preparation);
    this.plan.commits.push({ agentId, sequence: commitSequence, kind: state?.kind ?? "difference", cause, causeId, committedAt, buildId: to.buildId, image: state?.image ?? null });
    const base = state?.kind === "base";
    if (base) {
      to.baseSequence = commitSequence;
      this.#basesOf(agentId).push(commitSequence);
    }
    const from = this.#firstKept(to, commitSequence - keepCommits, base);
    if (from === null || from <= to.keptFrom) return;
    this.plan.history.push({ agentId, from: to.keptFrom, to: from });
    to.keptFrom = from;
  }

  #basesOf(agentId: string): number[] {
    let bases = this.#loaded.bases.get(agentId);
    if (bases === undefined) this.#loaded.bases.set(agentId, (bases = []));
    return bases;
  }

  /** A2: with a base, the newest base that lies `keep` commits back (D6 needs none before it). An agent that never commits a state keeps so many commits. */
  #firstKept(to: DeskAgent, newest: number, base: boolean): number | null {
    if (base) return this.#basesOf(to.agentId).findLast((sequence) => sequence <= newest) ?? null;
    return to.baseSequence === 0 && newest - to.keptFrom >= TOGETHER ? newest + 1 : null;
  }

  /** A3. Few that are kept are kept exactly, so that what is to be forgotten soon can be. */
  #writeExchange(to: DeskAgent, { agentId, exchange, keepExchanges }: AgentCommit): void {
    if (exchange === null) return;
    this.plan.exchanges.push({ agentId, exchange });
    this.#loaded.done.add(doneName(agentId, exchange.messageId));
    to.exchangeSequence = exchange.sequence;
    to.bodiesAfter = Math.max(to.bodiesAfter, exchange.sequence - keepExchanges);
    if (to.bodiesAfter - to.bodiesTrimmed <= Math.floor(keepExchanges / 8)) return;
    this.plan.bodies.push({ agentId, from: to.bodiesTrimmed + 1, to: to.bodiesAfter + 1 });
    to.bodiesTrimmed = to.bodiesAfter;
  }

  #writeEffects(commit: AgentCommit): void {
    const { agentId, commitSequence, outbox, consumed, timers, firedTimer, documents, committedAt, deadLetter, consumedDeadLetter } = commit;
    if (consumed !== null && this.#isThere(consumed)) {
      this.#loaded.entries.delete(entryName(consumed));
      this.plan.take(consumed);
    }
    for (const [index, entry] of outbox.entries()) {
      const key = { agentId, commitSequence, index };
      this.plan.entries.set(entryName(key), { key, entry });
    }
    if (firedTimer !== null) this.plan.fireTimer(agentId, firedTimer);
    if (timers.length > 0) this.plan.changeTimers(agentId, timers);
    const place = this.#loaded.places.get(agentId);
    if (place !== undefined) for (const change of documents) this.plan.changeDocument(place.sessionId, agentId, change, committedAt);
    if (consumedDeadLetter !== null) this.plan.letters.set(consumedDeadLetter, null);
    if (deadLetter !== null) this.plan.letters.set(deadLetter.deadLetterId, deadLetter);
  }
}
