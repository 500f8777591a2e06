/**
 * Hosts that share a store in memory, each with a house of its own: who owns what is kept
 * beside the store as runtime/store/fleet-store.ts says, and what a host has for agents of another
 * is brought to that host's house by a call.
 */
import type { HouseFleet } from "../../runtime/agent/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Acquisition, Orphan } from "../../runtime/store/fleet-store.ts";
import type { AgentCommit, AgentQuery, AgentRecord, Store } from "../../runtime/store/store.ts";
import { delivery, type HouseOptions, TestHouse, textMessage } from "./house.ts";
import { keptStore } from "./kept-store.ts";
import { FixedRevisions, fixtureRevision } from "./revisions.ts";
import { turn } from "./turn.ts";

const TRIES_MAX = 2_000;
const ALL = ["ask", "sleep", "timers", "documents"];

/** Mischief by level; `hearer` hears the topic news, and children of a `parent` share their fates. */
export async function fleetRevisions(): Promise<FixedRevisions> {
  const kinds = ["wait", "message", "interval", "none"].map((durability) => fixtureRevision("mischief", { name: durability, durability, requests: ALL, topics: [] }, {}, ALL));
  const hearer = fixtureRevision("mischief", { name: "hearer", durability: "wait", requests: ALL, topics: ["news"] }, {}, ALL);
  const parent = fixtureRevision("mischief", { name: "parent", durability: "none", supervision: "rest_for_one", topics: [] });
  return new FixedRevisions(...(await Promise.all([...kinds, hearer, parent])));
}

export class HouseFleetRig implements AsyncDisposable {
  readonly store = keptStore();
  readonly hosts = new Map<string, FleetHost>();
  readonly owners = new Map<string, string | null>();
  readonly dead = new Set<string>();
  /** Asked so far. */
  acquisitions = 0;
  readonly #options: Omit<HouseOptions, "store">;
  #sessionId = "";

  constructor(options: Omit<HouseOptions, "store">) {
    this.#options = options;
  }

  get sessionId(): string {
    return this.#sessionId;
  }

