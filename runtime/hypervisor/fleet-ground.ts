/** What a host in a fleet stands on: the shared store, the bus between hosts, and its place in the fleet. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openNatsBus, type NatsBus } from "../bus/nats/index.ts";
import type { Config, FleetConfig } from "../config/index.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import { type FleetClock, FleetHost } from "../fleet/index.ts";
import type { Logger } from "../observe/index.ts";
import type { FleetStore, HostLoad } from "../store/fleet-store.ts";
import { openPostgresStore } from "../store/postgres/index.ts";
import { takeHostLock } from "../store/sqlite/index.ts";
import type { HostSelf } from "./host-self.ts";

export interface FleetGround {
  readonly store: FleetStore;
  readonly bus: NatsBus;
  readonly host: FleetHost;
  /** Tells the fleet what this host carries, from now on. */
  readonly loadFrom: (load: () => HostLoad) => void;
  /** Lets go of the data directory. */
  readonly release: () => void;
}

export interface FleetGroundConfig {
  readonly config: Config;
  readonly fleet: FleetConfig;
  /** The machine's. */
  readonly clock: Clock;
  /** Told what time it is in the fleet. */
  readonly fleetClock: FleetClock;
  readonly log: Logger;
  readonly self: HostSelf;
  readonly onBusError: (error: SirsiError, subject: string) => void;
}

const IDLE: HostLoad = { resident: 0, residentBytes: 0, cpu: 0 };

export async function openFleetGround({ config, fleet, clock, fleetClock, log, self, onBusError }: FleetGroundConfig): Promise<FleetGround> {
  const { bus: busConfig, store: storeConfig } = config;
  if (storeConfig.url === null) throw new SirsiError("INTERNAL", "a fleet was configured without a store's URL");
  // Whoever has the data directory knows that no earlier process of this host runs any more.
  const lock = takeHostLock(join(storeConfig.dataDir, "fleet"));
  const opened: { close(): Promise<void> }[] = [];
  try {
    const store = await openPostgresStore({ clock, url: storeConfig.url, connectionsMax: storeConfig.connections });
    opened.unshift(store);
    const bus = await openNatsBus({ clock, log, onError: onBusError, servers: busConfig.servers, name: `sirsi ${fleet.hostName}`, login: busConfig.login, ...(busConfig.tls === null ? {} : { tls: busConfig.tls }) });
    opened.unshift(bus);
    const identity = new HostIdentity(join(storeConfig.dataDir, "fleet-host-id"));
    const told = { load: () => IDLE };
    const host = await FleetHost.open({
      clock,
      onTime: (now, askedAt, heardAt) => fleetClock.hear(now, askedAt, heardAt),
      random: Math.random,
      store,
      bus,
      prefix: busConfig.topicPrefix,
      log,
      leaseMs: fleet.leaseMs,
      describe: () => self.describe(),
      load: () => told.load(),
      predecessor: identity.read(),
      remember: (hostId) => identity.write(hostId),
    });
    return {
      store,
      bus,
      host,
      loadFrom: (load) => {
        told.load = load;
      },
      release: () => lock.release(),
    };
  } catch (thrown) {
    for (const part of opened) await part.close();
    lock.release();
    throw thrown;
  }
}

/** The id under which this host joined last: its next start buries it at once, and need not wait for its lease. */
class HostIdentity {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  read(): string | null {
    try {
      const text = readFileSync(this.#path, "utf8").trim();
      return isId(text) ? text : null;
    } catch {
      return null;
    }
  }

  write(hostId: string): void {
    writeFileSync(this.#path, `${hostId}\n`, { mode: 0o600 });
  }
}
