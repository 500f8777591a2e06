/**
 * Keeps the write-ahead log short without making anybody wait: another thread copies its
 * pages into the database while commits go on, and the store's own thread only copies
 * what came to the log meanwhile. Done in the way of a commit, as SQLite does it, tens of
 * megabytes would be written and flushed while every agent waits for its answer.
 *
 *   resting ─enough written─▶ passing ─little is left─▶ finishing, at once ─▶ resting
 *                               ▲  └──much is left──┐
 *                               └───────────────────┘
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
import type { LogPass } from "./log-copy.ts";

/** Each pass is answered with how far it came, or null when it failed, such as for a full disk. */
export type ToLogKeeper = { readonly kind: "pass" } | { readonly kind: "close" };

/** Writes between two passes: about 30 MB of log. A page that changes again and again in it is copied once. */
const PASS_AFTER_WRITES = 2_048;
/** The store's thread copies so many pages in about the time of a large batch. */
const FINISH_PAGES = 512;

export class LogKeeper {
  readonly #thread: Worker;
  readonly #ended = new Deferred<void>();
  /** Copies what is left of the log, on the store's own connection. */
  readonly #finish: () => void;
  #state: "resting" | "passing" | "ended" = "resting";
  #writes = 0;

  constructor(path: string, finish: () => void) {
    this.#finish = finish;
    const file = new URL(`./log-keeper-thread${extname(import.meta.url)}`, import.meta.url);
    this.#thread = new Worker(file, { name: "sirsi-store-log", workerData: path });
    this.#thread.on("message", (pass: LogPass | null) => this.#passed(pass));
    // It is missed (K2), and the store does without.
    this.#thread.on("error", () => undefined);
    this.#thread.on("exit", () => {
      this.#state = "ended";
      this.#ended.resolve();
    });
  }

  wrote(calls: number): void {
    this.#writes += calls;
    if (this.#state === "resting" && this.#writes >= PASS_AFTER_WRITES) this.#begin();
  }

  /** Resolves when the other thread has let go of the database. */
  end(): Promise<void> {
    this.#thread.postMessage({ kind: "close" } satisfies ToLogKeeper);
    return this.#ended.promise;
  }

  #begin(): void {
    this.#state = "passing";
    this.#writes = 0;
    this.#thread.postMessage({ kind: "pass" } satisfies ToLogKeeper);
  }

  #passed(pass: LogPass | null): void {
    if (this.#state !== "passing") return;
    if (pass !== null && pass.left > FINISH_PAGES) {
      this.#begin();
      return;
    }
    this.#state = "resting";
    if (pass !== null) this.#finish();
  }
}
