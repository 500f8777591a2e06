/**
 * The store of a fleet, as a host sees it: each method says what a call needs and hands it
 * on (dispatch.ts). The truth is in the database alone; what is remembered here is whose
 * calls these are, once the host has joined a fleet.
 *
 * T1 Calls that concern one agent, session or module take effect in the order they were
 *    made, those of agents in batches. Listings see every write made before them.
 * T2 Every call settles exactly once (U1 in dispatch.ts).
 * T3 Bytes are copied when the call is made: the caller may use its buffer again at once.
 * T4 A host of a fleet writes in its own name: new agents are its own, those of others are
 *    left alone, and nothing is written once it was buried (host-table.ts).
 */
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Acquisition, FleetModule, FleetStore, HostDescription, HostLoad, HostStateName, Orphan, Renewal } from "../fleet-store.ts";
import { auditInParts } from "../host-audit.ts";
import { ownedCommit } from "../owned-commit.ts";
import type {
  AgentCommit, AgentQuery, AgentRecord, Audit, CommitEntry, DeadLetter, DeadLetterQuery, DocumentRecord, ExchangeRecord, ModuleRecord, OutboxCursor, OutboxKey,
  RevisionRecord, SessionQuery, SessionRecord, StateChain, StoredAgent, StoredOutboxEntry, SwapRecord, TimerRecord, UserRecord, WaitRecord,
} from "../store.ts";
import * as agents from "./agent-table.ts";
import * as audits from "./audit.ts";
import { parseConnectionUrl } from "./connection-url.ts";
import { Dispatch } from "./dispatch.ts";
import * as effects from "./effect-tables.ts";
import * as exchanges from "./exchange-table.ts";
import * as fleetModules from "./fleet-module-table.ts";
import * as hosts from "./host-table.ts";
import { LeaseLine } from "./lease-line.ts";
import { migrate } from "./migration.ts";
import * as modules from "./module-table.ts";
import * as owners from "./ownership-table.ts";
import { closedStore, Pool, type PoolOptions } from "./pool.ts";
import { faultKind, lostConnection, storeFault } from "./postgres-fault.ts";
import * as sessions from "./session-table.ts";
import * as states from "./state-table.ts";

