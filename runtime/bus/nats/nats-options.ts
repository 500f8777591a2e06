/** How a host is connected to NATS: what may be left out, and the complete, checked form of it. */
import type { BackoffConfig } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Logger } from "../../observe/index.ts";
import { requireSubject } from "../subject.ts";

/** Who the host is to the server. Files are read anew for each connection, so what replaces them takes effect. */
export type NatsLogin =
  | { readonly kind: "none" }
  | { readonly kind: "token"; readonly token: string }
  | { readonly kind: "password"; readonly user: string; readonly password: string }
  /** The file holds the seed of a user's key, `SU…`. */
  | { readonly kind: "nkey"; readonly seedFile: string }
  /** A creds file as `nsc` writes it: the user's JWT and seed. */
  | { readonly kind: "creds"; readonly file: string };

/** PEM files, read anew for each connection. */
export interface NatsTls {
  /** Who vouches for the server; left out: the authorities that Node knows. */
  readonly caFile?: string;
  /** The host's own certificate and its key, where the server asks for one. */
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface NatsBusOptions {
  /** Deadlines of requests, and the pauses between attempts to connect. */
  readonly clock: Clock;
  /** Hears what handlers throw or reject with, and the message's subject. Must not throw itself. */
  readonly onError: (error: SirsiError, subject: string) => void;
  readonly log: Logger;
  /** `nats://host:port` or `tls://host:port`, at least one; those of a cluster are all named. Port 4222 may be left out. */
  readonly servers: readonly string[];
  /** What the server's own tools call this connection. Default "sirsi". */
  readonly name?: string;
  /** Default none. */
  readonly login?: NatsLogin;
  /** Given: every connection uses TLS. Left out: those to `tls://` servers do. */
  readonly tls?: NatsTls;
  /** Answers come to subjects below it; for accounts that may not listen to all of `_INBOX`. */
  readonly inboxPrefix?: string;
  /** How long opening tries until a server is there. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** How long one server has to answer while connecting. Default 3,000. */
  readonly dialTimeoutMs?: number;
  /** How often a quiet connection is tried; it is given up after two pings without an answer, so after three times this. Default 5,000. */
  readonly pingIntervalMs?: number;
  /** Pauses between attempts to connect again; attempts never end. Default 50 ms to 5 s, doubling. */
  readonly backoff?: BackoffConfig;
  /** Messages of one subscription whose handlers have not ended; more are dropped and counted. Default 65,536. */
  readonly pendingMax?: number;
  /** Their data, in bytes. Default 64 MiB. */
  readonly pendingMaxBytes?: number;
  /** What may have been sent without the server having taken it, in bytes; publishing is refused above it. Default 32 MiB. */
  readonly unconfirmedMaxBytes?: number;
  /** In [0, 1). Default Math.random. */
  readonly random?: () => number;
}

export interface NatsServer {
  /** host:port, an IPv6 host in brackets. */
  readonly address: string;
  /** Without brackets. */
  readonly host: string;
  readonly tls: boolean;
}

export interface NatsBusConfig extends Required<Omit<NatsBusOptions, "servers" | "tls">> {
  readonly servers: readonly NatsServer[];
  readonly tls: NatsTls;
}

const MIB = 1024 * 1024;
const DEFAULT_PORT = "4222";

/** The options in full, or CONFIG_INVALID saying which cannot be used. */
export function completeOptions(options: NatsBusOptions): NatsBusConfig {
  const { tls } = options;
  if (options.servers.length === 0) throw invalid("servers", "it names no server; give at least one such as nats://127.0.0.1:4222");
  if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined)) throw invalid("tls", "a certificate needs its key and a key its certificate; give both files or neither");
  const config = {
    name: "sirsi",
    login: { kind: "none" },
    inboxPrefix: "_INBOX",
    connectTimeoutMs: 10_000,
    dialTimeoutMs: 3_000,
    pingIntervalMs: 5_000,
    backoff: { firstMs: 50, maxMs: 5_000, factor: 2 },
    pendingMax: 65_536,
    pendingMaxBytes: 64 * MIB,
    unconfirmedMaxBytes: 32 * MIB,
    random: Math.random,
    ...options,
    servers: options.servers.map((text) => parseServer(text, tls !== undefined)),
    tls: tls ?? {},
  } as const satisfies NatsBusConfig;
  for (const field of ["connectTimeoutMs", "dialTimeoutMs", "pingIntervalMs", "pendingMax", "pendingMaxBytes", "unconfirmedMaxBytes"] as const) {
    if (!Number.isFinite(config[field]) || config[field] < 1) throw invalid(field, `it must be a number from 1, got ${config[field]}`);
  }
  requireSubject(config.inboxPrefix);
  return Object.freeze(config);
}

function parseServer(text: string, tls: boolean): NatsServer {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "nats:" && url.protocol !== "tls:") || url.hostname === "") {
    throw invalid("servers", "an entry is not of the form nats://host:port or tls://host:port");
  }
  if (url.username !== "" || url.password !== "") {
    throw invalid("servers", `the entry for ${url.host} holds credentials, which addresses may not; give them as the login`);
  }
  if (/[^/]/.test(url.pathname) || url.search !== "" || url.hash !== "") throw invalid("servers", `the entry for ${url.host} has something behind the port; leave it out`);
  return { address: `${url.hostname}:${url.port === "" ? DEFAULT_PORT : url.port}`, host: url.hostname.replace(/^\[|\]$/g, ""), tls: tls || url.protocol === "tls:" };
}

function invalid(field: string, fault: string): SirsiError {
  return new SirsiError("CONFIG_INVALID", `The setting ${field} of the NATS bus cannot be used: ${fault}.`, { fields: [{ field, description: fault }] });
}
