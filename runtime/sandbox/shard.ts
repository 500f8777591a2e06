/**
 * A shard as the main thread sees it: a thread that runs instances.
 *
 * Lifecycle: `live` → `ended` (closed by us, killed by the watchdog, or died).
 *
 * Invariants
 * - H1 Every call settles exactly once: with its outcome, or with a `lost` outcome when
 *   the shard ends. No call outlives its shard.
 * - H2 A shard that shows no sign of life for `stallMs` while calls wait is terminated.
 *   The instance that was running is the culprit, as it is when the thread dies by itself;
 *   the others are merely lost.
 * - H3 A promise of a shard never rejects.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { FrameReader, FrameWriter } from "./frames.ts";
import type { StepBudget, StepOutcome } from "./instance.ts";
import type { ShardRevision } from "./loaded-revision.ts";
import { type Command, COUNTERS, type FromShard, type OpenOutcome, readAnswer, type ToShard, writeCommand } from "./shard-protocol.ts";

/** The shard ended before it answered. `culprit`: this very call ran when it hung or died. */
export type LostOutcome = { readonly kind: "lost"; readonly culprit: boolean; readonly why: string };
export type ShardStepOutcome = StepOutcome | LostOutcome;
export type ShardOpenOutcome = OpenOutcome | LostOutcome;

export interface ShardConfig {
  readonly clock: Clock;
  /** How long a shard may show no sign of life while calls wait, in milliseconds. */
  readonly stallMs: number;
  readonly onLog: (instanceId: number, level: number, line: string) => void;
  /** Once, when the shard has ended by itself or was killed for stalling. */
  readonly onEnd: (shard: Shard, why: string) => void;
}

interface PendingCall {
  readonly instanceId: number;
  readonly settle: (outcome: never) => void;
}

const THREAD_FILE = new URL(`./shard-thread${extname(import.meta.url)}`, import.meta.url);

export class Shard {
  readonly index: number;
  readonly #config: ShardConfig;
  readonly #worker: Worker;
  readonly #counters = new Int32Array(new SharedArrayBuffer(COUNTERS.count * 4));
  readonly #pending = new Map<number, PendingCall>();
  readonly #revisions = new Set<number>();
  #outgoing = new FrameWriter();
  #flushPlanned = false;
  #nextCall = 1;
  #ended: string | null = null;
  #watch: Timer | null = null;
  #lastHeartbeat = 0;
  #lastMoved = 0;
  /** How many instances live here; the pool's measure of load. */
  instances = 0;

  constructor(index: number, config: ShardConfig) {
    this.index = index;
    this.#config = config;
    this.#worker = new Worker(THREAD_FILE, { workerData: { counters: this.#counters.buffer }, name: `sirsi-shard-${index}` });
    this.#worker.unref();
    this.#worker.on("message", (message: FromShard) => this.#receive(message));
    this.#worker.on("error", (error) => this.#end(`its thread failed: ${error instanceof Error ? error.message : String(error)}`));
    this.#worker.on("exit", (code) => this.#end(`its thread exited with code ${code}`));
  }

  get ended(): boolean {
    return this.#ended !== null;
  }

  get pendingCalls(): number {
    return this.#pending.size;
  }

