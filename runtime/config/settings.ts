/**
 * The one table of all settings. Validation, `--help`, `sirsi config show`,
 * docs/configuration.md and sirsi.toml.example are made from it.
 */
import { GUEST_LIMITS, HOST_LIMITS } from "../core/limits.ts";
import type { GuestLimitName, HostLimitName, LimitRow } from "../core/limits.ts";
import { fileKey } from "./secret.ts";
import type { DefaultContext, Secrecy, Setting, SettingKind, SettingValue } from "./setting.ts";

/** Capabilities that grants may name; the module layer's list is held to it by a test. */
export const GRANTABLE = ["ask", "sleep", "timers", "documents"] as const;
export type Grant = (typeof GRANTABLE)[number];

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const COMPRESSIONS = ["none", "gzip"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

export const LOG_FORMATS = ["json", "pretty"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

interface Extras {
  readonly flag?: string;
  readonly words?: string;
}

function setting(
  key: string,
  kind: SettingKind,
  fallback: SettingValue | ((context: DefaultContext) => SettingValue),
  meaning: string,
  extras: Extras = {},
): Setting {
  return {
    key,
    kind,
    fallback: typeof fallback === "function" ? fallback : () => fallback,
    fallbackWords: extras.words ?? null,
    meaning,
    env: kind.type === "table" ? null : `SIRSI_${key.replaceAll(".", "_").toUpperCase()}`,
    flag: extras.flag ?? null,
    secret: null,
  };
}

/** A secret, empty for none, and its twin that names a file. No flag: every user of a machine can see those. */
function secret(key: string, hidden: Secrecy, kind: SettingKind, meaning: string): [Setting, Setting] {
  return [{ ...setting(key, kind, "", meaning), secret: hidden }, setting(fileKey(key), { type: "file" }, "", `The file that ${key} is read from.`)];
}

function integer(min: number, max: number, unit: string): SettingKind {
  return { type: "integer", min, max, unit };
}

const UNIT_WORDS = { bytes: "bytes", ms: "ms", count: "", fuel: "fuel", per_second: "per second" } as const;

function kindOf(row: LimitRow): SettingKind {
  return integer(row.min, row.max, UNIT_WORDS[row.unit]);
}

/** Where each host limit is set: beside what it limits, under the seed's name where it had one. */
export const HOST_LIMIT_KEYS = {
  maxConcurrentAgents: "agent_service.max_concurrent_agents",
  messageMaxBytes: "grpc.message_max_bytes",
  metadataMaxBytes: "grpc.metadata_max_bytes",
  moduleMaxBytes: "modules.max_bytes",
  admitTimeoutMs: "modules.admit_timeout_ms",
  maxSessions: "sessions.max",
  maxAgentsPerSession: "sessions.max_agents",
  eventsKept: "sessions.events_kept",
  exchangesKept: "agents.exchanges_kept",
  mapMaxEntries: "limits.map_max_entries",
  filterMaxChars: "limits.filter_max_chars",
} as const satisfies Record<HostLimitName, string>;

export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function guestLimitKey(name: GuestLimitName): string {
  return `limits.${snakeCase(name)}`;
}

export function guestPolicyKey(name: GuestLimitName): string {
  return `limits.policy.${snakeCase(name)}`;
}

export const GUEST_LIMIT_NAMES = Object.keys(GUEST_LIMITS) as readonly GuestLimitName[];
export const HOST_LIMIT_NAMES = Object.keys(HOST_LIMITS) as readonly HostLimitName[];

function hostLimit(name: HostLimitName): Setting {
  const row: LimitRow = HOST_LIMITS[name];
  return setting(HOST_LIMIT_KEYS[name], kindOf(row), row.fallback, row.meaning);
}

const guestDefaults = GUEST_LIMIT_NAMES.map((name) => {
  const row: LimitRow = GUEST_LIMITS[name];
  return setting(guestLimitKey(name), kindOf(row), row.fallback, row.meaning);
});

const guestPolicy = GUEST_LIMIT_NAMES.map((name) => {
  const row: LimitRow = GUEST_LIMITS[name];
  return setting(guestPolicyKey(name), kindOf(row), row.max, `The most that a manifest may ask for as ${snakeCase(name)}.`);
});

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const DAY = 86_400;
const YEAR = 365 * DAY;
const ONE_LINE: SettingKind = { type: "text", pattern: /^[^\0\r\n]*$/, shape: "text on one line" };
const SERVER = /^(?:nats|tls):\/\/(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?\/?$/;
const DATABASE = /^(?:postgres(?:ql)?:\/\/\S+)?$/;
const REDIS = /^(?:rediss?:\/\/\S+)?$/;
const HOST_NAME = /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,62})?$/;
const ZONE = /^[A-Za-z0-9._-]{0,63}$/;
const SUBJECT = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

export const SETTINGS: readonly Setting[] = [
  hostLimit("maxConcurrentAgents"),
  setting("agent_service.session_timeout_seconds", integer(1, YEAR, "seconds"), 3_600, "How long a session lives that states no timeout of its own."),
  setting("agent_service.wasm_module_path", { type: "path" }, "modules", "The module directory: .wasm files in it are picked up.", { flag: "--modules" }),

  setting("event_bus.servers", { type: "texts", pattern: SERVER, shape: "nats://host:port or tls://host:port without a login" }, [], "NATS servers, all of a cluster. Empty: the bus inside the process, for a host in no fleet."),
  setting("event_bus.topic_prefix", { type: "text", pattern: SUBJECT, shape: "tokens of letters, digits, _ and -, joined by dots" }, "sirsi.agents", "What every subject on the bus starts with. Fleets on the same NATS servers need one each."),
  ...secret("event_bus.token", "all", ONE_LINE, "Logs in to NATS with a token."),
  setting("event_bus.user", ONE_LINE, "", "Logs in to NATS with a user's name and event_bus.password."),
  ...secret("event_bus.password", "all", ONE_LINE, "The password that belongs to event_bus.user."),
  setting("event_bus.nkey_file", { type: "file" }, "", "Logs in to NATS with the nkey whose seed (SU…) is in this file."),
  setting("event_bus.creds_file", { type: "file" }, "", "Logs in to NATS with a creds file as `nsc` writes it."),
  setting("event_bus.tls_ca_file", { type: "file" }, "", "PEM file of the authorities that vouch for the NATS servers. With any of the TLS files set, every connection uses TLS."),
  setting("event_bus.tls_cert_file", { type: "file" }, "", "PEM file with this host's certificate for NATS servers that ask for one."),
  setting("event_bus.tls_key_file", { type: "file" }, "", "PEM file with the key of tls_cert_file."),

  setting("grpc.listen", { type: "listen" }, "127.0.0.1:50051", "Where the gRPC server listens; port 0 picks a free one.", { flag: "--grpc-listen" }),
  hostLimit("messageMaxBytes"),
  hostLimit("metadataMaxBytes"),
  setting("grpc.compression", { type: "choice", choices: COMPRESSIONS }, "none", "Compresses replies of 1 KiB and more for callers that accept it; requests may always be compressed."),
  setting("grpc.channelz", { type: "boolean" }, false, "Offers the channelz service, which shows every connection."),
  setting("grpc.drain_timeout_ms", integer(0, 600_000, "ms"), 10_000, "How long calls in progress may go on once the host is told to stop; then they are cut."),

  setting("http.listen", { type: "listen" }, "127.0.0.1:8080", "Where metrics and health are served over HTTP; port 0 picks a free one.", { flag: "--http-listen" }),

  setting("store.data_dir", { type: "path" }, ".sirsi", "Where the host keeps its database and its cache of prepared modules.", { flag: "--data-dir" }),

  ...secret("store.url", "url", { type: "text", pattern: DATABASE, shape: "postgres://user:password@host:5432/database?sslmode=verify-full" }, "The PostgreSQL database of a fleet; empty keeps everything in SQLite in data_dir."),
  setting("store.connections", integer(2, 1_000, ""), 8, "The most connections of this host to the database; all hosts together must stay below what the server allows."),

  setting("fleet.host_name", { type: "text", pattern: HOST_NAME, shape: "letters, digits and . _ -, at most 63" }, "", "What this host is called in its fleet. It stays over restarts, and no other host may have it.", {
    flag: "--host-name",
    words: "machine name and a short hash of the data directory",
  }),
  setting("fleet.zone", { type: "text", pattern: ZONE, shape: "letters, digits and . _ -, at most 63" }, "", "Where this host stands, such as a rack or a data centre's zone; modules may ask for one.", { flag: "--zone" }),
  setting("fleet.labels", { type: "labels" }, {}, "What modules may ask for in their manifest's placement, such as { disk = \"ssd\" }."),
  setting("fleet.lease_ms", integer(1_000, 60_000, "ms"), 3_000, "How long the others wait for a host that does not answer before they take over its agents; the same on all hosts."),
  setting("fleet.advertise_grpc", { type: "address" }, "", "Where clients reach this host's gRPC, as others are told; empty for where it listens."),
  setting("fleet.advertise_http", { type: "address" }, "", "Where this host's HTTP is reached, as others are told; empty for where it listens."),

  ...secret("context.redis_url", "url", { type: "text", pattern: REDIS, shape: "redis://user:password@host:6379/0, or rediss:// for TLS" }, "The Redis that hosts share rate limits and recent conversations in; empty: each host keeps its own."),
  setting("context.ttl_seconds", integer(1, YEAR, "seconds"), DAY, "How long a conversation stays in Redis after its last exchange."),
  setting("context.exchanges_kept", integer(1, 10_000, ""), 100, "Exchanges of an agent that Redis has, the newest; never more than agents.exchanges_kept."),

  hostLimit("moduleMaxBytes"),
  hostLimit("admitTimeoutMs"),
  setting("modules.watch", { type: "boolean" }, true, "Picks up new, replaced and removed files while the host runs."),
  setting("modules.keep_revisions", integer(1, 1_000, ""), 10, "Revisions of a module that are kept to go back to."),
  setting("modules.default_grants", { type: "list", choices: GRANTABLE }, ["ask", "sleep", "timers", "documents"], "Capabilities of a module that has no line of its own under modules.grants."),
  setting("modules.grants", { type: "table", choices: GRANTABLE }, {}, "Capabilities of one module, by its name, in place of default_grants."),

  setting("shards.count", integer(1, 256, ""), ({ cores }) => Math.max(1, cores - 1), "Threads that run agents.", {
    flag: "--shards",
    words: "processor cores − 1, at least 1",
  }),

  hostLimit("maxSessions"),
  hostLimit("maxAgentsPerSession"),
  setting("sessions.grace_seconds", integer(0, DAY, "seconds"), 30, "How long after a session's expiry its agents may finish what they have begun; new work is refused at once."),
  setting("sessions.retention_seconds", integer(0, YEAR, "seconds"), DAY, "How long an expired or ended session can still be read; then it is removed with its agents."),
  setting("sessions.sweep_interval_seconds", integer(1, 3_600, "seconds"), 5, "How often expired sessions are looked for."),
  hostLimit("eventsKept"),

  setting("agents.idle_after_seconds", integer(1, YEAR, "seconds"), 300, "After this long without work an agent counts as idle and may leave memory."),
  hostLimit("exchangesKept"),
  setting("agents.restart.max_restarts", integer(0, 1_000, ""), 5, "Failures within the window after which an agent is set aside."),
  setting("agents.restart.window_seconds", integer(1, DAY, "seconds"), 60, "The window in which failures are counted."),
  setting("agents.restart.backoff_first_ms", integer(0, 60_000, "ms"), 100, "Wait before the first restart; each further one waits twice as long."),
  setting("agents.restart.backoff_max_ms", integer(0, 3_600_000, "ms"), 30_000, "The longest wait before a restart."),

  setting("agents.max_resident", integer(1, 15_000, ""), 8_000, "Durable agents that are in memory at once; those used least recently leave it and come back when addressed."),
  setting("agents.max_resident_bytes", integer(MIB, 1024 * GIB, "bytes"), 2 * GIB, "Bytes of guest memory that resident agents may have together before the least recently used leave memory."),
  setting("agents.health_interval_seconds", integer(0, DAY, "seconds"), 60, "How often each resident agent is asked for its health; 0 never asks."),

  setting("durability.base_every", integer(1, 1_000, ""), 32, "Commits of an agent from one whole state to the next; between them only differences are written. It bounds what a recovery reads."),
  setting("durability.history_commits", integer(0, 100_000, ""), 64, "Commits of an agent whose states are kept to look back at."),
  setting("durability.interval_ms", integer(1, 3_600_000, "ms"), 1_000, "How long a module of durability \"interval\" may keep a step's state to itself."),
  setting("durability.message_ids_kept_seconds", integer(0, YEAR, "seconds"), DAY, "How long a message id is known after its exchange has gone, so that a late repeat has no second effect."),

  setting("swap.canary_percent", integer(1, 100, "percent"), 10, "Share of a module's agents that moves first to a new revision."),
  setting("swap.watch_ms", integer(0, 3_600_000, "ms"), 10_000, "How long the faults of a new revision are watched before it is kept."),
  setting("swap.rehearse_agents", integer(0, 100, ""), 3, "Agents whose copies try a new revision before anything moves."),

  ...guestDefaults,
  hostLimit("mapMaxEntries"),
  hostLimit("filterMaxChars"),
  setting("limits.messages_per_minute_per_session", integer(0, 10_000_000, ""), 0, "Messages that clients may send to the agents of one session in a minute, on all hosts that share a Redis; 0 for any number."),
  setting("limits.messages_per_minute_per_user", integer(0, 10_000_000, ""), 0, "The same for all sessions of one user together."),
  ...guestPolicy,

  setting("log.level", { type: "choice", choices: LOG_LEVELS }, "info", "The least severe lines that are written.", { flag: "--log-level" }),
  setting("log.format", { type: "choice", choices: LOG_FORMATS }, ({ terminal }) => (terminal ? "pretty" : "json"), "How log lines look.", {
    flag: "--log-format",
    words: "pretty on a terminal, else json",
  }),
];
