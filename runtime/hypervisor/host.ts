/**
 * One running host, wired: store, bus, modules, shards, agents, sessions and the two
 * services, without a transport. Opened in dependency order; closed in reverse:
 * take no new work, finish what is in hand, let go.
 */
import { AgentHouse, moduleCells, type Presence } from "../agent/index.ts";
import type { Bus } from "../bus/bus.ts";
import { openCapabilities } from "../capability/index.ts";
import type { Config } from "../config/index.ts";
import { AgentEventSchema } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { fromBinary } from "@bufbuild/protobuf";
import type { Clock } from "../core/clock.ts";
import type { LocalAgents } from "../fleet/index.ts";
import { steadyClock } from "../core/steady-clock.ts";
import type { ModuleRegistry, RegistryEvent } from "../module/index.ts";
import type { Logger, Metrics } from "../observe/index.ts";
import { EventLog, openFleetEvents, openSessions, type SessionEvents, type Sessions } from "../session/index.ts";
import type { Conversations } from "../session/context/index.ts";
import type { EventStream } from "../bus/event-stream.ts";
import { createAgentService } from "./agent-service.ts";
import { collectBus } from "./bus-health.ts";
import { closeGround, type Ground, openGround } from "./ground.ts";
import { createHypervisorService } from "./hypervisor-service.ts";
import { FleetWiring } from "./fleet-wiring.ts";
import { healthOf, readSystem } from "./host-health.ts";
import { collectGauges } from "./host-gauges.ts";
import type { Doors } from "./host-self.ts";
import { SoloHost } from "./operator/solo-host.ts";
import { MessageRates } from "./message-rates.ts";
import { Readiness } from "./readiness.ts";
import type { AgentServiceApi, HostStatus, HypervisorServiceApi } from "./service-api.ts";
import { PresenceRelay } from "./presence-relay.ts";
import { openSwaps } from "./swap/open-swaps.ts";
import type { RevisionHealth } from "./swap/health.ts";
import type { Swaps } from "./swap/swaps.ts";

/** What a gateway on the bus between hosts works with. */
export interface FleetSide {
  readonly bus: Bus;
  readonly prefix: string;
  readonly hostName: string;
  /** Tells of the agents that are in memory, and from then on of each that comes and goes. Once. */
  readonly onPresence: (listener: Presence) => void;
}

export interface Host {
  readonly agentService: AgentServiceApi;
  readonly hypervisorService: HypervisorServiceApi;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** The machine's, also in a fleet. */
  readonly clock: Clock;
  readonly modules: ModuleRegistry;
  /** Null for a host in no fleet, whose bus nobody else can reach. */
  readonly fleetSide: FleetSide | null;
  status(): HostStatus;
  /** Called with the reason, empty for ready, now and whenever it changes. */
  onReadiness(listener: (notReady: string) => void): void;
  /** Tells the host where its doors are, for others to hear. */
  listens(doors: Doors): void;
  /** Looks for the first time; ready follows, or the reason why not. In a fleet it takes agents from here on. */
  start(): Promise<void>;
  /** Takes no new work and waits for what is in hand, at most `graceMs`. */
  drain(graceMs: number): Promise<void>;
  /** Lets go of everything. Repeatable. */
  close(): Promise<void>;
}

const READINESS_INTERVAL_MS = 10_000;
/** How long a host that closes waits for its last events to be kept. */
const EVENTS_SETTLE_MS = 2_000;

/** `version`: of this software, as other hosts and operators are told. */
export async function openHost(config: Config, version = "0.0.0"): Promise<Host> {
  const ground = await openGround(config, version);
  try {
    return await openUpper(ground);
  } catch (thrown) {
    await closeGround(ground);
    throw thrown;
  }
}

