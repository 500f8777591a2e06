/** What a host in a fleet has above its own agents: everybody's agents, the fleet's modules, notices of sessions, and the operator's view. */
import type { AgentHouse } from "../agent/index.ts";
import type { EventStream } from "../bus/event-stream.ts";
import { type Fleet, type FleetAgents, type FleetWants, SessionNotices } from "../fleet/index.ts";
import type { FleetOperator } from "../fleet/fleet-operator.ts";
import { collectFleet } from "./fleet-gauges.ts";
import type { FleetGround } from "./fleet-ground.ts";
import { troublesOf } from "./fleet-servers.ts";
import { openFleetModules, type FleetModules } from "./fleet-modules/index.ts";
import { fleetWants } from "./fleet-wants.ts";
import type { Ground } from "./ground.ts";
import { OpenFleet } from "./operator/open-fleet.ts";
import type { Swaps } from "./swap/swaps.ts";

export class FleetWiring {
  readonly agents: FleetAgents;
  readonly notices: SessionNotices;
  readonly operator: FleetOperator;
  readonly #fleet: FleetGround;
  readonly #modules: FleetModules;

  /** From here on other hosts are answered; agents come with `begin`. */
  constructor(ground: Ground, fleet: FleetGround, house: AgentHouse, swaps: Swaps, events: EventStream) {
    const { bus, clock, config, context, log, modules, store } = ground;
    const prefix = config.bus.topicPrefix;
    this.#fleet = fleet;
    collectFleet(ground.metrics, fleet.host.fleet, bus);
    fleet.loadFrom(() => ground.self.load(house));
    const wants: FleetWants = { ...fleetWants(modules), takeModule: (question) => this.#modules.answer(question) };
    this.#modules = openFleetModules({ clock, log, store: fleet.store, modules, swaps, choices: config.swap, fleet: fleet.host.fleet, bus, prefix, ask: (hostId, question) => fleet.host.askModule(hostId, question) });
    this.agents = fleet.host.attach(house, wants);
    this.notices = new SessionNotices({ bus, prefix, fleet: fleet.host.fleet, store: fleet.store, log });
    this.operator = new OpenFleet({ host: fleet.host, store: fleet.store, modules: this.#modules, servers: () => troublesOf({ store, bus, events, context }) });
    fleet.host.onRejoin(async () => await this.#modules.join());
  }

  get fleet(): Fleet {
    return this.#fleet.host.fleet;
  }

  /** What becomes of a module's change elsewhere, for whoever made it here. */
  saysOfOtherHosts(): string {
    return this.#modules.saysOfOthers();
  }

  /** Makes this host's modules the fleet's, and takes agents. */
  async begin(): Promise<void> {
    await this.#fleet.host.describeAnew();
    await this.#modules.join();
    await this.#fleet.host.activate();
  }

  /** Its agents go to others while there are others, for at most `graceMs`. */
  async moveAway(graceMs: number): Promise<void> {
    this.#modules.close();
    await this.#fleet.host.moveAway(graceMs);
  }

  close(): void {
    this.#modules.close();
    this.notices.close();
  }
}
