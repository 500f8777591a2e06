/** What SQLite throws, as the two errors a store may give: unavailable or corrupt. */
import { SirsiError, type ErrorCode } from "../../core/errors.ts";

/** SQLite's primary result codes that have a cause outside this program. */
const FAULTS: Readonly<Record<number, readonly [code: ErrorCode, message: string]>> = {
  3: ["STORE_UNAVAILABLE", "The store's files may not be accessed. Give the host's user read and write permission on the data directory."],
  5: ["STORE_UNAVAILABLE", "Another process keeps the store's database locked. Close whatever else has it open, such as a backup or a SQLite shell."],
  6: ["STORE_UNAVAILABLE", "A table of the store is locked. Try again."],
  7: ["STORE_UNAVAILABLE", "The store ran out of memory. Give the host more memory, or send it less at once."],
  8: ["STORE_UNAVAILABLE", "The store's files are read-only. Give the host's user write permission on the data directory, or mount it writable."],
  10: ["STORE_UNAVAILABLE", "Reading or writing the store's files failed. Check the disk of the data directory and the system's log."],
  11: ["STORE_CORRUPT", "The store's database is damaged. Restore the data directory from a backup and keep the damaged files for a report."],
  13: ["STORE_UNAVAILABLE", "The disk is full, so nothing of this call was written. Free some space on the data directory's disk."],
  14: ["STORE_UNAVAILABLE", "The store's database cannot be opened. Check that the data directory exists and that the host's user may write to it."],
  15: ["STORE_UNAVAILABLE", "The store's files cannot be locked. Put the data directory on a local disk, not on a network file system."],
  19: ["STORE_CORRUPT", "A record contradicts what the store already holds, so it was refused. Restore the agent from the store before it goes on."],
  22: ["STORE_UNAVAILABLE", "The store grew larger than its file system allows a file to be. Move the data directory to another file system."],
  26: ["STORE_CORRUPT", "The file is not a SQLite database, or its head is damaged. Restore the data directory from a backup, or choose another path."],
};

/** Extended codes that say more than their primary one. */
const CORRUPT_FILE_SYSTEM = 10 | (33 << 8);
const FOREIGN_KEY = 19 | (3 << 8);
const UNIQUE = 19 | (8 << 8);

function resultCode(thrown: unknown): number | null {
  if (!(thrown instanceof Error) || !("errcode" in thrown)) return null;
  return typeof thrown.errcode === "number" ? thrown.errcode : null;
}

export function isForeignKeyFault(thrown: unknown): boolean {
  return resultCode(thrown) === FOREIGN_KEY;
}

/** Of an index, not of a table's own key. */
export function isUniqueFault(thrown: unknown): boolean {
  return resultCode(thrown) === UNIQUE;
}

export function isBusyFault(thrown: unknown): boolean {
  return ((resultCode(thrown) ?? 0) & 0xff) === 5;
}

/** Any thrown value as a SirsiError; a fault that is none of SQLite's known ones becomes INTERNAL. */
export function storeFault(thrown: unknown): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  const code = resultCode(thrown);
  if (code === null) return SirsiError.from(thrown);
  const said = thrown instanceof Error ? thrown.message : String(thrown);
  const fault = code === CORRUPT_FILE_SYSTEM ? FAULTS[11] : FAULTS[code & 0xff];
  if (fault === undefined) return new SirsiError("INTERNAL", `The store failed with SQLite's code ${code}: ${said}`, { cause: thrown });
  return new SirsiError(fault[0], `${fault[1]} (SQLite ${code}: ${said})`, { cause: thrown });
}
