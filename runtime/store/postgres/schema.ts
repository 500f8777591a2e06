/**
 * The tables, as numbered migrations. A migration that was released is never changed; the
 * next one is appended, and its number is its place in the list.
 *
 * `agent_sessions` has the four columns that other programs know it by, and more.
 * `active_agents` is the array of the ids of the session's agents that have not ended,
 * and is for readers from outside; the store itself reads `agents`. `users.id` is made
 * from the client's own name for the user (user-id.ts), which is `users.user_id`; a user
 * without `updated_at` was named by a session and never put.
 *
 * An agent is spread over tables by how often each part changes: its record (rarely), its
 * progress (each commit, one narrow row), its commits (one row each, never rewritten) and
 * its exchanges (one row each; the body goes first, the id later).
 *
 * The SQL is what CockroachDB takes as well. So there are
 *  - no advisory locks: a migration locks a row (migration.ts);
 *  - no triggers: what follows from an end or a deletion is written by the store;
 *  - no SERIAL or IDENTITY, whose numbers there are neither small nor in order: keys are
 *    the ids of things; only the outbox counts, with a sequence of its own;
 *  - no deferrable constraints, no exclusion constraints, no collations (stored-text.ts);
 *  - no foreign keys but those that the store rests on: what belongs to an agent is
 *    written and removed under the lock of its progress.
 *
 * Times are double precision, milliseconds. Timestamps are `agent_sessions.created_at`, which
 * others read, and the times of `hosts`, which are by the server's clock and nobody else's.
 * The index by owner costs commits nothing: they leave the owner as it is.
 */

export interface Migration {
  readonly name: string;
  /** One after the other, in one transaction. */
  readonly statements: readonly string[];
}

const SESSIONS = [
  `CREATE TABLE probe (id integer PRIMARY KEY, beat bigint NOT NULL)`,
  `INSERT INTO probe VALUES (1, 0)`,
  `CREATE TABLE users (
    id uuid PRIMARY KEY, user_id text NOT NULL, display_name text NOT NULL, preferences text NOT NULL, updated_at double precision
  )`,
  `CREATE TABLE agent_sessions (
    session_id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users (id), active_agents jsonb NOT NULL, created_at timestamptz NOT NULL,
    state text NOT NULL, updated_at double precision NOT NULL, expires_at double precision NOT NULL, metadata text NOT NULL, config text NOT NULL
  )`,
  `CREATE INDEX sessions_by_age ON agent_sessions (created_at, session_id)`,
  `CREATE INDEX sessions_by_user ON agent_sessions (user_id, created_at, session_id)`,
];

const AGENTS = [
  `CREATE TABLE agents (
    agent_id uuid PRIMARY KEY, session_id uuid NOT NULL REFERENCES agent_sessions (session_id),
    module text NOT NULL, digest text NOT NULL, state text NOT NULL, live boolean NOT NULL, parent_agent_id text,
    created_at double precision NOT NULL, updated_at double precision NOT NULL,
    metadata text NOT NULL, config text NOT NULL, context text NOT NULL, status_message text NOT NULL
  )`,
  `CREATE INDEX agents_by_session ON agents (session_id, agent_id)`,
  `CREATE INDEX agents_by_revision ON agents (module, digest, agent_id) WHERE live`,
  `CREATE INDEX agents_by_parent ON agents (parent_agent_id, agent_id) WHERE live AND parent_agent_id IS NOT NULL`,
  `CREATE INDEX agents_initializing ON agents (agent_id) WHERE state = 'INITIALIZING'`,
  `CREATE TABLE agent_progress (
    agent_id uuid PRIMARY KEY, epoch bigint NOT NULL, commit_sequence bigint NOT NULL, exchange_sequence bigint NOT NULL,
    received bigint NOT NULL, done bigint NOT NULL, dead_lettered bigint NOT NULL,
    wait_message_id text, base_sequence bigint NOT NULL, kept_from bigint NOT NULL, build_id uuid,
    bodies_after bigint NOT NULL, bodies_trimmed bigint NOT NULL,
    messages_processed bigint NOT NULL, operations_completed bigint NOT NULL, errors_encountered bigint NOT NULL,
    response_time_total_ms double precision NOT NULL, last_activity_at double precision NOT NULL
  )`,
];

const COMMITS = [
  `CREATE TABLE builds (build_id uuid PRIMARY KEY, digest text NOT NULL, preparation text NOT NULL)`,
  `CREATE TABLE commits (
    agent_id uuid NOT NULL, sequence bigint NOT NULL, kind text NOT NULL, cause text NOT NULL, cause_id text NOT NULL,
    committed_at double precision NOT NULL, build_id uuid, image bytea, PRIMARY KEY (agent_id, sequence)
  )`,
  `CREATE TABLE exchanges (
    agent_id uuid NOT NULL, sequence bigint NOT NULL, message_id text NOT NULL, message_hash text NOT NULL,
    completed_at double precision NOT NULL, body bytea, PRIMARY KEY (agent_id, sequence)
  )`,
  `CREATE UNIQUE INDEX exchanges_by_message ON exchanges (agent_id, message_id)`,
  `CREATE INDEX exchanges_to_forget ON exchanges (completed_at) WHERE body IS NULL`,
  `CREATE TABLE waits (
    agent_id uuid PRIMARY KEY, sequence bigint NOT NULL, message_id text NOT NULL, message_hash text NOT NULL, body bytea NOT NULL
  )`,
];

