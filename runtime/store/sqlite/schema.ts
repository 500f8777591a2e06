/**
 * The tables, as numbered migrations. A migration that was released is never
 * changed; the next one is appended, and its number is its place in the list.
 * (Version 0.1.0 was released to nobody, so what it began with was written anew.)
 *
 * An agent is spread over tables by how often each part changes: its record (rarely,
 * and it holds JSON), its progress (each commit, one narrow row) and its commits (one
 * row each, never rewritten but to be trimmed). They share a short integer key.
 *
 * A commit's row has two parts with lives of their own. As history, `kind` to `image`,
 * it lives until a base lies far enough ahead of it; `kind` is null from then on. As
 * exchange, `message_id` to `body`, it loses its body when enough exchanges follow,
 * and its id when that has been remembered for long enough. When both parts are over,
 * the row goes. `image` is null where a commit left the state as it was.
 *
 * The key of a commit is `agent_key << 36 | sequence`: the rows of one agent lie side by
 * side, in order, without any index, so that recovery reads one run of pages and
 * trimming touches few. That leaves room for 2^27 agents, whose keys are used again once
 * they are gone, and for 2^36 commits of each: two years of a thousand a second. Most keys
 * are beyond what a JavaScript number holds: they stay in SQL (commit-key.ts, wide-database.ts).
 *
 * What follows from a deletion or an end is done by cascades and triggers, whatever
 * brought it about. A session takes its agents, documents and dead letters along; an
 * agent its progress, commits, wait, timers and outbox; an end only wait and timers.
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

/** `live_agents` spares a count of a million rows; triggers keep it. */
const AGENTS = `
  CREATE TABLE live_agents (
    module TEXT NOT NULL, digest TEXT NOT NULL, agents INTEGER NOT NULL, PRIMARY KEY (module, digest)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE agents (
    agent_key INTEGER PRIMARY KEY CHECK (agent_key < 134217728), agent_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
    module TEXT NOT NULL, digest TEXT NOT NULL, state TEXT NOT NULL, parent_agent_id TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL,
    metadata TEXT NOT NULL, config TEXT NOT NULL, context TEXT NOT NULL, status_message TEXT NOT NULL,
    live INTEGER NOT NULL AS (state <> 'TERMINATED') VIRTUAL
  ) STRICT;
  CREATE INDEX agents_by_session ON agents (session_id, live, agent_id);
  CREATE INDEX agents_by_revision ON agents (module, digest, agent_id) WHERE live = 1;
  CREATE INDEX agents_by_parent ON agents (parent_agent_id, agent_id) WHERE parent_agent_id IS NOT NULL AND live = 1;
  CREATE INDEX agents_initializing ON agents (agent_id) WHERE state = 'INITIALIZING';

  CREATE TABLE agent_progress (
    agent_key INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE,
    epoch INTEGER NOT NULL DEFAULT 1, commit_sequence INTEGER NOT NULL DEFAULT 0,
    exchange_sequence INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, dead_lettered INTEGER NOT NULL DEFAULT 0,
    waiting INTEGER NOT NULL DEFAULT 0, pending INTEGER NOT NULL DEFAULT 0,
    base_sequence INTEGER NOT NULL DEFAULT 0, kept_from INTEGER NOT NULL DEFAULT 1, build_key INTEGER,
    bodies INTEGER NOT NULL DEFAULT 0, bodies_from INTEGER NOT NULL DEFAULT 1, bodies_after INTEGER NOT NULL DEFAULT 0,
    messages_processed INTEGER NOT NULL DEFAULT 0, operations_completed INTEGER NOT NULL DEFAULT 0,
    errors_encountered INTEGER NOT NULL DEFAULT 0, response_time_total_ms REAL NOT NULL DEFAULT 0,
    last_activity_at REAL NOT NULL
  ) STRICT;

  CREATE TABLE free_agent_keys (agent_key INTEGER PRIMARY KEY) STRICT;

  CREATE TRIGGER agents_begin AFTER INSERT ON agents BEGIN
    DELETE FROM free_agent_keys WHERE agent_key = new.agent_key;
    INSERT INTO live_agents VALUES (new.module, new.digest, new.live) ON CONFLICT DO UPDATE SET agents = agents + new.live;
  END;
  CREATE TRIGGER agents_change AFTER UPDATE OF state, module, digest ON agents
  WHEN old.live <> new.live OR old.digest <> new.digest OR old.module <> new.module BEGIN
    UPDATE live_agents SET agents = agents - old.live WHERE module = old.module AND digest = old.digest;
    INSERT INTO live_agents VALUES (new.module, new.digest, new.live) ON CONFLICT DO UPDATE SET agents = agents + new.live;
  END;
  CREATE TRIGGER agents_end AFTER UPDATE OF state ON agents WHEN new.live = 0 BEGIN
    DELETE FROM waits WHERE agent_key = new.agent_key;
    DELETE FROM timers WHERE agent_key = new.agent_key;
    UPDATE agent_progress SET received = received - pending, pending = 0, waiting = 0 WHERE agent_key = new.agent_key AND waiting = 1;
  END;
  CREATE TRIGGER agents_go AFTER DELETE ON agents BEGIN
    UPDATE live_agents SET agents = agents - old.live WHERE module = old.module AND digest = old.digest;
    DELETE FROM commits WHERE commit_key >= (old.agent_key << 36) AND commit_key < ((old.agent_key + 1) << 36);
    INSERT INTO free_agent_keys VALUES (old.agent_key);
  END;
`;

