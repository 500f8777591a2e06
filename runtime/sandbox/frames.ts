/**
 * What crosses between the host's main thread and a shard: batches of frames in one
 * transferred buffer. A batch costs one message however many steps it carries.
 *
 *   frame = u8 kind | f64 fields … | byte runs, each u32 length and its bytes
 *
 * Both ends are ours and run the same build, so a malformed frame is a bug (INTERNAL).
 */
import { SirsiError } from "../core/errors.ts";

const START_BYTES = 16 * 1024;

export class FrameWriter {
  #bytes = Buffer.allocUnsafeSlow(START_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #room(more: number): void {
    const need = this.#length + more;
    if (need <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, need));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.#length++] = value;
  }

  number(value: number): void {
    this.#room(8);
    this.#length = this.#bytes.writeDoubleLE(value, this.#length);
  }

  bytes(value: Uint8Array): void {
    this.#room(4 + value.length);
    this.#length = this.#bytes.writeUInt32LE(value.length, this.#length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** The batch, to be transferred; the writer starts anew. */
  take(): ArrayBuffer {
    const { buffer } = this.#bytes;
    this.#bytes = Buffer.allocUnsafeSlow(START_BYTES);
    this.#length = 0;
    return buffer;
  }
}

export class FrameReader {
  readonly #buffer: ArrayBuffer;
  readonly #bytes: Buffer;
  readonly #end: number;
  #at = 0;

  constructor(buffer: ArrayBuffer, length: number) {
    this.#buffer = buffer;
    this.#bytes = Buffer.from(buffer, 0, length);
    this.#end = length;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#at++] ?? 0;
  }

  number(): number {
    this.#need(8);
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  /** A view into the batch: copy it to keep it past the batch. */
  bytes(): Uint8Array<ArrayBuffer> {
    this.#need(4);
    const length = this.#bytes.readUInt32LE(this.#at);
    this.#at += 4;
    this.#need(length);
    // Not a Buffer, whose slice() would be one more view of the batch instead of a copy.
    const view = new Uint8Array(this.#buffer, this.#at, length);
    this.#at += length;
    return view;
  }

  #need(more: number): void {
    if (this.#at + more > this.#end) throw new SirsiError("INTERNAL", "a frame between threads is cut off");
  }
}
