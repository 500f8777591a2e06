/**
 * The host's side of the admission thread.
 *
 * States: no thread; starting (a job waits for "ready"); idle; busy with one job; closed.
 * Invariants:
 *  1. Every admit() settles once: by the thread's reply, by the deadline, by the
 *     thread's death, or by close().
 *  2. One module at a time; the others wait in order.
 *  3. A thread that hung, died or reported itself spoilt is never given another job.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Clock, Timer } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import { armedFault } from "../core/fault-points.ts";
import type { AdmissionOutcome, AdmitOptions } from "./admission-pipeline.ts";
import type { AdmissionReply, AdmissionRequest, AdmissionThreadData } from "./admission-protocol.ts";
import type { AdmissionPolicy } from "./admit.ts";
import { digestOf, requireSize } from "./inspect.ts";

export interface AdmissionConfig {
  readonly policy: AdmissionPolicy;
  /** Directory of the cache of prepared modules. */
  readonly cacheDir: string;
  readonly cacheMaxBytes: number;
  readonly moduleMaxBytes: number;
  /** For one module, from the thread's taking it. */
  readonly admitTimeoutMs: number;
  readonly clock: Clock;
  /** The thread's file; the one beside this file when left out. Tests put a broken one here. */
  readonly threadFile?: URL;
}

export interface Admission {
  /** Never rejects but with SHUTTING_DOWN, when closed first: what is wrong with a module is an outcome. */
  admit(bytes: Uint8Array, options: AdmitOptions): Promise<AdmissionOutcome>;
  /** From the next module on. */
  setPolicy(policy: AdmissionPolicy): void;
  /** Settles what waits with SHUTTING_DOWN and ends the thread. Repeatable. */
  close(): Promise<void>;
  readonly threadsStarted: number;
  /** Whether the present thread had to load Binaryen. */
  readonly preparerLoaded: boolean;
}

interface Job {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly options: AdmitOptions;
  readonly settled: Deferred<AdmissionOutcome>;
}

interface Thread {
  readonly worker: Worker;
  ready: boolean;
}

/** Starting a thread loads no module of anybody's; it fails only on a machine in trouble. */
const START_TIMEOUT_MS = 30_000;
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 512, maxYoungGenerationSizeMb: 64, stackSizeMb: 16 };

export function openAdmission(config: AdmissionConfig): Admission {
  return new ThreadedAdmission(config);
}

class ThreadedAdmission implements Admission {
  readonly #config: AdmissionConfig;
  #policy: AdmissionPolicy;
  readonly #queue: Job[] = [];
  #job: Job | null = null;
  #deadline: Timer | null = null;
  #thread: Thread | null = null;
  #closed = false;
  #nextId = 1;
  threadsStarted = 0;
  preparerLoaded = false;

  constructor(config: AdmissionConfig) {
    this.#config = config;
    this.#policy = config.policy;
  }

  setPolicy(policy: AdmissionPolicy): void {
    this.#policy = policy;
  }

  admit(bytes: Uint8Array, options: AdmitOptions): Promise<AdmissionOutcome> {
    if (this.#closed) return Promise.reject(shuttingDown());
    try {
      requireSize(bytes.length, this.#config.moduleMaxBytes);
    } catch (thrown) {
      return Promise.resolve(rejected(bytes, SirsiError.from(thrown)));
    }
    const job: Job = { id: this.#nextId++, bytes, options, settled: new Deferred() };
    this.#queue.push(job);
    this.#takeNext();
    return job.settled.promise;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const job of this.#queue.splice(0)) job.settled.reject(shuttingDown());
    this.#job?.settled.reject(shuttingDown());
    this.#finish();
    await this.#endThread();
  }

  #takeNext(): void {
    if (this.#job !== null || this.#closed) return;
    const job = this.#queue.shift();
    if (job === undefined) return;
    this.#job = job;
    this.#thread ??= this.#startThread();
    this.#thread.worker.ref();
    if (this.#thread.ready) this.#send(this.#thread, job);
    else this.#arm(START_TIMEOUT_MS, "starting the admission thread");
  }

  #startThread(): Thread {
    const { cacheDir, cacheMaxBytes, moduleMaxBytes, threadFile } = this.#config;
    const data: AdmissionThreadData = { cacheDir, cacheMaxBytes, moduleMaxBytes, fault: armedFault() };
    const file = threadFile ?? new URL(`./admission-thread${extname(import.meta.url)}`, import.meta.url);
    const worker = new Worker(file, { name: "sirsi-admission", workerData: data, resourceLimits: RESOURCE_LIMITS, stdout: true, stderr: true });
    worker.stdout.resume();
    worker.stderr.resume();
    const thread: Thread = { worker, ready: false };
    this.threadsStarted += 1;
    this.preparerLoaded = false;
    let reason = "it ended by itself";
    worker.on("message", (reply: AdmissionReply) => this.#onReply(thread, reply));
    worker.on("messageerror", () => this.#onLost(thread, "its answer could not be read"));
    worker.on("error", (error) => (reason = error instanceof Error ? error.message : String(error)));
    worker.on("exit", () => this.#onLost(thread, reason));
    return thread;
  }

  #send(thread: Thread, job: Job): void {
    const request: AdmissionRequest = { id: job.id, bytes: job.bytes, options: job.options, policy: this.#policy };
    this.#arm(this.#config.admitTimeoutMs, "admitting the module");
    thread.worker.postMessage(request);
  }

  #arm(timeoutMs: number, what: string): void {
    this.#deadline?.cancel();
    this.#deadline = this.#config.clock.after(timeoutMs, () => {
      const job = this.#job;
      void this.#endThread();
      if (job === null) return;
      const error = new SirsiError("MODULE_TIMEOUT", `${what} took longer than ${timeoutMs} ms and was ended; simplify the module, or raise modules.admit_timeout_ms`);
      this.#settle(job, rejected(job.bytes, error));
    });
  }

  #onReply(thread: Thread, reply: AdmissionReply): void {
    if (thread !== this.#thread) return;
    const job = this.#job;
    if (reply.kind === "ready") {
      thread.ready = true;
      if (job !== null) this.#send(thread, job);
      return;
    }
    if (job?.id !== reply.id) return;
    this.preparerLoaded = reply.preparerLoaded;
    if (reply.spoilt) void this.#endThread();
    this.#settle(job, reply.outcome);
  }

  #onLost(thread: Thread, reason: string): void {
    if (thread !== this.#thread) return;
    void this.#endThread();
    const job = this.#job;
    if (job === null) return;
    const error = new SirsiError("MODULE_REJECTED", `the admission thread died on it (${reason}); make the module smaller or simpler, and report it if it is neither large nor odd`);
    this.#settle(job, rejected(job.bytes, error));
  }

  #settle(job: Job, outcome: AdmissionOutcome): void {
    this.#finish();
    job.settled.resolve(outcome);
    this.#takeNext();
  }

  #finish(): void {
    this.#deadline?.cancel();
    this.#deadline = null;
    this.#job = null;
    this.#thread?.worker.unref();
  }

  async #endThread(): Promise<void> {
    const thread = this.#thread;
    this.#thread = null;
    await thread?.worker.terminate();
  }
}

function rejected(bytes: Uint8Array, error: SirsiError): AdmissionOutcome {
  return { kind: "rejected", error: error.toPlain(), digest: digestOf(bytes), name: null, version: null };
}

function shuttingDown(): SirsiError {
  return new SirsiError("SHUTTING_DOWN", "the host is shutting down and admits no more modules; try again when it is back");
}