/** The two views are for people and tools that look in from outside. */
const COMMITS = `
  CREATE TABLE builds (
    build_key INTEGER PRIMARY KEY, digest TEXT NOT NULL, preparation TEXT NOT NULL, UNIQUE (digest, preparation)
  ) STRICT;

  CREATE TABLE commits (
    commit_key INTEGER PRIMARY KEY, agent_key INTEGER NOT NULL,
    kind TEXT, cause TEXT, cause_id TEXT, committed_at REAL, build_key INTEGER, image BLOB,
    exchange_sequence INTEGER, message_id TEXT, message_hash TEXT, completed_at REAL, body BLOB
  ) STRICT;
  CREATE UNIQUE INDEX commits_by_message ON commits (agent_key, message_id) WHERE message_id IS NOT NULL;
  CREATE INDEX commits_to_forget ON commits (completed_at) WHERE body = x'';

  CREATE VIEW states AS
    SELECT agent_key, commit_key & 68719476735 AS sequence, kind, cause, coalesce(cause_id, message_id) AS cause_id, committed_at, build_key, image
    FROM commits WHERE kind IS NOT NULL;
  CREATE VIEW exchanges AS
    SELECT agent_key, exchange_sequence AS sequence, message_id, message_hash, completed_at, body
    FROM commits WHERE message_id IS NOT NULL;

  CREATE TABLE waits (
    agent_key INTEGER PRIMARY KEY REFERENCES agents ON DELETE CASCADE, agent_id TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL,
    message_id TEXT NOT NULL, message_hash TEXT NOT NULL, body BLOB NOT NULL
  ) STRICT;
`;

const EFFECTS = `
  CREATE TABLE outbox (
    entry_key INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, sequence INTEGER NOT NULL, place INTEGER NOT NULL,
    kind TEXT NOT NULL, target TEXT NOT NULL, body BLOB NOT NULL, created_at REAL NOT NULL,
    UNIQUE (agent_key, sequence, place)
  ) STRICT;

  CREATE TABLE timers (
    timer_key INTEGER PRIMARY KEY,
    agent_key INTEGER NOT NULL REFERENCES agents ON DELETE CASCADE, timer_id TEXT NOT NULL,
    due_at REAL NOT NULL, payload BLOB NOT NULL,
    UNIQUE (agent_key, timer_id)
  ) STRICT;
  CREATE INDEX timers_by_time ON timers (due_at);

  CREATE TABLE documents (
    document_key INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, key TEXT NOT NULL,
    version INTEGER NOT NULL, updated_at REAL NOT NULL, agent_id TEXT NOT NULL, bytes BLOB NOT NULL,
    UNIQUE (session_id, key)
  ) STRICT;

  CREATE TABLE dead_letters (
    dead_letter_id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, session_id TEXT NOT NULL, source_agent_id TEXT NOT NULL,
    message_id TEXT NOT NULL, reason TEXT NOT NULL, explanation TEXT NOT NULL,
    attempts INTEGER NOT NULL, dead_at REAL NOT NULL, body BLOB NOT NULL
  ) STRICT;
  CREATE INDEX dead_letters_by_agent ON dead_letters (agent_id, dead_letter_id);
  CREATE INDEX dead_letters_by_session ON dead_letters (session_id, dead_letter_id);
  CREATE TRIGGER sessions_go AFTER DELETE ON sessions BEGIN
    DELETE FROM dead_letters WHERE session_id = old.session_id;
  END;
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
  CREATE INDEX swaps_by_age ON swaps (started_at, swap_id);
  CREATE INDEX swaps_by_module ON swaps (module, started_at, swap_id);
`;

export const MIGRATIONS: readonly Migration[] = [
  { name: "sessions, agents, commits, effects and modules", sql: SESSIONS + AGENTS + COMMITS + EFFECTS + MODULES },
];

function currentVersion(db: DatabaseSync, path: string, migrations: readonly Migration[]): number {
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
  const applied = db.prepare("SELECT version, name FROM schema_version ORDER BY version").all();
  const stranger = applied.find(({ version, name }) => Number(version) <= migrations.length && migrations[Number(version) - 1]?.name !== name);
  if (stranger !== undefined) {
    throw new SirsiError(
      "STORE_UNAVAILABLE",
      `The store ${path} was made by a build of this software that was never released (its schema ${String(stranger["version"])} is "${String(stranger["name"])}"). ` +
        "Choose another data directory, or remove this one if nothing in it is needed.",
    );
  }
  return Number(applied.at(-1)?.["version"] ?? 0);
}

/** Brings the database to the newest version this host knows, in one transaction. */
export function migrate(db: DatabaseSync, path: string, nowMs: number, migrations: readonly Migration[] = MIGRATIONS): void {
  db.exec("BEGIN IMMEDIATE");
  try {
    const version = currentVersion(db, path, migrations);
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
