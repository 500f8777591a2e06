/** Agents: stateful individuals with a mailbox, one step at a time. */
export type * from "./agents.ts";
export { AgentHouse, type AgentHouseConfig, type RestoreReport } from "./agent-house.ts";
export { DEFAULT_RESTART, type RestartConfig } from "./restart-policy.ts";
export { type AgentStore, moduleCells, type RevisionSource, type Surroundings } from "./surroundings.ts";
