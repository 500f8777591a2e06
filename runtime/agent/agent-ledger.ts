/**
 * What an agent has in the store, and how its steps get there: the place of the commit
 * protocol. One commit a step, in order, each whole or not at all.
 *
 *   settled ─write─▶ under way ─on disk─▶ settled
 *                        └─failed─▶ doubtful ─the store is asked─▶ settled
 *
 * Invariants
 * - L1 Commit sequences rise by one. After a commit whose fate is unknown the store says where
 *   it stands, before anything else is written.
 * - L2 What a commit let go is told to the outbox and the timers exactly once: when it is
 *   known to be on disk, be it by its own answer or by the store's word later.
 * - L3 A difference follows the state that the store has last. After a failed commit the
 *   agent's instance is dropped, so no later difference follows one that is not there.
 * - L4 The first state is a base; from one base to the next there are fewer than
 *   `baseEvery` differences, and they weigh no more than the base does (D6).
 * - L5 Once its agent has left, it tells of nothing: whoever owns the agent then finds what a
 *   late commit let go in the store. Who learns here that the agent is another's is told (D5).
 */
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentCommit, AgentCounters, AgentRecord, CommitCause, DeadLetter, ExchangeRecord, StateChain, StateImage, StoredAgent, StoredOutboxEntry, WaitRecord } from "../store/store.ts";
import type { Conversation } from "./conversation.ts";
import type { StepEffects } from "./effects.ts";
import type { Surroundings } from "./surroundings.ts";

const ZERO: AgentCounters = { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: 0 };

/** Differences may weigh this much even when the base is smaller: a base costs more than it saves then. */
const LIGHT_BYTES = 16 * 1024;

/** What one step did, as the store is told. Absent fields change nothing. */
export type CommitDraft = Partial<Pick<AgentCommit, "agent" | "state" | "wait" | "exchange" | "outbox" | "consumed" | "timers" | "firedTimer" | "documents" | "deadLetter" | "consumedDeadLetter">> & {
  readonly cause: CommitCause;
  readonly causeId: string;
};

const NOTHING: readonly never[] = [];

export class AgentLedger {
  readonly #around: Surroundings;
  readonly #agentId: string;
  readonly #sessionId: string;
  readonly #conversation: Conversation;
  readonly #epoch: number;
  #counters: { -readonly [Name in keyof AgentCounters]: number };
  #commitSequence: number;
  /** L1: commits whose fate is unknown, oldest first; null when there are none. */
  #doubtful: AgentCommit[] | null = null;
  #found: { readonly chain: StateChain; readonly commitSequence: number } | null = null;
  #hasBase = false;
  #differences = 0;
  #baseBytes = 0;
  #differenceBytes = 0;
  #inWait = false;
  /** Exchanges of an agent of level `interval` that wait for its next state. */
  #unsaved: ExchangeRecord[] = [];
  /** Its state has changed since it was committed. */
  #dirty = false;
  #left = false;
  readonly #onFenced: (error: SirsiError) => void;

  constructor(around: Surroundings, { agentId, sessionId }: Pick<AgentRecord, "agentId" | "sessionId">, stored: StoredAgent | null, conversation: Conversation, onFenced: (error: SirsiError) => void) {
    this.#onFenced = onFenced;
    this.#around = around;
    this.#agentId = agentId;
    this.#sessionId = sessionId;
    this.#conversation = conversation;
    this.#epoch = stored?.epoch ?? 1;
    this.#counters = { ...(stored?.counters ?? { ...ZERO, lastActivityAt: around.clock.now() }) };
    this.#commitSequence = stored?.commitSequence ?? 0;
  }

