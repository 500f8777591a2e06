/** Lets many run, or holds each of them at a place where it has nothing in hand. */
import { Deferred } from "../../runtime/core/deferred.ts";

export class Gate {
  readonly #parties: number;
  #open: Deferred<void> | null = new Deferred<void>();
  #held = 0;
  #allHeld = new Deferred<void>();

  constructor(parties: number) {
    this.#parties = parties;
  }

  /** Called by each party between two pieces of work. */
  async pass(): Promise<void> {
    const open = this.#open;
    if (open === null) return;
    if (++this.#held === this.#parties) this.#allHeld.resolve();
    await open.promise;
  }

  /** Resolves when every party is held. */
  close(): Promise<void> {
    if (this.#open === null) {
      this.#open = new Deferred<void>();
      this.#held = 0;
      this.#allHeld = new Deferred<void>();
    }
    return this.#allHeld.promise;
  }

  open(): void {
    this.#open?.resolve();
    this.#open = null;
  }
}
