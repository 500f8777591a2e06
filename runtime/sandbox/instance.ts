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
 *
 * Outcomes are written into the shard's batch while they come about: emits and requests
 * when the guest makes them, its result and its state at the end (outcome-frame.ts).
 */
import { SUSPEND_BUFFER_BYTES } from "../contract/guest-abi.ts";
import { type PlainError, SirsiError } from "../core/errors.ts";
import { classifyFault } from "./fault.ts";
import type { FrameWriter } from "./frames.ts";
import { type GuestMemory, pack, packedLength, packedPointer } from "./guest-memory.ts";
import { InstanceState } from "./instance-state.ts";
import type { LoadedRevision, LinkedGuest } from "./loaded-revision.ts";
import { beginState, beginStep, sealStep, StateMark, writeDescribed, writeFailed } from "./outcome-frame.ts";
import type { StepBudget } from "./outcomes.ts";

type LifeState = "idle" | "running" | "suspended" | "dead";

const NO_BUDGET: StepBudget = { timeoutMs: 0, fuel: 0, state: "none", stateAtWait: false };
/** What AssemblyScript says of room that no memory could hold; it does not even ask for it then. */
const ALLOCATION_TOO_LARGE = "Allocation too large";
/** log2 of the random bytes that one fuel pays for. */
const RANDOM_SHIFT = 4;

export class GuestInstance {
  readonly revision: LoadedRevision;
  #state: LifeState = "idle";
  readonly #guest: LinkedGuest;
  readonly #memory: GuestMemory;
  readonly #kept: InstanceState;

