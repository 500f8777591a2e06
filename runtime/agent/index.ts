/** Agents: stateful individuals with a mailbox, one step at a time. */
export type * from "./agents.ts";
export { AgentHouse, type RestoreReport } from "./agent-house.ts";
export { type HandOver, type HouseFleet, ownedElsewhere, ownerIn, type Presence, type Received, type RemoteAgents, type TakenOver } from "./house-fleet.ts";
export type { AgentHouseConfig, HouseGround, HouseStore } from "./house-ground.ts";
export type { Awakening, UnreachableAgents } from "./wake-up.ts";
export { DEFAULT_RESTART, type RestartConfig } from "./restart-policy.ts";
export { type AgentStore, moduleCells, type RevisionSource, type Surroundings } from "./surroundings.ts";
export { type MoveHouse, type MovePlan, Moves, MoveTally } from "./moves.ts";
export type { SwapCause, SwapOutcome } from "./swap.ts";
