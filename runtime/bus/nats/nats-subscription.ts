/**
 * One subscriber of the NATS bus, over all the connections it outlives.
 *
 * States: open -> draining -> closed, and open -> closed. A subscription that
 * reaches its `max` drains by itself.
 *
 * Q1 Handlers start in the order of arrival. One that returns a promise does not
 *    hold up the next message; draining waits for it.
 * Q2 A closed subscription starts no handler, whatever still arrives for it.
 * Q3 What a handler throws or rejects with is reported and goes nowhere else: the
 *    client's reader calls in here, and an error thrown into it would deafen it.
 * Q4 Messages whose handlers have not ended are bounded in number and in bytes.
 *    What comes above that is dropped, counted and told; it counts for `max`.
 */
import type { Msg, NatsConnection, NatsError, Subscription as NatsNative } from "nats";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import type { BusHandler, BusMessage, Subscription } from "../bus.ts";
import type { SubscribeTerms } from "../call-options.ts";

/** What a subscription needs of its bus. */
export interface SubscriptionHome {
  /** Forgets it: it is closed. */
  forget(subscription: NatsSubscription): void;
  read(message: Msg): BusMessage;
  report(thrown: unknown, subject: string): void;
  /** A message was dropped; `first` when the one before it was not. */
  dropped(pattern: string, first: boolean): void;
  /** It takes messages again, after so many dropped ones. */
  recovered(pattern: string, droppedCount: number): void;
}

export interface SubscriptionConfig extends SubscribeTerms {
  readonly pattern: string;
  readonly handler: BusHandler;
  readonly pendingMax: number;
  readonly pendingMaxBytes: number;
}

export class NatsSubscription implements Subscription {
  readonly #home: SubscriptionHome;
  readonly #config: SubscriptionConfig;
  readonly #ended = new Deferred<void>();
  #state: "open" | "draining" | "closed" = "open";
  /** The client's side of it; null while there is no connection. */
  #native: NatsNative | null = null;
  /** May messages still arrive? False once it drains and the server has confirmed that it stopped. */
  #arriving = true;
  #left: number;
  #inHand = 0;
  #inHandBytes = 0;
  /** Dropped since it last kept up. */
  #dropped = 0;

  constructor(home: SubscriptionHome, config: SubscriptionConfig) {
    this.#home = home;
    this.#config = config;
    this.#left = config.max;
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** A new connection is there. */
  attach(connection: NatsConnection): void {
    if (this.#state !== "open") return;
    const { pattern, queue } = this.#config;
    this.#native = connection.subscribe(pattern, {
      callback: (error, message) => this.#receive(error, message),
      ...(queue !== null && { queue }),
      ...(this.#left !== Infinity && { max: this.#left }),
    });
  }

  /** The connection is lost, and with it whatever was on its way. */
  detach(): void {
    this.#native = null;
    if (this.#state === "draining") this.#stopArriving();
  }

  drain(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "draining";
      void this.#stopServer();
    }
    return this.#ended.promise;
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#native?.unsubscribe();
    this.#native = null;
    this.#home.forget(this);
    this.#ended.resolve();
  }

  /** What was on its way before the server stopped still arrives. */
  async #stopServer(): Promise<void> {
    const native = this.#native;
    if (native !== null) await native.drain().catch(() => undefined);
    this.#stopArriving();
  }

  #stopArriving(): void {
    this.#arriving = false;
    this.#closeWhenDone();
  }

  #closeWhenDone(): void {
    if (this.#state === "draining" && !this.#arriving && this.#inHand === 0) this.close();
  }

  #receive(error: NatsError | null, message: Msg): void {
    const { pattern } = this.#config;
    if (error !== null) {
      this.#home.report(new SirsiError("PERMISSION_DENIED", `The NATS server does not let this host listen on ${pattern}. Allow it in the account's permissions; it is asked again with the next connection.`, { cause: error }), pattern);
      return;
    }
    if (this.#state === "closed" || this.#left === 0) return;
    this.#left -= 1;
    const bytes = message.data.length;
    if (this.#isFull(bytes)) this.#drop();
    else this.#deliver(message, bytes);
    if (this.#left === 0 && this.#state === "open") {
      this.#state = "draining";
      this.#stopArriving();
    }
  }

  /** One message is always taken, however large. */
  #isFull(bytes: number): boolean {
    const { pendingMax, pendingMaxBytes } = this.#config;
    return this.#inHand > 0 && (this.#inHand >= pendingMax || this.#inHandBytes + bytes > pendingMaxBytes);
  }

  #drop(): void {
    this.#dropped += 1;
    this.#home.dropped(this.#config.pattern, this.#dropped === 1);
  }

  #deliver(native: Msg, bytes: number): void {
    this.#inHand += 1;
    this.#inHandBytes += bytes;
    try {
      const outcome = this.#config.handler(this.#home.read(native));
      if (outcome !== undefined) {
        void this.#follow(outcome, native.subject, bytes);
        return;
      }
    } catch (thrown) {
      this.#home.report(thrown, native.subject);
    }
    this.#finish(bytes);
  }

  async #follow(outcome: Promise<void>, subject: string, bytes: number): Promise<void> {
    try {
      await outcome;
    } catch (thrown) {
      this.#home.report(thrown, subject);
    }
    this.#finish(bytes);
  }

  #finish(bytes: number): void {
    this.#inHand -= 1;
    this.#inHandBytes -= bytes;
    if (this.#dropped > 0 && this.#hasCaughtUp()) {
      this.#home.recovered(this.#config.pattern, this.#dropped);
      this.#dropped = 0;
    }
    this.#closeWhenDone();
  }

  /** At half the bound, so that one that hovers at its bound is not told of with every message. */
  #hasCaughtUp(): boolean {
    const { pendingMax, pendingMaxBytes } = this.#config;
    return this.#inHand <= pendingMax / 2 && this.#inHandBytes <= pendingMaxBytes / 2;
  }
}