async function openUpper(ground: Ground): Promise<Host> {
  const { config, clock, log, metrics, store, bus, fleet, pool, modules } = ground;
  const conversations = sharedConversations(ground);
  const prefix = config.bus.topicPrefix;
  const eventsKept = config.hostLimits.eventsKept;
  const fleetEvents = fleet === null ? null : await openFleetEvents({ bus: fleet.bus, prefix, clock, eventsKept, log, metrics, held: () => fleet.host.fleet.held });
  const events = fleetEvents ?? new EventLog({ bus, prefix, clock, eventsKept, log, metrics });
  const presence = new PresenceRelay();
  const capabilities = openCapabilities({ clock, documents: store, ask: (target, asker) => house.ask(target, asker) });
  const house: AgentHouse = new AgentHouse(
    {
      clock,
      random: Math.random,
      store,
      pool,
      revisions: modules,
      capabilities,
      publish: (event) => {
        health.notice(event);
        events.publish(event);
      },
      metrics,
      cells: moduleCells(metrics),
      log,
      restart: { maxRestarts: config.agents.restart.maxRestarts, windowMs: config.agents.restart.windowSeconds * 1000, backoff: config.agents.restart.backoff },
      exchangesKept: config.hostLimits.exchangesKept,
      idleAfterMs: config.agents.idleAfterSeconds * 1000,
      durability: config.durability,
      ...(conversations !== null && { onExchange: (agentId, exchange) => conversations.add(agentId, exchange) }),
    },
    {
      maxAgents: config.hostLimits.maxConcurrentAgents,
      maxResident: config.agents.maxResident,
      maxResidentBytes: config.agents.maxResidentBytes,
      healthIntervalMs: config.agents.healthIntervalSeconds * 1000,
      hearTopic: (sessionId, topic, hear) => {
        const subscription = bus.subscribe(`${prefix}.session.${sessionId}.topic.${topic}`, (message) => hear(fromBinary(AgentEventSchema, message.data)));
        return () => subscription.close();
      },
      homing: {
        homeOf: (record) => swaps.homeOf(record),
        movedHome: (agentId, to, outcome) => swaps.movedHome(agentId, to, outcome),
      },
      fleet: fleet === null ? null : { ...fleet.host.houseFleet, onPresence: presence },
    },
  );
  const { swaps, health }: { readonly swaps: Swaps; readonly health: RevisionHealth } = openSwaps({ ...ground, house });
  modules.subscribe((event) => onRegistryEvent(event, ground, swaps));
  await modules.start();
  await swaps.recall();
  const wiring = fleet === null || fleetEvents === null ? null : new FleetWiring(ground, fleet, house, swaps, fleetEvents.stream);
  const agents: LocalAgents = wiring?.agents ?? house;
  const { restored, awake } = await house.restore();
  void awake.then(({ resumed, unreachable }) => {
    for (const { module, digest, agents, reason } of unreachable) log.error({ module, digest, agents, reason }, "agents cannot work: their revision cannot be had; they stay in the store and are there again when it is installed");
    log.info({ resumed }, "agents that were in a wait go on, and what was in the outbox goes out");
  });
  modules.allowForgetting();
  swaps.begin();
  const sessions = await openSessions({ store, agents, events, clock: steadyClock(clock), settings: config.sessions, limits: config.hostLimits, log, ...(wiring === null ? {} : { fleet: wiring.notices.forSessions }) });
  wiring?.notices.listen((sessionId) => sessions.changedElsewhere(sessionId));
  log.info({ agents: restored, sessions: sessions.openCount, modules: modules.list().length }, "the host knows its agents and sessions again");
  return new WiredHost(ground, { house, agents, sessions, fleet: wiring, events, stream: fleetEvents?.stream ?? null, swaps, presence });
}

/** Null for a host that would only keep for itself what its store has. */
function sharedConversations({ config, context }: Ground): Conversations | null {
  return config.context.redisUrl === null ? null : context.conversations;
}

function onRegistryEvent(event: RegistryEvent, { log, metrics }: Ground, swaps: Swaps): void {
  switch (event.kind) {
    case "activated": {
      metrics.knowModule(event.module);
      metrics.counter("sirsi_module_admissions_total", "activated").inc();
      const { to, from } = event;
      log.info({ module: event.module, version: to.manifest.version, digest: to.digest, from: from?.digest ?? null, prepareMs: Math.round(to.prepareTimeMs) }, "a module's revision is active");
      return;
    }
    case "candidate":
      swaps.onCandidate(event);
      return;
    case "reverted":
      log.warn({ module: event.module, version: event.to.manifest.version, digest: event.to.digest, from: event.from.digest, reason: event.reason }, "a module's revision was not kept: the one before is active again");
      return;
    case "pending":
      metrics.counter("sirsi_module_admissions_total", "pending").inc();
      log.warn({ module: event.module, digest: event.digest, missing: event.missing, reason: event.error.message }, "a module waits for approval");
      return;
    case "rejected":
      metrics.counter("sirsi_module_admissions_total", "rejected").inc();
      log.warn({ module: event.module, file: event.file, digest: event.digest, reason: event.error.message }, "a module file was rejected; what served before serves on");
      return;
    case "retired":
      log.info({ module: event.module }, "a module was retired: running agents finish, new ones are refused");
  }
}

