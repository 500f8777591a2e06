/**
 * One reader of a session's events: kept ones first, then live ones. What an event is
 * until it is read (`Item`) is the business of who offers it.
 *
 * open ──end()──▶ ended (what is queued is still read) ;  open ──fall behind / signal──▶ failed
 * Invariants: (1) it never blocks the publisher: the live queue is bounded, and a
 * reader that overruns it is failed with OVERLOADED; (2) each event comes once, in
 * the order of the offers; (3) `detach` is called exactly once, when it leaves open.
 */
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { SirsiError } from "../core/errors.ts";

/** Live events that may wait for a slow reader. */
export const FOLLOWER_BUFFER = 4_096;
/** What they may take together, where each follower has its own copies. One event always has room. */
export const FOLLOWER_BYTES_MAX = 32 * 1024 * 1024;

type Phase = { readonly kind: "open" } | { readonly kind: "ended" } | { readonly kind: "failed"; readonly error: SirsiError };

interface Waiter {
  resolve(result: IteratorResult<AgentEvent>): void;
  reject(error: SirsiError): void;
}

export interface FollowerPlan<Item extends object> {
  readonly wants: (item: Item) => boolean;
  /** Kept events to begin with, oldest first. */
  readonly kept: readonly Item[];
  readonly sequenceOf: (item: Item) => bigint;
  readonly messageOf: (item: Item) => AgentEvent;
  /** How many events may wait, besides `kept`. */
  readonly room: number;
  /** What an event costs that waits; left out: nothing of its own, for it is kept anyway. */
  readonly bytesOf?: (item: Item) => number;
  readonly detach: (follower: EventFollower<Item>) => void;
}

export class EventFollower<Item extends object> implements AsyncIterableIterator<AgentEvent> {
  readonly #plan: FollowerPlan<Item>;
  #phase: Phase = { kind: "open" };
  #queue: Item[];
  #head = 0;
  /** How far the queue may grow: what was kept at the start, and the buffer for live ones. */
  #room: number;
  #bytes = 0;
  #waiter: Waiter | null = null;

  constructor(plan: FollowerPlan<Item>) {
    this.#plan = plan;
    this.#queue = plan.kept.filter((item) => plan.wants(item));
    this.#room = this.#queue.length + plan.room;
    for (const item of this.#queue) this.#bytes += this.#bytesOf(item);
  }

  get isOpen(): boolean {
    return this.#phase.kind === "open";
  }

  /** A live event. */
  offer(item: Item): void {
    if (this.#phase.kind !== "open" || !this.#plan.wants(item)) return;
    const waiter = this.#waiter;
    if (waiter !== null) {
      this.#waiter = null;
      waiter.resolve({ done: false, value: this.#plan.messageOf(item) });
      return;
    }
    const waiting = this.#queue.length - this.#head;
    const bytes = this.#bytesOf(item);
    if (waiting === 0 || (waiting < this.#room && this.#bytes + bytes <= FOLLOWER_BYTES_MAX)) {
      this.#queue.push(item);
      this.#bytes += bytes;
      return;
    }
    const next = this.#queue[this.#head];
    this.fail(
      new SirsiError("OVERLOADED", `the follower reads too slowly: ${waiting} events wait for it. Follow again from next_sequence, and read faster or ask for fewer event types`, {
        metadata: { next_sequence: next === undefined ? "0" : this.#plan.sequenceOf(next).toString() },
        retryAfterMs: 0,
      }),
    );
  }

  /** Nothing more will come; what waits is still read. */
  end(): void {
    if (!this.#leave({ kind: "ended" })) return;
    this.#waiter?.resolve({ done: true, value: undefined });
    this.#waiter = null;
  }

  fail(error: SirsiError): void {
    if (!this.#leave({ kind: "failed", error })) return;
    this.#queue = [];
    this.#head = 0;
    this.#waiter?.reject(error);
    this.#waiter = null;
  }

  next(): Promise<IteratorResult<AgentEvent>> {
    if (this.#phase.kind === "failed") return Promise.reject(this.#phase.error);
    const item = this.#take();
    if (item !== undefined) return Promise.resolve({ done: false, value: this.#plan.messageOf(item) });
    if (this.#phase.kind === "ended") return Promise.resolve({ done: true, value: undefined });
    if (this.#waiter !== null) return Promise.reject(new SirsiError("INTERNAL", "a follower was asked for two events at once; await one before the next"));
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  return(): Promise<IteratorResult<AgentEvent>> {
    this.#queue = [];
    this.#head = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #leave(phase: Phase): boolean {
    if (this.#phase.kind !== "open") return false;
    this.#phase = phase;
    this.#plan.detach(this);
    return true;
  }

  #take(): Item | undefined {
    const item = this.#queue[this.#head];
    if (item === undefined) return undefined;
    this.#head += 1;
    this.#bytes -= this.#bytesOf(item);
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
      this.#room = this.#plan.room;
    } else if (this.#head >= 1_024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  #bytesOf(item: Item): number {
    return this.#plan.bytesOf?.(item) ?? 0;
  }
}
