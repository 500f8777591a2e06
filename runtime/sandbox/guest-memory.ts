/**
 * The one place where the host touches a guest's memory. Nothing a guest says is
 * believed: every pointer, length and UTF-8 run is checked here, and sizes are
 * checked before anything is allocated.
 */
import { SirsiError } from "../core/errors.ts";
import type { FrameWriter } from "./frames.ts";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });
const lenientUtf8 = new TextDecoder("utf-8", { fatal: false });
const utf16 = new TextDecoder("utf-16le", { fatal: false });

/** AssemblyScript keeps an object's byte length in the four bytes before it. */
const AS_LENGTH_OFFSET = 4;

function broken(what: string, detail: string): SirsiError {
  return new SirsiError("GUEST_PROTOCOL", `the guest gave ${what} ${detail}`);
}

export class GuestMemory {
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array<ArrayBuffer>;
  /** The same bytes. Kept apart, because a Buffer's slice() is no copy. */
  #buffer: Buffer<ArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#buffer = Buffer.from(memory.buffer);
  }

  /** All of memory as it is now. Valid until the guest runs again: growing detaches it. */
  get bytes(): Uint8Array<ArrayBuffer> {
    // Growing detaches the old buffer, which empties its views.
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#memory.buffer);
    return this.#bytes;
  }

  /** The same, as a Buffer: for comparing and copying natively. */
  get buffer(): Buffer<ArrayBuffer> {
    if (this.#buffer.length === 0) this.#buffer = Buffer.from(this.#memory.buffer);
    return this.#buffer;
  }

  get byteLength(): number {
    return this.bytes.length;
  }

  /** Grows to at least `byteLength`. For restoring a checkpoint. */
  growTo(byteLength: number): void {
    const missing = Math.ceil((byteLength - this.byteLength) / 65_536);
    if (missing <= 0) return;
    try {
      this.#memory.grow(missing);
    } catch (thrown) {
      throw new SirsiError("GUEST_MEMORY_EXHAUSTED", `the agent's state needs ${byteLength} bytes of memory, more than its module may have now; raise the module's memory limit`, { cause: thrown });
    }
  }

  /** Adds `length` bytes at `pointer` to a batch as a run; `what` names them in the error. */
  writeRun(out: FrameWriter, pointer: number, length: number, maxBytes: number, what: string): void {
    const at = this.#range(pointer, length, maxBytes, what);
    out.u32(length >>> 0);
    out.append(this.buffer, at, at + (length >>> 0));
  }

  /** The bytes themselves, for a host function that fills or reads them at once. */
  view(pointer: number, length: number, maxBytes: number, what: string): Uint8Array<ArrayBuffer> {
    const at = this.#range(pointer, length, maxBytes, what);
    return this.bytes.subarray(at, at + length);
  }

  /** `length` bytes at `pointer` are the guest's own; `what` names them in the error. */
  requireRange(pointer: number, length: number, what: string): void {
    this.#range(pointer, length, length, what);
  }

  /** Writes at a pointer that the guest's allocator gave for `bytes.length` bytes. */
  write(pointer: number, bytes: Uint8Array, what: string): void {
    const at = this.#range(pointer, bytes.length, bytes.length, what);
    if (at === 0 && bytes.length > 0) throw broken(what, "at address 0");
    this.bytes.set(bytes, at);
  }

  writeU32(pointer: number, value: number, what: string): void {
    const at = this.#range(pointer, 4, 4, what);
    new DataView(this.#memory.buffer).setUint32(at, value, true);
  }

  /** Text of at most `maxBytes`; longer text is cut, broken UTF-8 is mended with U+FFFD. For logs. */
  looseText(pointer: number, length: number, maxBytes: number): string {
    const kept = Math.min(length >>> 0, maxBytes);
    return lenientUtf8.decode(this.view(pointer, kept, maxBytes, "a log line"));
  }

  /** Text that must be valid UTF-8. */
  text(pointer: number, length: number, maxBytes: number, what: string): string {
    try {
      return strictUtf8.decode(this.view(pointer, length, maxBytes, what));
    } catch (thrown) {
      if (thrown instanceof SirsiError) throw thrown;
      throw broken(what, "that is not UTF-8");
    }
  }

  /** An AssemblyScript string object, cut at `maxBytes`; a placeholder when the pointer is no string. */
  assemblyScriptString(pointer: number, maxBytes: number): string {
    const at = pointer >>> 0;
    if (at < AS_LENGTH_OFFSET || at > this.byteLength) return "";
    const view = new DataView(this.#memory.buffer);
    const length = Math.min(view.getUint32(at - AS_LENGTH_OFFSET, true), maxBytes, this.byteLength - at) & ~1;
    return utf16.decode(this.bytes.subarray(at, at + length));
  }

  #range(pointer: number, length: number, maxBytes: number, what: string): number {
    const at = pointer >>> 0;
    const size = length >>> 0;
    if (size > maxBytes) throw broken(what, `of ${size} bytes, more than the ${maxBytes} it may have`);
    if (at + size > this.byteLength) throw broken(what, `at ${at} of ${size} bytes, outside its ${this.byteLength} bytes of memory`);
    return at;
  }
}

const packing = new BigInt64Array(1);
/** Which half of it is the higher one depends on the machine. */
const halves = new Uint32Array(packing.buffer);
packing[0] = 1n;
const LOW = halves[0] === 1 ? 0 : 1;
const HIGH = 1 - LOW;

/** Of `ptr << 32 | len`. */
export function packedPointer(packed: bigint): number {
  packing[0] = packed;
  return halves[HIGH] ?? 0;
}

/** Of `ptr << 32 | len`. */
export function packedLength(packed: bigint): number {
  packing[0] = packed;
  return halves[LOW] ?? 0;
}

export function pack(pointer: number, length: number): bigint {
  halves[HIGH] = pointer;
  halves[LOW] = length;
  return packing[0] ?? 0n;
}
