/** What a house of agents stands on. */
import type { Store } from "../store/store.ts";
import type { Homing } from "./homing.ts";
import type { HouseFleet } from "./house-fleet.ts";
import type { AgentStore, Surroundings } from "./surroundings.ts";
import type { HearTopic } from "./topic-hearers.ts";

export type HouseStore = AgentStore &
  Pick<
    Store,
    | "countByDigest"
    | "countLiveAgents"
    | "deadLetterOutbox"
    | "forgetExchanges"
    | "listInitializing"
    | "listModules"
    | "listOutbox"
    | "listTimers"
    | "listWaiting"
    | "nextTimer"
    | "settleOutbox"
  >;

/** Surroundings but for what the house itself is to its agents. */
export type HouseGround = Omit<Surroundings, "store" | "outbox" | "timers" | "supervision" | "deliver"> & { readonly store: HouseStore };

export interface AgentHouseConfig {
  readonly maxAgents: number;
  readonly maxResident: number;
  readonly maxResidentBytes: number;
  /** 0: nobody is asked. */
  readonly healthIntervalMs: number;
  readonly hearTopic: HearTopic;
  /** Absent: agents stay on the revision that they have. */
  readonly homing?: Homing;
  /** Absent or null: this host is the only owner of its agents. */
  readonly fleet?: HouseFleet | null;
}
