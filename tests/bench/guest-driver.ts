/**
 * Drives one instance of a module in this thread, prepared or as it was built: the same
 * few lines for both, so that all the difference is what preparation adds. Requests are
 * answered at once; nothing is ever unwound.
 */
import { FUEL_SLICE, GUEST_EXPORTS, GUEST_IMPORTS, IMPORT_MODULE, PREPARED } from "../../runtime/contract/guest-abi.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { stubImports } from "./stub-imports.ts";

interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly alloc: (length: number) => number;
  readonly free: (pointer: number) => void;
  readonly call: (pointer: number, length: number) => bigint;
  readonly fuel: WebAssembly.Global<number> | undefined;
}

export class GuestDriver {
  readonly #exports: Exports;
  #bytes: Uint8Array;

  constructor(module: WebAssembly.Module, answer: Uint8Array) {
    const imports = stubImports(module, {
      [IMPORT_MODULE]: {
        [GUEST_IMPORTS.now]: () => 1_750_000_000_000n,
        [GUEST_IMPORTS.request]: () => {
          const pointer = this.#place(answer);
          return (BigInt(pointer) << 32n) | BigInt(answer.length);
        },
      },
      env: {
        abort: () => {
          throw new SirsiError("GUEST_TRAP", "a guest under measurement aborted");
        },
      },
    });
    const { exports } = new WebAssembly.Instance(module, imports);
    const of = (name: string) => exports[name] as never;
    this.#exports = { memory: of(GUEST_EXPORTS.memory), alloc: of(GUEST_EXPORTS.alloc), free: of(GUEST_EXPORTS.free), call: of(GUEST_EXPORTS.call), fuel: exports[PREPARED.fuel] as WebAssembly.Global<number> | undefined };
    this.#bytes = new Uint8Array(this.#exports.memory.buffer);
  }

  #memory(): Uint8Array {
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(this.#exports.memory.buffer);
    return this.#bytes;
  }

  #place(bytes: Uint8Array): number {
    const pointer = this.#exports.alloc(bytes.length) >>> 0;
    this.#memory().set(bytes, pointer);
    return pointer;
  }

  /** One GuestCall; the length of its GuestResult. */
  run(call: Uint8Array): number {
    const { fuel } = this.#exports;
    if (fuel !== undefined) fuel.value = FUEL_SLICE;
    const packed = this.#exports.call(this.#place(call), call.length);
    this.#exports.free(Number(packed >> 32n));
    return Number(packed & 0xffff_ffffn);
  }

  /** One GuestCall and its GuestResult. */
  ask(call: Uint8Array): Uint8Array {
    const packed = BigInt.asUintN(64, this.#exports.call(this.#place(call), call.length));
    const pointer = Number(packed >> 32n);
    const result = this.#memory().slice(pointer, pointer + Number(packed & 0xffff_ffffn));
    this.#exports.free(pointer);
    return result;
  }
}
