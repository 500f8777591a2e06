/**
 * One host's part in its fleet, wired: membership, routing, answers to other hosts,
 * take-over and departures around the host's own house of agents.
 *
 *   open ──▶ joined ──attach(house)──▶ wired ──activate──▶ taking agents ──leave──▶ gone
 *
 * Opened before the house, since the store shows a host its own agents only once it has
 * joined; the house is attached when it is there, before anybody else can ask for it.
 */
import type { AgentHouse, HouseFleet } from "../agent/index.ts";
import type { Bus } from "../bus/bus.ts";
import type { ModuleAnswer, ModuleQuestion } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import type { Acquisition, FleetStore, HostDescription, HostEntry, HostLoad } from "../store/fleet-store.ts";
import { Departures, type DrainProgress, type Moved } from "./departures.ts";
import type { Fleet } from "./fleet.ts";
import { FleetAgents } from "./fleet-agents.ts";
import { HostControl } from "./host-control.ts";
import { HostLink } from "./host-link.ts";
import { type HouseDoors, houseDoors } from "./house-doors.ts";
import { Membership, type MembershipConfig } from "./membership.ts";
import { Owners } from "./owners.ts";
import { ANYWHERE, type Wants } from "./placement.ts";
import { RemoteCalls, valueOf } from "./remote-calls.ts";
import { Routing } from "./routing.ts";
import { TakeOver } from "./take-over.ts";

export interface FleetHostConfig {
  /** The machine's: whether it was set, or slept, matters to the lease. */
  readonly clock: Clock;
  readonly onTime: MembershipConfig["onTime"];
  readonly random: () => number;
  readonly store: FleetStore;
  readonly bus: Bus;
  readonly prefix: string;
  readonly log: Logger;
  readonly leaseMs: number;
  readonly describe: () => Omit<HostDescription, "hostId">;
  readonly load: () => HostLoad;
  readonly predecessor: string | null;
  readonly remember: (hostId: string) => void;
}

/** What is asked of the modules of this host. */
export interface FleetWants {
  /** AGENT_TYPE_NOT_FOUND. */
  readonly wantsOfType: (agentType: string) => Wants;
  /** Of a module that may be unknown here: anywhere. */
  readonly wantsOfModule: (module: string) => Wants;
  /** Modules whose agents hear topics. */
  readonly hearing: () => readonly string[];
  readonly takeModule: (question: ModuleQuestion) => Promise<ModuleAnswer>;
}

interface Wired {
  readonly house: AgentHouse;
  readonly doors: HouseDoors;
  readonly agents: FleetAgents;
  readonly control: HostControl;
  readonly takeOver: TakeOver;
  readonly departures: Departures;
}

/** A question about modules is answered within seconds, if only that it is under way. */
const MODULE_ASK_MS = 10_000;
const OPERATOR_ASK_MS = 60_000;

export class FleetHost {
  readonly #config: FleetHostConfig;
  readonly #membership: Membership;
  readonly #link: HostLink;
  readonly #owners: Owners;
  readonly #remote: RemoteCalls;
  #wired: Wired | null = null;
  #onRejoin: () => Promise<void> = async () => undefined;

  private constructor(config: FleetHostConfig, membership: Membership) {
    const { bus, clock, prefix, store } = config;
    this.#config = config;
    this.#membership = membership;
    this.#link = new HostLink({ clock, bus, prefix, fleet: membership });
    this.#owners = new Owners(store, membership);
    this.#remote = new RemoteCalls({ clock, bus, prefix, link: this.#link });
  }

  static async open(config: FleetHostConfig): Promise<FleetHost> {
    const late: { host: FleetHost | null } = { host: null };
    const membership = await Membership.open({
      ...config,
      onBuried: async () => {
        if (late.host !== null) await late.host.#buried();
      },
      onRejoined: async () => {
        if (late.host !== null) await late.host.#rejoined();
      },
    });
    late.host = new FleetHost(config, membership);
    return late.host;
  }

  get fleet(): Fleet {
    return this.#membership;
  }

  /** What the house of this host is opened with. */
  get houseFleet(): HouseFleet {
    return {
      acquire: (agentId) => this.#acquire(agentId),
      knownElsewhere: (agentId) => {
        const owner = this.#owners.known(agentId);
        return owner !== null && owner !== this.#membership.self.hostId;
      },
      countOwned: () => this.#config.store.countOwned(),
      remote: {
        send: (agentId, sessionId, delivery) => this.agents.deliver(agentId, sessionId, delivery),
        deliverEntry: (entry, message) => this.agents.deliverEntry(entry, message),
        restart: (agentIds, reason) => void this.#restart(agentIds, reason),
      },
    };
  }

