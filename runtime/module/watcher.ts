/**
 * Tells when a file of the module directory has come, changed or gone.
 *
 * A file is reported once its size has stood still for STABLE_MS, so that one
 * being written is left alone; a writer that pauses for longer has its half taken, refused
 * as it does not read well, and its whole taken when it goes on. An atomic rename is
 * reported just as soon. What counts as a module file: module-directory.ts.
 */
import { basename } from "node:path";
import { watch } from "chokidar";
import { SirsiError } from "../core/errors.ts";
import { moduleFileOf, MODULE_EXTENSION } from "./module-directory.ts";

export interface DirectoryListener {
  /** A module file, or its sidecar, has come or is another. */
  changed(file: string): void;
  /** A module file is gone. (A sidecar's going is a change of its module.) */
  removed(file: string): void;
  /** Watching itself failed; it goes on as far as it can. */
  failed(error: SirsiError): void;
}

export interface DirectoryWatcher {
  close(): Promise<void>;
}

const STABLE_MS = 150;
const LOOK_EVERY_MS = 50;

/** Resolves when every later change will be told. What is there already is not. */
export async function watchDirectory(directory: string, listener: DirectoryListener): Promise<DirectoryWatcher> {
  const watcher = watch(directory, {
    depth: 0,
    ignoreInitial: true,
    atomic: true,
    awaitWriteFinish: { stabilityThreshold: STABLE_MS, pollInterval: LOOK_EVERY_MS },
    ignored: (path, stats) => stats?.isFile() === true && moduleFileOf(path) === null,
  });
  const changed = (path: string) => {
    const file = moduleFileOf(path);
    if (file !== null) listener.changed(file);
  };
  watcher.on("add", changed);
  watcher.on("change", changed);
  watcher.on("unlink", (path) => {
    const file = moduleFileOf(path);
    if (file === null) return;
    if (basename(path).endsWith(MODULE_EXTENSION)) listener.removed(file);
    else listener.changed(file);
  });
  watcher.on("error", (error) => listener.failed(SirsiError.from(error)));
  await new Promise<void>((resolve) => watcher.once("ready", resolve));
  return { close: () => watcher.close() };
}
