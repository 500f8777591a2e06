/**
 * The store inside its thread: lock, database, tables and batches, all of it
 * synchronous. Knows nothing of threads, so that a test can hold it directly.
 */
import { mkdirSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import { agentCommit } from "./agent-commit.ts";
import { prepareAgentWriter } from "./agent-row.ts";
import { agentTable } from "./agent-table.ts";
import { auditTable } from "./audit.ts";
import { prepareBatches, type BatchRunner } from "./batch.ts";
import { Builds } from "./builds.ts";
import { effectTables, outboxTable } from "./effect-tables.ts";
import { exchangeTable } from "./exchange-table.ts";
import { takeHostLock } from "./host-lock.ts";
import { copyLog } from "./log-copy.ts";
import { moduleTable, probeTable } from "./module-table.ts";
import type { EngineOptions, SyncStore } from "./protocol.ts";
import { migrate } from "./schema.ts";
import { sessionTable } from "./session-table.ts";
import { storeFault } from "./sqlite-fault.ts";
import { stateTable } from "./state-table.ts";
import { WideDatabase } from "./wide-database.ts";

/** How long a write waits for a backup or a SQLite shell that holds the database. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * FULL flushes the log at each commit: without it a power cut would take
 * acknowledged commits along. The page cache and the log are larger than
 * SQLite's defaults because thousands of agents spread a batch over many pages:
 * a page that changes again and again in the log is written back once. The log's
 * limit is a last resort: log-keeper.ts writes it back before, beside the commits.
 */
const SETTINGS = `
  PRAGMA synchronous = FULL;
  PRAGMA cache_size = -65536;
  PRAGMA wal_autocheckpoint = 32768;
  PRAGMA journal_size_limit = 67108864;
  PRAGMA temp_store = MEMORY;
`;

export interface StoreEngine {
  readonly run: BatchRunner;
  /** Copies what can be copied of the log into the database; a failure waits for the next time. */
  shortenLog(): void;
  close(): void;
}

/** The path without symbolic links, so that two names of one folder meet at one lock. */
function settlePath(path: string): string {
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return join(realpathSync(folder), basename(path));
  } catch (thrown) {
    const said = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SirsiError("STORE_UNAVAILABLE", `The data directory ${folder} cannot be made or read: ${said}. Choose another, or give the host's user the right to it.`, { cause: thrown });
  }
}

function configure(db: DatabaseSync, path: string): void {
  const mode = db.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"];
  if (mode !== "wal") {
    throw new SirsiError("STORE_UNAVAILABLE", `The store ${path} cannot use a write-ahead log (SQLite offers ${String(mode)}). Put the data directory on a local disk.`);
  }
  db.exec(SETTINGS);
}

/** Every call of the store over a migrated database, its statements prepared, in batches. */
export function prepareEngine(db: DatabaseSync): { readonly run: BatchRunner; readonly calls: SyncStore } {
  const builds = new Builds(db);
  const writer = prepareAgentWriter(db);
  const calls: SyncStore = {
    ...sessionTable(db),
    ...agentTable(db, writer),
    ...agentCommit(db, writer, builds),
    ...stateTable(db),
    ...exchangeTable(db),
    ...outboxTable(db),
    ...effectTables(db),
    ...auditTable(db),
    ...moduleTable(db),
    ...probeTable(db),
  };
  return { calls, run: prepareBatches(db, calls, () => builds.forget()) };
}

/** Opens the store, or throws STORE_UNAVAILABLE or STORE_CORRUPT and holds nothing. */
export function openEngine({ path, openedAtMs }: EngineOptions): StoreEngine {
  const held: { close(): void }[] = [];
  const close = (): void => {
    for (const one of held.splice(0).toReversed()) one.close();
  };
  try {
    const settled = settlePath(path);
    const lock = takeHostLock(settled);
    held.push({ close: () => lock.release() });
    const db = new WideDatabase(settled, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
    held.push(db);
    configure(db, settled);
    migrate(db, settled, openedAtMs);
    const copy = copyLog(db);
    const shortenLog = (): void => {
      try {
        copy();
      } catch {
        // A disk that is full for the database may have room in the log: commits tell by themselves.
      }
    };
    return { run: prepareEngine(db).run, shortenLog, close };
  } catch (thrown) {
    close();
    throw storeFault(thrown);
  }
}