function fleetSideOf({ config, fleet }: Ground, presence: PresenceRelay): FleetSide | null {
  if (fleet === null || config.fleet === null) return null;
  return { bus: fleet.bus, prefix: config.bus.topicPrefix, hostName: config.fleet.hostName, onPresence: (listener) => presence.tell(listener) };
}

interface Upper {
  readonly house: AgentHouse;
  /** Of the whole fleet, when there is one. */
  readonly agents: LocalAgents;
  /** Null for a host of its own. */
  readonly fleet: FleetWiring | null;
  /** That keeps events; null for a host of its own. */
  readonly stream: EventStream | null;
  readonly sessions: Sessions;
  readonly events: SessionEvents;
  readonly swaps: Swaps;
  /** Told of nothing by a host of its own. */
  readonly presence: PresenceRelay;
}

class WiredHost implements Host {
  readonly agentService: AgentServiceApi;
  readonly hypervisorService: HypervisorServiceApi;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly modules: ModuleRegistry;
  readonly fleetSide: FleetSide | null;
  readonly #ground: Ground;
  readonly #upper: Upper;
  readonly #readiness: Readiness;
  readonly #listeners: ((notReady: string) => void)[] = [];
  #draining = false;
  #closed: Promise<void> | null = null;

  constructor(ground: Ground, upper: Upper) {
    this.#ground = ground;
    this.#upper = upper;
    this.log = ground.log;
    this.metrics = ground.metrics;
    this.clock = ground.machineClock;
    this.modules = ground.modules;
    this.fleetSide = fleetSideOf(ground, upper.presence);
    const { clock, pool, store, config, log, modules, self, usage } = ground;
    const { agents, fleet, house, sessions, events, swaps } = upper;
    this.#readiness = new Readiness({ clock, pool, store, intervalMs: READINESS_INTERVAL_MS, onChange: (notReady) => this.#tell(notReady) });
    this.agentService = createAgentService({
      sessions,
      agents,
      events,
      conversations: sharedConversations(ground),
      messageRates: MessageRates.of(ground.context.rates, config.messageRates),
      types: { available: () => modules.list().flatMap(({ active }) => (active === null ? [] : [active.manifest])), resolve: (agentType) => modules.resolve(agentType) },
      clock,
      limits: config.hostLimits,
      healthProbe: async () => healthOf(await this.#readiness.look(), { ...ground, events: upper.stream }, house),
      systemMetrics: () => readSystem(usage, ground, house),
      log,
    });
    this.hypervisorService = createHypervisorService({
      modules,
      liveAgents: (module) => house.countByDigest(module),
      swaps,
      swapDefaults: config.swap,
      ...(fleet === null ? {} : { otherHosts: () => fleet.saysOfOtherHosts() }),
      store,
      baseEvery: config.durability.baseEvery,
      fleet: fleet?.operator ?? new SoloHost({ entry: () => self.soloEntry(house, this.#draining), agents: () => house.count }),
      operator: {
        store,
        pool,
        revisions: modules,
        agents,
        sessions,
        publish: events.publish,
        clock,
        keepExchanges: config.hostLimits.exchangesKept,
        keepCommits: config.durability.historyCommits,
      },
    });
    collectGauges(ground, house, sessions);
    collectBus(ground.metrics, ground.bus, upper.stream);
  }

  status(): HostStatus {
    return { notReady: this.#readiness.notReady, draining: this.#draining };
  }

  onReadiness(listener: (notReady: string) => void): void {
    this.#listeners.push(listener);
    listener(this.#readiness.notReady);
  }

  #tell(notReady: string): void {
    if (notReady === "") this.log.info("the host is ready");
    else this.log.warn({ reason: notReady }, "the host is not ready");
    for (const listener of this.#listeners) listener(notReady);
  }

  listens(doors: Doors): void {
    this.#ground.self.listens(doors);
  }

  async start(): Promise<void> {
    await this.#readiness.start();
    await this.#upper.fleet?.begin();
  }

  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    this.#readiness.close("the host is shutting down");
    await this.#upper.swaps.close();
    await this.#upper.fleet?.moveAway(graceMs);
    await this.#upper.house.drain(graceMs);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#draining = true;
    this.#readiness.close("the host is shutting down");
    await this.#upper.swaps.close();
    await this.#upper.sessions.close();
    this.#upper.fleet?.close();
    await this.#upper.house.close();
    await this.#upper.events.settled?.(EVENTS_SETTLE_MS);
    this.#upper.events.close();
    await closeGround(this.#ground);
  }
}
