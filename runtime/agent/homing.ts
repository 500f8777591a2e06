/**
 * Agents that slept through a swap, or through its being taken back, move when they come
 * to memory, before their next step; in the middle of a wait, when its step has ended.
 */
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import type { Agent } from "./agent.ts";
import type { SwapCause, SwapOutcome } from "./swap.ts";

export interface Homing {
  /** Where an agent belongs by now; null where it is. */
  homeOf(record: AgentRecord): { readonly to: Revision; readonly cause: SwapCause } | null;
  /** What became of one that was to move. */
  movedHome(agentId: string, to: Revision, outcome: SwapOutcome): void;
}

/** In the turn in which the agent comes, so that nothing is begun before. */
export function goHome(agent: Agent, homing: Homing, hear: (agent: Agent) => void): void {
  const home = homing.homeOf(agent.record);
  if (home === null) return;
  void agent.swap(home.to, home.cause).then((outcome) => {
    if (outcome.kind === "moved") hear(agent);
    homing.movedHome(agent.id, home.to, outcome);
  });
}
