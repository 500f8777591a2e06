/**
 * What crosses between the host's main thread and a shard: batches of frames in one
 * transferred buffer. A batch costs one message however many steps it carries.
 *
 *   frame = u8 kind | numbers … | runs, each u32 length and its bytes
 *
 * What a frame holds is written where it will be read from: a guest's answer and its
 * state go from its memory into the batch at once, and a frame that turns out wrong is
 * taken back with `rewind`.
 *
 * Both ends are ours and run the same build, so a malformed frame is a bug (INTERNAL).
 */
import { crc32 } from "node:zlib";
import { SirsiError } from "../core/errors.ts";

const START_BYTES = 16 * 1024;
/** A batch starts about as large as the one before came to be, but never larger than this: one huge state is soon forgotten. */
const START_MAX_BYTES = 256 * 1024;
/** Up to here a loop is faster than a call. */
const SHORT_BYTES = 16;
/** The longest a 32-bit number can be, seven bits a byte. */
const VARINT_BYTES = 5;

export class FrameWriter {
  #bytes = Buffer.allocUnsafeSlow(START_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #room(more: number): void {
    if (this.#length + more > this.#bytes.length) this.#grow(this.#length + more);
  }

  #grow(need: number): void {
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, need));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#use(grown);
  }

  #use(bytes: Buffer<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = value;
  }

  u32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  u64(value: bigint): void {
    this.#room(8);
    this.#view.setBigUint64(this.#length, BigInt.asUintN(64, value), true);
    this.#length += 8;
  }

  f32(value: number): void {
    this.#room(4);
    this.#view.setFloat32(this.#length, value, true);
    this.#length += 4;
  }

  number(value: number): void {
    this.#room(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  varint(value: number): void {
    this.#room(VARINT_BYTES);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  /** A run: its length and its bytes. */
  bytes(value: Uint8Array): void {
    this.u32(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** Bytes alone, for a run that `openRun` began. */
  append(source: Buffer, from: number, to: number): void {
    this.#room(to - from);
    if (to - from > SHORT_BYTES) source.copy(this.#bytes, this.#length, from, to);
    else for (let at = from; at < to; at++) this.#bytes[this.#length + at - from] = source[at] as number;
    this.#length += to - from;
  }

  /** Begins a run whose length is not known yet; `closeRun` wants what this returns. */
  openRun(): number {
    this.u32(0);
    return this.#length;
  }

  closeRun(start: number): void {
    this.#view.setUint32(start - 4, this.#length - start, true);
  }

  /** Room for numbers that `put…` fills in later; where it begins. */
  reserve(bytes: number): number {
    this.#room(bytes);
    const at = this.#length;
    this.#length += bytes;
    return at;
  }

  putU8(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  putU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  putNumber(at: number, value: number): void {
    this.#view.setFloat64(at, value, true);
  }

  /** Of all that was written from `start` on. */
  crcFrom(start: number): number {
    return crc32(this.#bytes.subarray(start, this.#length));
  }

  /** Takes back what was written from `length` on. */
  rewind(length: number): void {
    this.#length = length;
  }

  /** The batch, to be transferred; the writer starts anew. */
  take(): ArrayBuffer {
    const { buffer } = this.#bytes;
    const usual = this.#length * 4 < buffer.byteLength ? buffer.byteLength / 2 : buffer.byteLength;
    this.#use(Buffer.allocUnsafeSlow(Math.max(START_BYTES, Math.min(START_MAX_BYTES, Math.ceil(usual)))));
    this.#length = 0;
    return buffer;
  }
}

export class FrameReader {
  readonly #buffer: ArrayBuffer;
  readonly #view: DataView;
  readonly #end: number;
  #at = 0;

  constructor(buffer: ArrayBuffer, length: number) {
    this.#buffer = buffer;
    this.#view = new DataView(buffer);
    this.#end = length;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  number(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  /** A view into the batch: copy it to keep it past the batch. */
  bytes(): Uint8Array<ArrayBuffer> {
    const length = this.u32();
    // Not a Buffer, whose slice() would be one more view of the batch instead of a copy.
    return new Uint8Array(this.#buffer, this.#take(length), length);
  }

  #take(more: number): number {
    const at = this.#at;
    if (at + more > this.#end) throw new SirsiError("INTERNAL", "a frame between threads is cut off");
    this.#at = at + more;
    return at;
  }
}
