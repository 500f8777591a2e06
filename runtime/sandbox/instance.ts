/**
 * One live WebAssembly instance and the only ways to run it.
 *
 * States: `idle` (its stack is empty) → `running` → `idle` | `suspended` (its stack
 * lies in its own memory) | `dead` (it trapped, ran out of something, or broke the
 * contract; nothing is ever called on it again).
 *
 * Invariants
 * - I1 Guest code runs only inside `enter`, metered, under a deadline.
 * - I2 Whatever a guest does ends in an outcome; nothing it does throws past this class.
 * - I3 After a fault the instance is dead: half-done memory is never checkpointed.
 */
import { SUSPEND_BUFFER_BYTES } from "../contract/guest-abi.ts";
import { type PlainError, SirsiError } from "../core/errors.ts";
import { applyCheckpoint, encodeCheckpoint, readCheckpoint } from "./checkpoint.ts";
import { classifyFault } from "./fault.ts";
import { type GuestMemory, pack, unpack } from "./guest-memory.ts";
import type { LoadedRevision, LinkedGuest } from "./loaded-revision.ts";

/** What one step may use. */
export interface StepBudget {
  /** Milliseconds from now. */
  readonly timeoutMs: number;
  readonly fuel: number;
  /** Take a checkpoint when the step ends well. */
  readonly checkpoint: boolean;
}

export type StepOutcome =
  | {
      readonly kind: "done";
      /** A serialized GuestResult, not yet decoded by anybody. */
      readonly result: Uint8Array;
      /** Serialized GuestEmits since the last outcome, in order. */
      readonly emits: readonly Uint8Array[];
      readonly checkpoint: Uint8Array | null;
      readonly fuelUsed: number;
      readonly memoryBytes: number;
    }
  | {
      readonly kind: "waiting";
      /** A serialized GuestRequest. */
      readonly request: Uint8Array;
      readonly emits: readonly Uint8Array[];
      readonly fuelUsed: number;
      readonly memoryBytes: number;
    }
  | { readonly kind: "failed"; readonly error: PlainError; readonly fuelUsed: number };

type InstanceState = "idle" | "running" | "suspended" | "dead";

const NO_EMITS: readonly Uint8Array[] = [];
/** What AssemblyScript says of room that no memory could hold; it does not even ask for it then. */
const ALLOCATION_TOO_LARGE = "Allocation too large";
/** log2 of the random bytes that one fuel pays for. */
const RANDOM_SHIFT = 4;

export class GuestInstance {
  readonly revision: LoadedRevision;
  #state: InstanceState = "idle";
  #guest: LinkedGuest;
  #memory: GuestMemory;

  // The step in hand. Fuel handed out but not yet used is counted when the step pauses or ends.
  #fuelLeft = 0;
  #fuelUsed = 0;
  #slice = 0;
  /** What the fuel global holds while no guest code runs. */
  #unused = 0;
  #deadline = 0;
  #takeCheckpoint = false;
  #hostCalls = 0;
  #emits: Uint8Array[] = [];
  #emitBytes = 0;
  #pendingRequest: Uint8Array | null = null;
  /** Whether the guest is handling a call, and not making or taking back room: only then can it wait. */
  #handling = false;
  #rewinding = false;
  #response = 0n;
  #suspendBuffer = 0;
  #memoryRefused = false;

  // Log lines allowed in the current second.
  #logSecond = 0;
  #logLines = 0;

  constructor(revision: LoadedRevision) {
    this.revision = revision;
    this.#guest = revision.link(this);
    this.#memory = this.#guest.memory;
  }

  get state(): InstanceState {
    return this.#state;
  }

  get memoryBytes(): number {
    return this.#memory.byteLength;
  }

  get memory(): GuestMemory {
    return this.#memory;
  }

  /** Puts a checkpoint's state in place of the pristine one. Throws STORE_CORRUPT, and is dead then. */
  restore(image: Uint8Array): void {
    try {
      const header = readCheckpoint(image, this.revision.pristine);
      const globals = this.#guest.globals;
      if (header.globals.length !== globals.length) {
        throw new SirsiError("STORE_CORRUPT", `a checkpoint holds ${header.globals.length} globals and the module has ${globals.length}; it was taken from another build`);
      }
      this.#memory.growTo(header.memoryBytes);
      applyCheckpoint(image, header, this.#memory.bytes);
      for (const [i, cell] of globals.entries()) cell.setBits(header.globals[i] ?? 0n);
    } catch (thrown) {
      this.#state = "dead";
      throw thrown;
    }
  }

  /** One GuestCall. */
  step(call: Uint8Array, budget: StepBudget): StepOutcome {
    if (this.#state !== "idle") return this.#refuse();
    this.#begin(budget);
    return this.#enter(() => {
      const pointer = this.#place(call, "a call");
      return this.#handle(pointer, call.length);
    });
  }

