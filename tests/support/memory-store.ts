/**
 * A store in memory: quick, and it can be made to fail. It keeps to the letter of
 * runtime/store/store.ts in what agents rest on, and knows nothing of users and modules.
 */
import { SirsiError } from "../../runtime/core/errors.ts";
import type {
  AgentCommit, AgentQuery, AgentRecord, CommitEntry, DeadLetter, DocumentRecord, ExchangeRecord, OutboxKey, SessionRecord, StateChain, StateImage, Store, StoredAgent, StoredOutboxEntry, TimerRecord, WaitRecord,
} from "../../runtime/store/store.ts";

interface Shelf {
  record: AgentRecord;
  epoch: number;
  commitSequence: number;
  counters: StoredAgent["counters"];
  account: { received: number; done: number; deadLettered: number };
  exchangeSequence: number;
  readonly states: { readonly sequence: number; readonly image: StateImage }[];
  wait: WaitRecord | null;
  readonly exchanges: ExchangeRecord[];
  readonly timers: Map<string, TimerRecord>;
  readonly commits: AgentCommit[];
}

type Kept = Pick<
  Store,
  | "probe" | "putSession" | "getSession" | "putAgent" | "getAgent" | "listLiveAgents" | "countLiveAgents" | "listInitializing" | "countByDigest" | "listSessionAgents" | "claimAgent" | "commit" | "getState" | "getWait" | "listWaiting" | "listCommits"
  | "listExchanges" | "findExchange" | "forgetExchanges" | "listOutbox" | "settleOutbox" | "deadLetterOutbox" | "listTimers" | "nextTimer" | "getDocument" | "listDocuments" | "listDeadLetters" | "getDeadLetter" | "dropDeadLetter" | "close"
>;

const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

export class MemoryStore implements Kept {
  readonly agents = new Map<string, Shelf>();
  readonly sessions = new Map<string, SessionRecord>();
  readonly outbox = new Map<string, StoredOutboxEntry>();
  readonly documents = new Map<string, DocumentRecord>();
  readonly deadLetters = new Map<string, DeadLetter>();
  /** Thrown by whatever is called, before it has an effect. */
  failure: SirsiError | null = null;
  /** Thrown by the next commits although they took effect. */
  failAfter = 0;
  /** What a call waits for before it takes effect. */
  gate: Promise<void> = Promise.resolve();
  closed = false;

