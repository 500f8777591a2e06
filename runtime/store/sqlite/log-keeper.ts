/**
 * Keeps the write-ahead log short without making anybody wait: another thread copies its
 * pages into the database while commits go on, and the store's own thread only copies
 * what came to the log meanwhile. Done in the way of a commit, as SQLite does it, tens of
 * megabytes would be written and flushed while every agent waits for its answer.
 *
 *   resting ─some written─▶ passing ─the log is short─▶ resting
 *                              └─it is long: once more, and finishing at once ─▶ resting
 *
 * Passes are small and frequent, for a large one fills the disk's queue and commits wait
 * behind it. Only a finish lets the log begin anew: before it there are two passes, one
 * for what is there and one for what came meanwhile, so that little is left to copy.
 *
 * Invariants
 * - K1 The log begins anew only when all of it is in the database, which SQLite sees to;
 *   nothing here can lose a commit, whatever fails and whenever it is killed.
 * - K2 Without the other thread, or when it cannot keep pace, SQLite's own limit holds
 *   (engine.ts): slower, never endless.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { systemClock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";

/** Each pass is answered with whether it copied all that was there. */
export type ToLogKeeper = { readonly kind: "pass" } | { readonly kind: "close" };

/** Writes and time before a pass. */
const PASS_AFTER_WRITES = 500;
const PASS_EVERY_MS = 250;
/** Writes before a finish: some 60 MB of log. */
const FINISH_AFTER_WRITES = 5_000;

export class LogKeeper {
  readonly #thread: Worker;
  readonly #ended = new Deferred<void>();
  /** Copies what is left of the log, on the store's own connection. */
  readonly #finish: () => void;
  #state: "resting" | "passing" | "ended" = "resting";
  /** Since the last pass began. */
  #writes = 0;
  #passedAt = 0;
  /** Since the last finish. */
  #unfinished = 0;
  /** Passes of this turn. */
  #passes = 0;

  constructor(path: string, finish: () => void) {
    this.#finish = finish;
    const file = new URL(`./log-keeper-thread${extname(import.meta.url)}`, import.meta.url);
    this.#thread = new Worker(file, { name: "sirsi-store-log", workerData: path });
    this.#thread.on("message", (whole: boolean) => this.#passed(whole));
    // It is missed (K2), and the store does without.
    this.#thread.on("error", () => undefined);
    this.#thread.on("exit", () => {
      this.#state = "ended";
      this.#ended.resolve();
    });
  }

  wrote(calls: number): void {
    this.#writes += calls;
    this.#unfinished += calls;
    if (this.#state !== "resting" || this.#writes < PASS_AFTER_WRITES || systemClock.monotonic() - this.#passedAt < PASS_EVERY_MS) return;
    this.#state = "passing";
    this.#pass();
  }

  /** Resolves when the other thread has let go of the database. */
  end(): Promise<void> {
    this.#thread.postMessage({ kind: "close" } satisfies ToLogKeeper);
    return this.#ended.promise;
  }

  #pass(): void {
    this.#passes++;
    this.#writes = 0;
    this.#passedAt = systemClock.monotonic();
    this.#thread.postMessage({ kind: "pass" } satisfies ToLogKeeper);
  }

  #passed(whole: boolean): void {
    if (this.#state !== "passing") return;
    const long = whole && this.#unfinished >= FINISH_AFTER_WRITES;
    if (long && this.#passes === 1) {
      this.#pass();
      return;
    }
    this.#passes = 0;
    this.#state = "resting";
    if (!long) return;
    this.#unfinished = 0;
    this.#finish();
  }
}
