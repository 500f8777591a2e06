/**
 * The fleet's time on one of its hosts: the store's, so that hosts whose machines disagree
 * by minutes mean the same moment by what they write and read of each other (timers, ends
 * of sleeps, expiries).
 *
 * Heard with every renewal of the lease, and carried on by the machine's steady clock in
 * between: the machine's other clock may be set at any time. What was heard is only taken
 * over when it differs by more than the way to the store leaves in doubt, so that time does
 * not flutter. Before anything was heard it is the machine's.
 */
import type { Clock, Timer } from "../core/clock.ts";

export class FleetClock implements Clock {
  readonly #machine: Clock;
  /** What the steady clock's 0 was, by the fleet's time. */
  #zero: number;

  constructor(machine: Clock) {
    this.#machine = machine;
    this.#zero = machine.now() - machine.monotonic();
  }

  now(): number {
    return Math.round(this.#zero + this.#machine.monotonic());
  }

  monotonic(): number {
    return this.#machine.monotonic();
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#machine.after(delayMs, callback);
  }

  /** The store said that it was `now` at some moment between these two, on the steady clock. */
  hear(now: number, askedAt: number, heardAt: number): void {
    const doubt = (heardAt - askedAt) / 2;
    const gap = now - (this.#zero + askedAt + doubt);
    if (Math.abs(gap) > doubt + 1) this.#zero += gap;
  }
}
