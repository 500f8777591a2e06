/** A house of agents on real shards and a real store, without transport. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { AgentHouse, DEFAULT_RESTART, type HostEvent, type HouseFleet, type HouseGround, moduleCells, type RestartConfig } from "../../runtime/agent/index.ts";
import { openCapabilities } from "../../runtime/capability/index.ts";
import { type Message, MessageSchema, Priority } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentEvent } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { type Clock, systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import { openMetrics, silentLogger } from "../../runtime/observe/index.ts";
import { type GuestLogLine, ShardPool } from "../../runtime/sandbox/index.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { Store } from "../../runtime/store/index.ts";
import type { AgentView, Delivery, SpawnSpec, SwapCause, SwapReport } from "../../runtime/agent/index.ts";
import { eachAtMost } from "../../runtime/agent/turnstile.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { FixedRevisions } from "./revisions.ts";

export interface HouseOptions {
  readonly revisions: FixedRevisions;
  readonly shards?: number;
  readonly stallMs?: number;
  readonly maxAgents?: number;
  readonly maxResident?: number;
  readonly maxResidentBytes?: number;
  readonly idleAfterMs?: number;
  readonly healthIntervalMs?: number;
  readonly durability?: Partial<HouseGround["durability"]>;
  readonly restart?: RestartConfig;
  readonly dataDir?: string;
  readonly clock?: Clock;
  /** For the watchdog of the shards alone. */
  readonly poolClock?: Clock;
  /** In place of a database of its own; stays open when the house is shut. */
  readonly store?: Store;
  readonly sessionId?: string;
  /** Stands between the agents and the store, to make it fail. */
  readonly wrapStore?: (store: Store) => Store;
  readonly fleet?: HouseFleet;
  /** In place of shards of its own; stays open when the house is shut. */
  readonly pool?: ShardPool;
}

export class TestHouse implements AsyncDisposable {
  readonly events: HostEvent[] = [];
  readonly logs: GuestLogLine[] = [];
  readonly lost: string[] = [];
  readonly hearers = new Map<string, (event: AgentEvent) => void>();
  readonly house: AgentHouse;
  readonly store: Store;
  readonly pool: ShardPool;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly sessionId: string;
  readonly revisions: FixedRevisions;
  readonly #ownsStore: boolean;
  readonly #ownsPool: boolean;
  /** Once true, nothing of this house reaches the store any more. */
  #dead = false;

  private constructor(options: HouseOptions, store: Store, dataDir: string) {
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.revisions = options.revisions;
    this.sessionId = options.sessionId ?? newId(systemClock.now());
    this.#ownsStore = options.store === undefined;
    this.store = store;
    this.dataDir = dataDir;
    this.#ownsPool = options.pool === undefined;
    this.pool = options.pool ?? new ShardPool({
      clock: options.poolClock ?? systemClock,
      count: options.shards ?? 1,
      stallMs: options.stallMs ?? 2_000,
      onLog: (line) => this.logs.push(line),
      onShardLost: (_index, why) => this.lost.push(why),
    });
    const used = this.#mortal(options.wrapStore?.(store) ?? store);
    const capabilities = openCapabilities({ clock, documents: used, ask: (target, asker) => this.house.ask(target, asker) });
    const metrics = openMetrics({ processMetrics: false });
    this.house = new AgentHouse(
      {
        clock,
        random: () => 0.5,
        store: used,
        pool: this.pool,
        revisions: options.revisions,
        capabilities,
        publish: (event) => this.events.push(event),
        metrics,
        cells: moduleCells(metrics),
        log: silentLogger,
        restart: options.restart ?? DEFAULT_RESTART,
        exchangesKept: 100,
        idleAfterMs: options.idleAfterMs ?? 60_000,
        durability: { baseEvery: 32, historyCommits: 64, intervalMs: 1_000, messageIdsKeptSeconds: 86_400, ...options.durability },
      },
      {
        maxAgents: options.maxAgents ?? 100_000,
        maxResident: options.maxResident ?? 8_000,
        maxResidentBytes: options.maxResidentBytes ?? 2 ** 31,
        healthIntervalMs: options.healthIntervalMs ?? 0,
        fleet: options.fleet ?? null,
        hearTopic: (sessionId, topic, hear) => {
          this.hearers.set(`${sessionId}/${topic}`, hear);
          return () => this.hearers.delete(`${sessionId}/${topic}`);
        },
      },
    );
  }

