/** The part of a Config that is about other machines: the bus, the database, Redis, the fleet. */
import { createHash } from "node:crypto";
import { hostname } from "node:os";
import type { SettingValue } from "./setting.ts";

/** Who a host is to the NATS server. Files are read when a connection is made. */
export type BusLogin =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "password"; readonly user: string; readonly password: string }
  | { readonly kind: "nkey"; readonly seedFile: string }
  | { readonly kind: "creds"; readonly file: string };

export interface BusTls {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** `servers`, `login` and `tls` are what NatsBusOptions calls by the same names. */
export interface BusConfig {
  /** Empty: the in-process bus. */
  readonly servers: readonly string[];
  readonly topicPrefix: string;
  readonly login: BusLogin;
  /** Null: TLS only to `tls://` servers. */
  readonly tls: BusTls | null;
}

export interface StoreConfig {
  readonly dataDir: string;
  /** Of PostgreSQL; null: SQLite in `dataDir`. A secret. */
  readonly url: string | null;
  readonly connections: number;
}

export interface ContextConfig {
  /** Null: in this process. A secret. */
  readonly redisUrl: string | null;
  readonly ttlMs: number;
  readonly exchangesKept: number;
}

export interface FleetConfig {
  /** Stays over restarts; never empty. */
  readonly hostName: string;
  /** Empty for none. */
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly leaseMs: number;
  /** host:port; null for where the host listens. */
  readonly advertiseGrpc: string | null;
  readonly advertiseHttp: string | null;
}

type Get = (key: string) => SettingValue;

export function busConfig(get: Get): BusConfig {
  return {
    servers: get("event_bus.servers") as readonly string[],
    topicPrefix: get("event_bus.topic_prefix") as string,
    login: busLogin(get),
    tls: busTls(get),
  };
}

function busLogin(get: Get): BusLogin {
  const text = (name: string) => get(`event_bus.${name}`) as string;
  if (text("token") !== "") return { kind: "token", token: text("token") };
  if (text("user") !== "") return { kind: "password", user: text("user"), password: text("password") };
  if (text("nkey_file") !== "") return { kind: "nkey", seedFile: text("nkey_file") };
  if (text("creds_file") !== "") return { kind: "creds", file: text("creds_file") };
  return { kind: "none" };
}

function busTls(get: Get): BusTls | null {
  const [caFile, certFile, keyFile] = ["ca", "cert", "key"].map((name) => get(`event_bus.tls_${name}_file`) as string);
  const files = { ...(caFile && { caFile }), ...(certFile && { certFile }), ...(keyFile && { keyFile }) };
  return Object.keys(files).length === 0 ? null : files;
}

export function storeConfig(get: Get): StoreConfig {
  const url = get("store.url") as string;
  return { dataDir: get("store.data_dir") as string, url: url === "" ? null : url, connections: get("store.connections") as number };
}

export function contextConfig(get: Get): ContextConfig {
  const url = get("context.redis_url") as string;
  const exchangesKept = Math.min(get("context.exchanges_kept") as number, get("agents.exchanges_kept") as number);
  return { redisUrl: url === "" ? null : url, ttlMs: (get("context.ttl_seconds") as number) * 1_000, exchangesKept };
}

/** Null for a host in no fleet. */
export function fleetConfig(get: Get): FleetConfig | null {
  if (get("store.url") === "") return null;
  const address = (key: string) => (get(key) === "" ? null : (get(key) as string));
  return {
    hostName: get("fleet.host_name") as string,
    zone: get("fleet.zone") as string,
    labels: get("fleet.labels") as Readonly<Record<string, string>>,
    leaseMs: get("fleet.lease_ms") as number,
    advertiseGrpc: address("fleet.advertise_grpc"),
    advertiseHttp: address("fleet.advertise_http"),
  };
}

/** The same at every start on this machine with this data directory. */
export function defaultHostName(dataDir: string, machine: string = hostname()): string {
  const name = machine.split(".", 1)[0]?.replaceAll(/[^A-Za-z0-9_-]/g, "-").replace(/^[^A-Za-z0-9]+/, "") ?? "";
  return `${(name || "host").slice(0, 48)}-${createHash("sha256").update(dataDir).digest("hex").slice(0, 6)}`;
}
