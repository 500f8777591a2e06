/** The modules of a fleet: the same on every host, changed on any of them. */
import type { SharedBytes } from "../../module/index.ts";
import type { FleetStore } from "../../store/fleet-store.ts";
import { FleetModules, type FleetModulesGround } from "./fleet-modules.ts";

export type { FleetModules, FleetModulesGround } from "./fleet-modules.ts";
export type { AskModule } from "./roll-out.ts";

/** Does nothing before join(). */
export function openFleetModules(ground: FleetModulesGround): FleetModules {
  return new FleetModules(ground);
}

/** For the module registry of a host in a fleet (`shared`). */
export function sharedBytesOf(store: Pick<FleetStore, "getModuleBytes" | "putModuleBytes">): SharedBytes {
  return {
    get: (digest) => store.getModuleBytes(digest),
    put: (digest, bytes) => store.putModuleBytes(digest, bytes),
  };
}
