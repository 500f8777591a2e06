/** What this host's modules are to its fleet. */
import { ANYWHERE, type FleetWants, type Wants } from "../fleet/index.ts";
import type { ModuleRegistry, Revision } from "../module/index.ts";

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
