/**
 * A transaction on one link, with its statements pipelined.
 *
 * READ COMMITTED is asked for, because what must not change under a transaction is locked
 * by it: rows are locked first and then read. CockroachDB may give SERIALIZABLE instead.
 */
import { SirsiError } from "../../core/errors.ts";
import type { Link, Parameter, Rows, Statement } from "./link.ts";

export const BEGIN: Statement = { sql: "BEGIN ISOLATION LEVEL READ COMMITTED", parameters: [] };
/** Who writes, and down which connection. A host of a fleet writes in its own name, and only while it was not buried. */
export interface Writer {
  readonly link: Link;
  /** Null for a host of no fleet. */
  readonly hostId: string | null;
}

/**
 * A row while the host was not buried. Its lock ends with the transaction: who buries the
 * host waits for it (barrier of host-table.ts), and renewals of the lease do not.
 */
const STANDING = "SELECT host_id FROM hosts WHERE host_id = $1 AND state <> 'dead' FOR KEY SHARE";

export function standingStatement(hostId: string): Statement {
  return { sql: STANDING, parameters: [hostId] };
}

export function hostBuried(hostId: string): SirsiError {
  return new SirsiError(
    "AGENT_FENCED",
    `Host ${hostId} writes no more: it counts as dead, because it left the fleet or did not renew its lease in time, and its agents belong to others. Let go of them, join again under a new id, and send the request again.`,
    { metadata: { host_id: hostId } },
  );
}

/** One moment for all that is read. */
export const BEGIN_SNAPSHOT: Statement = { sql: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", parameters: [] };
const COMMIT: Statement = { sql: "COMMIT", parameters: [] };

/** Nothing more is to be told than the fault that led here. */
export async function rollBack(link: Link): Promise<void> {
  if (link.isGone) return;
  await link.query("ROLLBACK", []).catch((thrown: unknown) => link.cut(thrown));
}

/** The last statements and the commit in one go: on disk when it resolves. */
export async function commitWith(link: Link, statements: readonly Statement[]): Promise<Rows[]> {
  const answers = await link.pipeline([...statements, COMMIT]);
  // A transaction that failed before answers its COMMIT with a ROLLBACK, and with no fault.
  if (answers.at(-1)?.command !== "COMMIT") throw new SirsiError("INTERNAL", "a transaction of the store was undone by the database without a fault of a statement");
  return answers.slice(0, -1);
}

/** Opens a transaction with some statements, whose rows it gives; AGENT_FENCED when the host was buried. Whatever it throws is to be rolled back. */
export async function begin({ link, hostId }: Writer, statements: readonly Statement[] = []): Promise<Rows[]> {
  if (hostId === null) return (await link.pipeline([BEGIN, ...statements])).slice(1);
  const [, standing, ...rows] = await link.pipeline([BEGIN, standingStatement(hostId), ...statements]);
  if (standing === undefined || standing.length === 0) throw hostBuried(hostId);
  return rows;
}

/** Statements that need nothing of each other, in one transaction; gives their rows. */
export async function inTransaction(writer: Writer, statements: readonly Statement[]): Promise<Rows[]> {
  const { link, hostId } = writer;
  try {
    if (hostId === null) return (await commitWith(link, [BEGIN, ...statements])).slice(1);
    await begin(writer);
    return await commitWith(link, statements);
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}

/** A statement that is a transaction by itself. */
export async function writeOne(writer: Writer, sql: string, parameters: readonly Parameter[]): Promise<Rows> {
  if (writer.hostId === null) return writer.link.query(sql, parameters);
  const [rows] = await inTransaction(writer, [{ sql, parameters }]);
  return rows as Rows;
}
