/**
 * The newest events of one session, in fixed room that is taken as it is needed.
 * Invariant: the counts it holds are consecutive, `first` to `first + size - 1`.
 */
import type { KeptEvent } from "./kept-event.ts";

export class EventRing {
  readonly #capacity: number;
  #slots: KeptEvent[] = [];
  /** The slot of the oldest one, once the ring is full. */
  #oldest = 0;
  /** The lowest count that can still be read; the next one to come when nothing is kept. */
  #first = 1;
  #bytes = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get first(): number {
    return this.#first;
  }

  get size(): number {
    return this.#slots.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(kept: KeptEvent): void {
    if (this.#capacity === 0) {
      this.#first = kept.count + 1;
      return;
    }
    this.#bytes += kept.bytes;
    if (this.#slots.length < this.#capacity) {
      this.#slots.push(kept);
      return;
    }
    this.#bytes -= this.#slots[this.#oldest]?.bytes ?? 0;
    this.#slots[this.#oldest] = kept;
    this.#oldest = (this.#oldest + 1) % this.#capacity;
    this.#first += 1;
  }

  /** Those from `count` on, oldest first. */
  from(count: number): KeptEvent[] {
    const skip = Math.max(0, count - this.#first);
    const kept: KeptEvent[] = [];
    for (let at = skip; at < this.#slots.length; at++) {
      const slot = this.#slots[(this.#oldest + at) % this.#slots.length];
      if (slot !== undefined) kept.push(slot);
    }
    return kept;
  }

  clear(): void {
    this.#first += this.#slots.length;
    this.#slots = [];
    this.#oldest = 0;
    this.#bytes = 0;
  }
}
