/** What this host tells others of itself: its name, where it stands, where its doors are, what it carries. */
import { type Config, defaultHostName, formatAddress } from "../config/index.ts";
import type { Clock } from "../core/clock.ts";
import { newId } from "../core/ids.ts";
import type { HostDescription, HostEntry, HostLoad } from "../store/fleet-store.ts";
import type { SystemUsage } from "./system-usage.ts";

/** host:port, as bound. */
export interface Doors {
  readonly grpcAddress: string;
  readonly httpAddress: string;
}

/** The agents in memory. `AgentHouse` satisfies it. */
export interface Residents {
  readonly residentCount: number;
  residents(): Iterable<{ readonly residentBytes: number }>;
}

export class HostSelf {
  readonly #config: Config;
  readonly #version: string;
  readonly #usage: SystemUsage;
  readonly #startedAt: number;
  readonly #hostId: string;
  #doors: Doors;

  constructor(config: Config, version: string, clock: Clock, usage: SystemUsage) {
    this.#config = config;
    this.#version = version;
    this.#usage = usage;
    this.#startedAt = clock.now();
    this.#hostId = newId(this.#startedAt);
    this.#doors = { grpcAddress: formatAddress(config.grpc.listen), httpAddress: formatAddress(config.http.listen) };
  }

  /** Told once the doors are open; a port 0 has become one by then. */
  listens(doors: Doors): void {
    this.#doors = doors;
  }

  describe(): Omit<HostDescription, "hostId"> {
    const { agents, fleet, store } = this.#config;
    return {
      name: fleet?.hostName ?? defaultHostName(store.dataDir),
      zone: fleet?.zone ?? "",
      labels: fleet?.labels ?? {},
      grpcAddress: fleet?.advertiseGrpc ?? this.#doors.grpcAddress,
      httpAddress: fleet?.advertiseHttp ?? this.#doors.httpAddress,
      version: this.#version,
      capacity: agents.maxResident,
    };
  }

  load(residents: Residents): HostLoad {
    let residentBytes = 0;
    for (const agent of residents.residents()) residentBytes += agent.residentBytes;
    return { resident: residents.residentCount, residentBytes, cpu: this.#usage.cpuPercent / 100 };
  }

  /** As a host in no fleet. */
  soloEntry(residents: Residents, draining: boolean): HostEntry {
    return { ...this.describe(), hostId: this.#hostId, state: draining ? "draining" : "active", load: this.load(residents), joinedAt: this.#startedAt, leaseLeftMs: 0 };
  }
}
