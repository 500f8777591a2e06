/** Time as something a test can hold. The only file that reads the machine's clocks. */

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since 1970, UTC. May jump. For records and people. */
  now(): number;
  /** Milliseconds that never go back, fractions included. For measuring and deadlines. */
  monotonic(): number;
  /** Calls back once after at least `delayMs`. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
}

/** setTimeout's own limit; longer waits are laid end to end. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    const due = performance.now() + delayMs;
    let handle: NodeJS.Timeout;
    const arm = () => {
      const left = due - performance.now();
      // Timers go off up to a millisecond early, too.
      if (left <= 0) callback();
      else wait(Math.min(Math.ceil(left), LONGEST_TIMEOUT_MS));
    };
    const wait = (ms: number) => {
      handle = setTimeout(arm, ms);
      handle.unref();
    };
    wait(Math.min(Math.max(0, Math.ceil(delayMs)), LONGEST_TIMEOUT_MS));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** A clock that moves only when told to. */
export class ManualClock implements Clock {
  #now: number;
  #monotonic = 0;
  #nextId = 0;
  readonly #pending = new Map<number, { dueMs: number; callback: () => void }>();

  constructor(startMs = 1_750_000_000_000) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Timers that have yet to go off. */
  get pending(): number {
    return this.#pending.size;
  }

  after(delayMs: number, callback: () => void): Timer {
    const id = this.#nextId++;
    this.#pending.set(id, { dueMs: this.#monotonic + Math.max(0, delayMs), callback });
    return { cancel: () => void this.#pending.delete(id) };
  }

  /** Somebody sets the machine's clock; the steady one does not notice. */
  setNow(ms: number): void {
    this.#now = ms;
  }

  /** Moves time on and runs what falls due, in order. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    for (;;) {
      let first: [number, { dueMs: number; callback: () => void }] | undefined;
      for (const entry of this.#pending) {
        if (entry[1].dueMs <= end && (first === undefined || entry[1].dueMs < first[1].dueMs)) first = entry;
      }
      if (first === undefined) break;
      this.#pending.delete(first[0]);
      this.#now += first[1].dueMs - this.#monotonic;
      this.#monotonic = first[1].dueMs;
      first[1].callback();
    }
    this.#now += end - this.#monotonic;
    this.#monotonic = end;
  }
}
