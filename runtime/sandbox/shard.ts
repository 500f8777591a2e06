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
import type { ShardRevision } from "./loaded-revision.ts";
import { readOutcome } from "./outcome-frame.ts";
import type { DescribeOutcome, OpenOutcome, StateOutcome, StepBudget, StepOutcome } from "./outcomes.ts";
import { CommandKind, COUNTERS, type FromShard, type ToShard, writeCommand, writeOpen, writeRun } from "./shard-protocol.ts";

/** The shard ended before it answered. `culprit`: this very call ran when it hung or died. */
export type LostOutcome = { readonly kind: "lost"; readonly culprit: boolean; readonly why: string };
export type ShardStepOutcome = StepOutcome | LostOutcome;
export type ShardOpenOutcome = OpenOutcome | LostOutcome;
export type ShardStateOutcome = StateOutcome | LostOutcome;
export type ShardDescribeOutcome = DescribeOutcome | LostOutcome;

export interface ShardConfig {
  readonly clock: Clock;
  /** How long a shard may show no sign of life while calls wait, in milliseconds. */
  readonly stallMs: number;
  readonly onLog: (instanceId: number, level: number, line: string) => void;
  /** Once, when the shard has ended by itself or was killed for stalling. */
  readonly onEnd: (shard: Shard, why: string) => void;
}

type Settle = (outcome: never) => void;

/** What `new Promise` hands its executor, kept for the one who called it: a closure less for each call. */
let settleOfLast: Settle | null = null;
function keepSettle(settle: Settle): void {
  settleOfLast = settle;
}

const THREAD_FILE = new URL(`./shard-thread${extname(import.meta.url)}`, import.meta.url);

export class Shard {
  readonly index: number;
  readonly #config: ShardConfig;
  readonly #worker: Worker;
  readonly #counters = new Int32Array(new SharedArrayBuffer(COUNTERS.count * 4));
  // Calls in hand, by call id. An id is given again once its answer is there.
  readonly #settles: (Settle | null)[] = [];
  readonly #callers: number[] = [];
  readonly #freeIds: number[] = [];
  #waiting = 0;
  readonly #revisions = new Set<number>();
  #outgoing = new FrameWriter();
  #flushPlanned = false;
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
    return this.#waiting;
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

  /** `images` as ShardPool.open wants them; none for the pristine state. */
  open(instanceId: number, revisionKey: number, images: readonly Uint8Array[]): Promise<ShardOpenOutcome> {
    if (this.#ended !== null) return this.#lost(this.#ended);
    const answer = new Promise<ShardOpenOutcome>(keepSettle);
    writeOpen(this.#outgoing, instanceId, this.#claim(instanceId), revisionKey, images);
    return answer;
  }

  step(instanceId: number, call: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    return this.#run(CommandKind.step, instanceId, call, budget);
  }

  /**
   * The same, for a caller that takes the outcome at once, in the turn in which it comes or in
   * this one when the shard has ended: no promise is made. `settle` must not throw.
   */
  stepThen(instanceId: number, call: Uint8Array, budget: StepBudget, settle: (outcome: ShardStepOutcome) => void): void {
    if (this.#ended !== null) {
      settle({ kind: "lost", culprit: false, why: this.#ended });
      return;
    }
    settleOfLast = settle;
    writeRun(this.#outgoing, CommandKind.step, instanceId, this.#claim(instanceId), budget, call);
  }

  resume(instanceId: number, response: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    return this.#run(CommandKind.resume, instanceId, response, budget);
  }

  takeState(instanceId: number): Promise<ShardStateOutcome> {
    return this.#ask(CommandKind.takeState, instanceId);
  }

  describe(instanceId: number): Promise<ShardDescribeOutcome> {
    return this.#ask(CommandKind.describe, instanceId);
  }

  /** Drops an instance, whatever it is doing between steps. */
  close(instanceId: number): void {
    if (this.ended) return;
    writeCommand(this.#outgoing, CommandKind.close, instanceId, 0);
    this.#planFlush();
  }

  /** Ends the thread now. Pending calls are lost. */
  async terminate(why: string): Promise<void> {
    this.#end(why, false);
    await this.#worker.terminate();
  }

  #run(kind: typeof CommandKind.step | typeof CommandKind.resume, instanceId: number, bytes: Uint8Array, budget: StepBudget): Promise<ShardStepOutcome> {
    if (this.#ended !== null) return this.#lost(this.#ended);
    const answer = new Promise<ShardStepOutcome>(keepSettle);
    writeRun(this.#outgoing, kind, instanceId, this.#claim(instanceId), budget, bytes);
    return answer;
  }

  #ask<Outcome>(kind: CommandKind, instanceId: number): Promise<Outcome | LostOutcome> {
    if (this.#ended !== null) return this.#lost(this.#ended);
    const answer = new Promise<Outcome | LostOutcome>(keepSettle);
    writeCommand(this.#outgoing, kind, instanceId, this.#claim(instanceId));
    return answer;
  }

  #lost(why: string): Promise<LostOutcome> {
    return Promise.resolve({ kind: "lost", culprit: false, why });
  }

  /** An id for the call whose promise was made last, and a flush to carry it. */
  #claim(instanceId: number): number {
    const id = this.#freeIds.pop() ?? this.#settles.length;
    this.#settles[id] = settleOfLast;
    this.#callers[id] = instanceId;
    this.#waiting++;
    this.#planFlush();
    return id;
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
    if (this.#watch === null && this.#waiting > 0) this.#startWatch();
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
      const id = frames.u32();
      const outcome = readOutcome(frames);
      const settle = this.#settles[id] ?? null;
      if (settle === null) continue;
      this.#settles[id] = null;
      this.#freeIds.push(id);
      this.#waiting--;
      settle(outcome as never);
    }
  }

  #startWatch(): void {
    this.#lastMoved = this.#config.clock.monotonic();
    this.#lastHeartbeat = Atomics.load(this.#counters, COUNTERS.heartbeat);
    const look = () => {
      this.#watch = null;
      if (this.ended || this.#waiting === 0) return;
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
    const settles = this.#settles.splice(0);
    this.#waiting = 0;
    this.#config.onEnd(this, why);
    let blamed = false;
    for (const [id, settle] of settles.entries()) {
      if (settle === null) continue;
      const culprit: boolean = blame && !blamed && running !== 0 && this.#callers[id] === running;
      blamed ||= culprit;
      settle({ kind: "lost", culprit, why } satisfies LostOutcome as never);
    }
  }
}

/** For a caller that wants an error rather than an outcome. */
export function lostError(lost: LostOutcome): SirsiError {
  return lost.culprit
    ? new SirsiError("GUEST_TRAP", `the agent was running when its shard ended (${lost.why}), so its last committed state stands`, { metadata: { trap: "hung" } })
    : new SirsiError("SHARD_LOST", `the agent's shard ended before it answered (${lost.why}); the step had no effect, send again`, { retryAfterMs: 100 });
}