  /** As they are now. */
  get counters(): AgentCounters {
    return { ...this.#counters };
  }

  get commitSequence(): number {
    return this.#commitSequence;
  }

  /** The store has a step of the agent that waits. */
  get inWait(): boolean {
    return this.#inWait;
  }

  /** The fate of a commit is unknown, and the store could not be asked yet. */
  get inDoubt(): boolean {
    return this.#doubtful !== null;
  }

  /** It was restored, and the store has a wait of it. */
  foundWait(): void {
    this.#inWait = true;
  }

  /** L5. */
  close(): void {
    this.#left = true;
  }

  /** Something was answered for that no commit holds yet (level `interval`). */
  get unsaved(): number {
    return Math.max(this.#unsaved.length, this.#dirty ? 1 : 0);
  }

  /** L4. Of the next state at rest. */
  get wantedState(): "base" | "difference" {
    if (!this.#hasBase || this.#differences + 1 >= this.#around.durability.baseEvery) return "base";
    return this.#differenceBytes > Math.max(this.#baseBytes, LIGHT_BYTES) ? "base" : "difference";
  }

  // --- writing -------------------------------------------------------------------

  /** The agent's first appearance in the store, with its state after init. */
  async create(record: AgentRecord, revision: Revision, base: Uint8Array, effects: StepEffects): Promise<void> {
    const now = this.#around.clock.now();
    await this.commit({ cause: "init", causeId: "", agent: record, state: stateImage("base", revision, base), ...changesOf(effects, now) });
  }

  /** The first state of an agent that is in the store without one. */
  async commitFirst(revision: Revision, base: Uint8Array): Promise<void> {
    await this.commit({ cause: "init", causeId: "", state: stateImage("base", revision, base) });
  }

  /** Durable when it resolves. Rejects with what the store says; the agent's instance must go then (L3). */
  async commit(draft: CommitDraft): Promise<void> {
    if (this.#doubtful !== null) await this.#catchUp();
    await this.#write(draft);
  }

  async commitWait(revision: Revision, image: Uint8Array, wait: WaitRecord): Promise<void> {
    await this.commit({ cause: "wait", causeId: wait.messageId, state: stateImage("wait", revision, image), wait });
  }

  /** The step in hand came to nothing: the store forgets that it waited. */
  async giveUpWait(causeId: string): Promise<void> {
    if (this.#inWait) await this.commit({ cause: "given_up", causeId });
  }

  /**
   * S2: the new revision and its first state in one commit. What the agent writes next
   * depends on which revision it is on, so the store is asked at once when that is
   * unknown. Rejects when it is not there, or (`inDoubt`) nobody can tell.
   */
  async commitSwap(record: AgentRecord, revision: Revision, base: Uint8Array | null, cause: "swap" | "revert"): Promise<void> {
    if (base === null) {
      await this.put(record);
      return;
    }
    if (this.#doubtful !== null) await this.#catchUp();
    const sequence = this.#commitSequence + 1;
    try {
      await this.#write({ cause, causeId: revision.digest, agent: record, state: stateImage("base", revision, base) });
      faultPoint("swap.committed");
    } catch (thrown) {
      if (this.#doubtful !== null) await this.#catchUp();
      if (this.#commitSequence < sequence) throw thrown;
    }
  }

  async deadLetter(letter: DeadLetter, taken: Pick<AgentCommit, "consumed" | "consumedDeadLetter">): Promise<void> {
    await this.commit({ cause: "dead_letter", causeId: letter.messageId, deadLetter: letter, ...taken });
  }

  /** Writes the agent's record. */
  async put(record: AgentRecord): Promise<void> {
    try {
      await this.#around.store.putAgent(record);
    } catch (thrown) {
      throw this.#noticed(thrown);
    }
  }

  #noticed(thrown: unknown): SirsiError {
    const error = SirsiError.from(thrown);
    if (error.code === "AGENT_FENCED") this.#onFenced(error);
    return error;
  }

  /** Writes the agent's record when it can; a failure is logged, for the record is not what replies rest on. */
  note(record: AgentRecord): void {
    this.put(record).catch((thrown: unknown) => this.#around.log.warn({ agentId: this.#agentId, err: SirsiError.from(thrown).message }, "an agent's state could not be noted"));
  }

  /** Calls the store in the turn in which it is called. */
  async #write(draft: CommitDraft): Promise<void> {
    const { clock, metrics, store, exchangesKept, durability } = this.#around;
    const started = clock.monotonic();
    const commit: AgentCommit = {
      agentId: this.#agentId,
      epoch: this.#epoch,
      commitSequence: ++this.#commitSequence,
      cause: draft.cause,
      causeId: draft.causeId,
      committedAt: clock.now(),
      agent: draft.agent ?? null,
      state: draft.state ?? null,
      wait: draft.wait ?? null,
      exchange: draft.exchange ?? null,
      counters: draft.cause === "wait" ? null : this.counters,
      outbox: draft.outbox ?? NOTHING,
      consumed: draft.consumed ?? null,
      timers: draft.timers ?? NOTHING,
      firedTimer: draft.firedTimer ?? null,
      documents: draft.documents ?? NOTHING,
      deadLetter: draft.deadLetter ?? null,
      consumedDeadLetter: draft.consumedDeadLetter ?? null,
      keepExchanges: exchangesKept,
      keepCommits: durability.historyCommits,
    };
    try {
      await store.commit(commit);
      faultPoint("commit.settled");
    } catch (thrown) {
      this.#doubtful ??= [];
      this.#doubtful.push(commit);
      throw this.#noticed(thrown);
    }
    this.#settle(commit);
    metrics.histogram("sirsi_store_commit_seconds").observe((clock.monotonic() - started) / 1000);
  }

  /** L2. */
  #settle(commit: AgentCommit): void {
    this.#inWait = commit.wait !== null;
    if (commit.state !== null) this.#weigh(commit.state);
    if (commit.exchange !== null) {
      const { sequence } = commit.exchange;
      this.#conversation.sequence = Math.max(this.#conversation.sequence, sequence);
      this.#around.onExchange?.(this.#agentId, commit.exchange);
      if (this.#unsaved.length > 0) this.#unsaved = this.#unsaved.filter((exchange) => exchange.sequence > sequence);
    }
    if (this.#left) return;
    const { outbox, timers } = this.#around;
    if (commit.outbox.length > 0) outbox.committed(commit.outbox.map((entry, index): StoredOutboxEntry => ({ ...entry, sessionId: this.#sessionId, key: { agentId: this.#agentId, commitSequence: commit.commitSequence, index } })));
    if (commit.timers.length > 0 || commit.firedTimer !== null) timers.changed(this.#agentId, commit.timers, commit.firedTimer);
  }

  #weigh({ kind, image }: StateImage): void {
    if (kind === "wait") return;
    this.#dirty = false;
    if (kind === "base") {
      this.#hasBase = true;
      this.#baseBytes = image.length;
      this.#differences = 0;
      this.#differenceBytes = 0;
    } else {
      this.#differences++;
      this.#differenceBytes += image.length;
    }
  }

  // --- level `interval` -----------------------------------------------------------

  /** A step that is answered now and committed with the next state. */
  defer(exchange: ExchangeRecord | null): void {
    this.#dirty = true;
    if (exchange !== null) this.#unsaved.push(exchange);
  }

  /**
   * Commits what was deferred, and `draft`, on a base of the agent's state. Exchanges go before
   * the state, all calls in one turn and so as good as always in one transaction: what a
   * crash between them leaves is ids whose effect is lost, as the level allows, and
   * never an effect whose id is not known.
   */
  async save(revision: Revision, base: Uint8Array, draft: CommitDraft | null): Promise<void> {
    if (this.#doubtful !== null) await this.#catchUp();
    const before = [...this.#unsaved];
    const last: CommitDraft = draft ?? { cause: "compaction", causeId: "", exchange: before.pop() ?? null };
    const written = before.map((exchange) => this.#write({ cause: "message", causeId: exchange.messageId, exchange }));
    await Promise.all([...written, this.#write({ ...last, state: stateImage("base", revision, base) })]);
  }

  /** The store knows one of the deferred messages: none of them can be told from it, so only the state is still to be saved. */
  forgetDeferred(): void {
    this.#unsaved = [];
  }

  /** What was deferred is lost with the agent's instance. */
  discard(): void {
    if (this.#unsaved.length > 0) this.#conversation.reset((this.#unsaved[0] as ExchangeRecord).sequence - 1);
    this.#unsaved = [];
    this.#dirty = false;
  }

  // --- counting --------------------------------------------------------------------

  count(message: boolean, refused: boolean, tookMs: number, now: number): void {
    const counters = this.#counters;
    if (message) {
      counters.messagesProcessed++;
      counters.responseTimeTotalMs += tookMs;
    }
    counters.operationsCompleted++;
    if (refused) counters.errorsEncountered++;
    counters.lastActivityAt = now;
  }

  /** The step that was counted last came to nothing after all. */
  uncount(before: AgentCounters): void {
    this.#counters = { ...before };
  }

  countError(now: number): void {
    this.#counters = { ...this.#counters, errorsEncountered: this.#counters.errorsEncountered + 1, lastActivityAt: now };
  }

  // --- reading -----------------------------------------------------------------------

  /** The state that was read along with the agent itself: its first instance need not ask for it. */
  foundState(chain: StateChain): void {
    this.#found = { chain, commitSequence: this.#commitSequence };
  }

  /** The last committed state; null when none ever was. */
  async recall(): Promise<StateChain | null> {
    if (this.#doubtful !== null) await this.#catchUp();
    const found = this.#found;
    this.#found = null;
    const chain =
      this.#commitSequence === 0 ? null : found?.commitSequence === this.#commitSequence ? found.chain : await this.#around.store.getState(this.#agentId, null);
    this.#hasBase = chain !== null;
    if (chain === null) return null;
    this.#inWait = chain.wait !== null;
    this.#baseBytes = chain.base.length;
    this.#differences = chain.differences.length;
    this.#differenceBytes = chain.differences.reduce((sum, { length }) => sum + length, 0);
    return chain;
  }

  /** L1, L2. */
  async #catchUp(): Promise<void> {
    const stored = await this.#around.store.getAgent(this.#agentId);
    if (stored === null) throw new SirsiError("AGENT_NOT_FOUND", `agent ${this.#agentId} is no longer in the store`);
    if (stored.epoch !== this.#epoch) throw this.#noticed(new SirsiError("AGENT_FENCED", `agent ${this.#agentId} has another owner by now; send again`, { retryAfterMs: 50 }));
    const doubtful = this.#doubtful ?? [];
    this.#doubtful = null;
    this.#commitSequence = stored.commitSequence;
    // Errors of steps that were never committed are counted here alone.
    this.#counters = { ...stored.counters, errorsEncountered: Math.max(stored.counters.errorsEncountered, this.#counters.errorsEncountered) };
    for (const commit of doubtful) if (commit.commitSequence <= stored.commitSequence) this.#settle(commit);
    this.#conversation.sequence = Math.max(this.#conversation.sequence, stored.exchangeSequence);
  }
}

function stateImage(kind: StateImage["kind"], { digest, preparation }: Revision, image: Uint8Array): StateImage {
  return { kind, digest, preparation, image };
}

/** What a step emitted, as its commit has it. */
export function changesOf(effects: StepEffects, now: number): Pick<AgentCommit, "outbox" | "timers" | "documents"> {
  return { outbox: effects.outbox(now), timers: effects.timers(now), documents: effects.documents() };
}