export interface PostgresStoreOptions {
  readonly clock: Clock;
  /** postgres://user:password@host:5432/database?sslmode=verify-full; see connection-url.ts. */
  readonly url: string;
  /** The most connections at a time, at least 2; default 8, and up to 3 more in a fleet, for the lease alone. All hosts together must stay below the server's max_connections. */
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
/** The server gives up first, so that its answer, and not our guess, tells what became of a call. */
const STATEMENT_SHARE = 0.8;

/** Opens the store and brings its tables up to date, or rejects with STORE_UNAVAILABLE (not reachable, not allowed, newer, somebody else's). */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<FleetStore> {
  const { clock, url, connectTimeoutMs, callTimeoutMs, idleInTransactionMs, random, connectionsMax } = { ...DEFAULTS, ...options };
  if (!Number.isInteger(connectionsMax) || connectionsMax < 2) {
    throw new SirsiError("INVALID_ARGUMENT", `A Postgres store needs at least 2 connections, and connectionsMax is ${connectionsMax}. Choose 2 or more.`);
  }
  const target = parseConnectionUrl(url);
  const connections = { target, clock, max: connectionsMax, random, connectTimeoutMs, statementTimeoutMs: Math.round(callTimeoutMs * STATEMENT_SHARE), idleInTransactionMs };
  const pool = new Pool(connections);
  try {
    const link = await pool.borrow();
    await migrate(link, { label: target.label, nowMs: clock.now() });
    pool.giveBack(link);
  } catch (thrown) {
    await pool.close();
    throw faultKind(thrown) === "lost" ? lostConnection(thrown, target.label, false) : storeFault(thrown);
  }
  return new PostgresStore(connections, new Dispatch(pool, { label: target.label, clock, random }, callTimeoutMs));
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
const HOSTS = "hosts";
const FLEET_MODULES = "modules of the fleet";
const bytesName = (digest: string): string => `bytes ${digest}`;

class PostgresStore implements FleetStore {
  readonly #calls: Dispatch;
  readonly #options: PoolOptions;
  /** The host's, in a fleet. */
  #name = "";
  #lease: LeaseLine | null = null;

  constructor(options: PoolOptions, calls: Dispatch) {
    this.#options = options;
    this.#calls = calls;
  }

  // --- sessions and users ---------------------------------------------------------------

  probe(): Promise<void> {
    return this.#calls.single({ writes: ["probe"], reads: [] }, modules.probe);
  }

  putSession(session: SessionRecord): Promise<void> {
    return this.#calls.write(sessionName(session.sessionId), (writer) => sessions.putSession(writer, session));
  }

  getSession(sessionId: string): Promise<SessionRecord | null> {
    return this.#calls.read(sessionName(sessionId), (link) => sessions.getSession(link, sessionId));
  }

  listSessions(query: SessionQuery): Promise<SessionRecord[]> {
    return this.#calls.read(null, (link) => sessions.listSessions(link, query));
  }

  deleteSession(sessionId: string): Promise<void> {
    return this.#calls.writeWith({ writes: [sessionName(sessionId)], reads: [], alone: true }, (writer) => sessions.deleteSession(writer, sessionId));
  }

  putUser(user: UserRecord): Promise<void> {
    return this.#calls.write(userName(user.userId), (writer) => sessions.putUser(writer, user));
  }

  getUser(userId: string): Promise<UserRecord | null> {
    return this.#calls.read(userName(userId), (link) => sessions.getUser(link, userId));
  }

  // --- agents -----------------------------------------------------------------------------

  putAgent(agent: AgentRecord): Promise<void> {
    return this.#calls.batch({ kind: "put", agent }, [agentName(agent.agentId)], [sessionName(agent.sessionId)]);
  }

  getAgent(agentId: string): Promise<StoredAgent | null> {
    return this.#calls.read(agentName(agentId), (link) => agents.getAgent(link, agentId));
  }

  listLiveAgents(query: AgentQuery, afterAgentId: string, limit: number): Promise<StoredAgent[]> {
    return this.#calls.read(null, (link) => agents.listLiveAgents(link, this.#calls.hostId, query, afterAgentId, limit));
  }

  countLiveAgents(query: AgentQuery): Promise<number> {
    return this.#calls.read(null, (link) => agents.countLiveAgents(link, this.#calls.hostId, query));
  }

  listInitializing(limit: number): Promise<string[]> {
    return this.#calls.read(null, (link) => agents.listInitializing(link, this.#calls.hostId, limit));
  }

  countByDigest(module: string): Promise<ReadonlyMap<string, number>> {
    return this.#calls.read(null, (link) => agents.countByDigest(link, this.#calls.hostId, module));
  }

  listSessionAgents(sessionId: string): Promise<StoredAgent[]> {
    return this.#calls.read(null, (link) => agents.listSessionAgents(link, sessionId));
  }

  claimAgent(agentId: string): Promise<number> {
    return this.#calls.batch({ kind: "claim", agentId }, [agentName(agentId)]);
  }

  commit(commit: AgentCommit): Promise<void> {
    const { agentId, agent, deadLetter, consumedDeadLetter } = commit;
    const letters = [deadLetter?.deadLetterId ?? null, consumedDeadLetter].filter((id) => id !== null);
    const reads = agent === null ? [] : [sessionName(agent.sessionId)];
    return this.#calls.batch({ kind: "commit", commit: ownedCommit(commit) }, [agentName(agentId), ...letters.map(letterName)], reads, weightOf(commit));
  }

  getState(agentId: string, atSequence: number | null): Promise<StateChain | null> {
    return this.#calls.read(agentName(agentId), (link) => states.getState(link, agentId, atSequence));
  }

  getWait(agentId: string): Promise<WaitRecord | null> {
    return this.#calls.read(agentName(agentId), (link) => states.getWait(link, agentId));
  }

  listWaiting(afterAgentId: string, limit: number): Promise<string[]> {
    return this.#calls.read(null, (link) => states.listWaiting(link, this.#calls.hostId, afterAgentId, limit));
  }

  listCommits(agentId: string, beforeSequence: number, limit: number): Promise<CommitEntry[]> {
    return this.#calls.read(agentName(agentId), (link) => states.listCommits(link, agentId, beforeSequence, limit));
  }

  // --- exchanges ----------------------------------------------------------------------------

  listExchanges(agentId: string, beforeSequence: number, limit: number): Promise<ExchangeRecord[]> {
    return this.#calls.read(agentName(agentId), (link) => exchanges.listExchanges(link, agentId, beforeSequence, limit));
  }

  findExchange(agentId: string, messageId: string): Promise<ExchangeRecord | null> {
    return this.#calls.read(agentName(agentId), (link) => exchanges.findExchange(link, agentId, messageId));
  }

  forgetExchanges(before: number, limit: number): Promise<number> {
    return this.#calls.writeWith({ writes: ["message ids"], reads: [], everything: true }, (writer) => exchanges.forgetExchanges(writer, before, limit));
  }

  // --- effects --------------------------------------------------------------------------------

  listOutbox(after: OutboxCursor | null, limit: number): Promise<{ readonly entries: readonly StoredOutboxEntry[]; readonly next: OutboxCursor | null }> {
    return this.#calls.read(null, (link) => effects.listOutbox(link, this.#calls.hostId, after, limit));
  }

  settleOutbox(keys: readonly OutboxKey[]): Promise<void> {
    return this.#calls.batch({ kind: "settle", keys: [...keys] }, keys.map(({ agentId }) => agentName(agentId)));
  }

  deadLetterOutbox(key: OutboxKey, letter: DeadLetter): Promise<void> {
    const owned = { ...letter, body: new Uint8Array(letter.body) };
    return this.#calls.writeWith({ writes: [agentName(key.agentId), letterName(letter.deadLetterId)], reads: [] }, (writer) => effects.deadLetterOutbox(writer, key, owned));
  }

  listTimers(before: number, limit: number): Promise<TimerRecord[]> {
    return this.#calls.read(null, (link) => effects.listTimers(link, this.#calls.hostId, before, limit));
  }

  nextTimer(after: number): Promise<number | null> {
    return this.#calls.read(null, (link) => effects.nextTimer(link, this.#calls.hostId, after));
  }

  getDocument(sessionId: string, key: string): Promise<DocumentRecord | null> {
    return this.#calls.read(null, (link) => effects.getDocument(link, sessionId, key));
  }

  listDocuments(sessionId: string, prefix: string, afterKey: string, limit: number): Promise<Omit<DocumentRecord, "bytes">[]> {
    return this.#calls.read(null, (link) => effects.listDocuments(link, sessionId, prefix, afterKey, limit));
  }

  listDeadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return this.#calls.read(null, (link) => effects.listDeadLetters(link, query));
  }

  getDeadLetter(deadLetterId: string): Promise<DeadLetter | null> {
    return this.#calls.read(letterName(deadLetterId), (link) => effects.getDeadLetter(link, deadLetterId));
  }

  dropDeadLetter(deadLetterId: string): Promise<boolean> {
    return this.#calls.write(letterName(deadLetterId), (writer) => effects.dropDeadLetter(writer, deadLetterId));
  }

  // --- audits, modules ---------------------------------------------------------------------------

  auditAgent(agentId: string): Promise<Audit | null> {
    return this.#calls.single({ writes: [], reads: [], everything: true }, (link) => audits.auditAgent(link, agentId));
  }

  auditHost(findingsMax: number): Promise<Audit> {
    return auditInParts(findingsMax, (after, most) => this.#calls.single({ writes: [], reads: [], everything: true }, (link) => audits.auditSome(link, after, most)));
  }

  putModule(module: ModuleRecord, revision: RevisionRecord | null): Promise<void> {
    return this.#calls.write(MODULES, (writer) => modules.putModule(writer, this.#name, module, revision));
  }

  putRevision(revision: RevisionRecord): Promise<void> {
    return this.#calls.write(MODULES, (writer) => modules.putRevision(writer, this.#name, revision));
  }

  listModules(): Promise<ModuleRecord[]> {
    return this.#calls.read(MODULES, (link) => modules.listModules(link, this.#name));
  }

  listRevisions(module: string): Promise<RevisionRecord[]> {
    return this.#calls.read(MODULES, (link) => modules.listRevisions(link, this.#name, module));
  }

  putSwap(swap: SwapRecord): Promise<void> {
    return this.#calls.write(SWAPS, (writer) => modules.putSwap(writer, this.#name, swap));
  }

  listSwaps(module: string | null, limit: number): Promise<SwapRecord[]> {
    return this.#calls.read(SWAPS, (link) => modules.listSwaps(link, this.#name, module, limit));
  }

  // --- the hosts of a fleet ----------------------------------------------------------------------

  joinFleet(host: HostDescription, leaseMs: number, predecessor: string | null): Promise<void> {
    return this.#calls.single({ writes: [HOSTS], reads: [], alone: true }, async (link) => {
      await hosts.joinFleet(link, host, leaseMs, predecessor);
      this.#calls.hostId = host.hostId;
      this.#name = host.name;
      this.#lease ??= new LeaseLine(this.#options, leaseMs);
    });
  }

