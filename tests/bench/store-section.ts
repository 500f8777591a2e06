/** Durable commits: the store with its thread and its group commit, against SQLite alone; and what agents at rest weigh on disk. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { AgentCommit, AgentRecord, Store } from "../../runtime/store/store.ts";
import { BareDatabase } from "./bare-database.ts";
import type { Figure } from "./figure.ts";
import { flow, inTurns, quantile, ratioOf, readingOf, single, timeEach } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";
import { threadUse, usePerItem } from "./thread-use.ts";

const AGENTS = 1_000;
const BATCH = 128;
const BASE_BYTES = 900;
const DIFFERENCE_BYTES = 300;
const EXCHANGE_BYTES = 300;
/** As the host commits them by default. */
const BASE_EVERY = 32;
const KEEP = { keepExchanges: 100, keepCommits: 64 } as const;
/** Until every agent keeps all that it may, so that each commit trims too. */
const WARM_UP_COMMITS = 110;
const COMMIT_US = 60;
const RESTING = 20_000;
const RESTING_BYTES = 4_096;
const ROW = new Uint8Array(DIFFERENCE_BYTES + EXCHANGE_BYTES);
const DIGEST = "0".repeat(64);
const NOTHING = { agent: null, wait: null, outbox: [], consumed: null, timers: [], firedTimer: null, documents: [], deadLetter: null, consumedDeadLetter: null } as const;

async function newSession(store: Store): Promise<string> {
  const now = systemClock.now();
  const sessionId = newId(now);
  await store.putSession({ sessionId, userId: "bench", state: "ACTIVE", createdAt: now, updatedAt: now, expiresAt: now + 3_600_000, metadata: {}, config: { maxAgents: AGENTS, timeoutSeconds: 3600, enableLogging: false, preferences: {} } });
  return sessionId;
}

function newAgent(sessionId: string): AgentRecord {
  const now = systemClock.now();
  const config = { parameters: { region: "eu-west-1" }, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] };
  return { agentId: newId(now), sessionId, module: "counter", digest: DIGEST, state: "READY", parentAgentId: null, createdAt: now, updatedAt: now, metadata: {}, config, context: {}, statusMessage: "" };
}

/** What one step of an agent commits: a state, an exchange with the id of its message, counters. */
function stepOf(agentId: string, commitSequence: number): AgentCommit {
  const now = systemClock.now();
  const base = commitSequence % BASE_EVERY === 1;
  const messageId = newId(now);
  return {
    ...NOTHING,
    ...KEEP,
    agentId,
    epoch: 1,
    commitSequence,
    cause: "message",
    causeId: messageId,
    committedAt: now,
    state: { kind: base ? "base" : "difference", digest: DIGEST, preparation: "bench", image: new Uint8Array(base ? BASE_BYTES : DIFFERENCE_BYTES) },
    exchange: { sequence: commitSequence, messageId, messageHash: DIGEST, body: new Uint8Array(EXCHANGE_BYTES), completedAt: now },
    counters: { messagesProcessed: commitSequence, operationsCompleted: commitSequence, errorsEncountered: 0, responseTimeTotalMs: 1, lastActivityAt: now },
  };
}

class Committing {
  readonly #store: Store;
  readonly #sequences: number[];
  readonly #agentIds: readonly string[];

  private constructor(store: Store, agentIds: readonly string[]) {
    this.#store = store;
    this.#agentIds = agentIds;
    this.#sequences = agentIds.map(() => 0);
  }

  static async open(store: Store): Promise<Committing> {
    const sessionId = await newSession(store);
    const records = Array.from({ length: AGENTS }, () => newAgent(sessionId));
    await Promise.all(records.map((record) => store.putAgent(record)));
    return new Committing(store, records.map(({ agentId }) => agentId));
  }

  get total(): number {
    return this.#sequences.reduce((sum, sequence) => sum + sequence, 0);
  }

  async once(slot: number): Promise<void> {
    const at = slot % AGENTS;
    const sequence = (this.#sequences[at] ?? 0) + 1;
    this.#sequences[at] = sequence;
    await this.#store.commit(stepOf(this.#agentIds[at] as string, sequence));
  }

  async warmUp(): Promise<void> {
    await Promise.all(this.#agentIds.map(async (_, slot) => {
      for (let i = 0; i < WARM_UP_COMMITS; i++) await this.once(slot);
    }));
  }

  /** Everything that was acknowledged is there. */
  async check(): Promise<void> {
    for (const [at, agentId] of this.#agentIds.entries()) {
      const [stored, sequence] = [await this.#store.getAgent(agentId), this.#sequences[at]];
      requireRight(stored?.commitSequence === sequence, () => `the store has commit ${stored?.commitSequence ?? 0} of an agent and acknowledged ${sequence}`);
    }
    const { findings } = await this.#store.auditHost(1);
    requireRight(findings.length === 0, () => `the books of agent ${findings[0]?.agentId} do not balance: ${findings[0]?.explanation}`);
  }
}

