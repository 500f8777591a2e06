/** What Postgres and its client throw, as the errors a store may give, and what may be done about each. */
import { SirsiError } from "../../core/errors.ts";

/**
 * `conflict`: the transaction lost against another and was undone; it may be run again.
 * `lost`: the connection is gone, and with it the fate of what was not yet answered.
 * `unavailable`: the server cannot do it now, and did not; nobody else's calls can be done either.
 * `refused`: these values or this statement; somebody else's calls may be fine.
 */
export type FaultKind = "conflict" | "lost" | "unavailable" | "refused";

/** serialization_failure, deadlock_detected, and a key that another host inserted in the meantime. */
const CONFLICTS = new Set(["40001", "40P01", "23505"]);

/** By SQLSTATE or its class. */
const UNAVAILABLE: readonly (readonly [prefix: string, message: string])[] = [
  ["25006", "The database takes no writes: it is a standby, or set to read only. Point the store's URL at the primary; with several hosts in it, the one that takes writes is found."],
  ["28", "The database refuses the user or the password of the store's URL. Correct them, or let the user in (pg_hba.conf)."],
  ["3D000", "The database that the store's URL names does not exist. Create it, or correct the URL."],
  ["42501", "The user of the store's URL may not do this. Give it the rights to create and use tables in the database."],
  ["53100", "The disk of the database is full, so nothing of this call was written. Free some space on it."],
  ["53300", "The database has as many connections as it takes. Raise its max_connections, or let hosts open fewer."],
  ["53", "The database lacks resources for the call. Try again; look at its log."],
  ["55P03", "What the call needs stayed locked by another host or tool for too long, so nothing was written. Try again."],
  ["57014", "The database took too long over the call and gave it up, so nothing was written. Try again; look at its load."],
  ["57P", "The database is stopping or starting. Try again."],
  ["58", "The system under the database failed. Look at its log."],
  ["F0", "The database's own files are in disorder. Look at its log."],
];

/** What the client itself says of its connection; what the operating system says begins with E. */
const LOST = /^(?:CONNECTION_|CONNECT_TIMEOUT|E[A-Z]{2,}|ERR_(?:SSL|TLS|SOCKET)|SELF_SIGNED|UNABLE_TO|CERT_|DEPTH_ZERO)/;
/** connection_exception, and those that end the session: a transaction idle for too long, an administrator, a crash. */
const SESSION_ENDED = new Set(["25P03", "57P01", "57P02", "57P03", "57P05", "40003"]);
const SQLSTATE = /^[0-9A-Z]{5}$/;
/** How a transaction answers after one of its statements failed: that one's fault is the one to tell. */
const ABORTED = "25P02";

/** A fault of a connection, in the form of the client's own. It stays in this folder. */
export class LinkFault extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export function codeOf(thrown: unknown): string {
  const code = typeof thrown === "object" && thrown !== null && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" ? code : "";
}

export function saidBy(thrown: unknown): string {
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  return said === "" ? codeOf(thrown) : said;
}

export function isAborted(thrown: unknown): boolean {
  return codeOf(thrown) === ABORTED;
}

export function faultKind(thrown: unknown): FaultKind {
  if (thrown instanceof SirsiError) return thrown.code === "STORE_UNAVAILABLE" ? "unavailable" : "refused";
  const code = codeOf(thrown);
  if (CONFLICTS.has(code)) return "conflict";
  if (SESSION_ENDED.has(code) || code.startsWith("08") || LOST.test(code)) return "lost";
  return UNAVAILABLE.some(([prefix]) => SQLSTATE.test(code) && code.startsWith(prefix)) ? "unavailable" : "refused";
}

/** For a connection that was not made, so that nothing can have been written. */
export function unreachable(thrown: unknown, label: string, retryAfterMs: number): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  const code = codeOf(thrown);
  const known = SQLSTATE.test(code) ? UNAVAILABLE.find(([prefix]) => code.startsWith(prefix)) : undefined;
  const message = known === undefined ? `The store's database ${label} cannot be reached. Check that it runs and that the store's URL is right` : known[1];
  return new SirsiError("STORE_UNAVAILABLE", `${message} (${saidBy(thrown)})`, { cause: thrown, retryAfterMs });
}

/** `sent`: the call may have been written all the same. */
export function lostConnection(thrown: unknown, label: string, sent: boolean): SirsiError {
  const fate = sent ? "a call that was open may or may not have been written: look before it is made again" : "nothing of the call was written; try again";
  return new SirsiError("STORE_UNAVAILABLE", `The connection to the store's database ${label} was lost (${saidBy(thrown)}); ${fate}.`, { cause: thrown });
}

/** Any fault of a statement as a SirsiError. */
export function storeFault(thrown: unknown): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  const code = codeOf(thrown);
  if (code === "") return SirsiError.from(thrown);
  const said = `(Postgres ${code}: ${saidBy(thrown)})`;
  if (CONFLICTS.has(code)) return new SirsiError("STORE_UNAVAILABLE", `The call met others at the same records again and again, so nothing was written. Try again. ${said}`, { cause: thrown });
  const known = UNAVAILABLE.find(([prefix]) => code.startsWith(prefix));
  if (known !== undefined) return new SirsiError("STORE_UNAVAILABLE", `${known[1]} ${said}`, { cause: thrown });
  if (code.startsWith("XX")) return new SirsiError("STORE_CORRUPT", `The database is damaged, or met a fault of its own. Look at its log; restore it from a backup if its files are damaged. ${said}`, { cause: thrown });
  if (code.startsWith("23")) return new SirsiError("STORE_CORRUPT", `A record contradicts what the store already holds, so it was refused. Restore the agent from the store before it goes on. ${said}`, { cause: thrown });
  return new SirsiError("INTERNAL", `The store failed: ${saidBy(thrown)} ${said}`, { cause: thrown });
}
