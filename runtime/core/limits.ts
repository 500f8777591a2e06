/**
 * Every limit of the host in one place: default, unit, hard range and the error a
 * breach gets. Configuration and manifests choose within the range; a hostile
 * guest or client in tests/hostile hits each.
 */
import type { ErrorCode } from "./errors.ts";

export interface LimitRow {
  readonly fallback: number;
  readonly min: number;
  readonly max: number;
  readonly unit: "bytes" | "ms" | "count" | "fuel" | "per_second";
  readonly meaning: string;
  /** What going over it gets. */
  readonly error: ErrorCode | "dropped";
}

function limit(fallback: number, min: number, max: number, unit: LimitRow["unit"], error: LimitRow["error"], meaning: string): LimitRow {
  return { fallback, min, max, unit, meaning, error };
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** Limits of one agent's guest. A manifest may ask for less or more, up to the host's policy. */
export const GUEST_LIMITS = {
  memoryMaxBytes: limit(64 * MIB, 64 * KIB, 512 * MIB, "bytes", "GUEST_MEMORY_EXHAUSTED", "A guest's linear memory."),
  fuelPerStep: limit(1_000_000_000, 10_000, 100_000_000_000, "fuel", "GUEST_FUEL_EXHAUSTED", "Work of one step, waits not counted: about one for each loop turn and each call of a function that is not small, and one more for every 256 instructions they hold."),
  stepTimeoutMs: limit(30_000, 10, 3_600_000, "ms", "DEADLINE_EXCEEDED", "Wall time of one step, waits included, when the caller sets no deadline of its own."),
  mailboxDepth: limit(1_000, 1, 100_000, "count", "MAILBOX_FULL", "Messages that wait for an agent."),
  outboxBytes: limit(1 * MIB, 0, 64 * MIB, "bytes", "GUEST_LIMIT", "Bytes a step may emit."),
  outboxCount: limit(1_000, 0, 100_000, "count", "GUEST_LIMIT", "Messages and events a step may emit."),
  hostCallsPerStep: limit(10_000, 0, 1_000_000, "count", "GUEST_LIMIT", "Capability requests in one step."),
  resultMaxBytes: limit(4 * MIB, 1 * KIB, 64 * MIB, "bytes", "GUEST_PROTOCOL", "Bytes of one answer or one request of a guest."),
  stateMaxBytes: limit(16 * MIB, 0, 256 * MIB, "bytes", "GUEST_LIMIT", "Bytes that save() may return."),
  logLinesPerSecond: limit(100, 0, 10_000, "per_second", "dropped", "Log lines an agent may write; more are counted and dropped."),
  logLineBytes: limit(4 * KIB, 64, 64 * KIB, "bytes", "dropped", "Bytes of one log line; the rest is cut."),
} as const satisfies Record<string, LimitRow>;

export type GuestLimitName = keyof typeof GUEST_LIMITS;
export type GuestLimits = { readonly [Name in GuestLimitName]: number };

/** Limits of the host itself. */
export const HOST_LIMITS = {
  moduleMaxBytes: limit(32 * MIB, 1 * KIB, 256 * MIB, "bytes", "MODULE_TOO_LARGE", "The size of a .wasm file."),
  admitTimeoutMs: limit(30_000, 100, 600_000, "ms", "MODULE_TIMEOUT", "Time to inspect, admit, prepare and compile one module."),
  maxConcurrentAgents: limit(10_000, 1, 10_000_000, "count", "AGENT_LIMIT_REACHED", "Agents on one host, those asleep included."),
  maxAgentsPerSession: limit(1_000, 1, 100_000, "count", "AGENT_LIMIT_REACHED", "The most a session's max_agents may say; it is also what a session gets that says nothing."),
  maxSessions: limit(10_000, 1, 1_000_000, "count", "OVERLOADED", "Open sessions on one host."),
  messageMaxBytes: limit(4 * MIB, 1 * KIB, 64 * MIB, "bytes", "PAYLOAD_TOO_LARGE", "One gRPC message, in or out."),
  metadataMaxBytes: limit(16 * KIB, 1 * KIB, 1 * MIB, "bytes", "PAYLOAD_TOO_LARGE", "The headers of one gRPC call."),
  mapMaxEntries: limit(256, 1, 10_000, "count", "INVALID_ARGUMENT", "Entries of one map field of a request."),
  filterMaxChars: limit(2_048, 1, 65_536, "count", "FILTER_INVALID", "Characters of a CEL filter."),
  eventsKept: limit(1_000, 0, 100_000, "count", "EVENTS_NOT_KEPT", "Events a session keeps for followers that come late."),
  exchangesKept: limit(100, 1, 10_000, "count", "dropped", "Exchanges of a conversation that are kept; also how far back a repeated message id is known."),
} as const satisfies Record<string, LimitRow>;

export type HostLimitName = keyof typeof HOST_LIMITS;
export type HostLimits = { readonly [Name in HostLimitName]: number };

function fallbacks<Name extends string>(table: Readonly<Record<Name, LimitRow>>): { readonly [N in Name]: number } {
  const names = Object.keys(table) as Name[];
  return Object.freeze(Object.fromEntries(names.map((name) => [name, table[name].fallback])) as { [N in Name]: number });
}

export const DEFAULT_GUEST_LIMITS: GuestLimits = fallbacks(GUEST_LIMITS);
export const DEFAULT_HOST_LIMITS: HostLimits = fallbacks(HOST_LIMITS);
