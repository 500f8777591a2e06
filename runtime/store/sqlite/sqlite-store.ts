/**
 * The embedded store, as the host sees it: calls of one turn of the event loop
 * travel to the store's thread together, and the thread commits everything it
 * finds waiting at once.
 *
 * States: opening -> open -> closing -> ended, and from each of them -> ended.
 *
 * T1 Calls take effect and settle in the order they were made.
 * T2 Every call settles exactly once: with its result, or with STORE_UNAVAILABLE
 *    when the thread ends first. `#end` is the one way into `ended`, on the
 *    thread's exit, whatever the reason.
 * T3 Bytes are copied when the call is made: the caller may use its buffer again
 *    at once, and a small view never drags its large buffer across.
 */
import { extname, join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Clock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { armedFault } from "../../core/fault-points.ts";
import { auditInParts } from "../host-audit.ts";
import { ownedCommit } from "../owned-commit.ts";
import type {
  AgentCommit, AgentQuery, AgentRecord, Audit, CommitEntry, DeadLetter, DeadLetterQuery, DocumentRecord, ExchangeRecord, ModuleRecord, OutboxCursor, OutboxKey,
  RevisionRecord, SessionQuery, SessionRecord, StateChain, Store, StoredAgent, StoredOutboxEntry, SwapRecord, TimerRecord, UserRecord, WaitRecord,
} from "../store.ts";
import type { FromThread, ServedStore, Settled, StoreCall, StoreCallName, ThreadOptions, ToThread } from "./protocol.ts";

export type SqliteStoreOptions = { readonly clock: Clock } & (
  | { /** The folder for the store's files; made when it is missing. */ readonly dataDir: string }
  | { /** The database file itself. */ readonly path: string }
);

type State =
  | { readonly kind: "opening" | "open" | "closing" }
  | { readonly kind: "ended"; readonly reason: SirsiError };

interface OpenCall {
  readonly call: StoreCall;
  readonly resolve: (value: never) => void;
  readonly reject: (reason: SirsiError) => void;
}

/** Opens the store or rejects with STORE_UNAVAILABLE (in use, newer, not writable) or STORE_CORRUPT. */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const path = "path" in options ? options.path : join(options.dataDir, "sirsi.db");
  const store = new SqliteStore({ path, openedAtMs: options.clock.now(), fault: armedFault() });
  await store.opened;
  return store;
}

class SqliteStore implements Store {
  #state: State = { kind: "opening" };
  readonly #path: string;
  readonly #thread: Worker;
  readonly #opened = new Deferred<void>();
  readonly #ended = new Deferred<void>();
  /** What brought the thread down, when it said so. */
  #fault: SirsiError | null = null;
  /** Made in this turn of the event loop, not yet sent. */
  readonly #queued: OpenCall[] = [];
  /** Sent and not yet answered, oldest first. */
  readonly #sent: OpenCall[] = [];

