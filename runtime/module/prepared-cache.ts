/**
 * Prepared modules on disk, so that a restart prepares nothing twice.
 *
 * One file an entry: magic, SHA-256 of all that follows, length of the description,
 * description (JSON), WebAssembly. An entry that is torn, altered or of another
 * layout counts as absent and is written anew. Bounded: the least recently used go first.
 * One process and thread writes; the directory is as trusted as the host's own code.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { removePartial, writeAtomically } from "./atomic-file.ts";
import { PREPARATION, type PreparedModule } from "./prepared.ts";

export interface CachedModule extends PreparedModule {
  readonly prepareTimeMs: number;
}

type Description = Omit<CachedModule, "wasm">;

const MAGIC = Buffer.from("SRP1");
const HASH_BYTES = 32;
const HEAD_BYTES = MAGIC.length + HASH_BYTES + 4;
const EXTENSION = ".prepared";

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

  /** What preparation depends on: the bytes, the preparer, and the one limit that it compiles in. */
  static key(digest: string, memoryMaxBytes: number): string {
    return createHash("sha256").update(`${digest}\n${PREPARATION}\n${memoryMaxBytes}`).digest("hex");
  }

  /** Null when there is no sound entry, for whatever reason. */
  async read(key: string): Promise<CachedModule | null> {
    const path = this.#path(key);
    let entry: Buffer;
    try {
      entry = await readFile(path);
    } catch {
      return null;
    }
    const module = decode(entry);
    if (module === null) {
      await rm(path, { force: true });
      return null;
    }
    const now = new Date(this.#clock.now());
    await utimes(path, now, now).catch(() => undefined);
    return module;
  }

  /** A cache that cannot be written costs time, not modules: failure is told by the answer. */
  async write(key: string, module: CachedModule): Promise<boolean> {
    const entry = encode(module);
    if (entry.length > this.#maxBytes) return false;
    try {
      await (this.#opened ??= removePartial(this.#directory));
      await writeAtomically(this.#path(key), entry);
      await this.#evict(`${key}${EXTENSION}`);
      return true;
    } catch {
      return false;
    }
  }

  #path(key: string): string {
    return join(this.#directory, `${key}${EXTENSION}`);
  }

  async #evict(kept: string): Promise<void> {
    const names = (await readdir(this.#directory)).filter((name) => name.endsWith(EXTENSION));
    const entries = await Promise.all(names.map(async (name) => ({ name, stats: await stat(join(this.#directory, name)) })));
    let total = entries.reduce((sum, { stats }) => sum + stats.size, 0);
    for (const { name, stats } of entries.toSorted((a, b) => a.stats.mtimeMs - b.stats.mtimeMs)) {
      if (total <= this.#maxBytes) return;
      if (name === kept) continue;
      await rm(join(this.#directory, name), { force: true });
      total -= stats.size;
    }
  }
}

function encode(module: CachedModule): Buffer {
  const { wasm, ...rest } = module;
  const description: Description = rest;
  const text = Buffer.from(JSON.stringify(description));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const hash = createHash("sha256").update(length).update(text).update(wasm).digest();
  return Buffer.concat([MAGIC, hash, length, text, wasm]);
}

function decode(entry: Buffer): CachedModule | null {
  if (entry.length < HEAD_BYTES || !entry.subarray(0, MAGIC.length).equals(MAGIC)) return null;
  const hash = entry.subarray(MAGIC.length, MAGIC.length + HASH_BYTES);
  const body = entry.subarray(MAGIC.length + HASH_BYTES);
  if (!createHash("sha256").update(body).digest().equals(hash)) return null;
  const end = 4 + body.readUInt32LE(0);
  const description = JSON.parse(body.subarray(4, end).toString()) as Description;
  return { ...description, wasm: new Uint8Array(body.subarray(end)) };
}
