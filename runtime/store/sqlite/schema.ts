/**
 * The tables, as numbered migrations. A migration that was released is never
 * changed; the next one is appended, and its number is its place in the list.
 *
 * An agent is spread over tables by how often each part changes: its record
 * (rarely, and it holds JSON), its progress (each commit, a narrow row), its
 * states and its exchanges. They share a short integer key, so that a commit
 * looks the agent's id up once and never rewrites the record. The key also keeps
 * exchanges in one growing table whose newest pages are in the cache, whichever
 * agents are busy.
 *
 * Times are REAL: milliseconds, which SQLite stores as integers when they are whole.
 */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

const SESSIONS = `
  CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), beat INTEGER NOT NULL) STRICT;
  INSERT INTO probe VALUES (1, 0);

  CREATE TABLE users (
    user_id TEXT PRIMARY KEY, display_name TEXT NOT NULL, preferences TEXT NOT NULL, updated_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE sessions (
    session_id TEXT PRIMARY KEY, user_id TEXT NOT NULL, state TEXT NOT NULL,
    created_at REAL NOT NULL, updated_at REAL NOT NULL, expires_at REAL NOT NULL,
    metadata TEXT NOT NULL, config TEXT NOT NULL
  ) STRICT;
  CREATE INDEX sessions_by_age ON sessions (created_at, session_id);
  CREATE INDEX sessions_by_user ON sessions (user_id, created_at, session_id);
`;

const AGENTS = `
  CREATE TABLE agents (
    agent_key INTEGER PRIMARY KEY, agent_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    module TEXT NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL, parent_agent_id TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL,
    metadata TEXT NOT NULL, config TEXT NOT NULL, context TEXT NOT NULL, status_message TEXT NOT NULL
  ) STRICT;
  CREATE INDEX agents_by_session ON agents (session_id, agent_id);
  CREATE INDEX agents_by_module ON agents (module, digest, agent_id) WHERE state <> 'TERMINATED';
  CREATE INDEX agents_by_parent ON agents (parent_agent_id) WHERE parent_agent_id IS NOT NULL;
  CREATE INDEX agents_unfinished ON agents (agent_id) WHERE state = 'INITIALIZING';

  CREATE TABLE agent_progress (
    agent_key INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
    epoch INTEGER NOT NULL DEFAULT 1,
    commit_sequence INTEGER NOT NULL DEFAULT 0, exchange_sequence INTEGER NOT NULL DEFAULT 0,
    messages_processed INTEGER NOT NULL DEFAULT 0, operations_completed INTEGER NOT NULL DEFAULT 0,
    errors_encountered INTEGER NOT NULL DEFAULT 0, response_time_total_ms REAL NOT NULL DEFAULT 0,
    last_activity_at REAL NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, dead_lettered INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE builds (build_key INTEGER PRIMARY KEY, digest TEXT NOT NULL, preparation TEXT NOT NULL, UNIQUE (digest, preparation)) STRICT;
  CREATE TABLE states (
    state_key INTEGER PRIMARY KEY,
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, sequence INTEGER NOT NULL,
    kind TEXT NOT NULL, cause TEXT NOT NULL, cause_id TEXT NOT NULL, committed_at REAL NOT NULL,
    build_key INTEGER NOT NULL, image BLOB NOT NULL,
    UNIQUE (agent_key, sequence)
  ) STRICT;
  CREATE TABLE waits (
    agent_key INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
    sequence INTEGER NOT NULL, message_id TEXT NOT NULL, message_hash TEXT NOT NULL, body BLOB NOT NULL
  ) STRICT;

  CREATE TABLE exchanges (
    exchange_key INTEGER PRIMARY KEY,
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, sequence INTEGER NOT NULL,
    message_id TEXT NOT NULL, message_hash TEXT NOT NULL, completed_at REAL NOT NULL, body BLOB NOT NULL,
    UNIQUE (agent_key, sequence)
  ) STRICT;
  CREATE UNIQUE INDEX exchanges_by_message ON exchanges (agent_key, message_id);
  CREATE INDEX exchanges_bodyless ON exchanges (completed_at) WHERE length(body) = 0;
`;

const EFFECTS = `
  CREATE TABLE outbox (
    entry_key INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, sequence INTEGER NOT NULL, place INTEGER NOT NULL,
    kind TEXT NOT NULL, target TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL,
    UNIQUE (agent_key, sequence, place)
  ) STRICT;
  CREATE TABLE timers (
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, timer_id TEXT NOT NULL,
    due_at REAL NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (agent_key, timer_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX timers_by_time ON timers (due_at);
  CREATE TABLE documents (
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, key TEXT NOT NULL,
    version INTEGER NOT NULL, bytes BLOB NOT NULL, updated_at REAL NOT NULL, agent_id TEXT NOT NULL,
    PRIMARY KEY (session_id, key)
  ) STRICT;
  CREATE TABLE dead_letters (
    dead_letter_id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    source_agent_id TEXT NOT NULL, message_id TEXT NOT NULL, reason TEXT NOT NULL, explanation TEXT NOT NULL,
    attempts INTEGER NOT NULL, dead_at REAL NOT NULL, body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX dead_letters_by_agent ON dead_letters (agent_id, dead_letter_id);
`;

const MODULES = `
  CREATE TABLE modules (
    module TEXT PRIMARY KEY, active_digest TEXT, retired INTEGER NOT NULL, file TEXT NOT NULL
  ) STRICT;

  CREATE TABLE revisions (
    module TEXT NOT NULL, digest TEXT NOT NULL, version TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL, size_bytes INTEGER NOT NULL, installed_at REAL NOT NULL,
    UNIQUE (module, digest)
  ) STRICT;
  CREATE INDEX revisions_by_age ON revisions (module, installed_at);

  CREATE TABLE swaps (
    swap_id TEXT PRIMARY KEY, module TEXT NOT NULL, started_at REAL NOT NULL, record TEXT NOT NULL
  ) STRICT;
  CREATE INDEX swaps_by_module ON swaps (module, started_at);
`;

export const MIGRATIONS: readonly Migration[] = [
  { name: "sessions, agents, their effects and modules", sql: SESSIONS + AGENTS + EFFECTS + MODULES },
];

function currentVersion(db: DatabaseSync, path: string): number {
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  if (tables.length === 0) {
    db.exec("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at REAL NOT NULL) STRICT");
    return 0;
  }
  if (!tables.some((table) => table["name"] === "schema_version")) {
    throw new SirsiError(
      "STORE_UNAVAILABLE",
      `${path} is a database of some other program (it has no table schema_version), so it was left alone. Choose another data directory.`,
    );
  }
  return Number(db.prepare("SELECT coalesce(max(version), 0) AS version FROM schema_version").get()?.["version"]);
}

/** Brings the database to the newest version this host knows, in one transaction. */
export function migrate(db: DatabaseSync, path: string, nowMs: number, migrations: readonly Migration[] = MIGRATIONS): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const version = currentVersion(db, path);
    if (version > migrations.length) {
      throw new SirsiError(
        "STORE_UNAVAILABLE",
        `The store ${path} has schema version ${version}, written by a newer host; this one knows versions up to ${migrations.length}. ` +
          "Start the newer host, or restore a backup from before its first start.",
      );
    }
    const note = db.prepare("INSERT INTO schema_version (version, name, applied_at) VALUES (?, ?, ?)");
    for (const [index, migration] of migrations.entries()) {
      if (index < version) continue;
      db.exec(migration.sql);
      note.run(index + 1, migration.name, nowMs);
    }
    db.exec("COMMIT");
  } catch (thrown) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw thrown;
  }
}
