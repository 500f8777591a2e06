/** Durable commits: the store with its thread and its group commit, against SQLite alone. */
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { AgentCommit, Store } from "../../runtime/store/store.ts";
import { BareDatabase } from "./bare-database.ts";
import type { Figure } from "./figure.ts";
import { flow, inTurns, quantile, ratioOf, readingOf, timeEach } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const AGENTS = 128;
const CHECKPOINT_BYTES = 400;
const EXCHANGE_BYTES = 300;
const ROW = new Uint8Array(CHECKPOINT_BYTES + EXCHANGE_BYTES);

/** Commits as an agent's steps make them: checkpoint, exchange and counters. */
class Committing {
  readonly #store: Store;
  readonly #sequences = new Map<string, number>();
  readonly agentIds: readonly string[];

  private constructor(store: Store, agentIds: readonly string[]) {
    this.#store = store;
    this.agentIds = agentIds;
  }

  static async open(store: Store): Promise<Committing> {
    const now = systemClock.now();
    const sessionId = newId(now);
    await store.putSession({ sessionId, userId: "bench", state: "ACTIVE", createdAt: now, updatedAt: now, expiresAt: now + 3_600_000, metadata: {}, config: { maxAgents: AGENTS, timeoutSeconds: 3600, enableLogging: false, preferences: {} } });
    const agentIds = Array.from({ length: AGENTS }, () => newId(now));
    const config = { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] };
    for (const agentId of agentIds) {
      await store.putAgent({ agentId, sessionId, module: "counter", digest: "0".repeat(64), state: "READY", parentAgentId: null, createdAt: now, updatedAt: now, metadata: {}, config, context: {}, statusMessage: "" });
    }
    return new Committing(store, agentIds);
  }

  async once(slot: number): Promise<void> {
    const agentId = this.agentIds[slot % AGENTS] as string;
    const sequence = (this.#sequences.get(agentId) ?? 0) + 1;
    this.#sequences.set(agentId, sequence);
    const commit: AgentCommit = {
      agentId,
      commitSequence: sequence,
      agent: null,
      checkpoint: { digest: "0".repeat(64), preparation: "bench", image: new Uint8Array(CHECKPOINT_BYTES) },
      exchange: { sequence, messageId: `bench-${sequence}`, messageHash: "0".repeat(64), body: new Uint8Array(EXCHANGE_BYTES) },
      counters: { messagesProcessed: sequence, operationsCompleted: sequence, errorsEncountered: 0, responseTimeTotalMs: 1, lastActivityAt: 0 },
      keepExchanges: 100,
    };
    await this.#store.commit(commit);
  }

  /** Everything that was acknowledged is there. */
  async check(): Promise<void> {
    for (const [agentId, sequence] of this.#sequences) {
      const stored = await this.#store.getAgent(agentId);
      requireRight(stored?.commitSequence === sequence, () => `the store has commit ${stored?.commitSequence ?? 0} of an agent and acknowledged ${sequence}`);
    }
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const store = await openSqliteStore({ dataDir: plan.folder, clock: systemClock });
  const bare = new BareDatabase(plan.folder);
  const committing = await Committing.open(store);
  const rate = (took: readonly number[]) => 1000 / quantile(took, 0.5);
  const once = {
    bareOne: async () => rate(await timeEach(plan.roundMs / 2, () => Promise.resolve(bare.commit(ROW)))),
    bareMany: async () => AGENTS * rate(await timeEach(plan.roundMs / 2, () => Promise.resolve(bare.commit(ROW, AGENTS)))),
    one: async () => rate(await timeEach(plan.roundMs, () => committing.once(0))),
    many: async () => (await flow(plan.roundMs, AGENTS, (slot) => committing.once(slot))).perSecond,
  };
  await inTurns(1, once);
  const taken = await inTurns(plan.rounds, once);
  await committing.check();
  await store.close();
  bare.close();
  return [
    { what: "commits of one agent, one after the other", ours: readingOf(taken.one, "/s"), bare: { what: "SQLite in the same thread, one row of the same bytes a transaction", reading: readingOf(taken.bareOne, "/s") }, compared: ratioOf(taken.one, taken.bareOne), target: null },
    { what: `commits of ${AGENTS} agents at once`, ours: readingOf(taken.many, "/s"), bare: { what: `SQLite in the same thread, ${AGENTS} rows a transaction`, reading: readingOf(taken.bareMany, "/s") }, compared: ratioOf(taken.many, taken.bareMany), target: null },
  ];
}

export const storeSection: Section = {
  name: "store",
  title: "The store",
  notMeasured: ["a full disk, a slow disk, or one that lies about its flushes", "a database that has grown for months"],
  run: measure,
};
