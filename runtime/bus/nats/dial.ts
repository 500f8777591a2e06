/** One connection to one NATS server, or a SirsiError that says why there is none. */
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import {
  ErrorCode, NatsError, connect, credsAuthenticator, nkeyAuthenticator, tokenAuthenticator, usernamePasswordAuthenticator,
  type Authenticator, type NatsConnection, type TlsOptions,
} from "nats";
import { SirsiError, unreachable } from "../../core/errors.ts";
import type { NatsBusConfig, NatsLogin, NatsServer, NatsTls } from "./nats-options.ts";

/** Pings without an answer before the client calls a connection stale. */
const PINGS_OUT_MAX = 2;

/** CONFIG_INVALID when trying again is of no use until somebody corrects something, else BUS_UNAVAILABLE. */
export async function dial(server: NatsServer, config: NatsBusConfig): Promise<NatsConnection> {
  const authenticator = await readLogin(config.login);
  const tls = server.tls ? await readTls(config.tls, server.host) : null;
  try {
    return await connect({
      servers: [server.address],
      name: config.name,
      authenticator,
      tls,
      timeout: config.dialTimeoutMs,
      pingInterval: config.pingIntervalMs,
      maxPingOut: PINGS_OUT_MAX,
      // Connecting again is the link's work; the client would lose without a word what is published meanwhile.
      reconnect: false,
      ignoreClusterUpdates: true,
      // Names are left to the system, which also knows /etc/hosts.
      resolve: false,
      noAsyncTraces: true,
    });
  } catch (thrown) {
    throw dialFailure(server, thrown);
  }
}

async function readLogin(login: NatsLogin): Promise<Authenticator> {
  switch (login.kind) {
    case "none":
      return () => undefined;
    case "token":
      return tokenAuthenticator(login.token);
    case "password":
      return usernamePasswordAuthenticator(login.user, login.password);
    case "nkey": {
      const seed = new TextDecoder().decode(await readSecret(login.seedFile)).trim();
      return proven(nkeyAuthenticator(new TextEncoder().encode(seed)), login.seedFile, "the seed of an nkey (SU…)");
    }
    case "creds":
      return proven(credsAuthenticator(await readSecret(login.file)), login.file, "a creds file with a JWT and a seed");
    default:
      return unreachable(login);
  }
}

/** The authenticator, once it has shown that it can read its file: inside the client its failure would name nothing. */
function proven(authenticator: Authenticator, file: string, form: string): Authenticator {
  try {
    authenticator("probe");
    return authenticator;
  } catch (cause) {
    // The cause may quote the file, so only its kind is told.
    throw new SirsiError("CONFIG_INVALID", `${file} is not ${form}, so the NATS bus cannot log in; put the right file there.`, {
      metadata: { cause: cause instanceof Error ? cause.name : "unknown" },
    });
  }
}

/** TLS options besides the published ones reach Node as they are: names of the server to check its certificate against. */
type CheckedTls = TlsOptions & { readonly host: string; readonly servername?: string };

async function readTls({ caFile, certFile, keyFile }: NatsTls, host: string): Promise<CheckedTls> {
  const text = async (file: string) => new TextDecoder().decode(await readSecret(file));
  return {
    // Without it a certificate of a server known by its IP address would be checked against "localhost".
    host,
    ...(isIP(host) === 0 && { servername: host }),
    ...(caFile !== undefined && { ca: await text(caFile) }),
    ...(certFile !== undefined && { cert: await text(certFile) }),
    ...(keyFile !== undefined && { key: await text(keyFile) }),
  };
}

async function readSecret(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SirsiError("CONFIG_INVALID", `The NATS bus cannot read ${file} (${reason}); correct the path or the file's permissions.`, { cause });
  }
}

const LOGIN_REFUSED = new Set<string>([ErrorCode.AuthorizationViolation, ErrorCode.AuthenticationExpired, ErrorCode.AuthenticationTimeout, ErrorCode.AccountExpired, ErrorCode.BadAuthentication, ErrorCode.BadCreds]);
const TLS_REFUSED = new Set<string>([ErrorCode.Tls, ErrorCode.ServerOptionNotAvailable]);
/** What OpenSSL and Node call the failures of a handshake or of a certificate. */
const TLS_CODE = /^ERR_(?:TLS|SSL)_|CERT|^UNABLE_TO_|ISSUER|^HOSTNAME_MISMATCH$/;

function dialFailure(server: NatsServer, thrown: unknown): SirsiError {
  const { code, message: reason } = describe(thrown);
  if (LOGIN_REFUSED.has(code)) {
    return new SirsiError("CONFIG_INVALID", `The NATS server at ${server.address} refuses this host's login (${reason}); correct the token, the password, the nkey or the creds file.`, { cause: thrown });
  }
  if (TLS_REFUSED.has(code) || TLS_CODE.test(code)) {
    const next = server.tls ? "check that the server speaks TLS, its certificate's names, and the ca, cert and key files" : "it asks for TLS; name it as tls://, with the ca file it needs";
    return new SirsiError("CONFIG_INVALID", `No TLS connection to the NATS server at ${server.address} (${reason}); ${next}.`, { cause: thrown });
  }
  return new SirsiError("BUS_UNAVAILABLE", `The NATS server at ${server.address} cannot be reached (${reason}). Check that it runs and that the address is right.`, { cause: thrown });
}

/** The client wraps what the socket said, and that says more. */
function describe(thrown: unknown): { readonly code: string; readonly message: string } {
  if (!(thrown instanceof Error)) return { code: "", message: String(thrown) };
  const inner = thrown instanceof NatsError ? thrown.chainedError : undefined;
  const code = (thrown as NodeJS.ErrnoException).code ?? "";
  return { code, message: inner === undefined ? thrown.message : inner.message };
}
