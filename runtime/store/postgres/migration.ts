/**
 * Brings the tables to the newest version this host knows. Hosts that start together go
 * one after the other: each locks the row of version 0, which stands for the lock and for
 * no version. (Postgres's advisory locks would do as well; CockroachDB has none.)
 *
 * CockroachDB does not undo every change to tables that fails late in a transaction. A
 * migration therefore holds what can be made anew, and nothing that takes data away.
 */
import { SirsiError } from "../../core/errors.ts";
import type { Link } from "./link.ts";
import { codeOf } from "./postgres-fault.ts";
import { number, plain, type Row } from "./row.ts";
import { MIGRATIONS, type Migration } from "./schema.ts";
import { BEGIN, commitWith, rollBack } from "./transaction.ts";

const TABLE = "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, name text NOT NULL, applied_at double precision NOT NULL)";
/** Two hosts that make one table at the same time: the loser is told of a duplicate, in one form or another. */
const MADE_MEANWHILE = new Set(["23505", "42P07", "42710", "40001"]);
const LOCK_TRIES = 5;

export interface MigrationOptions {
  /** For messages. */
  readonly label: string;
  readonly nowMs: number;
  readonly migrations?: readonly Migration[];
}

async function makeLock(link: Link, label: string): Promise<void> {
  const tables = await link.query("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'", []);
  const names = tables.map((row) => plain(row, "table_name"));
  if (names.length > 0 && !names.includes("schema_version")) {
    throw new SirsiError("STORE_UNAVAILABLE", `The database ${label} is that of some other program (it has tables, and none named schema_version), so it was left alone. Create a database for this store, or name a schema of its own with ?search_path= in the URL.`);
  }
  for (let tries = 1; ; tries++) {
    try {
      await link.query(TABLE, []);
      await link.query("INSERT INTO schema_version (version, name, applied_at) VALUES (0, 'lock', 0) ON CONFLICT (version) DO NOTHING", []);
      return;
    } catch (thrown) {
      if (!MADE_MEANWHILE.has(codeOf(thrown)) || tries === LOCK_TRIES) throw thrown;
    }
  }
}

function currentVersion(applied: readonly Row[], label: string, migrations: readonly Migration[]): number {
  const stranger = applied.find((row) => number(row, "version") <= migrations.length && migrations[number(row, "version") - 1]?.name !== plain(row, "name"));
  if (stranger !== undefined) {
    throw new SirsiError(
      "STORE_UNAVAILABLE",
      `The store in ${label} was made by a build of this software that was never released (its schema ${number(stranger, "version")} is "${plain(stranger, "name")}"). Choose another database, or drop this one if nothing in it is needed.`,
    );
  }
  const last = applied.at(-1);
  const version = last === undefined ? 0 : number(last, "version");
  if (version > migrations.length) {
    throw new SirsiError(
      "STORE_UNAVAILABLE",
      `The store in ${label} has schema version ${version}, written by a newer host; this one knows versions up to ${migrations.length}. Start the newer host, or restore a backup from before its first start.`,
    );
  }
  return version;
}

/** STORE_UNAVAILABLE when the tables are newer than this host, or somebody else's. */
export async function migrate(link: Link, { label, nowMs, migrations = MIGRATIONS }: MigrationOptions): Promise<void> {
  await makeLock(link, label);
  try {
    await link.pipeline([BEGIN, { sql: "SELECT version FROM schema_version WHERE version = 0 FOR UPDATE", parameters: [] }]);
    const applied = await link.query("SELECT version, name FROM schema_version WHERE version > 0 ORDER BY version", []);
    const version = currentVersion(applied, label, migrations);
    for (const [index, { name, statements }] of migrations.entries()) {
      if (index < version) continue;
      for (const sql of statements) await link.query(sql, []);
      await link.query("INSERT INTO schema_version (version, name, applied_at) VALUES ($1, $2, $3)", [index + 1, name, nowMs]);
    }
    await commitWith(link, []);
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}
