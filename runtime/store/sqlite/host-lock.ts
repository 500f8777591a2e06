/**
 * One host to a store. The lock is SQLite's own exclusive lock on an empty file
 * beside the database: the kernel releases it when the process ends, however it
 * ends, and SQLite also keeps two holders inside one process apart. (Nothing else
 * in a process may open and close the lock's file: POSIX would drop the lock.)
 */
import { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import { isBusyFault } from "./sqlite-fault.ts";

export interface HostLock {
  release(): void;
}

/** Takes the lock at once, or throws STORE_UNAVAILABLE saying who stands in the way. */
export function takeHostLock(path: string): HostLock {
  const lockPath = `${path}-lock`;
  const file = new DatabaseSync(lockPath, { timeout: 0 });
  try {
    file.exec("BEGIN EXCLUSIVE");
  } catch (thrown) {
    file.close();
    if (!isBusyFault(thrown)) throw thrown;
    throw new SirsiError(
      "STORE_UNAVAILABLE",
      `The store ${path} is in use by another running host, which holds ${lockPath}. Stop that host, or give this one a data directory of its own.`,
      { cause: thrown },
    );
  }
  return { release: () => file.close() };
}
