/**
 * The newest events of one session, in fixed room that is taken as it is needed.
 * Holds what it is given and the times, nothing around them: with many sessions,
 * what is kept is what the collector has to carry.
 * Invariant: the counts it holds are consecutive, `first` to `first + size - 1`.
 */
import type { HostEvent } from "../agent/agents.ts";
import type { KeptEvent } from "./kept-event.ts";

/** Roughly what an event costs without its payload. */
const EVENT_BYTES = 256;

export class EventRing {
  readonly #capacity: number;
  #events: HostEvent[] = [];
  #times: number[] = [];
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
    return this.#events.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(event: HostEvent, at: number): void {
    if (this.#capacity === 0) {
      this.#first += 1;
      return;
    }
    this.#bytes += bytesOf(event);
    if (this.#events.length < this.#capacity) {
      this.#events.push(event);
      this.#times.push(at);
      return;
    }
    const slot = this.#oldest;
    const dropped = this.#events[slot];
    if (dropped !== undefined) this.#bytes -= bytesOf(dropped);
    this.#events[slot] = event;
    this.#times[slot] = at;
    this.#oldest = slot + 1 === this.#capacity ? 0 : slot + 1;
    this.#first += 1;
  }

  /** Those from `count` on, oldest first. */
  from(count: number): KeptEvent[] {
    const kept: KeptEvent[] = [];
    for (let at = Math.max(0, count - this.#first); at < this.#events.length; at++) {
      const slot = (this.#oldest + at) % this.#events.length;
      const event = this.#events[slot];
      if (event !== undefined) kept.push({ event, at: this.#times[slot] ?? 0, count: this.#first + at });
    }
    return kept;
  }

  clear(): void {
    this.#first += this.#events.length;
    this.#events = [];
    this.#times = [];
    this.#oldest = 0;
    this.#bytes = 0;
  }
}

function bytesOf({ payload }: HostEvent): number {
  return payload === null ? EVENT_BYTES : EVENT_BYTES + payload.value.length;
}
