/**
 * One reader of a session's events: kept ones first, then live ones.
 *
 * open ──end()──▶ ended (what is queued is still read) ;  open ──fall behind / signal──▶ failed
 * Invariants: (1) it never blocks the publisher: the live queue is bounded, and a
 * reader that overruns it is failed with OVERLOADED; (2) each event comes once, in
 * the order of its count; (3) `detach` is called exactly once, when it leaves open.
 */
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { eventMessage } from "./kept-event.ts";
import type { KeptEvent } from "./kept-event.ts";

/** Live events that may wait for a slow reader. */
export const FOLLOWER_BUFFER = 4_096;

type Phase = { readonly kind: "open" } | { readonly kind: "ended" } | { readonly kind: "failed"; readonly error: SirsiError };

interface Waiter {
  resolve(result: IteratorResult<AgentEvent>): void;
  reject(error: SirsiError): void;
}

export interface FollowerPlan {
  readonly types: ReadonlySet<string> | null;
  /** Events below this count are not for this reader. */
  readonly fromCount: number;
  /** Kept events to begin with, oldest first. */
  readonly kept: readonly KeptEvent[];
  readonly sequenceOf: (count: number) => bigint;
  readonly detach: (follower: EventFollower) => void;
}

export class EventFollower implements AsyncIterableIterator<AgentEvent> {
  readonly #plan: FollowerPlan;
  #phase: Phase = { kind: "open" };
  #queue: KeptEvent[];
  #head = 0;
  /** How far the queue may grow: what was kept at the start, and the buffer for live ones. */
  #room: number;
  #waiter: Waiter | null = null;

  constructor(plan: FollowerPlan) {
    this.#plan = plan;
    this.#queue = plan.kept.filter((kept) => this.#wants(kept));
    this.#room = this.#queue.length + FOLLOWER_BUFFER;
  }

  /** A live event. */
  offer(kept: KeptEvent): void {
    if (this.#phase.kind !== "open" || !this.#wants(kept)) return;
    const waiter = this.#waiter;
    if (waiter !== null) {
      this.#waiter = null;
      waiter.resolve({ done: false, value: this.#encode(kept) });
      return;
    }
    if (this.#queue.length - this.#head < this.#room) {
      this.#queue.push(kept);
      return;
    }
    const next = this.#queue[this.#head];
    this.fail(
      new SirsiError("OVERLOADED", `the follower reads too slowly: more than ${FOLLOWER_BUFFER} events wait for it. Follow again from next_sequence, and read faster or ask for fewer event types`, {
        metadata: { next_sequence: next === undefined ? "0" : this.#plan.sequenceOf(next.count).toString() },
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
    const kept = this.#take();
    if (kept !== undefined) return Promise.resolve({ done: false, value: this.#encode(kept) });
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

  #take(): KeptEvent | undefined {
    const kept = this.#queue[this.#head];
    if (kept === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
      this.#room = FOLLOWER_BUFFER;
    } else if (this.#head >= 1_024) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return kept;
  }

  #wants(kept: KeptEvent): boolean {
    return kept.count >= this.#plan.fromCount && (this.#plan.types === null || this.#plan.types.has(kept.event.type));
  }

  #encode(kept: KeptEvent): AgentEvent {
    return eventMessage(kept, this.#plan.sequenceOf(kept.count));
  }
}
