/** The complete configuration of one host, and how resolved settings become it. */
import type { BackoffConfig } from "../core/backoff.ts";
import { SirsiError } from "../core/errors.ts";
import type { GuestLimitName, GuestLimits, HostLimitName, HostLimits } from "../core/limits.ts";
import { parseAddress } from "../core/address.ts";
import type { ListenAddress } from "../core/address.ts";
import { busConfig, contextConfig, fleetConfig, storeConfig } from "./fleet-config.ts";
import type { BusConfig, ContextConfig, FleetConfig, StoreConfig } from "./fleet-config.ts";
import { covered } from "./secret.ts";
import type { ResolvedSetting, SettingValue } from "./setting.ts";
import { GUEST_LIMIT_NAMES, HOST_LIMIT_KEYS, HOST_LIMIT_NAMES, SETTINGS, guestLimitKey, guestPolicyKey } from "./settings.ts";
import type { Compression, Grant, LogFormat, LogLevel } from "./settings.ts";

/** Frozen through and through. All paths are absolute. */
export interface Config {
  /** The file that was read; null for none. */
  readonly file: string | null;
  readonly grpc: {
    readonly listen: ListenAddress;
    readonly channelz: boolean;
    /** Of replies, for callers that accept it. */
    readonly compression: Compression;
    /** How long calls in progress may go on once the host is told to stop. */
    readonly drainTimeoutMs: number;
  };
  readonly http: { readonly listen: ListenAddress };
  readonly bus: BusConfig;
  readonly store: StoreConfig;
  readonly context: ContextConfig;
  /** Null for a host of its own. Given: `store.url` is given and `bus.servers` are not empty. */
  readonly fleet: FleetConfig | null;
  readonly modules: {
    readonly directory: string;
    readonly watch: boolean;
    readonly keepRevisions: number;
    /** For a module that `grants` does not name. */
    readonly defaultGrants: readonly Grant[];
    readonly grants: Readonly<Record<string, readonly Grant[]>>;
  };
  readonly shards: { readonly count: number };
  readonly sessions: {
    /** For a session that states no timeout. */
    readonly defaultTimeoutSeconds: number;
    /** From expiry until its agents are ended. */
    readonly graceSeconds: number;
    /** From expiry or end until it is removed. */
    readonly retentionSeconds: number;
    readonly sweepIntervalSeconds: number;
  };
  readonly agents: {
    readonly idleAfterSeconds: number;
    readonly restart: {
      /** Failures within the window after which an agent is quarantined. */
      readonly maxRestarts: number;
      readonly windowSeconds: number;
      readonly backoff: BackoffConfig;
    };
    readonly maxResident: number;
    readonly maxResidentBytes: number;
    /** 0: never. */
    readonly healthIntervalSeconds: number;
  };
  readonly durability: {
    readonly baseEvery: number;
    readonly historyCommits: number;
    readonly intervalMs: number;
    readonly messageIdsKeptSeconds: number;
  };
  readonly swap: {
    /** 1 to 100. */
    readonly canaryPercent: number;
    readonly watchMs: number;
    readonly rehearseAgents: number;
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
  /** Of clients, in a minute; 0: any number. */
  readonly messageRates: { readonly perSession: number; readonly perUser: number };
  /** What a guest gets whose manifest states nothing. */
  readonly guestLimits: GuestLimits;
  /** The most a manifest may ask for. */
  readonly guestPolicy: GuestLimits;
  readonly hostLimits: HostLimits;
  /** Every setting with its value and source, in the table's order; what is secret is covered. */
  readonly settings: readonly ResolvedSetting[];
  /** For a person, at start. */
  readonly warnings: readonly string[];
}

const SECRECY = new Map(SETTINGS.map(({ key, secret }) => [key, secret]));

export function buildConfig(settings: readonly ResolvedSetting[], file: string | null, warnings: readonly string[]): Config {
  const values = new Map(settings.map(({ key, value }) => [key, value]));
  const get = (key: string): SettingValue => {
    const value = values.get(key);
    if (value === undefined) throw new SirsiError("INTERNAL", `the settings table has no ${key}; add its row or mend the name`);
    return value;
  };
  const number = (key: string) => get(key) as number;
  const guestLimits = (keyOf: (name: GuestLimitName) => string) =>
    Object.fromEntries(GUEST_LIMIT_NAMES.map((name) => [name, number(keyOf(name))])) as { [Name in GuestLimitName]: number };

  return deepFreeze({
    file,
    grpc: {
      listen: listenAddress(get("grpc.listen") as string),
      channelz: get("grpc.channelz") as boolean,
      compression: get("grpc.compression") as Compression,
      drainTimeoutMs: number("grpc.drain_timeout_ms"),
    },
    http: { listen: listenAddress(get("http.listen") as string) },
    bus: busConfig(get),
    store: storeConfig(get),
    context: contextConfig(get),
    fleet: fleetConfig(get),
    modules: {
      directory: get("agent_service.wasm_module_path") as string,
      watch: get("modules.watch") as boolean,
      keepRevisions: number("modules.keep_revisions"),
      defaultGrants: get("modules.default_grants") as readonly Grant[],
      grants: get("modules.grants") as Readonly<Record<string, readonly Grant[]>>,
    },
    shards: { count: number("shards.count") },
    sessions: {
      defaultTimeoutSeconds: number("agent_service.session_timeout_seconds"),
      graceSeconds: number("sessions.grace_seconds"),
      retentionSeconds: number("sessions.retention_seconds"),
      sweepIntervalSeconds: number("sessions.sweep_interval_seconds"),
    },
    agents: {
      idleAfterSeconds: number("agents.idle_after_seconds"),
      restart: {
        maxRestarts: number("agents.restart.max_restarts"),
        windowSeconds: number("agents.restart.window_seconds"),
        backoff: { firstMs: number("agents.restart.backoff_first_ms"), maxMs: number("agents.restart.backoff_max_ms"), factor: 2 },
      },
      maxResident: number("agents.max_resident"),
      maxResidentBytes: number("agents.max_resident_bytes"),
      healthIntervalSeconds: number("agents.health_interval_seconds"),
    },
    durability: {
      baseEvery: number("durability.base_every"),
      historyCommits: number("durability.history_commits"),
      intervalMs: number("durability.interval_ms"),
      messageIdsKeptSeconds: number("durability.message_ids_kept_seconds"),
    },
    swap: { canaryPercent: number("swap.canary_percent"), watchMs: number("swap.watch_ms"), rehearseAgents: number("swap.rehearse_agents") },
    log: { level: get("log.level") as LogLevel, format: get("log.format") as LogFormat },
    messageRates: { perSession: number("limits.messages_per_minute_per_session"), perUser: number("limits.messages_per_minute_per_user") },
    guestLimits: guestLimits(guestLimitKey),
    guestPolicy: guestLimits(guestPolicyKey),
    hostLimits: Object.fromEntries(HOST_LIMIT_NAMES.map((name) => [name, number(HOST_LIMIT_KEYS[name])])) as { [Name in HostLimitName]: number },
    settings: settings.map((setting) => ({ ...setting, value: covered(setting.value, SECRECY.get(setting.key) ?? null) })),
    warnings,
  });
}

function listenAddress(text: string): ListenAddress {
  const outcome = parseAddress(text);
  if (outcome.kind === "address") return outcome.address;
  throw new SirsiError("INTERNAL", `the address ${text} passed validation and ${outcome.problem}`);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
