/**
 * Where a step stands that waits for an answer: it may go on elsewhere from there, for its
 * wait is committed. Whoever wants it to holds it: the answer that comes meanwhile is
 * kept until it is let go on, or forgotten with the agent's object.
 *
 *   computing ─asked─▶ waiting ─answered─▶ computing
 *                         │ hold              ▲
 *                         ▼                   │ let go
 *                       held ─────────────────┘
 */
import { Deferred } from "../core/deferred.ts";

export class WaitGate {
  #waiting: { readonly repeatable: boolean } | null = null;
  #held: Deferred<void> | null = null;
  #watcher: (() => void) | null = null;

  /** In a wait that the store has. */
  get waiting(): boolean {
    return this.#waiting !== null;
  }

  /** The same, and what it waits for may be asked for again without harm. */
  get repeatable(): boolean {
    return this.#waiting?.repeatable === true;
  }

  /** Its wait is committed, and what it waits for is being asked for. */
  asked(repeatable: boolean): void {
    this.#waiting = { repeatable };
    this.#watcher?.();
  }

  /** Not null when it is held: to be waited for before the step goes on. */
  answered(): Promise<void> | null {
    if (this.#held !== null) return this.#held.promise.then(() => this.over());
    this.over();
    return null;
  }

  /** The step goes on, or has ended. */
  over(): void {
    this.#waiting = null;
  }

  /** One at a time. The result lets it go on. */
  hold(): () => void {
    const held = new Deferred<void>();
    this.#held = held;
    return () => {
      this.#held = null;
      held.resolve();
    };
  }

  /** `told` as a wait begins; one at a time. The result ends it. */
  watch(told: () => void): () => void {
    this.#watcher = told;
    return () => {
      this.#watcher = null;
    };
  }
}
