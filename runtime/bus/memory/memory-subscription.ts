/**
 * One subscriber of the in-process bus.
 *
 * States: open -> draining -> closed, and open -> closed. A subscription that
 * reaches its `max` drains by itself.
 *
 * Q1 Handlers start in the order of publication. One that returns a promise does
 *    not hold up the next message; draining waits for it.
 * Q2 A closed subscription starts no handler, whatever is still queued for it.
 * Q3 What a handler throws or rejects with is reported and goes nowhere else.
 */
import { Deferred } from "../../core/deferred.ts";
import type { BusHandler, BusMessage, Subscription } from "../bus.ts";
import type { SubscribeTerms } from "../call-options.ts";

/** What a subscription needs of its bus. */
export interface SubscriptionHome {
  /** Routes no more messages to it, and forgets it once it is closed. */
  detach(subscription: MemorySubscription): void;
  report(thrown: unknown, subject: string): void;
}

export interface SubscriptionConfig extends SubscribeTerms {
  readonly pattern: string;
  readonly handler: BusHandler;
}

export class MemorySubscription implements Subscription {
  readonly pattern: string;
  readonly queue: string | null;
  /** When it was last chosen out of its queue, as a count; the bus picks the longest unserved. */
  servedAt = 0;
  readonly #home: SubscriptionHome;
  readonly #handler: BusHandler;
  readonly #ended = new Deferred<void>();
  #state: "open" | "draining" | "closed" = "open";
  #left: number;
  /** Messages accepted whose handler has not come to its end. */
  #inHand = 0;

  constructor(home: SubscriptionHome, config: SubscriptionConfig) {
    this.#home = home;
    this.#handler = config.handler;
    this.pattern = config.pattern;
    this.queue = config.queue;
    this.#left = config.max;
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** The bus has routed a message here; `deliver` will follow for it. */
  accept(): void {
    this.#inHand += 1;
    this.#left -= 1;
    if (this.#left === 0) this.#stop();
  }

  deliver(message: BusMessage): void {
    if (this.#state === "closed") return;
    try {
      const outcome = this.#handler(message);
      if (outcome !== undefined) {
        void this.#follow(outcome, message.subject);
        return;
      }
    } catch (thrown) {
      this.#home.report(thrown, message.subject);
    }
    this.#finish();
  }

  async #follow(outcome: Promise<void>, subject: string): Promise<void> {
    try {
      await outcome;
    } catch (thrown) {
      this.#home.report(thrown, subject);
    }
    this.#finish();
  }

  drain(): Promise<void> {
    this.#stop();
    return this.#ended.promise;
  }

  close(): void {
    this.#state = "closed";
    this.#home.detach(this);
    this.#ended.resolve();
  }

  #stop(): void {
    if (this.#state !== "open") return;
    this.#state = "draining";
    this.#home.detach(this);
    if (this.#inHand === 0) this.close();
  }

  #finish(): void {
    this.#inHand -= 1;
    if (this.#state === "draining" && this.#inHand === 0) this.close();
  }
}
