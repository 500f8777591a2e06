/** Files that are there whole or not at all, whatever happens while they are written. */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join, basename } from "node:path";

/** Starts with a dot and ends so: watchers and listings pass over it. */
const TEMPORARY = ".partial";

/**
 * Written beside its place, flushed, and renamed over it; the directory is made when
 * missing. `halfWay` is called when half of it is written.
 */
export async function writeAtomically(path: string, bytes: Uint8Array, halfWay: () => void = () => undefined): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true });
  const temporary = join(directory, `.${basename(path)}.${randomUUID()}${TEMPORARY}`);
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes.subarray(0, bytes.length >> 1));
      halfWay();
      await file.writeFile(bytes.subarray(bytes.length >> 1));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  await syncDirectory(directory);
}

/** A rename is on disk once its directory is. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes what a crash left half-written. Only for directories with one writer. */
export async function removePartial(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const names = await readdir(directory);
  await Promise.all(names.filter((name) => name.endsWith(TEMPORARY)).map((name) => rm(join(directory, name), { force: true })));
}

export function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR");
}