  describeHost(host: HostDescription): Promise<void> {
    return this.#calls.write(HOSTS, (writer) => hosts.describeHost(writer, host));
  }

  async renewLease(load: HostLoad, leaseMs: number): Promise<Renewal> {
    const hostId = this.#joined();
    if (this.#lease === null || this.#calls.isClosing) throw closedStore(this.#options.target.label);
    return await this.#lease.renew(hostId, load, leaseMs);
  }

  setHostState(hostId: string, state: Exclude<HostStateName, "dead">): Promise<boolean> {
    return this.#calls.write(HOSTS, (writer) => hosts.setHostState(writer, hostId, state));
  }

  buryHost(hostId: string): Promise<boolean> {
    return this.#calls.write(`host ${hostId}`, (writer) => hosts.buryHost(writer, hostId));
  }

  async leaveFleet(): Promise<void> {
    const hostId = this.#joined();
    await this.#calls.single({ writes: [HOSTS], reads: [], alone: true }, (link) => hosts.endHost(link, hostId));
  }

  /** Who asks for what a host of a fleet alone can have. */
  #joined(): string {
    const { hostId } = this.#calls;
    if (hostId === null) throw new SirsiError("INTERNAL", "The store was asked for what only a host of a fleet has, and its host has joined none. Call joinFleet first.");
    return hostId;
  }

