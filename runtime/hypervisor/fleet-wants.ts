/** What this host's modules and agents are to its fleet. */
import { availableParallelism } from "node:os";
import type { AgentHouse } from "../agent/index.ts";
import type { Clock } from "../core/clock.ts";
import { ANYWHERE, type FleetWants, type Wants } from "../fleet/index.ts";
import type { ModuleRegistry, Revision } from "../module/index.ts";
import type { HostLoad } from "../store/fleet-store.ts";

export function fleetWants(modules: ModuleRegistry): Omit<FleetWants, "takeModule"> {
  const active = (): readonly Revision[] => modules.list().flatMap((view) => (view.active === null ? [] : [view.active]));
  return {
    wantsOfType: (agentType) => wantsOf(modules.resolve(agentType)),
    wantsOfModule: (module) => {
      const revision = active().find(({ manifest }) => manifest.name === module);
      return revision === undefined ? ANYWHERE : wantsOf(revision);
    },
    hearing: () => active().flatMap(({ manifest }) => (manifest.topics.length > 0 ? [manifest.name] : [])),
  };
}

function wantsOf({ manifest }: Revision): Wants {
  return { labels: manifest.placement.labels };
}

/** Processor time since the look before. */
export function loadOf(house: AgentHouse, clock: Clock): () => HostLoad {
  let cpu = process.cpuUsage();
  let at = clock.monotonic();
  let share = 0;
  return () => {
    const elapsedMs = clock.monotonic() - at;
    if (elapsedMs >= 500) {
      const { user, system } = process.cpuUsage(cpu);
      share = Math.min(1, (user + system) / 1000 / elapsedMs / availableParallelism());
      cpu = process.cpuUsage();
      at = clock.monotonic();
    }
    return { resident: house.residentCount, residentBytes: house.residentBytes, cpu: share };
  };
}