  static async open(options: HouseOptions): Promise<TestHouse> {
    const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "sirsi-house-"));
    const store = options.store ?? (await openSqliteStore({ dataDir, clock: systemClock }));
    const made = new TestHouse(options, store, dataDir);
    if (options.dataDir === undefined && options.sessionId === undefined) await made.addSession(made.sessionId);
    await made.house.restore();
    return made;
  }

  async addSession(sessionId = newId(systemClock.now())): Promise<string> {
    const now = systemClock.now();
    await this.store.putSession({ sessionId, userId: "u", state: "ACTIVE", createdAt: now, updatedAt: now, expiresAt: now + 3_600_000, metadata: {}, config: { maxAgents: 100_000, timeoutSeconds: 3600, enableLogging: false, preferences: {} } });
    return sessionId;
  }

  spec(agentType: string, changes: Partial<SpawnSpec> = {}): SpawnSpec {
    return {
      sessionId: this.sessionId,
      agentType,
      config: { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] },
      context: {},
      parentAgentId: null,
      metadata: {},
      deadline: null,
      ...changes,
    };
  }

  async spawn(agentType: string, changes: Partial<SpawnSpec> = {}): Promise<string> {
    return (await this.house.spawn(this.spec(agentType, changes))).record.agentId;
  }

  /** The agent as others see it, asleep or not. */
  async look(agentId: string): Promise<AgentView | null> {
    return await this.house.find(agentId);
  }

  /** The session's agents, by id. */
  async agents(): Promise<string[]> {
    return (await this.house.list(this.sessionId, "", 10_000)).views.map(({ record }) => record.agentId);
  }

  /** Moves a module's agents that are in memory, and waits for those with work in hand. */
  async swap(module: string, to: Revision, cause: SwapCause = "swap"): Promise<SwapReport> {
    const report = { moved: 0, kept: 0, failed: 0, failureReason: "" };
    const moving = [...this.house.residents()].filter(({ record }) => record.module === module && record.digest !== to.digest);
    await eachAtMost(16, moving, async ({ id }) => {
      const outcome = await this.house.swapAgent(id, to, cause);
      report[outcome.kind]++;
      if (outcome.kind === "failed") report.failureReason ||= outcome.reason;
    });
    return report;
  }

  async say(agentId: string, content: string, changes: Partial<Delivery> = {}): Promise<string> {
    return (await this.house.send(agentId, delivery(content, changes))).response.content;
  }

  /** Stops without ending the agents, as a host does; `keep` leaves the data for another house. */
  async shut(keep = false): Promise<void> {
    await this.house.close();
    if (this.#ownsPool) await this.pool.close();
    if (this.#ownsStore) await this.store.close();
    if (!keep) rmSync(this.dataDir, { recursive: true, force: true });
  }

  /** Ends as kill -9 would have it: what is not in the store by now never will be. */
  async crash(): Promise<void> {
    this.#dead = true;
    await this.shut(true);
  }

  #mortal(store: Store): Store {
    return new Proxy(store, {
      get: (target, name) => {
        const found = target[name as keyof Store] as unknown;
        if (typeof found !== "function") return found;
        const call = (found as (...args: unknown[]) => Promise<unknown>).bind(target);
        return (...args: unknown[]) => (this.#dead && name !== "close" ? Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the process is dead")) : call(...args));
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shut();
  }
}

export function textMessage(content: string, messageId = newId(systemClock.now())): Message {
  return create(MessageSchema, { messageId, content, type: 1 });
}

export function delivery(content: string, changes: Partial<Delivery> = {}): Delivery {
  return { message: textMessage(content), context: {}, priority: Priority.NORMAL, sourceAgentId: "", deadline: null, signal: null, traceparent: "", onPartial: null, outboxKey: null, deadLetterId: null, ...changes };
}
