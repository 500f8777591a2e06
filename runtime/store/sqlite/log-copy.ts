/** Copies pages of the write-ahead log into the database. */
import type { DatabaseSync } from "node:sqlite";
import { number } from "./row.ts";

/**
 * Copies what the log has when it is called, as far as nobody has to wait for it, and
 * flushes that. Gives whether all was copied: not when another connection copies or reads
 * an old page (a backup does).
 */
export function copyLog(db: DatabaseSync): () => boolean {
  const statement = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  return () => {
    const row = statement.get() ?? {};
    return number(row, "busy") === 0 && number(row, "log") === number(row, "checkpointed");
  };
}
