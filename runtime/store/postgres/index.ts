export type { FleetStore } from "../fleet-store.ts";
export { openPostgresStore, type PostgresStoreOptions } from "./postgres-store.ts";
