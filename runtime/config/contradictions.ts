/** What each setting may say alone but not together with others. */
import { parseAddress } from "../core/address.ts";
import { FLEET_NAME } from "./config-file.ts";
import { describeSource } from "./setting.ts";
import type { ResolvedSetting } from "./setting.ts";
import { GUEST_LIMIT_NAMES, SETTINGS, guestLimitKey, guestPolicyKey } from "./settings.ts";

type At = (key: string) => ResolvedSetting;

export function contradictions(resolved: readonly ResolvedSetting[]): string[] {
  const at = lookUp(resolved);
  return [
    ...GUEST_LIMIT_NAMES.flatMap((name) => notMore(at(guestLimitKey(name)), at(guestPolicyKey(name)))),
    ...samePort(at("grpc.listen"), at("http.listen")),
    ...notMore(at("agents.restart.backoff_first_ms"), at("agents.restart.backoff_max_ms")),
    ...halfAFleet(at),
    ...logins(at),
    ...together(at("event_bus.tls_cert_file"), at("event_bus.tls_key_file"), "a certificate needs its key, and a key its certificate"),
  ];
}

/** Why a host that is to be in a fleet would be in none. */
export function withoutFleet(resolved: readonly ResolvedSetting[], file: string | null): string[] {
  if (isSet(lookUp(resolved)("store.url"))) return [];
  const read = file === null ? `no configuration file was read, for there is no ${FLEET_NAME} in the working directory` : `${file} was read`;
  return [`--fleet: the configuration has no fleet: store.url and event_bus.servers are empty (${read}); set both, as sirsi.fleet.toml shows, or leave out --fleet`];
}

/** Settings that say other than their defaults and have no effect, for a host in no fleet. */
export function idleSettings(resolved: readonly ResolvedSetting[]): string[] {
  const at = lookUp(resolved);
  if (isSet(at("store.url"))) return [];
  return resolved
    .filter(({ key, value, source }) => source.kind !== "default" && FLEET_ONLY.test(key) && JSON.stringify(value) !== DEFAULTS.get(key))
    .map(({ key, source }) => `${describeSource(source)}: ${key} has no effect, for this host is in no fleet: store.url and event_bus.servers are empty`);
}

const FLEET_ONLY = /^(?:fleet\.|store\.connections$|event_bus\.(?!servers$|topic_prefix$))/;

const DEFAULTS = new Map(SETTINGS.map(({ key, fallback }) => [key, JSON.stringify(fallback({ cores: 1, terminal: false }))]));

function lookUp(resolved: readonly ResolvedSetting[]): At {
  const byKey = new Map(resolved.map((setting) => [setting.key, setting]));
  return (key) => byKey.get(key) as ResolvedSetting;
}

function isSet({ value }: ResolvedSetting): boolean {
  return Array.isArray(value) ? value.length > 0 : value !== "";
}

function halfAFleet(at: At): string[] {
  const [url, servers] = [at("store.url"), at("event_bus.servers")];
  if (isSet(url) === isSet(servers)) return [];
  const [there, missing] = isSet(url) ? [url, servers] : [servers, url];
  return [
    `${describeSource(there.source)}: ${there.key} is set and ${missing.key} is not; a host in a fleet needs both, for the fleet keeps its agents in one database and its hosts talk over NATS: ` +
      `set ${missing.key} too, or leave ${there.key} empty for a host of its own`,
  ];
}

function logins(at: At): string[] {
  const stated = ["event_bus.token", "event_bus.user", "event_bus.nkey_file", "event_bus.creds_file"].map(at).filter(isSet);
  const [first, ...others] = stated;
  const problems = others.map((other) => `${describeSource(other.source)}: ${other.key} and ${first?.key ?? ""} are two ways to log in to NATS; keep one of them`);
  return [...problems, ...together(at("event_bus.user"), at("event_bus.password"), "a user needs a password, and a password its user")];
}

function together(one: ResolvedSetting, other: ResolvedSetting, why: string): string[] {
  if (isSet(one) === isSet(other)) return [];
  const [there, missing] = isSet(one) ? [one, other] : [other, one];
  return [`${describeSource(there.source)}: ${there.key} is set and ${missing.key} is not; ${why}: set both or neither`];
}

function samePort(grpc: ResolvedSetting, http: ResolvedSetting): string[] {
  const [grpcPort, httpPort] = [portOf(grpc), portOf(http)];
  if (grpcPort === 0 || grpcPort !== httpPort) return [];
  return [`${describeSource(http.source)}: http.listen has the same port as grpc.listen (${grpcPort}); give one of them another`];
}

function notMore(small: ResolvedSetting, large: ResolvedSetting): string[] {
  const [low, high] = [Number(small.value), Number(large.value)];
  if (low <= high) return [];
  const told = small.source.kind === "default" ? large : small;
  return [`${describeSource(told.source)}: ${small.key} (${low}) is more than ${large.key} (${high}); lower the one or raise the other`];
}

function portOf(setting: ResolvedSetting): number {
  const outcome = parseAddress(setting.value as string);
  return outcome.kind === "address" ? outcome.address.port : 0;
}