  async host(hostId: string, options: Partial<HouseOptions> = {}): Promise<FleetHost> {
    const host = new FleetHost(this, hostId);
    this.hosts.set(hostId, host);
    const shared = this.#sessionId === "" ? {} : { sessionId: this.#sessionId };
    await host.open({ ...this.#options, ...shared, ...options });
    this.#sessionId = host.rig.sessionId;
    return host;
  }

  ownerOf(agentId: string): string | null {
    const owner = this.owners.get(agentId) ?? null;
    return owner !== null && this.dead.has(owner) ? null : owner;
  }

  async acquire(hostId: string, agentId: string): Promise<Acquisition> {
    await turn(1);
    this.acquisitions++;
    this.requireAlive(hostId);
    if (!this.store.agents.has(agentId)) return { kind: "missing" };
    const owner = this.ownerOf(agentId);
    if (owner !== null && owner !== hostId) return { kind: "elsewhere", hostId: owner };
    if (owner === hostId) return { kind: "owned", taken: false };
    this.#own(agentId, hostId);
    return { kind: "owned", taken: true };
  }

  #own(agentId: string, hostId: string | null): void {
    this.owners.set(agentId, hostId);
    const shelf = this.store.agents.get(agentId);
    if (shelf !== undefined) shelf.epoch++;
  }

  async give(from: string, agentIds: readonly string[], to: string | null): Promise<string[]> {
    await turn(1);
    const own = agentIds.filter((agentId) => this.ownerOf(agentId) === from);
    for (const agentId of own) {
      this.#own(agentId, to);
    }
    return own;
  }

  requireAlive(hostId: string): void {
    if (this.dead.has(hostId)) throw new SirsiError("AGENT_FENCED", `host ${hostId} was buried`);
  }

  requireOwn(hostId: string, agentId: string): void {
    this.requireAlive(hostId);
    const owner = this.owners.get(agentId);
    if (owner !== undefined && owner !== hostId) throw new SirsiError("AGENT_FENCED", `agent ${agentId} is not of host ${hostId}`);
  }

  orphan(agentId: string): Orphan {
    const shelf = this.store.agents.get(agentId);
    if (shelf === undefined) throw new SirsiError("AGENT_NOT_FOUND", agentId);
    const { record, timers, wait } = shelf;
    return {
      agentId,
      sessionId: record.sessionId,
      module: record.module,
      digest: record.digest,
      inWait: wait !== null,
      hasOutbox: this.hasOutbox(agentId),
      hasTimers: timers.size > 0,
      initializing: record.state === "INITIALIZING",
      ended: record.state === "TERMINATED",
    };
  }

  hasOutbox(agentId: string): boolean {
    return [...this.store.outbox.values()].some(({ key }) => key.agentId === agentId);
  }

  /** Where the agent is, or should be, as often as it moves meanwhile. */
  async route<T>(agentId: string, from: string, act: (host: FleetHost) => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries++) {
      const host = this.hosts.get(this.ownerOf(agentId) ?? from);
      if (host === undefined) throw new SirsiError("BUS_NO_RESPONDERS", "no such host");
      try {
        return await act(host);
      } catch (thrown) {
        if (SirsiError.from(thrown).code !== "AGENT_FENCED" || tries === TRIES_MAX) throw thrown;
        await turn(1);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { rig } of this.hosts.values()) await rig.shut();
  }
}

export class FleetHost {
  readonly fleet: HouseFleetRig;
  /** Another one after each burial. */
  hostId: string;
  /** "came ID" and "left ID". */
  readonly presence: string[] = [];
  /** What went to other hosts. */
  readonly sent: string[] = [];
  readonly restarts: string[] = [];
  /** Writes that were asked of the store, done or refused. */
  readonly writes: string[] = [];
  /** Takes nothing from other hosts for now. */
  deaf = false;
  /** Another host has it, as far as this one has heard. */
  readonly heard = new Set<string>();
  #rig: TestHouse | null = null;

  constructor(fleet: HouseFleetRig, hostId: string) {
    this.fleet = fleet;
    this.hostId = hostId;
  }

  get rig(): TestHouse {
    if (this.#rig === null) throw new SirsiError("INTERNAL", "the host is not open");
    return this.#rig;
  }

  get house(): TestHouse["house"] {
    return this.rig.house;
  }

  async open(options: Omit<HouseOptions, "store">): Promise<void> {
    const store = this.#view();
    this.#rig = await TestHouse.open({ ...options, store, fleet: this.#houseFleet() });
  }

  #houseFleet(): HouseFleet {
    const { fleet } = this;
    return {
      acquire: (agentId) => fleet.acquire(this.hostId, agentId),
      knownElsewhere: (agentId) => this.heard.has(agentId),
      remote: {
        send: (agentId, sessionId, what) => {
          this.sent.push(agentId);
          return fleet.route(agentId, this.hostId, async (host) => (await host.take(agentId, sessionId, what)).reply);
        },
        deliverEntry: async (entry, message) => {
          this.sent.push(entry.target);
          const host = fleet.hosts.get(fleet.ownerOf(entry.target) ?? this.hostId);
          const { taken } = (await host?.take(entry.target, entry.sessionId, delivery("", { message, sourceAgentId: entry.key.agentId, outboxKey: entry.key }))) ?? { taken: false };
          return taken ? "taken" : "kept";
        },
        restart: (agentIds, reason) => {
          this.restarts.push(...agentIds);
          for (const host of fleet.hosts.values()) if (host !== this) host.house.restart(agentIds, reason);
        },
      },
      countOwned: async () => {
        await turn(1);
        return [...fleet.owners].filter(([agentId, owner]) => owner === this.hostId && fleet.store.agents.get(agentId)?.record.state !== "TERMINATED").length;
      },
      hasEffects: async (agentId) => {
        await turn(1);
        return fleet.hasOutbox(agentId) || (fleet.store.agents.get(agentId)?.timers.size ?? 0) > 0;
      },
      onPresence: {
        came: (agentId) => void this.presence.push(`came ${agentId}`),
        left: (agentId) => void this.presence.push(`left ${agentId}`),
      },
    };
  }