  /** The answer to the request that suspended it: a serialized GuestResponse. */
  resume(response: Uint8Array, timeoutMs: number): StepOutcome {
    if (this.#state !== "suspended") return this.#refuse();
    this.#deadline = this.revision.host.monotonic() + timeoutMs;
    return this.#enter(() => {
      this.#response = pack(this.#place(response, "a response"), response.length);
      this.#rewinding = true;
      this.#guest.startRewind(this.#suspendBuffer);
      return this.#handle(0, 0);
    });
  }

  #handle(pointer: number, length: number): bigint {
    this.#handling = true;
    const packed = this.#guest.call(pointer, length);
    this.#handling = false;
    return packed;
  }

  #begin(budget: StepBudget): void {
    this.#fuelLeft = budget.fuel;
    this.#fuelUsed = 0;
    this.#deadline = this.revision.host.monotonic() + budget.timeoutMs;
    this.#takeCheckpoint = budget.checkpoint;
    this.#hostCalls = 0;
    this.#emitBytes = 0;
    this.#emits = [];
    this.#memoryRefused = false;
  }

  #refuse(): StepOutcome {
    const error = new SirsiError("INTERNAL", `an instance that is ${this.#state} was asked to run`);
    return { kind: "failed", error: error.toPlain(), fuelUsed: 0 };
  }

  #enter(run: () => bigint): StepOutcome {
    this.#state = "running";
    this.#grantSlice();
    try {
      const packed = run();
      if (this.#pendingRequest !== null) return this.#suspended(this.#pendingRequest);
      if (this.#rewinding) throw new SirsiError("GUEST_PROTOCOL", "the guest returned without taking the answer it had waited for");
      return this.#finished(packed);
    } catch (thrown) {
      this.#state = "dead";
      this.#countFuel();
      const error = classifyFault(thrown, { memoryRefused: this.#memoryRefused, limits: this.revision.limits });
      return { kind: "failed", error: error.toPlain(), fuelUsed: this.#fuelUsed };
    }
  }

  #finished(packed: bigint): StepOutcome {
    const { pointer, length } = unpack(packed);
    const result = this.#memory.copy(pointer, length, this.revision.limits.resultMaxBytes, "a result");
    this.#guest.free(pointer);
    this.#freeSuspendBuffer();
    this.#countFuel();
    const checkpoint = this.#takeCheckpoint ? this.checkpoint() : null;
    this.#state = "idle";
    return { kind: "done", result, emits: this.#takeEmits(), checkpoint, fuelUsed: this.#fuelUsed, memoryBytes: this.memoryBytes };
  }

  /** No checkpoint holds the buffer's address: kept, it would be lost room in every life but this one. */
  #freeSuspendBuffer(): void {
    if (this.#suspendBuffer === 0) return;
    this.#guest.free(this.#suspendBuffer);
    this.#suspendBuffer = 0;
  }

  #suspended(request: Uint8Array): StepOutcome {
    this.#guest.stopUnwind();
    this.#pendingRequest = null;
    this.#countFuel();
    this.#state = "suspended";
    return { kind: "waiting", request, emits: this.#takeEmits(), fuelUsed: this.#fuelUsed, memoryBytes: this.memoryBytes };
  }

  /** The whole state as it is now. Only sound while no guest code is running. */
  checkpoint(): Uint8Array {
    const globals = this.#guest.globals.map((cell) => cell.bits());
    return encodeCheckpoint(this.revision.pristine, this.#memory.bytes, globals);
  }

  #takeEmits(): readonly Uint8Array[] {
    if (this.#emits.length === 0) return NO_EMITS;
    const taken = this.#emits;
    this.#emits = [];
    return taken;
  }

  #place(bytes: Uint8Array, what: string): number {
    const pointer = this.#guest.alloc(bytes.length) >>> 0;
    if (pointer === 0) throw new SirsiError("GUEST_MEMORY_EXHAUSTED", `the guest had no room for ${what} of ${bytes.length} bytes within its ${this.revision.limits.memoryMaxBytes}; send less, or raise the module's memory limit`);
    this.#memory.write(pointer, bytes, `room for ${what}`);
    return pointer;
  }

  // --- fuel and time ---------------------------------------------------------

  /** What is left of the slice before serves on when there is enough of it: writing the global costs as much as a small step. */
  #grantSlice(): void {
    const most = Math.max(0, Math.min(this.revision.fuelSlice, this.#fuelLeft));
    if (this.#unused > most || this.#unused * 2 < most) {
      this.#guest.fuel.value = most;
      this.#unused = most;
    }
    this.#slice = this.#unused;
    this.#fuelLeft -= this.#slice;
  }

  #countFuel(): void {
    const value = this.#guest.fuel.value;
    this.#unused = Math.max(0, Math.min(this.#slice, value));
    this.#fuelUsed += this.#slice - this.#unused;
    this.#fuelLeft += this.#unused;
    this.#slice = 0;
  }

  /** The guest's slice is used up: another one, or the end. */
  refill(): number {
    this.#fuelUsed += this.#slice;
    this.#slice = 0;
    this.revision.host.heartbeat();
    if (this.revision.host.monotonic() > this.#deadline) {
      throw new SirsiError("DEADLINE_EXCEEDED", "the agent was still computing when the deadline passed, and the step was stopped without effect");
    }
    if (this.#fuelLeft <= 0) {
      throw new SirsiError("GUEST_FUEL_EXHAUSTED", `the agent used all of the ${this.#fuelUsed} fuel that one step may use, and the step was stopped without effect`);
    }
    this.#slice = Math.min(this.revision.fuelSlice, this.#fuelLeft);
    this.#fuelLeft -= this.#slice;
    return this.#slice;
  }

  // --- what the guest calls ----------------------------------------------------

  abort(message: string, file: string, line: number, column: number): never {
    const place = file === "" ? "" : ` at ${file}:${line}:${column}`;
    const code = message === ALLOCATION_TOO_LARGE ? "GUEST_MEMORY_EXHAUSTED" : "GUEST_TRAP";
    throw new SirsiError(code, `the agent aborted: ${message === "" ? "abort" : message}${place}`);
  }

  emit(pointer: number, length: number): void {
    this.#requireRunning("emit");
    const limits = this.revision.limits;
    if (this.#emits.length >= limits.outboxCount) throw new SirsiError("GUEST_LIMIT", `the step emitted more than the ${limits.outboxCount} messages it may (outbox_count)`);
    if (this.#emitBytes + (length >>> 0) > limits.outboxBytes) throw new SirsiError("GUEST_LIMIT", `the step emitted more than the ${limits.outboxBytes} bytes it may (outbox_bytes)`);
    this.#emitBytes += length >>> 0;
    this.#emits.push(this.#memory.copy(pointer, length, limits.outboxBytes, "a message to emit"));
  }

  /** Suspends the guest the first time through, and hands it the answer the second. */
  request(pointer: number, length: number): bigint {
    this.#requireRunning("request");
    if (this.#rewinding) {
      this.#guest.stopRewind();
      this.#rewinding = false;
      return this.#response;
    }
    if (!this.#handling) throw new SirsiError("GUEST_PROTOCOL", "the guest made a request from its allocator, where it cannot wait; make it while a call is handled");
    const limits = this.revision.limits;
    if (++this.#hostCalls > limits.hostCallsPerStep) throw new SirsiError("GUEST_LIMIT", `the step made more than the ${limits.hostCallsPerStep} requests it may (host_calls_per_step)`);
    const request = this.#memory.copy(pointer, length, limits.resultMaxBytes, "a request");
    this.#handling = false;
    if (this.#suspendBuffer === 0) this.#suspendBuffer = this.#place(new Uint8Array(SUSPEND_BUFFER_BYTES), "a suspended stack");
    this.#handling = true;
    const start = this.#suspendBuffer;
    this.#memory.writeU32(start, start + 8, "room for a suspended stack");
    this.#memory.writeU32(start + 4, start + SUSPEND_BUFFER_BYTES, "room for a suspended stack");
    this.#pendingRequest = request;
    this.#guest.startUnwind(start);
    return 0n;
  }

  log(level: number, pointer: number, length: number): void {
    const { host, limits } = this.revision;
    const second = Math.floor(host.monotonic() / 1000);
    if (second !== this.#logSecond) {
      const dropped = this.#logLines - limits.logLinesPerSecond;
      if (dropped > 0) host.log(this, 3, `${dropped} log lines of the second before were dropped: over log_lines_per_second`);
      this.#logSecond = second;
      this.#logLines = 0;
    }
    if (++this.#logLines > limits.logLinesPerSecond) return;
    host.log(this, Math.min(4, Math.max(0, level | 0)), this.#memory.looseText(pointer, length, limits.logLineBytes));
  }

  now(): bigint {
    this.#requireRunning("now");
    return BigInt(Math.floor(this.revision.host.now()));
  }

  random(pointer: number, length: number): void {
    this.#requireRunning("random");
    const into = this.#memory.view(pointer, length, 65_536, "room for random bytes");
    // One call may ask for much, and the clock is looked at only between slices of fuel.
    this.#guest.fuel.value -= into.length >>> RANDOM_SHIFT;
    this.revision.host.random(into);
  }

  memoryRefused(): void {
    this.#memoryRefused = true;
  }

  /** Every instance of a revision must begin alike, or a checkpoint could not be a difference. */
  #requireRunning(name: string): void {
    if (this.#state !== "running") throw new SirsiError("GUEST_PROTOCOL", `the guest called ${name} from its start function; do that in onInit, because all agents begin from one image`);
  }
}
