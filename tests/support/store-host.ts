/** Stores that are hosts of one fleet, on one database. */
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import type { FleetStore, HostDescription, HostLoad } from "../../runtime/store/fleet-store.ts";
import type { PostgresStoreOptions } from "../../runtime/store/postgres/index.ts";
import type { PostgresServer } from "./postgres-server.ts";

export const LOAD: HostLoad = { resident: 3, residentBytes: 4_096, cpu: 0.25 };
/** Of a host that outlives its test. */
export const LONG_MS = 600_000;
/** Over by the time anybody looks. */
export const OVER_MS = 1;

export function hostDescription(name: string, changes: Partial<HostDescription> = {}): HostDescription {
  return { hostId: newId(systemClock.now()), name, zone: "a", labels: { disk: "fast" }, grpcAddress: "127.0.0.1:1", httpAddress: "127.0.0.1:2", version: "1.2.3", capacity: 100, ...changes };
}

export interface StoreHost {
  readonly store: FleetStore;
  readonly hostId: string;
}

export class StoreFleet {
  readonly #server: PostgresServer;
  readonly #opened: FleetStore[] = [];
  readonly database: string;

  private constructor(server: PostgresServer, database: string) {
    this.#server = server;
    this.database = database;
  }

  static async on(server: PostgresServer): Promise<StoreFleet> {
    return new StoreFleet(server, await server.newDatabase());
  }

  /** In no fleet yet. */
  async open(options: Partial<PostgresStoreOptions> = {}): Promise<FleetStore> {
    const store = await this.#server.open(this.database, options);
    this.#opened.push(store);
    return store;
  }

  async host(name: string, leaseMs = LONG_MS, options: Partial<PostgresStoreOptions> = {}): Promise<StoreHost> {
    const store = await this.open(options);
    const description = hostDescription(name);
    await store.joinFleet(description, leaseMs, null);
    return { store, hostId: description.hostId };
  }

  sql(sql: string): Promise<string> {
    return this.#server.sql(this.database, sql);
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((store) => store.close()));
  }
}
