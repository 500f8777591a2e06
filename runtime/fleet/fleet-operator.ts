/** What operators see and do of a fleet, from any of its hosts; hypervisor/operator/ puts the calls before it. */
import type { HostEntry } from "../store/fleet-store.ts";
import type { DrainProgress, Moved } from "./departures.ts";

export interface HostView {
  readonly entry: HostEntry;
  /** Agents that have not ended and belong to it, asleep ones included. */
  readonly agents: number;
  /** It is the host that answers. */
  readonly self: boolean;
}

export interface FleetModuleView {
  readonly module: string;
  /** Null: it was removed. */
  readonly digest: string | null;
  readonly version: string;
  readonly generation: number;
  /** Names of live hosts that have another revision active, or none. */
  readonly differingHosts: readonly string[];
}

export interface FleetView {
  readonly hosts: readonly HostView[];
  /** Agents that belong to nobody at the moment. */
  readonly orphans: number;
  /** store, bus, events, context: what is wrong with each that is configured, empty for nothing. */
  readonly servers: Readonly<Record<string, string>>;
  readonly modules: readonly FleetModuleView[];
}

/** Host ids are those of `hosts`. What cannot be done is thrown as a SirsiError that says why. */
export interface FleetOperator {
  /** False: a host of its own, which shows itself alone and moves nothing. */
  readonly inFleet: boolean;
  /** Live hosts, by name. */
  hosts(): Promise<readonly HostView[]>;
  /** Begins, or joins, the drain of any live host. The last one told is `done`. Leaving the iteration does not stop the drain. */
  drain(hostId: string): AsyncIterable<DrainProgress>;
  /** Resolves when the host takes agents again. */
  undrain(hostId: string): Promise<void>;
  /** `toHostId` null: where placement wants it. AGENT_NOT_FOUND when there is none. */
  move(agentId: string, toHostId: string | null): Promise<Moved>;
  describe(): Promise<FleetView>;
}
