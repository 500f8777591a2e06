/** The baseline of the store: SQLite as the store sets it up, one table, in this thread. */
import { join } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";

export class BareDatabase {
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  #next = 1;

  constructor(folder: string) {
    this.#db = new DatabaseSync(join(folder, "bare.db"));
    this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB) STRICT;");
    this.#put = this.#db.prepare("INSERT INTO row (id, body) VALUES (?, ?)");
  }

  /** `rows` rows in one transaction, on disk when it returns. */
  commit(body: Uint8Array, rows = 1): void {
    this.#db.exec("BEGIN IMMEDIATE");
    for (let i = 0; i < rows; i++) this.#put.run(this.#next++, body);
    this.#db.exec("COMMIT");
  }

  close(): void {
    this.#db.close();
  }
}
