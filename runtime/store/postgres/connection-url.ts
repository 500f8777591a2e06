/**
 * The connection URL, read once: postgres://user:password@host:5432,other:5432/database?sslmode=verify-full
 *
 * The parameters that concern TLS are those of libpq: `sslmode` (disable, prefer, require,
 * verify-ca, verify-full), `sslrootcert`, `sslcert`, `sslkey` (paths of PEM files). What is
 * not known here goes to the server as a setting of the connection (`application_name`,
 * `search_path`, `options`). Nothing of the URL is ever logged but hosts and database.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { SirsiError } from "../../core/errors.ts";

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionTarget {
  /** Tried in turn; the first that takes writes is used. */
  readonly servers: readonly [ServerAddress, ...ServerAddress[]];
  readonly database: string;
  readonly user: string;
  readonly password: string;
  /** False for none; `prefer` for TLS when the server has it. */
  readonly tls: false | "prefer" | ConnectionOptions;
  readonly settings: Readonly<Record<string, string>>;
  /** For messages: everything that is no secret. */
  readonly label: string;
}

const DEFAULT_PORT = 5432;
const SHAPE = "postgres://user:password@host:5432/database?sslmode=verify-full";
const TLS_PARAMETERS = new Set(["sslmode", "ssl", "sslrootcert", "sslcert", "sslkey"]);
/** Of the client and not of the server; read elsewhere, or without meaning here. */
const CLIENT_PARAMETERS = new Set(["connect_timeout", "target_session_attrs"]);

function refused(why: string): SirsiError {
  return new SirsiError("STORE_UNAVAILABLE", `The store's URL cannot be used: ${why}. Write it as ${SHAPE}.`);
}

function serversOf(hosts: string): [ServerAddress, ...ServerAddress[]] {
  const servers = hosts.split(",").map((one): ServerAddress => {
    const [, host = "", port] = /^(\[[^\]]+\]|[^:@]*)(?::(\d{1,5}))?$/.exec(one) ?? [];
    if (host === "") throw refused("a host is missing or malformed");
    return { host: decodeURIComponent(host.replace(/^\[|\]$/g, "")), port: port === undefined ? DEFAULT_PORT : Number(port) };
  });
  return servers as [ServerAddress, ...ServerAddress[]];
}

function fileOf(parameters: URLSearchParams, name: string): string | undefined {
  const path = parameters.get(name);
  if (path === null || path === "system") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new SirsiError("STORE_UNAVAILABLE", `The file ${path} that ${name} of the store's URL names cannot be read: ${SirsiError.from(thrown).message}. Correct the path, or give the host's user the right to it.`);
  }
}

function tlsOf(parameters: URLSearchParams): ConnectionTarget["tls"] {
  const named = parameters.get("sslmode") ?? parameters.get("ssl") ?? (parameters.has("sslrootcert") ? "verify-full" : "prefer");
  const mode = named === "true" ? "require" : named === "false" ? "disable" : named;
  if (mode === "disable") return false;
  if (mode === "prefer" || mode === "allow") return "prefer";
  if (!["require", "verify-ca", "verify-full"].includes(mode)) throw refused(`sslmode ${JSON.stringify(mode)} is none of disable, prefer, require, verify-ca, verify-full`);
  const [ca, cert, key] = [fileOf(parameters, "sslrootcert"), fileOf(parameters, "sslcert"), fileOf(parameters, "sslkey")];
  const files = { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) };
  if (mode === "verify-full") return files;
  // As in libpq: with a root certificate at hand, `require` checks it, though not the host's name.
  return mode === "require" && ca === undefined ? { ...files, rejectUnauthorized: false } : { ...files, checkServerIdentity: () => undefined };
}

/** STORE_UNAVAILABLE, without anything secret in it, when the URL cannot be used. */
export function parseConnectionUrl(url: string): ConnectionTarget {
  const [whole = "", hosts] = /^postgres(?:ql)?:\/\/(?:[^@/?]*@)?([^/?]*)/.exec(url) ?? [];
  if (hosts === undefined) throw refused("it does not begin with postgres://");
  const servers = serversOf(hosts);
  let parsed: URL;
  try {
    // A URL has one host.
    parsed = new URL(`${whole.slice(0, whole.length - hosts.length)}host${url.slice(whole.length)}`);
  } catch {
    throw refused("it is not a URL; percent-encode what is special in the user name and the password");
  }
  const database = decodeURIComponent(parsed.pathname.slice(1));
  if (database === "") throw refused("it names no database");
  if (parsed.username === "") throw refused("it names no user");
  const settings: Record<string, string> = {};
  for (const [name, value] of parsed.searchParams) if (!TLS_PARAMETERS.has(name) && !CLIENT_PARAMETERS.has(name)) settings[name] = value;
  return {
    servers,
    database,
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    tls: tlsOf(parsed.searchParams),
    settings,
    label: `${database} on ${servers.map(({ host, port }) => `${host}:${port}`).join(", ")}`,
  };
}