  async #enter(): Promise<void> {
    await this.gate;
    if (this.closed) throw new SirsiError("STORE_UNAVAILABLE", "the store is closed");
    if (this.failure !== null) throw this.failure;
  }

  async probe(): Promise<void> {
    await this.#enter();
  }

  async putSession(session: SessionRecord): Promise<void> {
    await this.#enter();
    this.sessions.set(session.sessionId, session);
  }

  async getSession(sessionId: string): Promise<SessionRecord | null> {
    await this.#enter();
    return this.sessions.get(sessionId) ?? null;
  }

  async putAgent(record: AgentRecord): Promise<void> {
    await this.#enter();
    this.#put(record);
  }

  #put(record: AgentRecord): Shelf {
    const found = this.agents.get(record.agentId);
    if (found !== undefined) {
      found.record = record;
      if (record.state === "TERMINATED") {
        found.wait = null;
        found.timers.clear();
      }
      return found;
    }
    const counters = { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: record.createdAt };
    const made: Shelf = { record, epoch: 1, commitSequence: 0, counters, account: { received: 0, done: 0, deadLettered: 0 }, exchangeSequence: 0, states: [], wait: null, exchanges: [], timers: new Map(), commits: [] };
    this.agents.set(record.agentId, made);
    return made;
  }

  #stored(shelf: Shelf): StoredAgent {
    const { record, epoch, commitSequence, counters, account, exchangeSequence } = shelf;
    return { record, epoch, commitSequence, counters, account: { ...account }, exchangeSequence };
  }

  async getAgent(agentId: string): Promise<StoredAgent | null> {
    await this.#enter();
    const found = this.agents.get(agentId);
    return found === undefined ? null : this.#stored(found);
  }

  #live({ sessionId, module, digest, parentAgentId }: AgentQuery): Shelf[] {
    const all = [...this.agents.values()].toSorted((a, b) => (a.record.agentId < b.record.agentId ? -1 : 1));
    return all.filter(
      ({ record }) =>
        record.state !== "TERMINATED" && (sessionId ?? record.sessionId) === record.sessionId && (module ?? record.module) === record.module && (digest ?? record.digest) === record.digest && (parentAgentId ?? record.parentAgentId) === record.parentAgentId,
    );
  }

  async listLiveAgents(query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]> {
    await this.#enter();
    return this.#live(query).filter(({ record }) => record.agentId > afterAgentId).slice(0, limit).map((shelf) => this.#stored(shelf));
  }

  async countLiveAgents(query: AgentQuery): Promise<number> {
    await this.#enter();
    return this.#live(query).length;
  }

  async listInitializing(limit: number): Promise<string[]> {
    await this.#enter();
    return [...this.agents.values()].filter(({ record }) => record.state === "INITIALIZING").slice(0, limit).map(({ record }) => record.agentId);
  }

  async countByDigest(module: string): Promise<ReadonlyMap<string, number>> {
    await this.#enter();
    const counts = new Map<string, number>();
    for (const { record } of this.#live({ sessionId: null, module, digest: null, parentAgentId: null })) counts.set(record.digest, (counts.get(record.digest) ?? 0) + 1);
    return counts;
  }

  async listSessionAgents(sessionId: string): Promise<StoredAgent[]> {
    await this.#enter();
    return [...this.agents.values()].filter(({ record }) => record.sessionId === sessionId).map((shelf) => this.#stored(shelf));
  }

  async claimAgent(agentId: string): Promise<number> {
    await this.#enter();
    return ++this.#need(agentId).epoch;
  }

  #need(agentId: string): Shelf {
    const found = this.agents.get(agentId);
    if (found === undefined) throw new SirsiError("AGENT_NOT_FOUND", `no agent ${agentId}`);
    return found;
  }

  async commit(commit: AgentCommit): Promise<void> {
    await this.#enter();
    const known = this.agents.get(commit.agentId);
    if (known === undefined && commit.agent !== null && commit.commitSequence === 1) this.#put(commit.agent);
    const shelf = this.#need(commit.agentId);
    if (commit.epoch !== shelf.epoch) throw new SirsiError("AGENT_FENCED", `agent ${commit.agentId} is of epoch ${shelf.epoch}`);
    if (commit.commitSequence !== shelf.commitSequence + 1) throw new SirsiError("STORE_CORRUPT", `commit ${commit.commitSequence} after ${shelf.commitSequence}`);
    const { exchange } = commit;
    if (exchange !== null && shelf.exchanges.some(({ messageId }) => messageId === exchange.messageId)) throw new SirsiError("MESSAGE_ID_REUSED", `message ${exchange.messageId} took effect before`);
    this.#apply(shelf, commit);
    if (this.failAfter > 0) {
      this.failAfter--;
      throw new SirsiError("STORE_UNAVAILABLE", "the answer to a commit was lost");
    }
  }

  #apply(shelf: Shelf, commit: AgentCommit): void {
    const { agentId, commitSequence, exchange, deadLetter, wait } = commit;
    shelf.commits.push(commit);
    shelf.commitSequence = commitSequence;
    if (commit.agent !== null) shelf.record = commit.agent;
    if (commit.counters !== null) shelf.counters = commit.counters;
    this.#count(shelf, commit);
    shelf.wait = wait === null ? null : { ...wait, body: copy(wait.body) };
    if (commit.state !== null) shelf.states.push({ sequence: commitSequence, image: { ...commit.state, image: copy(commit.state.image) } });
    if (exchange !== null) {
      shelf.exchangeSequence = exchange.sequence;
      shelf.exchanges.push({ ...exchange, body: copy(exchange.body) });
      for (const [at, old] of shelf.exchanges.entries()) if (old.sequence <= exchange.sequence - commit.keepExchanges) shelf.exchanges[at] = { ...old, body: new Uint8Array(0) };
    }
    for (const [index, entry] of commit.outbox.entries()) {
      const key = { agentId, commitSequence, index };
      this.outbox.set(keyText(key), { ...entry, body: copy(entry.body), sessionId: shelf.record.sessionId, key });
    }
    if (commit.consumed !== null) this.outbox.delete(keyText(commit.consumed));
    if (commit.firedTimer !== null && shelf.timers.get(commit.firedTimer.timerId)?.dueAt === commit.firedTimer.dueAt) shelf.timers.delete(commit.firedTimer.timerId);
    for (const change of commit.timers) {
      if (change.kind === "cancel") shelf.timers.delete(change.timerId);
      else shelf.timers.set(change.timerId, { agentId, timerId: change.timerId, dueAt: change.dueAt, payload: copy(change.payload) });
    }
    this.#writeDocuments(shelf, commit);
    if (deadLetter !== null) this.deadLetters.set(deadLetter.deadLetterId, deadLetter);
    if (commit.consumedDeadLetter !== null) this.deadLetters.delete(commit.consumedDeadLetter);
  }

  #count({ account, wait }: Shelf, commit: AgentCommit): void {
    const pending = wait === null ? "" : wait.messageId;
    const holds = commit.wait?.messageId ?? commit.exchange?.messageId ?? commit.deadLetter?.messageId ?? "";
    if (holds !== "" && holds !== pending) account.received++;
    if (pending !== "" && holds !== pending) account.received--;
    if (commit.exchange !== null) account.done++;
    if (commit.deadLetter !== null) account.deadLettered++;
  }

  #writeDocuments({ record }: Shelf, { documents, committedAt }: AgentCommit): void {
    const { sessionId, agentId } = record;
    for (const { key, bytes } of documents) {
      const at = `${sessionId}/${key}`;
      if (bytes === null) this.documents.delete(at);
      else this.documents.set(at, { sessionId, key, version: (this.documents.get(at)?.version ?? 0) + 1, bytes: copy(bytes), updatedAt: committedAt, agentId });
    }
  }

  async getState(agentId: string, atSequence: number | null): Promise<StateChain | null> {
    await this.#enter();
    const shelf = this.#need(agentId);
    const states = shelf.states.filter(({ sequence }) => sequence <= (atSequence ?? Infinity));
    const waits = atSequence === null ? shelf.wait !== null : states.at(-1)?.image.kind === "wait";
    const rests = states.filter(({ image }) => image.kind !== "wait");
    const from = rests.findLastIndex(({ image }) => image.kind === "base");
    const base = rests[from];
    if (base === undefined) return null;
    const wait = waits ? (states.at(-1)?.image ?? null) : null;
    const last = rests.at(-1) ?? base;
    return {
      digest: base.image.digest,
      preparation: base.image.preparation,
      commitSequence: wait === null ? last.sequence : (states.at(-1)?.sequence ?? last.sequence),
      base: base.image.image,
      differences: rests.slice(from + 1).map(({ image }) => image.image),
      wait: wait === null ? null : { image: wait.image, preparation: wait.preparation },
    };
  }

  async getWait(agentId: string): Promise<WaitRecord | null> {
    await this.#enter();
    return this.agents.get(agentId)?.wait ?? null;
  }

  async listWaiting(afterAgentId: string, limit: number): Promise<string[]> {
    await this.#enter();
    return [...this.agents].filter(([id, { wait }]) => wait !== null && id > afterAgentId).map(([id]) => id).toSorted().slice(0, limit);
  }

  async listCommits(agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]> {
    await this.#enter();
    const commits = this.#need(agentId).commits.filter(({ commitSequence }) => commitSequence < beforeSequence).toReversed().slice(0, limit);
    return commits.flatMap(({ commitSequence, cause, causeId, committedAt, state }) => (state === null ? [] : [{ commitSequence, cause, causeId, committedAt, digest: state.digest, kind: state.kind, imageBytes: state.image.length }]));
  }

  async listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]> {
    await this.#enter();
    return (this.agents.get(agentId)?.exchanges ?? []).filter(({ sequence, body }) => sequence < beforeSequence && body.length > 0).toReversed().slice(0, limit);
  }

  async findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null> {
    await this.#enter();
    return this.agents.get(agentId)?.exchanges.findLast((exchange) => exchange.messageId === messageId) ?? null;
  }

  async forgetExchanges(before: number, limit: number): Promise<number> {
    await this.#enter();
    let forgotten = 0;
    for (const { exchanges } of this.agents.values()) {
      for (let at = exchanges.length - 1; at >= 0 && forgotten < limit; at--) {
        const exchange = exchanges[at];
        if (exchange === undefined || exchange.body.length > 0 || exchange.completedAt >= before) continue;
        exchanges.splice(at, 1);
        forgotten++;
      }
    }
    return forgotten;
  }

  async listOutbox(after: number | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: number | null }> {
    await this.#enter();
    const all = [...this.outbox.values()];
    const from = after ?? 0;
    return { entries: all.slice(from, from + limit), next: from + limit < all.length ? from + limit : null };
  }

  async settleOutbox(keys: readonly OutboxKey[]): Promise<void> {
    await this.#enter();
    for (const key of keys) this.outbox.delete(keyText(key));
  }

  async deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void> {
    await this.#enter();
    if (this.outbox.delete(keyText(key))) this.deadLetters.set(letter.deadLetterId, letter);
  }

  #timers(): TimerRecord[] {
    return [...this.agents.values()].flatMap(({ timers }) => [...timers.values()]).toSorted((a, b) => a.dueAt - b.dueAt);
  }

  async listTimers(before: number, limit: number): Promise<TimerRecord[]> {
    await this.#enter();
    return this.#timers().filter(({ dueAt }) => dueAt <= before).slice(0, limit);
  }

  async nextTimer(after: number): Promise<number | null> {
    await this.#enter();
    return this.#timers().find(({ dueAt }) => dueAt > after)?.dueAt ?? null;
  }

  async getDocument(sessionId: string, key: string): Promise<DocumentRecord | null> {
    await this.#enter();
    return this.documents.get(`${sessionId}/${key}`) ?? null;
  }

  async listDocuments(sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]> {
    await this.#enter();
    const found = [...this.documents.values()].filter((each) => each.sessionId === sessionId && each.key.startsWith(prefix) && each.key > afterKey);
    return found.toSorted((a, b) => (a.key < b.key ? -1 : 1)).slice(0, limit);
  }

  async listDeadLetters(): Promise<DeadLetter[]> {
    await this.#enter();
    return [...this.deadLetters.values()].toReversed();
  }

  async getDeadLetter(deadLetterId: string): Promise<DeadLetter | null> {
    await this.#enter();
    return this.deadLetters.get(deadLetterId) ?? null;
  }

  async dropDeadLetter(deadLetterId: string): Promise<boolean> {
    await this.#enter();
    return this.deadLetters.delete(deadLetterId);
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

function keyText({ agentId, commitSequence, index }: OutboxKey): string {
  return `${agentId}/${commitSequence}/${index}`;
}
