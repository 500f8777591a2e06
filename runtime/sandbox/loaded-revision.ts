/**
 * A revision inside one shard: its compiled code, the image all its instances
 * begin with, and the one set of imports they share. Only one guest of a shard
 * runs at a time, so the imports serve whichever instance is being entered.
 */
import { crc32 } from "node:zlib";
import { ABI_VERSION, ABORT_IMPORT, FUEL_SLICE, GUEST_EXPORTS, GUEST_IMPORTS, IMPORT_MODULE, PREPARED } from "../contract/guest-abi.ts";
import { SirsiError } from "../core/errors.ts";
import type { GuestLimits } from "../core/limits.ts";
import type { FrameWriter } from "./frames.ts";
import { GuestMemory } from "./guest-memory.ts";
import { type PristineImage, pristineImage } from "./shadow.ts";

type GlobalType = "i32" | "i64" | "f32" | "f64";

/** The part of a Revision that a shard needs; plain data plus the compiled module. */
export interface ShardRevision {
  readonly key: number;
  readonly name: string;
  readonly compiled: WebAssembly.Module;
  readonly limits: GuestLimits;
  /** Names the preparer that made `compiled`. */
  readonly preparation: string;
  readonly globals: readonly { readonly name: string; readonly type: GlobalType }[];
  readonly canWait: boolean;
  /** Its memory and globals are all that an instance can change. */
  readonly capturable: boolean;
}

/** The instance that is being entered, as its imports see it. */
export interface EnteredGuest {
  readonly state: string;
  readonly memory: GuestMemory;
  refill(): number;
  memoryRefused(): void;
  abort(message: string, file: string, line: number, column: number): never;
  log(level: number, pointer: number, length: number): void;
  now(): bigint;
  random(pointer: number, length: number): void;
  emit(pointer: number, length: number): void;
  request(pointer: number, length: number): bigint;
}

/** What a shard offers its guests. */
export interface GuestHost {
  now(): number;
  monotonic(): number;
  random(into: Uint8Array): void;
  log(instance: EnteredGuest, level: number, line: string): void;
  /** Tells the watchdog that guest code is still under control. */
  heartbeat(): void;
}

/** An exported mutable global of the module's own. An image holds it as 64 bits. */
export interface GlobalCell {
  readonly type: GlobalType;
  write(out: FrameWriter): void;
  setBits(bits: bigint): void;
  /** In decimal. */
  text(): string;
  /** As it was in the pristine instance. */
  reset(): void;
}

/** `call`, `alloc` and `free` run guest code: only after `LoadedRevision.enter`. */
export interface LinkedGuest {
  readonly memory: GuestMemory;
  readonly fuel: { value: number };
  readonly globals: readonly GlobalCell[];
  readonly call: (pointer: number, length: number) => bigint;
  readonly alloc: (length: number) => number;
  readonly free: (pointer: number) => void;
  readonly startUnwind: (buffer: number) => void;
  readonly stopUnwind: () => void;
  readonly startRewind: (buffer: number) => void;
  readonly stopRewind: () => void;
}

const MAX_ABORT_TEXT_BYTES = 2_048;
/** Guests kept for the next agents of a revision, in a shard: so many, and so much memory. */
const SPARE_GUESTS = 64;
const SPARE_BYTES = 16 * 1024 * 1024;

type AnyExport = (...args: number[]) => never;

export class LoadedRevision {
  readonly name: string;
  readonly limits: GuestLimits;
  readonly host: GuestHost;
  readonly fuelSlice: number;
  readonly preparationCrc: number;
  readonly #revision: ShardRevision;
  readonly #imports: WebAssembly.Imports;
  #current: EnteredGuest | null = null;
  #startFuel = 0;
  #startDeadline = 0;
  #pristine: PristineImage | null = null;
  /**
   * Guests whose agents have left, in no certain state: reset before they serve again.
   * Without them, agents that come and go would have the collector clear up a thousand
   * memories a second, and all that it shares its thread with would wait for it.
   */
  readonly #spare: LinkedGuest[] = [];

  constructor(revision: ShardRevision, host: GuestHost) {
    this.#revision = revision;
    this.name = revision.name;
    this.limits = revision.limits;
    this.host = host;
    this.preparationCrc = crc32(revision.preparation);
    this.fuelSlice = Math.min(FUEL_SLICE, revision.limits.fuelPerStep);
    this.#imports = this.#makeImports();
  }