const EFFECTS = [
  `CREATE SEQUENCE outbox_keys`,
  `CREATE TABLE outbox (
    agent_id uuid NOT NULL, sequence bigint NOT NULL, place bigint NOT NULL, entry_key bigint NOT NULL,
    kind text NOT NULL, target text NOT NULL, body bytea NOT NULL, created_at double precision NOT NULL,
    PRIMARY KEY (agent_id, sequence, place)
  )`,
  `CREATE UNIQUE INDEX outbox_in_order ON outbox (entry_key)`,
  `CREATE TABLE timers (
    agent_id uuid NOT NULL, timer_id text NOT NULL, due_at double precision NOT NULL, payload bytea NOT NULL, PRIMARY KEY (agent_id, timer_id)
  )`,
  `CREATE INDEX timers_by_time ON timers (due_at)`,
  `CREATE TABLE documents (
    session_id uuid NOT NULL, key bytea NOT NULL, version bigint NOT NULL, updated_at double precision NOT NULL, agent_id uuid NOT NULL, bytes bytea NOT NULL,
    PRIMARY KEY (session_id, key)
  )`,
  `CREATE TABLE dead_letters (
    dead_letter_id bytea PRIMARY KEY, agent_id text NOT NULL, session_id text NOT NULL, source_agent_id text NOT NULL, message_id text NOT NULL,
    reason text NOT NULL, explanation text NOT NULL, attempts bigint NOT NULL, dead_at double precision NOT NULL, body bytea NOT NULL
  )`,
  `CREATE INDEX dead_letters_by_agent ON dead_letters (agent_id, dead_letter_id)`,
  `CREATE INDEX dead_letters_by_session ON dead_letters (session_id, dead_letter_id)`,
];

const MODULES = [
  `CREATE TABLE modules (module text PRIMARY KEY, active_digest text, retired boolean NOT NULL, file text NOT NULL)`,
  `CREATE TABLE revisions (
    module text NOT NULL, digest text NOT NULL, version text NOT NULL, state text NOT NULL,
    reason text NOT NULL, size_bytes bigint NOT NULL, installed_at double precision NOT NULL, PRIMARY KEY (module, digest)
  )`,
  `CREATE TABLE swaps (swap_id text PRIMARY KEY, module text NOT NULL, started_at double precision NOT NULL, record text NOT NULL)`,
  `CREATE INDEX swaps_by_age ON swaps (started_at, swap_id)`,
  `CREATE INDEX swaps_by_module ON swaps (module, started_at, swap_id)`,
];

/** Rows of a host that was in no fleet have no owner, and the empty host name. */
const FLEET = [
  `CREATE TABLE hosts (
    host_id uuid PRIMARY KEY, name text NOT NULL, state text NOT NULL, joined_at timestamptz NOT NULL, lease_until timestamptz NOT NULL,
    description text NOT NULL, current_load text NOT NULL
  )`,
  `ALTER TABLE agent_progress ADD COLUMN owner uuid`,
  `CREATE INDEX agents_by_owner ON agent_progress (owner, agent_id)`,
  `CREATE INDEX sessions_open ON agent_sessions (expires_at) WHERE state IN ('ACTIVE', 'SUSPENDED')`,
  `CREATE INDEX sessions_closed ON agent_sessions (session_id) WHERE state IN ('EXPIRED', 'TERMINATED')`,
  `CREATE TABLE module_bytes (digest text PRIMARY KEY, bytes bytea NOT NULL)`,
  `CREATE TABLE fleet_modules (
    module text PRIMARY KEY, digest text, file text NOT NULL, version text NOT NULL,
    generation bigint NOT NULL, changed_at double precision NOT NULL, changed_by text NOT NULL
  )`,
];

/** Each host of a fleet has revisions, and swaps, of its own. New tables, because not every database lets a primary key be changed together with other things. */
const HOSTS_MODULES = [
  `CREATE TABLE host_modules (host text NOT NULL, module text NOT NULL, active_digest text, retired boolean NOT NULL, file text NOT NULL, PRIMARY KEY (host, module))`,
  `INSERT INTO host_modules (host, module, active_digest, retired, file) SELECT '', module, active_digest, retired, file FROM modules`,
  `CREATE TABLE host_revisions (
    host text NOT NULL, module text NOT NULL, digest text NOT NULL, version text NOT NULL, state text NOT NULL,
    reason text NOT NULL, size_bytes bigint NOT NULL, installed_at double precision NOT NULL, PRIMARY KEY (host, module, digest)
  )`,
  `INSERT INTO host_revisions (host, module, digest, version, state, reason, size_bytes, installed_at)
    SELECT '', module, digest, version, state, reason, size_bytes, installed_at FROM revisions`,
  `CREATE TABLE host_swaps (
    host text NOT NULL, swap_id text NOT NULL, module text NOT NULL, started_at double precision NOT NULL, record text NOT NULL, PRIMARY KEY (host, swap_id)
  )`,
  `CREATE INDEX host_swaps_by_age ON host_swaps (host, started_at, swap_id)`,
  `CREATE INDEX host_swaps_by_module ON host_swaps (host, module, started_at, swap_id)`,
  `INSERT INTO host_swaps (host, swap_id, module, started_at, record) SELECT '', swap_id, module, started_at, record FROM swaps`,
  `DROP TABLE modules`,
  `DROP TABLE revisions`,
  `DROP TABLE swaps`,
];

export const MIGRATIONS: readonly Migration[] = [
  { name: "sessions, agents, commits, effects and modules", statements: [...SESSIONS, ...AGENTS, ...COMMITS, ...EFFECTS, ...MODULES] },
  { name: "hosts of a fleet, owners of agents, modules by host", statements: [...FLEET, ...HOSTS_MODULES] },
];
