/**
 * The store of a fleet, as a host sees it: calls become units of work (call-order.ts), and
 * each unit has a connection to itself until it is over. The truth is in the database alone;
 * nothing is remembered here.
 *
 * States: open -> closing -> closed.
 *
 * T1 Calls that concern one agent, session or module take effect in the order they were
 *    made, those of agents in batches. Listings see every write made before them.
 * T2 Every call settles exactly once: with its result, with why it was refused, or with
 *    STORE_UNAVAILABLE when its connection ends, or does not answer in time. What a call
 *    did then is for its caller to find out.
 * T3 Bytes are copied when the call is made: the caller may use its buffer again at once.
 * T4 A server that is gone fails calls, and never the store: the next ones find it back.
 */
import type { Clock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import { auditInParts } from "../host-audit.ts";
import { ownedCommit } from "../owned-commit.ts";
import type {
  AgentCommit, AgentQuery, AgentRecord, Audit, CommitEntry, DeadLetter, DeadLetterQuery, DocumentRecord, ExchangeRecord, ModuleRecord, OutboxCursor, OutboxKey,
  RevisionRecord, SessionQuery, SessionRecord, StateChain, Store, StoredAgent, StoredOutboxEntry, SwapRecord, TimerRecord, UserRecord, WaitRecord,
} from "../store.ts";
import * as agents from "./agent-table.ts";
import * as audits from "./audit.ts";
import { runBatch, withRetries, type BatchSurroundings } from "./batch.ts";
import type { BatchCall } from "./batch-call.ts";
import { CallOrder, type Needs, type Unit } from "./call-order.ts";
import { parseConnectionUrl } from "./connection-url.ts";
import * as effects from "./effect-tables.ts";
import * as exchanges from "./exchange-table.ts";
import type { Link } from "./link.ts";
import { migrate } from "./migration.ts";
import * as modules from "./module-table.ts";
import { closedStore, Pool } from "./pool.ts";
import { faultKind, LinkFault, lostConnection, storeFault } from "./postgres-fault.ts";
import * as sessions from "./session-table.ts";
import * as states from "./state-table.ts";

export interface PostgresStoreOptions {
  readonly clock: Clock;
  /** postgres://user:password@host:5432/database?sslmode=verify-full; see connection-url.ts. */
  readonly url: string;
  /** The most connections at a time, at least 2; default 8. All hosts together must stay below the server's max_connections. */
  readonly connectionsMax?: number;
  /** How long a new connection may take; default 5 s. */
  readonly connectTimeoutMs?: number;
  /** How long a call may take, once it has a connection; then it is cut, and its fate unknown. Default 15 s. */
  readonly callTimeoutMs?: number;
  /** How long a host that stops in the middle of a commit keeps others from its agents; default 2 s. */
  readonly idleInTransactionMs?: number;
  /** In [0, 1); for the spread of retries. Default Math.random. */
  readonly random?: () => number;
}

const DEFAULTS = { connectionsMax: 8, connectTimeoutMs: 5_000, callTimeoutMs: 15_000, idleInTransactionMs: 2_000, random: Math.random };
/** Batches at a time: while one is on its way, the next is gathered, and larger ones cost less. */
const BATCHES = 2;
/** The server gives up first, so that its answer, and not our guess, tells what became of a call. */
const STATEMENT_SHARE = 0.8;

interface Work {
  readonly resolve: (value: never) => void;
  readonly reject: (reason: SirsiError) => void;
}

type PendingCall = Work & (
  | { readonly kind: "batch"; readonly call: BatchCall }
  | { readonly kind: "link"; readonly writes: boolean; readonly run: (link: Link) => Promise<unknown> }
);

type State = "open" | "closing" | "closed";

/** Opens the store and brings its tables up to date, or rejects with STORE_UNAVAILABLE (not reachable, not allowed, newer, somebody else's). */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<Store> {
  const { clock, url, connectTimeoutMs, callTimeoutMs, idleInTransactionMs, random, connectionsMax } = { ...DEFAULTS, ...options };
  if (!Number.isInteger(connectionsMax) || connectionsMax < 2) {
    throw new SirsiError("INVALID_ARGUMENT", `A Postgres store needs at least 2 connections, and connectionsMax is ${connectionsMax}. Choose 2 or more.`);
  }
  const target = parseConnectionUrl(url);
  const pool = new Pool({ target, clock, max: connectionsMax, random, connectTimeoutMs, statementTimeoutMs: Math.round(callTimeoutMs * STATEMENT_SHARE), idleInTransactionMs });
  try {
    const link = await pool.borrow();
    await migrate(link, { label: target.label, nowMs: clock.now() });
    pool.giveBack(link);
  } catch (thrown) {
    await pool.close();
    throw faultKind(thrown) === "lost" ? lostConnection(thrown, target.label, false) : storeFault(thrown);
  }
  return new PostgresStore(pool, { label: target.label, clock, random }, callTimeoutMs);
}

function weightOf({ state, wait, exchange, outbox, documents, timers, deadLetter }: AgentCommit): number {
  let bytes = (state?.image.length ?? 0) + (wait?.body.length ?? 0) + (exchange?.body.length ?? 0) + (deadLetter?.body.length ?? 0);
  for (const { body } of outbox) bytes += body.length;
  for (const change of documents) bytes += change.bytes?.length ?? 0;
  for (const change of timers) bytes += change.kind === "set" ? change.payload.length : 0;
  return bytes;
}

const agentName = (agentId: string): string => `agent ${agentId}`;
const sessionName = (sessionId: string): string => `session ${sessionId}`;
const letterName = (deadLetterId: string): string => `letter ${deadLetterId}`;
const userName = (userId: string): string => `user ${userId}`;
const MODULES = "modules";
const SWAPS = "swaps";

class PostgresStore implements Store {
  #state: State = "open";
  readonly #pool: Pool;
  readonly #around: BatchSurroundings;
  readonly #callTimeoutMs: number;
  readonly #order = new CallOrder<PendingCall>();
  readonly #closed = new Deferred<void>();
  #batches = 0;
  #due = false;

  constructor(pool: Pool, around: BatchSurroundings, callTimeoutMs: number) {
    this.#pool = pool;
    this.#around = around;
    this.#callTimeoutMs = callTimeoutMs;
  }

  // --- units of work -----------------------------------------------------------------

  #enter<Value>(needs: Needs, pending: (work: Work) => PendingCall): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    if (this.#state === "open") {
      this.#order.add(needs, pending({ resolve, reject }));
      this.#pumpSoon();
    } else {
      reject(closedStore(this.#around.label));
    }
    return promise;
  }

  /** Calls of one turn of the event loop go together. */
  #pumpSoon(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#pool.free > 0) {
      const unit = this.#order.next(this.#batches < BATCHES);
      if (unit === null) break;
      void this.#run(unit);
    }
    if (this.#state === "closing" && this.#order.idle) this.#end();
  }

  #end(): void {
    this.#state = "closed";
    void this.#pool.close().then(() => this.#closed.resolve());
  }

  async #run(unit: Unit<PendingCall>): Promise<void> {
    if (unit.kind === "batch") this.#batches++;
    try {
      await this.#perform(unit);
    } finally {
      if (unit.kind === "batch") this.#batches--;
      this.#order.over(unit);
      this.#pump();
    }
  }

  async #perform({ calls }: Unit<PendingCall>): Promise<void> {
    let link: Link;
    try {
      link = await this.#pool.borrow();
    } catch (thrown) {
      for (const { reject } of calls) reject(storeFault(thrown));
      return;
    }
    // T2
    const limit = this.#around.clock.after(this.#callTimeoutMs, () => link.cut(new LinkFault("CONNECTION_DESTROYED", `no answer within ${this.#callTimeoutMs} ms`)));
    const inBatch = calls.flatMap((one) => (one.kind === "batch" ? [one] : []));
    const others = calls.flatMap((one) => (one.kind === "link" ? [this.#performOne(link, one)] : []));
    await Promise.all([...others, ...(inBatch.length === 0 ? [] : [this.#performBatch(link, inBatch)])]);
    limit.cancel();
    this.#pool.giveBack(link);
  }

  async #performBatch(link: Link, calls: readonly Extract<PendingCall, { kind: "batch" }>[]): Promise<void> {
    const outcomes = await runBatch(link, calls.map(({ call }) => call), this.#around);
    for (const [index, { resolve, reject }] of calls.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) reject(new SirsiError("INTERNAL", "A batch of the store has no outcome for one of its calls; report it with the host's log around this time."));
      else if (outcome.kind === "done") resolve(outcome.value as never);
      else reject(outcome.error);
    }
  }

  async #performOne(link: Link, { writes, run, resolve, reject }: Extract<PendingCall, { kind: "link" }>): Promise<void> {
    let sent = false;
    try {
      if (writes) faultPoint("commit.before-write");
      if (writes) faultPoint("commit.in-transaction");
      sent = writes;
      const value = await withRetries(this.#around, () => run(link));
      if (writes) faultPoint("commit.written");
      resolve(value as never);
    } catch (thrown) {
      reject(faultKind(thrown) === "lost" ? lostConnection(thrown, this.#around.label, sent) : storeFault(thrown));
    }
  }

  #batch<Value>(call: BatchCall, writes: readonly string[], reads: readonly string[] = [], bytes = 0): Promise<Value> {
    return this.#enter({ kind: "batch", writes, reads, bytes }, (work) => ({ kind: "batch", call, ...work }));
  }

  /** `of` is null for what sees everything. */
  #read<Value>(of: string | null, run: (link: Link) => Promise<Value>): Promise<Value> {
    const needs: Needs = { kind: "read", writes: [], reads: of === null ? [] : [of], everything: of === null };
    return this.#enter(needs, (work) => ({ kind: "link", writes: false, run, ...work }));
  }

  #single<Value>(needs: Omit<Needs, "kind">, run: (link: Link) => Promise<Value>): Promise<Value> {
    return this.#enter({ kind: "single", ...needs }, (work) => ({ kind: "link", writes: needs.writes.length > 0, run, ...work }));
  }

  #write<Value>(of: string, run: (link: Link) => Promise<Value>): Promise<Value> {
    return this.#single({ writes: [of], reads: [] }, run);
  }

  // --- sessions and users ---------------------------------------------------------------

  probe(): Promise<void> {
    return this.#write("probe", modules.probe);
  }

  putSession(session: SessionRecord): Promise<void> {
    return this.#write(sessionName(session.sessionId), (link) => sessions.putSession(link, session));
  }

  getSession(sessionId: string): Promise<SessionRecord | null> {
    return this.#read(sessionName(sessionId), (link) => sessions.getSession(link, sessionId));
  }

  listSessions(query: SessionQuery): Promise<SessionRecord[]> {
    return this.#read(null, (link) => sessions.listSessions(link, query));
  }

  deleteSession(sessionId: string): Promise<void> {
    return this.#single({ writes: [sessionName(sessionId)], reads: [], alone: true }, (link) => sessions.deleteSession(link, sessionId));
  }

  putUser(user: UserRecord): Promise<void> {
    return this.#write(userName(user.userId), (link) => sessions.putUser(link, user));
  }

  getUser(userId: string): Promise<UserRecord | null> {
    return this.#read(userName(userId), (link) => sessions.getUser(link, userId));
  }

  // --- agents -----------------------------------------------------------------------------

  putAgent(agent: AgentRecord): Promise<void> {
    return this.#batch({ kind: "put", agent }, [agentName(agent.agentId)], [sessionName(agent.sessionId)]);
  }

  getAgent(agentId: string): Promise<StoredAgent | null> {
    return this.#read(agentName(agentId), (link) => agents.getAgent(link, agentId));
  }

  listLiveAgents(query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]> {
    return this.#read(null, (link) => agents.listLiveAgents(link, query, afterAgentId, limit));
  }

  countLiveAgents(query: AgentQuery): Promise<number> {
    return this.#read(null, (link) => agents.countLiveAgents(link, query));
  }

  listInitializing(limit: number): Promise<string[]> {
    return this.#read(null, (link) => agents.listInitializing(link, limit));
  }

  countByDigest(module: string): Promise<ReadonlyMap<string, number>> {
    return this.#read(null, (link) => agents.countByDigest(link, module));
  }

  listSessionAgents(sessionId: string): Promise<StoredAgent[]> {
    return this.#read(null, (link) => agents.listSessionAgents(link, sessionId));
  }

  claimAgent(agentId: string): Promise<number> {
    return this.#batch({ kind: "claim", agentId }, [agentName(agentId)]);
  }

  commit(commit: AgentCommit): Promise<void> {
    const { agentId, agent, deadLetter, consumedDeadLetter } = commit;
    const letters = [deadLetter?.deadLetterId ?? null, consumedDeadLetter].filter((id) => id !== null);
    const reads = agent === null ? [] : [sessionName(agent.sessionId)];
    return this.#batch({ kind: "commit", commit: ownedCommit(commit) }, [agentName(agentId), ...letters.map(letterName)], reads, weightOf(commit));
  }

  getState(agentId: string, atSequence: number | null): Promise<StateChain | null> {
    return this.#read(agentName(agentId), (link) => states.getState(link, agentId, atSequence));
  }

  getWait(agentId: string): Promise<WaitRecord | null> {
    return this.#read(agentName(agentId), (link) => states.getWait(link, agentId));
  }

  listWaiting(afterAgentId: string, limit: number): Promise<string[]> {
    return this.#read(null, (link) => states.listWaiting(link, afterAgentId, limit));
  }

  listCommits(agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]> {
    return this.#read(agentName(agentId), (link) => states.listCommits(link, agentId, beforeSequence, limit));
  }

  // --- exchanges ----------------------------------------------------------------------------

  listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]> {
    return this.#read(agentName(agentId), (link) => exchanges.listExchanges(link, agentId, beforeSequence, limit));
  }

  findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null> {
    return this.#read(agentName(agentId), (link) => exchanges.findExchange(link, agentId, messageId));
  }

  forgetExchanges(before: number, limit: number): Promise<number> {
    return this.#single({ writes: ["message ids"], reads: [], everything: true }, (link) => exchanges.forgetExchanges(link, before, limit));
  }

  // --- effects --------------------------------------------------------------------------------

  listOutbox(after: OutboxCursor | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: OutboxCursor | null }> {
    return this.#read(null, (link) => effects.listOutbox(link, after, limit));
  }

  settleOutbox(keys: readonly OutboxKey[]): Promise<void> {
    return this.#batch({ kind: "settle", keys: [...keys] }, keys.map(({ agentId }) => agentName(agentId)));
  }

  deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void> {
    const owned = { ...letter, body: new Uint8Array(letter.body) };
    return this.#single({ writes: [agentName(key.agentId), letterName(letter.deadLetterId)], reads: [] }, (link) => effects.deadLetterOutbox(link, key, owned));
  }

  listTimers(before: number, limit: number): Promise<TimerRecord[]> {
    return this.#read(null, (link) => effects.listTimers(link, before, limit));
  }

  nextTimer(after: number): Promise<number | null> {
    return this.#read(null, (link) => effects.nextTimer(link, after));
  }

  getDocument(sessionId: string, key: string): Promise<DocumentRecord | null> {
    return this.#read(null, (link) => effects.getDocument(link, sessionId, key));
  }

  listDocuments(sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]> {
    return this.#read(null, (link) => effects.listDocuments(link, sessionId, prefix, afterKey, limit));
  }

  listDeadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return this.#read(null, (link) => effects.listDeadLetters(link, query));
  }

  getDeadLetter(deadLetterId: string): Promise<DeadLetter | null> {
    return this.#read(letterName(deadLetterId), (link) => effects.getDeadLetter(link, deadLetterId));
  }

  dropDeadLetter(deadLetterId: string): Promise<boolean> {
    return this.#write(letterName(deadLetterId), (link) => effects.dropDeadLetter(link, deadLetterId));
  }

  // --- audits, modules ---------------------------------------------------------------------------

  auditAgent(agentId: string): Promise<Audit | null> {
    return this.#single({ writes: [], reads: [], everything: true }, (link) => audits.auditAgent(link, agentId));
  }

  auditHost(findingsMax: number): Promise<Audit> {
    return auditInParts(findingsMax, (after, most) => this.#single({ writes: [], reads: [], everything: true }, (link) => audits.auditSome(link, after, most)));
  }

  putModule(module: ModuleRecord, revision: RevisionRecord | null): Promise<void> {
    return this.#write(MODULES, (link) => modules.putModule(link, module, revision));
  }

  putRevision(revision: RevisionRecord): Promise<void> {
    return this.#write(MODULES, (link) => modules.putRevision(link, revision));
  }

  listModules(): Promise<ModuleRecord[]> {
    return this.#read(MODULES, modules.listModules);
  }

  listRevisions(module: string): Promise<RevisionRecord[]> {
    return this.#read(MODULES, (link) => modules.listRevisions(link, module));
  }

  putSwap(swap: SwapRecord): Promise<void> {
    return this.#write(SWAPS, (link) => modules.putSwap(link, swap));
  }

  listSwaps(module: string | null, limit: number): Promise<SwapRecord[]> {
    return this.#read(SWAPS, (link) => modules.listSwaps(link, module, limit));
  }

  close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing";
      this.#pump();
    }
    return this.#closed.promise;
  }
}
