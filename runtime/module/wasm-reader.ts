/**
 * A cursor over untrusted WebAssembly bytes. No length is believed before it was
 * held against what is left; nothing is allocated on a file's word. Everything
 * wrong is MODULE_REJECTED with the place in the file.
 */
import { SirsiError } from "../core/errors.ts";

/** UTF-8 names longer than this are refused: V8's own bound. */
const NAME_MAX_BYTES = 100_000;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class WasmReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  get done(): boolean {
    return this.#at >= this.#end;
  }

  fail(what: string): never {
    throw new SirsiError("MODULE_REJECTED", `the file is not well-formed WebAssembly: ${what} at byte ${this.#at}; build it again, or copy it again if it was cut short`);
  }

  byte(what: string): number {
    const value = this.#at < this.#end ? this.#bytes[this.#at] : undefined;
    if (value === undefined) this.fail(`it ends inside ${what}`);
    this.#at += 1;
    return value;
  }

  skip(count: number, what: string): void {
    if (count > this.left) this.fail(`${what} claims ${count} bytes and ${this.left} are left`);
    this.#at += count;
  }

  /** An unsigned LEB128 of at most 32 bits. */
  u32(what: string): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte(what);
      if (shift === 28 && byte > 0x0f) this.fail(`${what} is not a 32-bit number`);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    return this.fail(`${what} is not a 32-bit number`);
  }

  /** Steps over a LEB128 of at most `bits` bits. */
  skipLeb(bits: 32 | 33 | 64, what: string): void {
    const longest = Math.ceil(bits / 7);
    for (let i = 0; i < longest; i += 1) if (this.byte(what) < 0x80) return;
    this.fail(`${what} is longer than ${longest} bytes`);
  }

  /** How many things follow; each takes at least `leastBytes`, so a lie shows at once. */
  count(what: string, leastBytes = 1): number {
    const value = this.u32(`the number of ${what}`);
    if (value * leastBytes > this.left) this.fail(`it claims ${value} ${what} and ${this.left} bytes are left`);
    return value;
  }

  name(what: string): string {
    const length = this.u32(`the length of ${what}`);
    if (length > NAME_MAX_BYTES) this.fail(`${what} is ${length} bytes long and may be ${NAME_MAX_BYTES}`);
    const start = this.#at;
    this.skip(length, what);
    try {
      return utf8.decode(this.#bytes.subarray(start, this.#at));
    } catch {
      return this.fail(`${what} is not UTF-8`);
    }
  }

  /** The next `length` bytes as a cursor of their own. */
  part(length: number, what: string): WasmReader {
    const start = this.#at;
    this.skip(length, what);
    return new WasmReader(this.#bytes, start, this.#at);
  }

  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.#end);
  }
}
