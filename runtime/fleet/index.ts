export type { Fleet } from "./fleet.ts";
export { FleetClock } from "./fleet-clock.ts";
export { FleetAgents, type LocalAgents } from "./fleet-agents.ts";
export { FleetHost, type FleetWants } from "./fleet-host.ts";
export type { DrainProgress, Moved } from "./departures.ts";
export { ANYWHERE, place, type Wants } from "./placement.ts";
export { SessionNotices } from "./session-notices.ts";