  // --- owners --------------------------------------------------------------------------------------

  async acquireAgent(agentId: string): Promise<Acquisition> {
    this.#joined();
    return await this.#calls.batch({ kind: "acquire", agentId }, [agentName(agentId)]);
  }

  async giveAgents(agentIds: readonly string[], toHostId: string | null): Promise<readonly string[]> {
    this.#joined();
    return await this.#calls.batch({ kind: "give", agentIds: [...agentIds], toHostId }, agentIds.map(agentName));
  }

  ownersOf(agentIds: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const asked = [...agentIds];
    return this.#calls.readOf(asked.map(agentName), (link) => owners.ownersOf(link, asked));
  }

  async listOwned(afterAgentId: string, limit: number): Promise<readonly string[]> {
    const hostId = this.#joined();
    return await this.#calls.read(null, (link) => owners.listOwned(link, hostId, afterAgentId, limit));
  }

  async countOwned(): Promise<number> {
    const hostId = this.#joined();
    return await this.#calls.read(null, (link) => owners.countOwned(link, hostId));
  }

  countByOwner(): Promise<ReadonlyMap<string, number>> {
    return this.#calls.read(null, owners.countByOwner);
  }

  listOrphans(ofModules: readonly string[], afterAgentId: string, limit: number): Promise<readonly Orphan[]> {
    return this.#calls.read(null, (link) => owners.listOrphans(link, ofModules, afterAgentId, limit));
  }

  // --- what a fleet runs -----------------------------------------------------------------------------

  putModuleBytes(digest: string, bytes: Uint8Array): Promise<void> {
    const owned = new Uint8Array(bytes);
    return this.#calls.write(bytesName(digest), (writer) => fleetModules.putModuleBytes(writer, digest, owned));
  }

  getModuleBytes(digest: string): Promise<Uint8Array | null> {
    return this.#calls.read(bytesName(digest), (link) => fleetModules.getModuleBytes(link, digest));
  }

  listFleetModules(): Promise<readonly FleetModule[]> {
    return this.#calls.read(FLEET_MODULES, fleetModules.listFleetModules);
  }

  putFleetModule(module: FleetModule): Promise<boolean> {
    return this.#calls.write(FLEET_MODULES, (writer) => fleetModules.putFleetModule(writer, module));
  }

  listDueSessions(before: number, limit: number): Promise<readonly string[]> {
    return this.#calls.read(null, (link) => sessions.listDueSessions(link, before, limit));
  }

  async close(): Promise<void> {
    await this.#calls.close();
    await this.#lease?.close();
  }
}
