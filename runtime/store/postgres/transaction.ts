/**
 * A transaction on one link, with its statements pipelined.
 *
 * READ COMMITTED is asked for, because what must not change under a transaction is locked
 * by it: rows are locked first and then read. CockroachDB may give SERIALIZABLE instead.
 */
import { SirsiError } from "../../core/errors.ts";
import type { Link, Rows, Statement } from "./link.ts";

export const BEGIN: Statement = { sql: "BEGIN ISOLATION LEVEL READ COMMITTED", parameters: [] };
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

/** Statements that need nothing of each other, in one transaction; gives their rows. */
export async function inTransaction(link: Link, statements: readonly Statement[]): Promise<Rows[]> {
  try {
    const [, ...rows] = await commitWith(link, [BEGIN, ...statements]);
    return rows;
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}
