/** The host's house of agents, as its part of the fleet uses it. */
import type { AgentHouse } from "../agent/index.ts";
import type { Orphan } from "../store/fleet-store.ts";
import type { HandedOver } from "./departures.ts";
import type { ControlledAgents } from "./host-control.ts";

export interface HouseDoors {
  readonly controlled: ControlledAgents;
  takeOver(orphans: readonly Orphan[]): Promise<{ readonly acquired: number }>;
  handOver(agentId: string, give: () => Promise<boolean>): Promise<HandedOver>;
  forget(agentIds: readonly string[]): void;
  fenceAll(reason: string): void;
}

export function houseDoors(house: AgentHouse): HouseDoors {
  return {
    controlled: house,
    takeOver: async (orphans) => await house.takeOver(orphans),
    handOver: async (agentId, give) => await house.handOver(agentId, give),
    forget: (agentIds) => house.forget(agentIds),
    fenceAll: (reason) => house.fenceAll(reason),
  };
}
