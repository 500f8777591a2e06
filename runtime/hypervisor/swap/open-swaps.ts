/** The swaps of a host, on its store, modules, agents and shards. */
import type { AgentHouse } from "../../agent/index.ts";
import type { Config } from "../../config/index.ts";
import type { Clock } from "../../core/clock.ts";
import type { ModuleRegistry } from "../../module/index.ts";
import type { Logger, Metrics } from "../../observe/index.ts";
import { ShardPool } from "../../sandbox/index.ts";
import type { Store } from "../../store/store.ts";
import { chooseToRehearse, lastUsedFirst } from "./choice.ts";
import { RevisionHealth } from "./health.ts";
import { rehearse } from "./rehearsal.ts";
import { Swaps } from "./swaps.ts";

export interface HostGround {
  readonly config: Pick<Config, "swap" | "shards">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly modules: ModuleRegistry;
  readonly house: Pick<AgentHouse, "find" | "recordOf" | "residents" | "swapAgent">;
}

/** A copy that shows no sign of life for so long ends, and its shard with it. */
const STALL_MS = 2_000;

export function openSwaps(ground: HostGround): { readonly swaps: Swaps; readonly health: RevisionHealth } {
  const { clock, config, house, modules, store } = ground;
  const health = new RevisionHealth({
    recordOf: (agentId) => house.recordOf(agentId),
    isQuarantined: (agentId) => {
      const view = house.find(agentId);
      return view !== null && !(view instanceof Promise) && view.health === "unhealthy";
    },
  });
  const swaps = new Swaps({
    ...ground,
    config: config.swap,
    shards: config.shards.count,
    health,
    canariesFirst: ({ manifest, digest }) => lastUsedFirst(house, manifest.name, digest),
    rehearse: async (to, signal) => {
      const agents = await chooseToRehearse(house, store, to.manifest.name, to.digest, config.swap.rehearseAgents);
      const openPool = () => new ShardPool({ clock, count: 1, stallMs: STALL_MS, onLog: () => undefined, onShardLost: () => undefined });
      return await rehearse({ clock, store, revisionByDigest: (digest) => modules.revisionByDigest(digest), openPool }, to, agents, signal);
    },
  });
  return { swaps, health };
}