  // The step in hand. Fuel handed out but not yet used is counted when the step pauses or ends.
  #fuelLeft = 0;
  #fuelUsed = 0;
  #slice = 0;
  /** What the fuel global holds while no guest code runs. */
  #unused = 0;
  #deadline = 0;
  #budget: StepBudget = NO_BUDGET;
  #hostCalls = 0;
  /** Of the whole step, for its limits. */
  #emits = 0;
  #emitBytes = 0;
  /** Since it was entered last. */
  #emitsNow = 0;
  /** Set while it runs: where its outcome goes, and where in it that begins. */
  #out: FrameWriter | null = null;
  #frame = 0;
  #requested = false;
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
    this.#guest = revision.link();
    this.#memory = this.#guest.memory;
    this.#kept = new InstanceState(revision, this.#guest);
  }

  get state(): LifeState {
    return this.#state;
  }

  get memoryBytes(): number {
    return this.#memory.byteLength;
  }

  get memory(): GuestMemory {
    return this.#memory;
  }

  /**
   * Puts the state of a chain in place of the pristine one: a base, the differences after
   * it, and last perhaps a wait, whose step `resume` goes on with. Throws STORE_CORRUPT,
   * and is dead then.
   */
  restore(images: readonly Uint8Array[]): void {
    try {
      const step = this.#kept.restore(images);
      if (step === null) return;
      this.#state = "suspended";
      this.#suspendBuffer = step.suspendBuffer;
      this.#hostCalls = step.hostCalls;
      this.#emits = step.emits;
      this.#emitBytes = step.emitBytes;
      this.#fuelUsed = step.fuelUsed;
    } catch (thrown) {
      this.#state = "dead";
      throw thrown;
    }
  }

  /** Its agent has left: the guest may serve another. Nothing is called on this any more. */
  retire(): void {
    const whole = this.#state === "idle" || this.#state === "suspended";
    this.#state = "dead";
    if (whole) this.revision.giveBack(this.#guest);
  }

  /** One GuestCall; its outcome is added to `out`. `startedAt` is now, monotonic. */
  step(call: Uint8Array, budget: StepBudget, startedAt: number, out: FrameWriter): void {
    if (this.#state !== "idle") return this.#refuse(out);
    this.#fuelUsed = 0;
    this.#hostCalls = 0;
    this.#emits = 0;
    this.#emitBytes = 0;
    this.#memoryRefused = false;
    this.#run(call, budget, startedAt, out, false);
  }

  /** The answer to the request that suspended it: a serialized GuestResponse. `budget` is what is left of the step's. */
  resume(response: Uint8Array, budget: StepBudget, startedAt: number, out: FrameWriter): void {
    if (this.#state !== "suspended") return this.#refuse(out);
    this.#run(response, budget, startedAt, out, true);
  }

  /** The whole state as a base. Only at rest. */
  takeState(out: FrameWriter): void {
    if (this.#state !== "idle") return this.#refuse(out);
    const start = out.length;
    try {
      beginState(out);
      this.#kept.writeRest(out, "base");
    } catch (thrown) {
      out.rewind(start);
      this.#fail(thrown, out);
    }
  }

  describe(out: FrameWriter): void {
    if (this.#state === "dead") return this.#refuse(out);
    writeDescribed(out, this.#kept.describe(this.#state === "suspended"));
  }

  #refuse(out: FrameWriter): void {
    const error = new SirsiError("INTERNAL", `an instance that is ${this.#state} was asked to run`);
    writeFailed(out, error.toPlain(), 0);
  }

  #run(bytes: Uint8Array, budget: StepBudget, startedAt: number, out: FrameWriter, resumes: boolean): void {
    this.#state = "running";
    this.#budget = budget;
    this.#deadline = startedAt + budget.timeoutMs;
    this.#out = out;
    this.#frame = beginStep(out);
    this.#emitsNow = 0;
    this.#fuelLeft = budget.fuel;
    this.revision.enter(this);
    this.#grantSlice();
    try {
      const packed = resumes ? this.#rewound(bytes) : this.#handle(this.#place(bytes, "a call"), bytes.length);
      if (this.#requested) this.#suspended(out);
      else if (this.#rewinding) throw new SirsiError("GUEST_PROTOCOL", "the guest returned without taking the answer it had waited for");
      else this.#finished(packed, out);
    } catch (thrown) {
      out.rewind(this.#frame);
      this.#fail(thrown, out);
    }
    this.#out = null;
  }

  #fail(thrown: unknown, out: FrameWriter): void {
    this.#state = "dead";
    this.#countFuel();
    const error: PlainError = classifyFault(thrown, { memoryRefused: this.#memoryRefused, limits: this.revision.limits }).toPlain();
    writeFailed(out, error, this.#fuelUsed);
  }

  #handle(pointer: number, length: number): bigint {
    this.#handling = true;
    const packed = this.#guest.call(pointer, length);
    this.#handling = false;
    return packed;
  }

  #rewound(response: Uint8Array): bigint {
    this.#response = pack(this.#place(response, "a response"), response.length);
    this.#rewinding = true;
    this.#guest.startRewind(this.#suspendBuffer);
    return this.#handle(0, 0);
  }

  #finished(packed: bigint, out: FrameWriter): void {
    const pointer = packedPointer(packed);
    this.#memory.writeRun(out, pointer, packedLength(packed), this.revision.limits.resultMaxBytes, "a result");
    this.#guest.free(pointer);
    this.#freeSuspendBuffer();
    this.#countFuel();
    this.#writeRest(out);
    this.#state = "idle";
    this.#seal("done", out);
  }

  #writeRest(out: FrameWriter): void {
    const { state } = this.#budget;
    if (state === "none") return out.u8(StateMark.none);
    const mark = out.reserve(1);
    out.putU8(mark, StateMark[this.#kept.writeRest(out, state)]);
  }

  /** No rest state holds the buffer's address: kept, it would be lost room in every life but this one. */
  #freeSuspendBuffer(): void {
    if (this.#suspendBuffer === 0) return;
    this.#guest.free(this.#suspendBuffer);
    this.#suspendBuffer = 0;
  }

  #suspended(out: FrameWriter): void {
    this.#guest.stopUnwind();
    this.#requested = false;
    this.#countFuel();
    this.#writeWait(out);
    this.#state = "suspended";
    this.#seal("waiting", out);
  }

  #writeWait(out: FrameWriter): void {
    if (!this.#budget.stateAtWait || !this.#kept.hasRest) return out.u8(StateMark.none);
    out.u8(StateMark.wait);
    this.#kept.writeWait(out, {
      preparationCrc: this.revision.preparationCrc,
      suspendBuffer: this.#suspendBuffer,
      hostCalls: this.#hostCalls,
      emits: this.#emits,
      emitBytes: this.#emitBytes,
      fuelUsed: this.#fuelUsed,
    });
  }

  #seal(kind: "done" | "waiting", out: FrameWriter): void {
    sealStep(out, this.#frame, kind, { fuelUsed: this.#fuelUsed, fuelLeft: this.#fuelLeft, memoryBytes: this.#memory.byteLength, emits: this.#emitsNow });
  }

  #place(bytes: Uint8Array, what: string): number {
    const pointer = this.#room(bytes.length, what);
    this.#memory.write(pointer, bytes, `room for ${what}`);
    return pointer;
  }

  #room(length: number, what: string): number {
    const pointer = this.#guest.alloc(length) >>> 0;
    if (pointer === 0) throw new SirsiError("GUEST_MEMORY_EXHAUSTED", `the guest had no room for ${what} of ${length} bytes within its ${this.revision.limits.memoryMaxBytes}; send less, or raise the module's memory limit`);
    this.#memory.requireRange(pointer, length, `room for ${what}`);
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
    throw new SirsiError(code, `the agent aborted: ${message === "" ? "abort" : message}${place}`, { metadata: { trap: "abort" } });
  }

  emit(pointer: number, length: number): void {
    const out = this.#running("emit");
    const limits = this.revision.limits;
    if (this.#emits >= limits.outboxCount) throw new SirsiError("GUEST_LIMIT", `the step emitted more than the ${limits.outboxCount} messages it may (outbox_count)`);
    if (this.#emitBytes + (length >>> 0) > limits.outboxBytes) throw new SirsiError("GUEST_LIMIT", `the step emitted more than the ${limits.outboxBytes} bytes it may (outbox_bytes)`);
    // Elsewhere its outcome has the request or the result behind the emits already.
    if (!this.#handling || this.#requested) throw new SirsiError("GUEST_PROTOCOL", "the guest emitted from its allocator; emit while a call is handled");
    this.#memory.writeRun(out, pointer, length, limits.outboxBytes, "a message to emit");
    this.#emitBytes += length >>> 0;
    this.#emits++;
    this.#emitsNow++;
  }

  /** Suspends the guest the first time through, and hands it the answer the second. */
  request(pointer: number, length: number): bigint {
    const out = this.#running("request");
    if (this.#rewinding) {
      this.#guest.stopRewind();
      this.#rewinding = false;
      return this.#response;
    }
    if (!this.#handling || this.#requested) throw new SirsiError("GUEST_PROTOCOL", "the guest made a request from its allocator, where it cannot wait; make it while a call is handled");
    const limits = this.revision.limits;
    if (++this.#hostCalls > limits.hostCallsPerStep) throw new SirsiError("GUEST_LIMIT", `the step made more than the ${limits.hostCallsPerStep} requests it may (host_calls_per_step)`);
    this.#memory.writeRun(out, pointer, length, limits.resultMaxBytes, "a request");
    this.#requested = true;
    this.#handling = false;
    if (this.#suspendBuffer === 0) this.#suspendBuffer = this.#room(SUSPEND_BUFFER_BYTES, "a suspended stack");
    this.#handling = true;
    const start = this.#suspendBuffer;
    this.#memory.writeU32(start, start + 8, "room for a suspended stack");
    this.#memory.writeU32(start + 4, start + SUSPEND_BUFFER_BYTES, "room for a suspended stack");
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
    this.#running("now");
    return BigInt(Math.floor(this.revision.host.now()));
  }

  random(pointer: number, length: number): void {
    this.#running("random");
    const into = this.#memory.view(pointer, length, 65_536, "room for random bytes");
    // One call may ask for much, and the clock is looked at only between slices of fuel.
    this.#guest.fuel.value -= into.length >>> RANDOM_SHIFT;
    this.revision.host.random(into);
  }

  memoryRefused(): void {
    this.#memoryRefused = true;
  }

  /** Where its outcome goes. Every instance of a revision must begin alike, or a state could not be a difference. */
  #running(name: string): FrameWriter {
    if (this.#state !== "running" || this.#out === null) throw new SirsiError("GUEST_PROTOCOL", `the guest called ${name} from its start function; do that in onInit, because all agents begin from one image`);
    return this.#out;
  }
}
