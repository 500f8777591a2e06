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

/** So many come to memory at a time that those who are addressed need not wait for all of them. */
const TAKEN_AT_ONCE = 16;

export function houseDoors(house: AgentHouse, onFault: (error: unknown, agentId: string) => void): HouseDoors {
  return {
    controlled: house,
    async takeOver(orphans) {
      const got: Orphan[] = [];
      let next = 0;
      const lane = async (): Promise<void> => {
        while (next < orphans.length) {
          const orphan = orphans[next++] as Orphan;
          try {
            if (await house.take(orphan)) got.push(orphan);
          } catch (thrown) {
            onFault(thrown, orphan.agentId);
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(TAKEN_AT_ONCE, orphans.length) }, lane));
      house.taken({ outbox: got.some(({ hasOutbox }) => hasOutbox), timers: got.some(({ hasTimers }) => hasTimers) });
      return { acquired: got.length };
    },
    handOver: async (agentId, give) => await house.handOver(agentId, give),
    forget: (agentIds) => house.forget(agentIds),
    fenceAll: (reason) => house.fenceAll(reason),
  };
}