/** Bytes of all tables and indexes for one agent that was spawned and had one message. */
async function weighAtRest(plan: Plan): Promise<number> {
  const dataDir = join(plan.folder, "at-rest");
  mkdirSync(dataDir);
  const store = await openSqliteStore({ dataDir, clock: systemClock });
  const sessionId = await newSession(store);
  for (let made = 0; made < RESTING; made += BATCH) {
    const records = Array.from({ length: Math.min(BATCH, RESTING - made) }, () => newAgent(sessionId));
    await Promise.all(records.flatMap((record) => {
      const first = { ...stepOf(record.agentId, 1), cause: "init", causeId: "", agent: record, exchange: null } as const;
      const second = stepOf(record.agentId, 2);
      return [store.commit(first), store.commit({ ...second, exchange: second.exchange === null ? null : { ...second.exchange, sequence: 1 } })];
    }));
  }
  await store.close();
  const db = new DatabaseSync(join(dataDir, "sirsi.db"), { readOnly: true });
  const row = db.prepare("SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size").get();
  db.close();
  return Number(row?.["bytes"]) / RESTING;
}

async function measure(plan: Plan): Promise<Figure[]> {
  const store = await openSqliteStore({ dataDir: plan.folder, clock: systemClock });
  const bare = new BareDatabase(plan.folder);
  const committing = await Committing.open(store);
  await committing.warmUp();
  const rate = (took: readonly number[]) => 1000 / quantile(took, 0.5);
  const threadUs: number[] = [];
  const busy = async (): Promise<number> => {
    const [before, count] = [threadUse(process.pid), committing.total];
    const { perSecond } = await flow(plan.roundMs, AGENTS, (slot) => committing.once(slot));
    threadUs.push(usePerItem(before, threadUse(process.pid), committing.total - count)["sirsi-store"] ?? Number.NaN);
    return perSecond;
  };
  const once = {
    bareOne: async () => rate(await timeEach(plan.roundMs / 2, () => Promise.resolve(bare.commit(ROW)))),
    bareMany: async () => BATCH * rate(await timeEach(plan.roundMs / 2, () => Promise.resolve(bare.commit(ROW, BATCH)))),
    one: async () => rate(await timeEach(plan.roundMs, () => committing.once(0))),
    some: async () => (await flow(plan.roundMs, BATCH, (slot) => committing.once(slot))).perSecond,
    many: busy,
  };
  await inTurns(1, once);
  threadUs.length = 0;
  const taken = await inTurns(plan.rounds, once);
  await committing.check();
  await store.close();
  bare.close();
  const bareMany = { what: `SQLite in the same thread, ${BATCH} rows a transaction`, reading: readingOf(taken.bareMany, "/s") };
  return [
    { what: "commits of one agent, one after the other", ours: readingOf(taken.one, "/s"), bare: { what: "SQLite in the same thread, one row of the same bytes a transaction", reading: readingOf(taken.bareOne, "/s") }, compared: ratioOf(taken.one, taken.bareOne), target: null },
    { what: `commits of ${BATCH} agents at once`, ours: readingOf(taken.some, "/s"), bare: bareMany, compared: ratioOf(taken.some, taken.bareMany), target: null },
    { what: `commits of ${AGENTS.toLocaleString("en-US")} agents at once`, ours: readingOf(taken.many, "/s"), bare: bareMany, compared: ratioOf(taken.many, taken.bareMany), target: null },
    { what: `the store's thread for each of them, its flushes included`, ours: readingOf(threadUs, "µs"), bare: null, compared: null, target: { of: "ours", bound: "at most", value: COMMIT_US } },
    { what: `disk for an agent at rest, one of ${RESTING.toLocaleString("en-US")}, all tables and indexes`, ours: single((await weighAtRest(plan)) / 1024, "KB"), bare: null, compared: null, target: { of: "ours", bound: "at most", value: RESTING_BYTES / 1024 } },
  ];
}

export const storeSection: Section = {
  name: "store",
  title: "The store",
  notMeasured: ["a full disk, a slow disk, or one that lies about its flushes", "a database that has grown for months"],
  run: measure,
};
