/**
 * Agents on real shards, over a store in memory and a clock that the test holds, and
 * nothing of a house around them. `crash` ends all that lives as kill -9 would: what was not
 * in the store is gone, and nobody of before does anything any more.
 */
import { Agent } from "../../runtime/agent/agent.ts";
import { DEFAULT_RESTART, type HostEvent, moduleCells, type RestartConfig } from "../../runtime/agent/index.ts";
import type { OutgoingEffect } from "../../runtime/agent/effects.ts";
import type { Delivery, Reply } from "../../runtime/agent/agents.ts";
import type { FiredTimer, Surroundings } from "../../runtime/agent/surroundings.ts";
import { type Asker, type AskTarget, type Capabilities, openCapabilities } from "../../runtime/capability/index.ts";
import type { MessageResult } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { type Clock, ManualClock, systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { openMetrics, silentLogger } from "../../runtime/observe/index.ts";
import { ShardPool } from "../../runtime/sandbox/index.ts";
import type { AgentRecord, StoredOutboxEntry, TimerChange } from "../../runtime/store/store.ts";
import { delivery, textMessage } from "./house.ts";
import { MemoryStore } from "./memory-store.ts";
import { FixedRevisions } from "./revisions.ts";
import { eventually } from "./turn.ts";

export interface RigOptions {
  readonly revisions: readonly Revision[];
  readonly restart?: RestartConfig;
  readonly durability?: Partial<Surroundings["durability"]>;
  readonly exchangesKept?: number;
  readonly clock?: Clock;
  readonly shards?: number;
  readonly wrapCapabilities?: (capabilities: Capabilities) => Capabilities;
}

/** One run of the host. */
interface Life {
  readonly pool: ShardPool;
  readonly around: Surroundings;
  readonly agents: Map<string, Agent>;
  dead: boolean;
}

export class AgentRig implements AsyncDisposable {
  readonly store = new MemoryStore();
  readonly clock: Clock;
  readonly manual = new ManualClock();
  readonly sessionId = newId(systemClock.now());
  readonly events: HostEvent[] = [];
  readonly committed: StoredOutboxEntry[] = [];
  readonly let: OutgoingEffect[] = [];
  readonly timers: { readonly agentId: string; readonly changes: readonly TimerChange[]; readonly fired: FiredTimer | null }[] = [];
  readonly restarted: string[] = [];
  readonly finished: { readonly id: string; readonly reason: string }[] = [];
  readonly fenced: string[] = [];
  readonly asked: { readonly content: string; readonly key: string; readonly waitedMs: number }[] = [];
  readonly revisions: FixedRevisions;
  readonly #options: RigOptions;
  #life: Life;

  constructor(options: RigOptions) {
    this.#options = options;
    this.clock = options.clock ?? this.manual;
    this.revisions = new FixedRevisions(...options.revisions);
    this.#life = this.#begin();
  }

  get pool(): ShardPool {
    return this.#life.pool;
  }

  get around(): Surroundings {
    return this.#life.around;
  }

  #begin(): Life {
    const pool = new ShardPool({ clock: systemClock, count: this.#options.shards ?? 1, stallMs: 2_000, onLog: () => undefined, onShardLost: () => undefined });
    const metrics = openMetrics({ processMetrics: false });
    const store = this.#storeOf(() => life);
    const capabilities = openCapabilities({ clock: this.clock, documents: store, ask: (target, asker) => this.#ask(target, asker) });
    const around: Surroundings = {
      clock: this.clock,
      random: () => 0.5,
      store,
      pool,
      revisions: this.revisions,
      capabilities: this.#options.wrapCapabilities?.(capabilities) ?? capabilities,
      publish: (event) => void this.events.push(event),
      metrics,
      cells: moduleCells(metrics),
      log: silentLogger,
      restart: this.#options.restart ?? { ...DEFAULT_RESTART, backoff: { firstMs: 0, maxMs: 0, factor: 1 }, maxRestarts: 1_000 },
      exchangesKept: this.#options.exchangesKept ?? 100,
      idleAfterMs: 60_000,
      outbox: { committed: (entries) => void this.committed.push(...entries) },
      timers: { changed: (agentId, changes, fired) => void this.timers.push({ agentId, changes, fired }) },
      supervision: {
        restarted: ({ id }) => void this.restarted.push(id),
        finished: ({ id }, reason) => void this.finished.push({ id, reason }),
        fenced: ({ id }) => void this.fenced.push(id),
      },
      durability: { baseEvery: 32, historyCommits: 64, intervalMs: 1_000, messageIdsKeptSeconds: 86_400, ...this.#options.durability },
      deliver: (effect) => void this.let.push(effect),
    };
    const life: Life = { pool, around, agents: new Map(), dead: false };
    return life;
  }

  /** The store, as one life has it: a dead one reaches it no more, and its calls never settle. */
  #storeOf(life: () => Life): MemoryStore {
    return new Proxy(this.store, {
      get: (target, name) => {
        const found = target[name as keyof MemoryStore] as unknown;
        if (typeof found !== "function") return found;
        return (...args: unknown[]): unknown => (life().dead ? new Promise(() => undefined) : (found as (...given: unknown[]) => unknown).apply(target, args));
      },
    });
  }

  async #ask({ agentId, message }: AskTarget, asker: Asker): Promise<MessageResult> {
    this.asked.push({ content: message.content, key: asker.idempotencyKey, waitedMs: asker.waitedMs });
    const agent = this.#life.agents.get(agentId);
    if (agent === undefined) throw new SirsiError("AGENT_NOT_FOUND", `no agent ${agentId}`);
    const reply = await agent.send(delivery("", { message: { ...message, messageId: `ask-${asker.idempotencyKey}` }, sourceAgentId: asker.agentId }));
    return { $typeName: "sirsi.agent.v1.MessageResult", response: reply.response, suggestions: [] };
  }

  async spawn(name: string, changes: Partial<AgentRecord> = {}): Promise<Agent> {
    const now = this.clock.now();
    const revision = this.revisions.resolve(name);
    const record: AgentRecord = {
      agentId: newId(now),
      sessionId: this.sessionId,
      module: name,
      digest: revision.digest,
      state: "INITIALIZING",
      parentAgentId: null,
      createdAt: now,
      updatedAt: now,
      metadata: {},
      config: { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] },
      context: {},
      statusMessage: "",
      ...changes,
    };
    const agent = new Agent(this.around, record, revision, null);
    this.#life.agents.set(agent.id, agent);
    await agent.begin(this.clock.monotonic() + 30_000);
    return agent;
  }

  /** An agent as a house brings it up from the store. */
  async wake(agentId: string): Promise<Agent> {
    const [stored, wait] = await Promise.all([this.store.getAgent(agentId), this.store.getWait(agentId)]);
    if (stored === null) throw new SirsiError("AGENT_NOT_FOUND", `no agent ${agentId} in the store`);
    const agent = new Agent(this.around, stored.record, await this.revisions.revisionByDigest(stored.record.digest), stored);
    this.#life.agents.set(agentId, agent);
    agent.restored();
    if (wait !== null) agent.resumeWait(wait);
    return agent;
  }

  async say(agent: Agent, content: string, changes: Partial<Delivery> = {}): Promise<string> {
    return (await agent.send(delivery(content, changes))).response.content;
  }

  /** The same message id, for messages that are sent again. */
  sendAs(agent: Agent, messageId: string, content: string, changes: Partial<Delivery> = {}): Promise<Reply> {
    return agent.send(delivery("", { message: textMessage(content, messageId), ...changes }));
  }

  /** The process ends here, and another one begins. */
  async crash(): Promise<void> {
    this.#life.dead = true;
    const { pool } = this.#life;
    this.#life = this.#begin();
    await pool.close();
  }

  /** Resolves when a condition holds that other threads bring about. */
  async until(holds: () => boolean): Promise<void> {
    await eventually(holds);
  }

  /** Resolves when so many wait for the clock: a guest that sleeps is one. */
  async asleep(count = 1): Promise<void> {
    await eventually(() => this.manual.pending >= count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.dead = true;
    await this.#life.pool.close();
  }
}
