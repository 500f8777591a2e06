/**
 * Keeps the write-ahead log short without making anybody wait: another thread copies its
 * pages into the database while commits go on, and the store's own thread only copies
 * what came to the log meanwhile. Done in the way of a commit, as SQLite does it, tens of
 * megabytes would be written and flushed while every agent waits for its answer.
 *
 *   resting ─enough written─▶ passing, and once more ─▶ finishing, at once ─▶ resting
 *
 * The first pass has much to copy, the second what came meanwhile, and the finish what
 * came while that was short.
 *
 * Invariants
 * - K1 The log begins anew only when all of it is in the database, which SQLite sees to;
 *   nothing here can lose a commit, whatever fails and whenever it is killed.
 * - K2 Without the other thread, or when it cannot keep pace, SQLite's own limit holds
 *   (engine.ts): slower, never endless.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { Deferred } from "../../core/deferred.ts";

/** Each pass is answered with whether it copied all that was there. */
export type ToLogKeeper = { readonly kind: "pass" } | { readonly kind: "close" };

/** Writes before the first pass: some 60 MB of log. A page that changes again and again in it is copied once. */
const PASS_AFTER_WRITES = 5_000;
const PASSES = 2;

export class LogKeeper {
  readonly #thread: Worker;
  readonly #ended = new Deferred<void>();
  /** Copies what is left of the log, on the store's own connection. */
  readonly #finish: () => void;
  #state: "resting" | "passing" | "ended" = "resting";
  #writes = 0;
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
    if (this.#state !== "resting" || this.#writes < PASS_AFTER_WRITES) return;
    this.#state = "passing";
    this.#writes = 0;
    this.#pass();
  }

  /** Resolves when the other thread has let go of the database. */
  end(): Promise<void> {
    this.#thread.postMessage({ kind: "close" } satisfies ToLogKeeper);
    return this.#ended.promise;
  }

  #pass(): void {
    this.#passes++;
    this.#thread.postMessage({ kind: "pass" } satisfies ToLogKeeper);
  }

  #passed(whole: boolean): void {
    if (this.#state !== "passing") return;
    if (whole && this.#passes < PASSES) {
      this.#pass();
      return;
    }
    this.#passes = 0;
    this.#state = "resting";
    if (whole) this.#finish();
  }
}