  /** Makes a revision known. Repeatable. */
  provide(revision: ShardRevision): void {
    if (this.#revisions.has(revision.key) || this.ended) return;
    this.#revisions.add(revision.key);
    this.#send({ kind: "revision", revision });
  }

  forget(revisionKey: number): void {
    if (!this.#revisions.delete(revisionKey) || this.ended) return;
    this.#flush();
    this.#send({ kind: "forget_revision", key: revisionKey });
  }

  open(instanceId: number, revisionKey: number, image: Uint8Array | null): Promise<ShardOpenOutcome> {
    return this.#ask((callId) => ({ kind: "open", callId, instanceId, revisionKey, image }), instanceId);
  }

  step(instanceId: number, call: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    return this.#ask((callId) => ({ kind: "step", callId, instanceId, budget, call }), instanceId);
  }

  resume(instanceId: number, response: Uint8Array, timeoutMs: number): Promise<ShardStepOutcome> {
    return this.#ask((callId) => ({ kind: "resume", callId, instanceId, timeoutMs, response }), instanceId);
  }

  /** Drops an instance, whatever it is doing between steps. */
  close(instanceId: number): void {
    if (this.ended) return;
    writeCommand(this.#outgoing, { kind: "close", instanceId });
    this.#planFlush();
  }

  /** Ends the thread now. Pending calls are lost. */
  async terminate(why: string): Promise<void> {
    this.#end(why, false);
    await this.#worker.terminate();
  }

  #ask<Outcome>(make: (callId: number) => Command, instanceId: number): Promise<Outcome | LostOutcome> {
    if (this.#ended !== null) return Promise.resolve({ kind: "lost", culprit: false, why: this.#ended });
    const callId = this.#nextCall++;
    return new Promise<Outcome | LostOutcome>((resolve) => {
      this.#pending.set(callId, { instanceId, settle: resolve });
      writeCommand(this.#outgoing, make(callId));
      this.#planFlush();
    });
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushPlanned = false;
    if (this.#outgoing.length === 0 || this.ended) return;
    const length = this.#outgoing.length;
    const buffer = this.#outgoing.take();
    this.#send({ kind: "batch", buffer, length }, [buffer]);
    if (this.#watch === null && this.#pending.size > 0) this.#startWatch();
  }

  #send(message: ToShard, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromShard): void {
    if (this.ended) return;
    if (message.kind === "log") {
      this.#config.onLog(message.instanceId, message.level, message.line);
      return;
    }
    const frames = new FrameReader(message.buffer, message.length);
    while (!frames.done) {
      const { callId, outcome } = readAnswer(frames);
      const call = this.#pending.get(callId);
      this.#pending.delete(callId);
      call?.settle(outcome as never);
    }
  }

  #startWatch(): void {
    this.#lastMoved = this.#config.clock.monotonic();
    this.#lastHeartbeat = Atomics.load(this.#counters, COUNTERS.heartbeat);
    const look = () => {
      this.#watch = null;
      if (this.ended || this.#pending.size === 0) return;
      const beat = Atomics.load(this.#counters, COUNTERS.heartbeat);
      const now = this.#config.clock.monotonic();
      if (beat !== this.#lastHeartbeat) {
        this.#lastHeartbeat = beat;
        this.#lastMoved = now;
      } else if (now - this.#lastMoved >= this.#config.stallMs) {
        this.#end(`it showed no sign of life for ${this.#config.stallMs} ms`);
        void this.#worker.terminate();
        return;
      }
      this.#watch = this.#config.clock.after(this.#config.stallMs / 4, look);
    };
    this.#watch = this.#config.clock.after(this.#config.stallMs / 4, look);
  }

  /** `blame`: the instance that was running may have brought it about. */
  #end(why: string, blame = true): void {
    if (this.#ended !== null) return;
    this.#ended = why;
    this.#watch?.cancel();
    const running = Atomics.load(this.#counters, COUNTERS.running);
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    this.#config.onEnd(this, why);
    let blamed = false;
    for (const call of calls) {
      const culprit: boolean = blame && !blamed && running !== 0 && call.instanceId === running;
      blamed ||= culprit;
      call.settle({ kind: "lost", culprit, why } satisfies LostOutcome as never);
    }
  }
}

/** For a caller that wants an error rather than an outcome. */
export function lostError(lost: LostOutcome): SirsiError {
  return lost.culprit
    ? new SirsiError("GUEST_TRAP", `the agent was running when its shard ended (${lost.why}), so its last committed state stands`, { metadata: { trap: "hung" } })
    : new SirsiError("SHARD_LOST", `the agent's shard ended before it answered (${lost.why}); the step had no effect, send again`, { retryAfterMs: 100 });
}
