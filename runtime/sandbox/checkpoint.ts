/**
 * An agent's complete guest state as bytes: its memory, as a difference to the
 * image that every instance of the revision begins with, and its mutable globals.
 *
 *   "SCP1" | u32 memory bytes | u32 crc of the pristine image | u32 globals
 *   | 8 bytes a global | runs: varint gap, varint length, bytes … | u32 crc of all before
 *
 * Integers are little-endian. A run starts `gap` bytes after the end of the one
 * before. Memory past the pristine image's end is compared with zeros.
 * Reading checks everything and throws STORE_CORRUPT: a checkpoint is never half applied.
 */
import { crc32 } from "node:zlib";
import { SirsiError } from "../core/errors.ts";

const MAGIC = 0x31504353;
const HEADER_BYTES = 16;
const GLOBAL_BYTES = 8;
const TRAILER_BYTES = 4;
/** Compared natively block by block; only blocks that differ are looked at byte by byte. */
const BLOCK_BYTES = 1024;
/** Equal bytes between two differences that are cheaper to repeat than to skip. */
const JOIN_BYTES = 8;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export interface PristineImage {
  readonly memory: Buffer;
  readonly crc: number;
}

export function pristineImage(memory: Uint8Array): PristineImage {
  const copy = Buffer.from(memory);
  return { memory: copy, crc: crc32(copy) };
}

/** Grows as it is written; reused for every checkpoint of a shard. */
class Output {
  #bytes = Buffer.allocUnsafe(64 * 1024);
  length = 0;

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.length + more));
    this.#bytes.copy(grown, 0, 0, this.length);
    this.#bytes = grown;
  }

  u32(value: number): void {
    this.#room(4);
    this.length = this.#bytes.writeUInt32LE(value >>> 0, this.length);
  }

  u64(value: bigint): void {
    this.#room(8);
    this.length = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, value), this.length);
  }

  varint(value: number): void {
    this.#room(5);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.length++] = rest;
  }

  append(source: Buffer, from: number, to: number): void {
    this.#room(to - from);
    source.copy(this.#bytes, this.length, from, to);
    this.length += to - from;
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.u32(crc32(this.#bytes.subarray(0, this.length)));
    const out = new Uint8Array(this.length);
    out.set(this.#bytes.subarray(0, this.length));
    return out;
  }
}

const output = new Output();

/** `globals` are raw 64-bit patterns in the revision's order. */
export function encodeCheckpoint(pristine: PristineImage, memory: Uint8Array<ArrayBuffer>, globals: readonly bigint[]): Uint8Array<ArrayBuffer> {
  const now = Buffer.from(memory.buffer, memory.byteOffset, memory.length);
  output.length = 0;
  output.u32(MAGIC);
  output.u32(now.length);
  output.u32(pristine.crc);
  output.u32(globals.length);
  for (const value of globals) output.u64(value);
  writeRuns(now, pristine.memory);
  return output.finish();
}

function writeRuns(now: Buffer, before: Buffer): void {
  let runStart = -1;
  let runEnd = 0;
  let lastEnd = 0;
  const flush = () => {
    if (runStart < 0) return;
    output.varint(runStart - lastEnd);
    output.varint(runEnd - runStart);
    output.append(now, runStart, runEnd);
    lastEnd = runEnd;
    runStart = -1;
  };
  for (let block = 0; block < now.length; block += BLOCK_BYTES) {
    const end = Math.min(block + BLOCK_BYTES, now.length);
    const known = end <= before.length;
    const base = known ? before : ZEROS;
    const shift = known ? 0 : -block;
    if (now.compare(base, block + shift, end + shift, block, end) === 0) continue;
    for (let at = block; at < end; at++) {
      if (now[at] === base[at + shift]) continue;
      if (runStart >= 0 && at - runEnd > JOIN_BYTES) flush();
      if (runStart < 0) runStart = at;
      runEnd = at + 1;
    }
  }
  flush();
}

export interface CheckpointHeader {
  readonly memoryBytes: number;
  readonly globals: readonly bigint[];
}

function corrupt(why: string): SirsiError {
  return new SirsiError("STORE_CORRUPT", `a checkpoint cannot be read: ${why}; the agent is not started from it`);
}

/** Checks the whole checkpoint against the revision's pristine image and reads its header. */
export function readCheckpoint(image: Uint8Array, pristine: PristineImage): CheckpointHeader {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  if (bytes.length < HEADER_BYTES + TRAILER_BYTES) throw corrupt("it is too short");
  if (bytes.readUInt32LE(0) !== MAGIC) throw corrupt("it does not begin as one");
  const end = bytes.length - TRAILER_BYTES;
  if (crc32(bytes.subarray(0, end)) !== bytes.readUInt32LE(end)) throw corrupt("its checksum does not match");
  if (bytes.readUInt32LE(8) !== pristine.crc) throw corrupt("it was taken from a module that begins with a different image");
  const count = bytes.readUInt32LE(12);
  if (HEADER_BYTES + count * GLOBAL_BYTES > end) throw corrupt("its globals are cut off");
  const globals = Array.from({ length: count }, (_, i) => bytes.readBigUInt64LE(HEADER_BYTES + i * GLOBAL_BYTES));
  return { memoryBytes: bytes.readUInt32LE(4), globals };
}

/** Writes the runs of a checkpoint that readCheckpoint has passed into memory that holds the pristine image. */
export function applyCheckpoint(image: Uint8Array, header: CheckpointHeader, memory: Uint8Array): void {
  const end = image.length - TRAILER_BYTES;
  let at = HEADER_BYTES + header.globals.length * GLOBAL_BYTES;
  let target = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) throw corrupt("a run is cut off");
      const byte = image[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw corrupt("a run has no length");
  };
  while (at < end) {
    target += varint();
    const length = varint();
    if (at + length > end || target + length > header.memoryBytes) throw corrupt("a run lies outside memory");
    memory.set(image.subarray(at, at + length), target);
    at += length;
    target += length;
  }
}
