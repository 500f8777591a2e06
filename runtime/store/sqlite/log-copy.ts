/** Copies pages of the write-ahead log into the database. */
import type { DatabaseSync } from "node:sqlite";
import { number } from "./row.ts";

export interface LogPass {
  /** Pages in the log that are not in the database yet. */
  readonly left: number;
}

/** As far as nobody has to wait for it; when another connection copies, nothing is done. Flushes what it copied. */
export function copyLog(db: DatabaseSync): () => LogPass {
  const statement = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  return () => {
    const row = statement.get() ?? {};
    return { left: Math.max(0, number(row, "log") - number(row, "checkpointed")) };
  };
}