  /** What another host has for an agent of this one. */
  take(...[agentId, sessionId, what]: Parameters<TestHouse["house"]["sendEntry"]>) {
    if (this.deaf) throw new SirsiError("MAILBOX_FULL", "not now", { retryAfterMs: 100 });
    return this.house.sendEntry(agentId, sessionId, what);
  }

  /** The shared store, as this host has it after `joinFleet`. */
  #view(): Store {
    const { fleet } = this;
    const { store } = fleet;
    const own = (agentId: string) => fleet.owners.get(agentId) === this.hostId;
    const write = (call: string, agentId: string | null) => {
      this.writes.push(call);
      if (agentId === null) fleet.requireAlive(this.hostId);
      else fleet.requireOwn(this.hostId, agentId);
    };
    const born = (agentId: string) => void (fleet.owners.has(agentId) || fleet.owners.set(agentId, this.hostId));
    const ofMine: Partial<Store> = {
      putAgent: async (record: AgentRecord) => {
        write("putAgent", record.agentId);
        born(record.agentId);
        await store.putAgent(record);
      },
      commit: async (commit: AgentCommit) => {
        write("commit", commit.agentId);
        if (commit.commitSequence === 1) born(commit.agentId);
        await store.commit(commit);
      },
      settleOutbox: async (keys) => {
        write("settleOutbox", null);
        await store.settleOutbox(keys);
      },
      listWaiting: async (after, limit) => (await store.listWaiting(after, Infinity)).filter(own).slice(0, limit),
      listInitializing: async (limit) => (await store.listInitializing(Infinity)).filter(own).slice(0, limit),
      listTimers: async (before, limit) => (await store.listTimers(before, Infinity)).filter(({ agentId }) => own(agentId)).slice(0, limit),
      nextTimer: async (after) => (await store.listTimers(Infinity, Infinity)).find(({ agentId, dueAt }) => own(agentId) && dueAt > after)?.dueAt ?? null,
      listOutbox: async (after, limit) => {
        const { entries } = await store.listOutbox(null, Infinity);
        const from = after ?? 0;
        const mine = entries.filter(({ key }) => own(key.agentId));
        return { entries: mine.slice(from, from + limit), next: from + limit < mine.length ? from + limit : null };
      },
      listLiveAgents: async (query: AgentQuery, after, limit) => {
        const all = await store.listLiveAgents(query, after, Infinity);
        return (query.sessionId === null && query.parentAgentId === null ? all.filter(({ record }) => own(record.agentId)) : all).slice(0, limit);
      },
      close: () => Promise.resolve(),
    };
    return new Proxy(store, { get: (target, name) => (ofMine as Record<string | symbol, unknown>)[name] ?? bound(target, name) });
  }

  /** An agent's hand-over to another host of the rig. */
  handOver(agentId: string, to: FleetHost | null, patienceMs?: number) {
    return this.house.handOver(agentId, async () => (await this.fleet.give(this.hostId, [agentId], to?.hostId ?? null)).length > 0, patienceMs);
  }

  /** Another host says that this one is dead; the host itself does not know it yet. */
  bury(): void {
    this.fleet.dead.add(this.hostId);
  }

  /** It found out, and joins again. */
  async rejoin(hostId: string): Promise<void> {
    this.house.fenceAll("its lease ran out");
    this.fleet.hosts.delete(this.hostId);
    this.hostId = hostId;
    this.fleet.hosts.set(hostId, this);
    await (await this.house.restore()).awake;
  }

  async sendAs(agentId: string, messageId: string, content: string) {
    return await this.house.send(agentId, delivery("", { message: textMessage(content, messageId) }));
  }
}

function bound(target: object, name: string | symbol): unknown {
  const found = (target as Record<string | symbol, unknown>)[name];
  return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
}