  /** The image of an instance just linked. Known once one has been. */
  get pristine(): PristineImage {
    if (this.#pristine === null) throw new SirsiError("INTERNAL", "a revision has no pristine image before its first instance");
    return this.#pristine;
  }

  /** A guest in the pristine state: one that was given back, or else a new one. */
  link(): LinkedGuest {
    const spare = this.#spare.pop();
    if (spare === undefined) return this.#instantiate();
    resetGuest(spare, this.pristine);
    return spare;
  }

  /** Takes a guest back that nobody will enter again. None that trapped: what its code was amidst of is unknown. */
  giveBack(guest: LinkedGuest): void {
    const { length } = this.pristine.memory;
    // Memory never shrinks, and a guest can tell how large it is.
    if (!this.#revision.capturable || guest.memory.byteLength !== length) return;
    if (this.#spare.length < Math.min(SPARE_GUESTS, Math.floor(SPARE_BYTES / length))) this.#spare.push(guest);
  }

  /** Runs the start function too, metered like everything else. */
  #instantiate(): LinkedGuest {
    this.#current = null;
    this.#startFuel = this.limits.fuelPerStep;
    this.#startDeadline = this.host.monotonic() + this.limits.stepTimeoutMs;
    const linked = new WebAssembly.Instance(this.#revision.compiled, this.#imports);
    const exports = linked.exports;
    const rawMemory = exports[GUEST_EXPORTS.memory];
    if (!(rawMemory instanceof WebAssembly.Memory)) throw new SirsiError("MODULE_REJECTED", `module ${this.name} exports no memory`);
    const memory = new GuestMemory(rawMemory);
    this.#pristine ??= this.#firstLook(memory, exports[GUEST_EXPORTS.abi]);
    return this.#bind(exports, memory);
  }

  /** From here on what guests call is for this instance: to be called before any of its code runs. */
  enter(instance: EnteredGuest): void {
    this.#current = instance;
  }

  /** The manifest has said which ABI it is; the code has the last word. */
  #firstLook(memory: GuestMemory, abi: unknown): PristineImage {
    const image = pristineImage(memory.bytes);
    const version = typeof abi === "function" ? (abi as () => unknown)() : "none";
    if (version !== ABI_VERSION) throw new SirsiError("MODULE_REJECTED", `the code of module ${this.name} is of ABI ${String(version)}, whatever its manifest says, and this host runs ABI ${ABI_VERSION}; build it with the SDK of ABI ${ABI_VERSION}`);
    return image;
  }

  #bind(exports: Record<string, unknown>, memory: GuestMemory): LinkedGuest {
    const fn = (name: string): AnyExport => {
      const found = exports[name];
      if (typeof found !== "function") throw new SirsiError("MODULE_REJECTED", `module ${this.name} does not export the function ${name}`);
      return found as AnyExport;
    };
    const missing: AnyExport = () => {
      throw new SirsiError("INTERNAL", `module ${this.name} cannot wait`);
    };
    const suspend = (name: string): AnyExport => (this.#revision.canWait ? fn(name) : missing);
    return {
      memory,
      fuel: exports[PREPARED.fuel] as WebAssembly.Global<number>,
      globals: this.#revision.globals.map(({ name, type }) => globalCell(exports[name] as WebAssembly.Global, type)),
      call: fn(GUEST_EXPORTS.call),
      alloc: fn(GUEST_EXPORTS.alloc),
      free: fn(GUEST_EXPORTS.free),
      startUnwind: suspend("asyncify_start_unwind"),
      stopUnwind: suspend("asyncify_stop_unwind"),
      startRewind: suspend("asyncify_start_rewind"),
      stopRewind: suspend("asyncify_stop_rewind"),
    };
  }

  #guest(what: string): EnteredGuest {
    if (this.#current === null) throw new SirsiError("GUEST_PROTOCOL", `the guest called ${what} from its start function; do that in onInit, because all agents begin from one image`);
    return this.#current;
  }

  #makeImports(): WebAssembly.Imports {
    const sirsi: Record<string, WebAssembly.ImportValue> = {
      [GUEST_IMPORTS.log]: (level: number, pointer: number, length: number) => this.#guest("log").log(level, pointer, length),
      [GUEST_IMPORTS.now]: () => this.#guest("now").now(),
      [GUEST_IMPORTS.random]: (pointer: number, length: number) => this.#guest("random").random(pointer, length),
      [GUEST_IMPORTS.emit]: (pointer: number, length: number) => this.#guest("emit").emit(pointer, length),
      [GUEST_IMPORTS.request]: (pointer: number, length: number) => this.#guest("request").request(pointer, length),
    };
    const abort = (message: number, file: number, line: number, column: number) => {
      const guest = this.#current;
      // Its memory is out of reach before it is instantiated, so the words are lost.
      if (guest === null) throw new SirsiError("GUEST_TRAP", `the start function of module ${this.name} aborted at line ${line >>> 0}:${column >>> 0} of its source; mend it, or move the work to onInit, where its message can be read`);
      const text = guest.memory.assemblyScriptString(message, MAX_ABORT_TEXT_BYTES);
      const path = guest.memory.assemblyScriptString(file, MAX_ABORT_TEXT_BYTES);
      guest.abort(text, path, line >>> 0, column >>> 0);
    };
    return {
      [IMPORT_MODULE]: sirsi,
      [ABORT_IMPORT.module]: { [ABORT_IMPORT.name]: abort },
      [PREPARED.importModule]: { [PREPARED.refill]: () => this.#refill(), [PREPARED.refused]: () => this.#current?.memoryRefused() },
    };
  }

  #refill(): number {
    if (this.#current !== null && this.#current.state === "running") return this.#current.refill();
    return this.#refillStart();
  }

  /** Fuel for a start function, which runs before its instance has a state. */
  #refillStart(): number {
    this.host.heartbeat();
    if (this.#startFuel <= 0) throw new SirsiError("GUEST_FUEL_EXHAUSTED", `the start function of module ${this.name} used all of its fuel; move the work to onInit`);
    if (this.host.monotonic() > this.#startDeadline) throw new SirsiError("DEADLINE_EXCEEDED", `the start function of module ${this.name} did not end in time; move the work to onInit`);
    const slice = Math.min(this.fuelSlice, this.#startFuel);
    this.#startFuel -= slice;
    return slice;
  }
}

/** Every byte of memory and every global; pages that were not touched stay unallocated. */
function resetGuest({ memory, fuel, globals }: LinkedGuest, pristine: PristineImage): void {
  const now = memory.buffer;
  for (let start = 0; start < now.length; start += RESET_BYTES) {
    const end = Math.min(now.length, start + RESET_BYTES);
    if (now.compare(pristine.memory, start, end, start, end) !== 0) pristine.memory.copy(now, start, start, end);
  }
  fuel.value = 0;
  for (const cell of globals) cell.reset();
}
/** A page of the machine's memory. */
const RESET_BYTES = 4_096;

/** Above a value of fewer than 64 bits. */
const NO_BITS = 0;

function globalCell(global: WebAssembly.Global, type: GlobalType): GlobalCell {
  const cast = new DataView(new ArrayBuffer(8));
  const text = () => String(global.value);
  const pristine = global.value as number;
  const reset = () => void (global.value = pristine);
  switch (type) {
    case "i32":
      return {
        type,
        text,
        reset,
        write: (out) => {
          out.u32(global.value as number);
          out.u32(NO_BITS);
        },
        setBits: (bits) => void (global.value = Number(BigInt.asIntN(32, bits))),
      };
    case "i64":
      return { type, text, reset, write: (out) => out.u64(global.value as bigint), setBits: (bits) => void (global.value = BigInt.asIntN(64, bits)) };
    case "f32":
      return {
        type,
        text,
        reset,
        write: (out) => {
          out.f32(global.value as number);
          out.u32(NO_BITS);
        },
        setBits: (bits) => {
          cast.setUint32(0, Number(bits & 0xffff_ffffn));
          global.value = cast.getFloat32(0);
        },
      };
    case "f64":
      return {
        type,
        text,
        reset,
        write: (out) => out.number(global.value as number),
        setBits: (bits) => {
          cast.setBigUint64(0, bits);
          global.value = cast.getFloat64(0);
        },
      };
  }
}
