/** The fleet that this host is in, as operators see it and act on it. */
import { SirsiError } from "../../core/errors.ts";
import type { DrainProgress, FleetHost, Moved } from "../../fleet/index.ts";
import type { FleetOperator, FleetView, HostView } from "../../fleet/fleet-operator.ts";
import type { FleetStore } from "../../store/fleet-store.ts";
import type { FleetModules } from "../fleet-modules/index.ts";

export interface OpenFleetDeps {
  readonly host: FleetHost;
  readonly store: Pick<FleetStore, "countByOwner">;
  readonly modules: Pick<FleetModules, "describe">;
  /** By what they are for; what is wrong with each, empty for nothing. */
  readonly servers: () => Promise<Readonly<Record<string, string>>>;
}

export class OpenFleet implements FleetOperator {
  readonly inFleet = true;
  readonly #deps: OpenFleetDeps;

  constructor(deps: OpenFleetDeps) {
    this.#deps = deps;
  }

  async hosts(): Promise<readonly HostView[]> {
    return this.#viewsOf(await unlessAway(this.#deps.store.countByOwner(), NONE));
  }

  #viewsOf(counts: ReadonlyMap<string, number>): readonly HostView[] {
    const { fleet } = this.#deps.host;
    return fleet.hosts.map((entry) => ({ entry, agents: counts.get(entry.hostId) ?? 0, self: entry.hostId === fleet.self.hostId }));
  }

  drain(hostId: string): AsyncIterable<DrainProgress> {
    return this.#deps.host.drain(hostId);
  }

  async undrain(hostId: string): Promise<void> {
    await this.#deps.host.undrain(hostId);
  }

  async move(agentId: string, toHostId: string | null): Promise<Moved> {
    return await this.#deps.host.move(agentId, toHostId ?? "");
  }

  async describe(): Promise<FleetView> {
    const { modules, servers, store } = this.#deps;
    const [counts, views, troubles] = await Promise.all([unlessAway(store.countByOwner(), NONE), unlessAway(modules.describe(), []), servers()]);
    return { hosts: this.#viewsOf(counts), orphans: counts.get("") ?? 0, servers: troubles, modules: views };
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

/** While the database is away, operators are shown what is known without it; `servers` tells them why. */
async function unlessAway<T>(asked: Promise<T>, otherwise: T): Promise<T> {
  try {
    return await asked;
  } catch (thrown) {
    if (SirsiError.from(thrown).code === "STORE_UNAVAILABLE") return otherwise;
    throw thrown;
  }
}
