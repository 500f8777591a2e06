/**
 * The bytes of every revision that an agent may still need, by digest, with the sidecar
 * they were admitted under. Bytes are held against their digest whenever they are read.
 *
 * In a fleet what is kept here is kept for every host as well, and what only others kept is
 * had from there: an agent may come from any of them, on any revision.
 */
import { readFile, rm, access } from "node:fs/promises";
import { join } from "node:path";
import { SirsiError } from "../core/errors.ts";
import { isMissing, removePartial, writeAtomically } from "./atomic-file.ts";
import { digestOf } from "./inspect.ts";
import { MODULE_EXTENSION, SIDECAR_EXTENSION, type ModuleFile } from "./module-directory.ts";

/** Bytes by digest that several hosts share. */
export interface SharedBytes {
  /** Null when nobody put them there. */
  get(digest: string): Promise<Uint8Array | null>;
  /** Repeatable. */
  put(digest: string, bytes: Uint8Array): Promise<void>;
}

export interface Beyond {
  readonly shared: SharedBytes;
  /** This host's sidecar for these bytes. Throws when they are no module. */
  readonly sidecarFor: (bytes: Uint8Array) => Promise<string | null>;
}

export class RevisionArchive {
  readonly #directory: string;
  readonly #beyond: Beyond | null;

  constructor(directory: string, beyond: Beyond | null = null) {
    this.#directory = directory;
    this.#beyond = beyond;
  }

  /** Makes the directory and clears what a crash left half-written. */
  async open(): Promise<void> {
    await this.#guard("opened", () => removePartial(this.#directory));
  }

  async put(digest: string, file: ModuleFile): Promise<void> {
    await this.#beyond?.shared.put(digest, file.bytes);
    await this.#keep(digest, file);
  }

  async #keep(digest: string, { bytes, sidecar }: ModuleFile): Promise<void> {
    await this.#guard("written", async () => {
      if ((await this.#readSidecar(digest)) !== sidecar) {
        if (sidecar === null) await rm(this.#path(digest, SIDECAR_EXTENSION), { force: true });
        else await writeAtomically(this.#path(digest, SIDECAR_EXTENSION), Buffer.from(sidecar));
      }
      if (!(await this.has(digest))) await writeAtomically(this.#path(digest, MODULE_EXTENSION), bytes);
    });
  }

  async has(digest: string): Promise<boolean> {
    return access(this.#path(digest, MODULE_EXTENSION)).then(
      () => true,
      () => false,
    );
  }

  /** Null when it was never kept, or forgotten. STORE_CORRUPT when the bytes are not the digest's. */
  async get(digest: string): Promise<ModuleFile | null> {
    return (await this.#here(digest)) ?? (await this.#fromBeyond(digest));
  }

  #here(digest: string): Promise<ModuleFile | null> {
    return this.#guard("read", async () => {
      const bytes = await readOrNull(this.#path(digest, MODULE_EXTENSION));
      if (bytes === null) return null;
      if (digestOf(bytes) !== digest) {
        throw new SirsiError("STORE_CORRUPT", `the kept bytes of revision ${digest.slice(0, 12)} are not what they were; install the module again, or restore the data directory from a backup`);
      }
      return { bytes: new Uint8Array(bytes), sidecar: await this.#readSidecar(digest) };
    });
  }

  async #fromBeyond(digest: string): Promise<ModuleFile | null> {
    const bytes = (await this.#beyond?.shared.get(digest)) ?? null;
    if (this.#beyond === null || bytes === null) return null;
    if (digestOf(bytes) !== digest) throw new SirsiError("STORE_CORRUPT", `the bytes that the fleet's store has for revision ${digest.slice(0, 12)} are not that revision's; install the module again, or restore the store from a backup`);
    const file = { bytes, sidecar: await this.#beyond.sidecarFor(bytes) };
    await this.#keep(digest, file);
    return file;
  }

  async remove(digest: string): Promise<void> {
    await this.#guard("removed", async () => {
      await rm(this.#path(digest, MODULE_EXTENSION), { force: true });
      await rm(this.#path(digest, SIDECAR_EXTENSION), { force: true });
    });
  }

  #path(digest: string, extension: string): string {
    return join(this.#directory, digest + extension);
  }

  /** What the revision was last admitted under. */
  async sidecar(digest: string): Promise<string | null> {
    return this.#guard("read", () => this.#readSidecar(digest));
  }

  async #readSidecar(digest: string): Promise<string | null> {
    const text = await readOrNull(this.#path(digest, SIDECAR_EXTENSION));
    return text?.toString("utf8") ?? null;
  }

  async #guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof SirsiError) throw thrown;
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new SirsiError("STORE_UNAVAILABLE", `kept revisions cannot be ${what} (${reason}); check the data directory and the disk`, { cause: thrown });
    }
  }
}

async function readOrNull(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (thrown) {
    if (isMissing(thrown)) return null;
    throw thrown;
  }
}
