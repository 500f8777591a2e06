export { openSqliteStore, type SqliteStoreOptions } from "./sqlite-store.ts";
export { takeHostLock } from "./host-lock.ts";