  constructor(options: ThreadOptions) {
    this.#path = options.path;
    const file = new URL(`./store-thread${extname(import.meta.url)}`, import.meta.url);
    this.#thread = new Worker(file, { name: "sirsi-store", workerData: options });
    this.#thread.on("message", (message: FromThread) => this.#receive(message));
    this.#thread.on("error", (thrown) => {
      this.#fault = SirsiError.from(thrown);
    });
    this.#thread.on("exit", () => this.#end());
  }

  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case "opened":
        this.#state = { kind: "open" };
        this.#opened.resolve();
        return;
      case "refused":
        this.#fault = SirsiError.revive(message.error);
        return;
      case "settled":
        this.#settle(message.settled);
        return;
    }
  }

  #settle({ values, failures }: Settled): void {
    const answered = this.#sent.splice(0, values.length);
    for (const { index, error } of failures) answered[index]?.reject(SirsiError.revive(error));
    // A call that was rejected above is not moved by this.
    for (const [index, call] of answered.entries()) call.resolve(values[index] as never);
  }

  #end(): void {
    const lost = [...this.#sent.splice(0), ...this.#queued.splice(0)];
    const asked = this.#state.kind === "closing" && this.#fault === null && lost.length === 0;
    const reason = asked ? this.#closedReason() : this.#deathReason();
    this.#state = { kind: "ended", reason };
    this.#opened.reject(this.#fault ?? reason);
    for (const call of lost) call.reject(reason);
    this.#ended.resolve();
  }

  #closedReason(): SirsiError {
    return new SirsiError("STORE_UNAVAILABLE", `The store ${this.#path} is closed and takes no more calls. Start the host again to use it.`);
  }

  #deathReason(): SirsiError {
    const cause = this.#fault === null ? "it was stopped from outside" : this.#fault.message;
    return new SirsiError(
      "STORE_UNAVAILABLE",
      `The thread of the store ${this.#path} ended (${cause}); a call that was open may or may not have been written. ` +
        "Start the host again: it goes on from what is on disk.",
      this.#fault === null ? {} : { cause: this.#fault },
    );
  }

  #call<Name extends StoreCallName>(name: Name, ...args: Parameters<ServedStore[Name]>): ReturnType<ServedStore[Name]> {
    const { promise, resolve, reject } = Promise.withResolvers<never>();
    switch (this.#state.kind) {
      case "ended":
        reject(this.#state.reason);
        break;
      case "closing":
        reject(this.#closedReason());
        break;
      case "opening":
      case "open":
        if (this.#queued.length === 0) setImmediate(() => this.#send());
        this.#queued.push({ call: { name, args } as StoreCall, resolve, reject });
        break;
    }
    // The compiler cannot see that every ReturnType<ServedStore[Name]> is a promise of the call's value.
    return promise as ReturnType<ServedStore[Name]>;
  }

  #send(): void {
    const queued = this.#queued.splice(0);
    if (queued.length === 0) return;
    try {
      this.#post(queued);
    } catch {
      // A record that cannot be copied to a thread must not take its neighbours along.
      for (const one of queued) this.#sendAlone(one);
    }
  }

  #sendAlone(one: OpenCall): void {
    try {
      this.#post([one]);
    } catch (thrown) {
      const said = thrown instanceof Error ? thrown.message : String(thrown);
      one.reject(new SirsiError("INTERNAL", `The store was given something that is not plain data in ${one.call.name}: ${said}`, { cause: thrown }));
    }
  }

  #post(group: readonly OpenCall[]): void {
    this.#thread.postMessage({ kind: "calls", calls: group.map((one) => one.call) } satisfies ToThread);
    for (const one of group) this.#sent.push(one);
  }

  probe(): Promise<void> {
    return this.#call("probe");
  }

  putSession(session: SessionRecord): Promise<void> {
    return this.#call("putSession", session);
  }

  getSession(sessionId: string): Promise<SessionRecord | null> {
    return this.#call("getSession", sessionId);
  }

  listSessions(query: SessionQuery): Promise<SessionRecord[]> {
    return this.#call("listSessions", query);
  }

  deleteSession(sessionId: string): Promise<void> {
    return this.#call("deleteSession", sessionId);
  }

  putUser(user: UserRecord): Promise<void> {
    return this.#call("putUser", user);
  }

  getUser(userId: string): Promise<UserRecord | null> {
    return this.#call("getUser", userId);
  }

  putAgent(agent: AgentRecord): Promise<void> {
    return this.#call("putAgent", agent);
  }

  getAgent(agentId: string): Promise<StoredAgent | null> {
    return this.#call("getAgent", agentId);
  }

  listLiveAgents(query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]> {
    return this.#call("listLiveAgents", query, afterAgentId, limit);
  }

  countLiveAgents(query: AgentQuery): Promise<number> {
    return this.#call("countLiveAgents", query);
  }

  listInitializing(limit: number): Promise<string[]> {
    return this.#call("listInitializing", limit);
  }

  countByDigest(module: string): Promise<ReadonlyMap<string, number>> {
    return this.#call("countByDigest", module);
  }

  listSessionAgents(sessionId: string): Promise<StoredAgent[]> {
    return this.#call("listSessionAgents", sessionId);
  }

  claimAgent(agentId: string): Promise<number> {
    return this.#call("claimAgent", agentId);
  }

  commit(commit: AgentCommit): Promise<void> {
    return this.#call("commit", ownedCommit(commit));
  }

  getState(agentId: string, atSequence: number | null): Promise<StateChain | null> {
    return this.#call("getState", agentId, atSequence);
  }

  getWait(agentId: string): Promise<WaitRecord | null> {
    return this.#call("getWait", agentId);
  }

  listWaiting(afterAgentId: string, limit: number): Promise<string[]> {
    return this.#call("listWaiting", afterAgentId, limit);
  }

  listCommits(agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]> {
    return this.#call("listCommits", agentId, beforeSequence, limit);
  }

  listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]> {
    return this.#call("listExchanges", agentId, beforeSequence, limit);
  }

  findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null> {
    return this.#call("findExchange", agentId, messageId);
  }

  forgetExchanges(before: number, limit: number): Promise<number> {
    return this.#call("forgetExchanges", before, limit);
  }

  listOutbox(after: OutboxCursor | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: OutboxCursor | null }> {
    return this.#call("listOutbox", after, limit);
  }

  settleOutbox(keys: readonly OutboxKey[]): Promise<void> {
    return this.#call("settleOutbox", keys);
  }

  deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void> {
    return this.#call("deadLetterOutbox", key, letter);
  }

  listTimers(before: number, limit: number): Promise<TimerRecord[]> {
    return this.#call("listTimers", before, limit);
  }

  nextTimer(after: number): Promise<number | null> {
    return this.#call("nextTimer", after);
  }

  getDocument(sessionId: string, key: string): Promise<DocumentRecord | null> {
    return this.#call("getDocument", sessionId, key);
  }

  listDocuments(sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]> {
    return this.#call("listDocuments", sessionId, prefix, afterKey, limit);
  }

  listDeadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return this.#call("listDeadLetters", query);
  }

  getDeadLetter(deadLetterId: string): Promise<DeadLetter | null> {
    return this.#call("getDeadLetter", deadLetterId);
  }

  dropDeadLetter(deadLetterId: string): Promise<boolean> {
    return this.#call("dropDeadLetter", deadLetterId);
  }

  auditAgent(agentId: string): Promise<Audit | null> {
    return this.#call("auditAgent", agentId);
  }

  auditHost(findingsMax: number): Promise<Audit> {
    return auditInParts(findingsMax, (after, most) => this.#call("auditSome", after, most));
  }

  putSwap(swap: SwapRecord): Promise<void> {
    return this.#call("putSwap", swap);
  }

  listSwaps(module: string | null, limit: number): Promise<SwapRecord[]> {
    return this.#call("listSwaps", module, limit);
  }

  putModule(module: ModuleRecord, revision: RevisionRecord | null): Promise<void> {
    return this.#call("putModule", module, revision);
  }

  putRevision(revision: RevisionRecord): Promise<void> {
    return this.#call("putRevision", revision);
  }

  listModules(): Promise<ModuleRecord[]> {
    return this.#call("listModules");
  }

  listRevisions(module: string): Promise<RevisionRecord[]> {
    return this.#call("listRevisions", module);
  }

  close(): Promise<void> {
    if (this.#state.kind === "open") {
      this.#send();
      this.#state = { kind: "closing" };
      this.#thread.postMessage({ kind: "close" } satisfies ToThread);
    }
    return this.#ended.promise;
  }
}