  /** Never rejects: an agent that nobody has in memory has nothing to go back from. */
  async #restart(agentIds: readonly string[], reason: string): Promise<void> {
    const { log, store } = this.#config;
    try {
      const owners = await store.ownersOf(agentIds);
      const byHost = Map.groupBy(agentIds, (agentId) => owners.get(agentId) ?? "");
      byHost.delete("");
      byHost.delete(this.#membership.self.hostId);
      await Promise.all([...byHost].map(([hostId, ids]) => this.#remote.restart(hostId, ids, reason)));
    } catch (thrown) {
      log.warn({ err: SirsiError.from(thrown).message }, "agents of other hosts that share the fate of one here could not be restarted; they go on as they are");
    }
  }

  /** An orphan goes to where agents are taken. */
  async #acquire(agentId: string): Promise<Acquisition> {
    const { store } = this.#config;
    if (this.#membership.self.state === "active" || !this.#othersTake) return await store.acquireAgent(agentId);
    const owner = (await store.ownersOf([agentId])).get(agentId);
    if (owner === this.#membership.self.hostId) return { kind: "owned", taken: false };
    if (owner !== undefined) return { kind: "elsewhere", hostId: owner };
    throw new SirsiError("AGENT_FENCED", `agent ${agentId} belongs to no host at the moment, and this one is leaving; send again, another takes it`, { retryAfterMs: 50 });
  }

  get #othersTake(): boolean {
    const { hosts, self } = this.#membership;
    return hosts.some(({ hostId, state }) => state === "active" && hostId !== self.hostId);
  }

  /** From here on other hosts are answered. */
  attach(house: AgentHouse, wants: FleetWants): FleetAgents {
    const { bus, clock, log, prefix, random, store } = this.#config;
    const fleet = this.#membership;
    const wantsOf = async (agentId: string): Promise<Wants> => {
      const record = await this.agents.recordOf(agentId);
      return record === null ? ANYWHERE : wants.wantsOfModule(record.module);
    };
    const isHere = (agentId: string): boolean => house.has(agentId);
    const routing = new Routing({ clock, random, fleet, owners: this.#owners, isHere, wantsOf });
    const agents = new FleetAgents({ clock, fleet, owners: this.#owners, routing, remote: this.#remote, house, wantsOfType: wants.wantsOfType });
    const doors = houseDoors(house);
    const takeOver = new TakeOver({ clock, store, fleet, log, hearing: wants.hearing, wantsOfModule: wants.wantsOfModule, take: (orphans) => doors.takeOver(orphans) });
    const departures = new Departures({
      clock,
      store,
      fleet,
      log,
      isHere,
      wantsOf,
      handOver: (agentId, give) => doors.handOver(agentId, give),
      forget: (agentIds) => doors.forget(agentIds),
      bringThere: async (hostId, agentId) => {
        this.#owners.learn(agentId, hostId);
        await this.#remote.activate(hostId, agentId);
      },
      orphaned: () => this.#tellOrphaned(),
      setState: (state) => this.#membership.setState(state),
    });
    const control = new HostControl({
      clock,
      bus,
      prefix,
      fleet,
      log,
      agents: doors.controlled,
      move: async ({ agentId, toHostId }) => await departures.move(agentId, toHostId),
      takeModule: wants.takeModule,
      lookForOrphans: () => takeOver.look(),
      drain: ({ drain }) => (drain ? this.#drainStep(departures) : this.#undrainHere(departures)),
    });
    this.#wired = { house, agents, control, departures, doors, takeOver };
    return agents;
  }

  get #parts(): Wired {
    if (this.#wired === null) throw new SirsiError("INTERNAL", "the fleet was used before the host's agents were attached to it");
    return this.#wired;
  }

  get agents(): FleetAgents {
    return this.#parts.agents;
  }

  /** What `describe` says has changed. */
  async describeAnew(): Promise<void> {
    await this.#membership.describeAnew();
  }

  /** From here on this host takes agents. */
  async activate(): Promise<void> {
    await this.#membership.activate();
    this.#parts.takeOver.look();
  }

  async askModule(hostId: string, question: ModuleQuestion): Promise<ModuleAnswer> {
    const answer = await this.#link.ask(hostId, { case: "module", value: question }, { deadline: this.#config.clock.monotonic() + MODULE_ASK_MS, repeatable: true });
    return valueOf(answer, "module");
  }

  // --- operators --------------------------------------------------------------------------

  /** A host by its id or name; this one for an empty word. INVALID_ARGUMENT. */
  find(word: string): HostEntry {
    const { hosts, self } = this.#membership;
    if (word === "") return self;
    const found = hosts.find(({ hostId, name }) => hostId === word || name === word);
    if (found !== undefined) return found;
    throw new SirsiError("INVALID_ARGUMENT", `the fleet has no live host ${word}; those that are there: ${hosts.map(({ name }) => name).join(", ")}`);
  }

  async *drain(hostId: string): AsyncGenerator<DrainProgress> {
    if (hostId === this.#membership.self.hostId) {
      yield* this.#parts.departures.drain();
      return;
    }
    for (;;) {
      const answer = await this.#link.ask(hostId, { case: "drain", value: { drain: true } }, { deadline: this.#config.clock.monotonic() + OPERATOR_ASK_MS, repeatable: true });
      const { moved, left, failed, ...rest } = valueOf(answer, "drain");
      // Whoever looks at the hosts when the drain is over sees it.
      if (rest.done) await this.#membership.refresh();
      yield { ...rest, moved: Number(moved), left: Number(left), failed: Number(failed), elapsedMs: Number(rest.elapsedMs) };
      if (rest.done) return;
    }
  }

  async undrain(hostId: string): Promise<void> {
    if (hostId === this.#membership.self.hostId) await this.#parts.departures.undrain();
    else await this.#link.ask(hostId, { case: "drain", value: { drain: false } }, { deadline: this.#config.clock.monotonic() + OPERATOR_ASK_MS, repeatable: true });
    await this.#membership.refresh();
  }

  /** `toHostId`: empty for where placement wants it. */
  async move(agentId: string, toHostId: string): Promise<Moved> {
    const hostId = (await this.#owners.lookUp(agentId)) ?? null;
    const { self } = this.#membership;
    // An agent of nobody is taken by whoever is to have it.
    if (hostId === null) {
      const to = toHostId === "" ? self.hostId : toHostId;
      await this.#bring(to, agentId);
      return { hostId: to, stayed: false, pauseMs: 0 };
    }
    if (hostId === self.hostId) return await this.#parts.departures.move(agentId, toHostId);
    const answer = await this.#link.ask(hostId, { case: "move", value: { agentId, toHostId } }, { deadline: this.#config.clock.monotonic() + OPERATOR_ASK_MS, repeatable: true });
    this.#owners.forget(agentId);
    return valueOf(answer, "move");
  }

  async #bring(hostId: string, agentId: string): Promise<void> {
    if (hostId === this.#membership.self.hostId) await this.#parts.doors.controlled.bring(agentId);
    else await this.#remote.activate(hostId, agentId);
  }

  /** What a drain has come to, after a while of it: the asker asks again until it is done. */
  async #drainStep(departures: Departures): Promise<DrainProgress> {
    for await (const progress of departures.drain()) return progress;
    throw new SirsiError("INTERNAL", "a drain told nothing of itself");
  }

  async #undrainHere(departures: Departures): Promise<null> {
    await departures.undrain();
    return null;
  }

  #tellOrphaned(): void {
    const { hosts, self } = this.#membership;
    for (const { hostId, state } of hosts) {
      if (hostId === self.hostId || state !== "active") continue;
      // Who does not hear of it looks by itself, a little later.
      this.#link.ask(hostId, { case: "orphans", value: {} }, { deadline: this.#config.clock.monotonic() + OPERATOR_ASK_MS, repeatable: false }).catch(() => undefined);
    }
  }

  // --- buried, leaving ----------------------------------------------------------------------

  async #buried(): Promise<void> {
    this.#wired?.doors.fenceAll("this host did not renew its lease in time, and its agents belong to others by now; send again");
  }

  async #rejoined(): Promise<void> {
    this.#wired?.control.listen();
    this.#wired?.house.restore().catch((thrown: unknown) => this.#config.log.warn({ err: SirsiError.from(thrown).message }, "the agents of this host could not be looked for after it joined again"));
    await this.#onRejoin();
    this.#wired?.takeOver.look();
  }

  /** Called when the host has joined again, before it takes agents. */
  onRejoin(act: () => Promise<void>): void {
    this.#onRejoin = act;
  }

  /** Its agents go to the others while there are others, for at most `graceMs`. */
  async moveAway(graceMs: number): Promise<void> {
    if (!this.#othersTake) return;
    const { clock, log } = this.#config;
    const until = clock.monotonic() + graceMs;
    try {
      for await (const { done, left } of this.#parts.departures.drain()) {
        if (done) return;
        if (clock.monotonic() < until) continue;
        log.warn({ left }, "the host leaves with agents that could not be moved in time; others take them over");
        this.#parts.departures.stop();
        return;
      }
    } catch (thrown) {
      log.warn({ err: SirsiError.from(thrown).message }, "the host's agents could not be moved before it leaves; others take them over");
    }
  }

  /** Owns nothing any more. */
  async leave(): Promise<void> {
    this.#wired?.takeOver.close();
    this.#wired?.control.close();
    this.#link.close();
    try {
      await this.#membership.leave();
    } catch (thrown) {
      this.#config.log.warn({ err: SirsiError.from(thrown).message }, "the fleet could not be told that this host leaves; its lease runs out");
    }
  }
}
