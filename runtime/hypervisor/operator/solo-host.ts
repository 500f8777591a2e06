/** A host in no fleet, as operators of a fleet would see it. */
import { SirsiError } from "../../core/errors.ts";
import type { FleetOperator, FleetView, HostView } from "../../fleet/fleet-operator.ts";
import type { HostEntry } from "../../store/fleet-store.ts";

export interface SoloHostDeps {
  /** How it is now. */
  readonly entry: () => HostEntry;
  /** Agents that have not ended. */
  readonly agents: () => number;
}

export class SoloHost implements FleetOperator {
  readonly inFleet = false;
  readonly #deps: SoloHostDeps;

  constructor(deps: SoloHostDeps) {
    this.#deps = deps;
  }

  hosts(): Promise<readonly HostView[]> {
    return Promise.resolve([{ entry: this.#deps.entry(), agents: this.#deps.agents(), self: true }]);
  }

  drain(): never {
    throw alone("be drained");
  }

  undrain(): Promise<never> {
    return Promise.reject(alone("be undrained"));
  }

  move(): Promise<never> {
    return Promise.reject(alone("give an agent to another"));
  }

  async describe(): Promise<FleetView> {
    return { hosts: await this.hosts(), orphans: 0, servers: {}, modules: [] };
  }
}

function alone(what: string): SirsiError {
  return new SirsiError("NOT_IN_FLEET", `this host is in no fleet, so it cannot ${what}: there is no other host; set store.url and event_bus.servers, and start it with \`sirsi serve --fleet\``);
}
