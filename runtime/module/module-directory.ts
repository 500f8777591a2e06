/**
 * The module directory: what counts as a module file, and how one is read and written.
 *
 * A module is a file `NAME.wasm` directly in the directory; `NAME.toml` beside it is its
 * sidecar. Sub-directories, names that start with a dot and every other extension are
 * passed over. A symbolic link counts when it leads to a file inside the directory (so
 * that a volume which swaps link targets works) and is refused when it leads out of it.
 */
import { open, readdir, realpath, rm } from "node:fs/promises";
import { basename, join, sep } from "node:path";
import { SirsiError } from "../core/errors.ts";
import { isMissing, writeAtomically } from "./atomic-file.ts";
import { requireSize } from "./inspect.ts";

export const MODULE_EXTENSION = ".wasm";
export const SIDECAR_EXTENSION = ".toml";
const SIDECAR_MAX_BYTES = 64 * 1024;

export interface ModuleFile {
  readonly bytes: Uint8Array;
  readonly sidecar: string | null;
}

/** The module file that a path in the directory is or belongs to; null when it is neither. */
export function moduleFileOf(path: string): string | null {
  const name = basename(path);
  if (name.startsWith(".")) return null;
  if (name.endsWith(MODULE_EXTENSION) && name !== MODULE_EXTENSION) return name;
  if (name.endsWith(SIDECAR_EXTENSION) && name !== SIDECAR_EXTENSION) return name.slice(0, -SIDECAR_EXTENSION.length) + MODULE_EXTENSION;
  return null;
}

/** Whether `name` may be a module file's, in the directory itself. */
export function isModuleFile(name: string): boolean {
  return name.endsWith(MODULE_EXTENSION) && moduleFileOf(name) === name;
}

export class ModuleDirectory {
  readonly path: string;
  readonly #maxBytes: number;

  constructor(path: string, maxBytes: number) {
    this.path = path;
    this.#maxBytes = maxBytes;
  }

  /** Names of the module files, sorted. */
  async list(): Promise<string[]> {
    const entries = await readdir(this.path, { withFileTypes: true });
    return entries
      .filter((entry) => (entry.isFile() || entry.isSymbolicLink()) && entry.name.endsWith(MODULE_EXTENSION) && moduleFileOf(entry.name) !== null)
      .map((entry) => entry.name)
      .toSorted();
  }

  /** Null when the file is gone. Throws MODULE_TOO_LARGE or MODULE_REJECTED when it may not be read. */
  async read(file: string): Promise<ModuleFile | null> {
    const bytes = await this.#readInside(file, this.#maxBytes);
    if (bytes === null) return null;
    return { bytes, sidecar: await this.readSidecar(file) };
  }

  /** Null when there is none. */
  async readSidecar(file: string): Promise<string | null> {
    const sidecar = file.slice(0, -MODULE_EXTENSION.length) + SIDECAR_EXTENSION;
    const bytes = await this.#readInside(sidecar, SIDECAR_MAX_BYTES);
    return bytes === null ? null : Buffer.from(bytes).toString("utf8");
  }

  async write(file: string, bytes: Uint8Array): Promise<void> {
    try {
      await writeAtomically(join(this.path, file), bytes);
    } catch (thrown) {
      throw unwritable(file, thrown);
    }
  }

  async remove(file: string): Promise<void> {
    try {
      await rm(join(this.path, file), { force: true });
    } catch (thrown) {
      throw unwritable(file, thrown);
    }
  }

  async #readInside(file: string, maxBytes: number): Promise<Uint8Array | null> {
    try {
      const real = await realpath(join(this.path, file));
      if (!real.startsWith((await realpath(this.path)) + sep)) {
        throw new SirsiError("MODULE_REJECTED", `${file} is a link that leads out of the module directory; put the file itself there`);
      }
      await using handle = await open(real, "r");
      const before = await handle.stat();
      if (!before.isFile()) throw new SirsiError("MODULE_REJECTED", `${file} is not a regular file; put a file there`);
      requireSize(before.size, maxBytes);
      // Bounded by what was measured: a file that grows meanwhile changes again, and is read again.
      const bytes = new Uint8Array(before.size);
      const { bytesRead } = await handle.read(bytes, 0, before.size, 0);
      return bytes.subarray(0, bytesRead);
    } catch (thrown) {
      if (isMissing(thrown)) return null;
      if (thrown instanceof SirsiError) throw thrown;
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new SirsiError("MODULE_REJECTED", `${file} cannot be read (${reason}); check its permissions`, { cause: thrown });
    }
  }
}

function unwritable(file: string, thrown: unknown): SirsiError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return new SirsiError("STORE_UNAVAILABLE", `${file} cannot be written in the module directory (${reason}); check its permissions and the disk`, { cause: thrown });
}
