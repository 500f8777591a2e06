/**
 * A database whose keys may go beyond what a JavaScript number holds exactly. Each write
 * reports the last key that was inserted on its connection, whoever did it; where that
 * does not fit a number the report itself fails, though the write was done. So writes
 * report in BigInt, and reads are left as they are.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";

export class WideDatabase extends DatabaseSync {
  override prepare(sql: string): StatementSync {
    const statement = super.prepare(sql);
    if (statement.columns().length === 0) statement.setReadBigInts(true);
    return statement;
  }
}
