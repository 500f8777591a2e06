/**
 * Prepared modules on disk, so that a restart prepares nothing twice, and so that an
 * agent that waits goes on in the very code that it was suspended in, however often the
 * preparer has changed since.
 *
 * One file an entry: magic, SHA-256 of all that follows, length of the description,
 * description (JSON), WebAssembly. An entry that is torn, altered, misnamed or of another
 * layout counts as absent and is prepared afresh. Bounded: the least recently used go
 * first. What earlier preparers made has as much room of its own, because nothing can
 * make it again. One process and thread writes; the directory is as trusted as the host's
 * own code.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { faultPoint } from "../core/fault-points.ts";
import { removePartial, writeAtomically } from "./atomic-file.ts";
import { PREPARATION, type PreparedModule } from "./prepared.ts";

export interface CachedModule extends PreparedModule {
  readonly prepareTimeMs: number;
}

/** What a prepared module depends on: the bytes, the preparer, and the one limit that it compiles in. */
export interface PreparedName {
  readonly digest: string;
  readonly preparation: string;
  readonly memoryMaxBytes: number;
}

interface Entry {
  readonly name: PreparedName;
  readonly module: CachedModule;
}

type Description = PreparedName & Omit<CachedModule, "wasm">;

const MAGIC = Buffer.from("SRP2");
const HASH_BYTES = 32;
const HEAD_BYTES = MAGIC.length + HASH_BYTES + 4;
const EXTENSION = ".prepared";
const TAG_CHARS = 16;

export class PreparedCache {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  #opened: Promise<void> | null = null;

  constructor(directory: string, maxBytes: number, clock: Clock) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
  }

  /** Null when there is no sound entry, for whatever reason. */
  async read(name: PreparedName): Promise<CachedModule | null> {
    return this.#read(fileOf(name), name);
  }

  /** What that preparer made of the module, under whichever memory limit; the newest. */
  async get(digest: string, preparation: string): Promise<CachedModule | null> {
    const files = (await this.#list()).filter(({ file }) => file.startsWith(beginningOf(digest, preparation)));
    for (const { file } of files.toReversed()) {
      const module = await this.#read(file, { digest, preparation });
      if (module !== null) return module;
    }
    return null;
  }

  async #read(file: string, name: Partial<PreparedName>): Promise<CachedModule | null> {
    const path = join(this.#directory, file);
    let bytes: Buffer;
    try {
      bytes = await readFile(path);
    } catch {
      return null;
    }
    const entry = decode(bytes);
    if (entry === null || !Object.entries(name).every(([key, value]) => entry.name[key as keyof PreparedName] === value)) {
      await rm(path, { force: true });
      return null;
    }
    const now = new Date(this.#clock.now());
    await utimes(path, now, now).catch(() => undefined);
    return entry.module;
  }

  /** A cache that cannot be written costs time, not modules: failure is told by the answer. */
  async write(name: PreparedName, module: CachedModule): Promise<boolean> {
    const entry = encode({ name, module });
    if (entry.length > this.#maxBytes) return false;
    try {
      await (this.#opened ??= removePartial(this.#directory));
      const file = fileOf(name);
      await writeAtomically(join(this.#directory, file), entry, () => faultPoint("cache.half-written"));
      await this.#evict(file);
      return true;
    } catch {
      return false;
    }
  }

  /** Least recently used first; none when the directory cannot be read. */
  async #list(): Promise<readonly { readonly file: string; readonly bytes: number }[]> {
    const files = await readdir(this.#directory).catch((): string[] => []);
    const found = await Promise.all(files.filter((file) => file.endsWith(EXTENSION)).map(async (file) => ({ file, stats: await stat(join(this.#directory, file)).catch(() => null) })));
    return found
      .flatMap(({ file, stats }) => (stats === null ? [] : [{ file, bytes: stats.size, usedAt: stats.mtimeMs }]))
      .toSorted((a, b) => a.usedAt - b.usedAt);
  }

  async #evict(kept: string): Promise<void> {
    const current = `.${tagOf(PREPARATION)}.`;
    const all = await this.#list();
    await this.#evictFrom(all.filter(({ file }) => file.includes(current)), kept);
    await this.#evictFrom(all.filter(({ file }) => !file.includes(current)), kept);
  }

  async #evictFrom(entries: readonly { readonly file: string; readonly bytes: number }[], kept: string): Promise<void> {
    let total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { file, bytes } of entries) {
      if (total <= this.#maxBytes) return;
      if (file === kept) continue;
      await rm(join(this.#directory, file), { force: true });
      total -= bytes;
    }
  }
}

function tagOf(preparation: string): string {
  return createHash("sha256").update(preparation).digest("hex").slice(0, TAG_CHARS);
}

function beginningOf(digest: string, preparation: string): string {
  return `${digest}.${tagOf(preparation)}.`;
}

function fileOf({ digest, preparation, memoryMaxBytes }: PreparedName): string {
  return `${beginningOf(digest, preparation)}${memoryMaxBytes}${EXTENSION}`;
}

function encode({ name, module }: Entry): Buffer {
  const { wasm, ...rest } = module;
  const description: Description = { ...name, ...rest };
  const text = Buffer.from(JSON.stringify(description));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const hash = createHash("sha256").update(length).update(text).update(wasm).digest();
  return Buffer.concat([MAGIC, hash, length, text, wasm]);
}

function decode(bytes: Buffer): Entry | null {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return null;
  const hash = bytes.subarray(MAGIC.length, MAGIC.length + HASH_BYTES);
  const body = bytes.subarray(MAGIC.length + HASH_BYTES);
  if (!createHash("sha256").update(body).digest().equals(hash)) return null;
  const end = 4 + body.readUInt32LE(0);
  const { digest, preparation, memoryMaxBytes, ...rest } = JSON.parse(body.subarray(4, end).toString()) as Description;
  return { name: { digest, preparation, memoryMaxBytes }, module: { ...rest, wasm: new Uint8Array(body.subarray(end)) } };
}
