/**
 * The bus of a host that is alone: messages by subject inside one process.
 *
 * States: connected -> draining -> closed, and connected -> closed.
 *
 * M1 `publish` never runs a handler: deliveries wait in one queue and start in
 *    the order of publication, per subscription and over all of them.
 * M2 Data is copied once, at `publish`; the publisher may use its buffer again at
 *    once. All receivers of a message share that copy and must not write to it.
 * M3 Every request settles exactly once: by an answer, by the lack of listeners,
 *    by its deadline, by its signal, or with BUS_UNAVAILABLE when the bus closes.
 * M4 Of a queue's subscribers, whatever their patterns, a message goes to the one
 *    that has waited longest for its turn.
 */
import type { Clock } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import type { Bus, BusHandler, BusMessage, BusStatus, PublishOptions, RequestOptions, SubscribeOptions, Subscription } from "../bus.ts";
import { requireSubscribeTerms, requireTimeout, unavailable } from "../call-options.ts";
import { requireHeaders, type Headers } from "../headers.ts";
import { PendingRequest, cancelled } from "../pending-request.ts";
import { requirePattern, requireSubject } from "../subject.ts";
import { DeliveryQueue } from "./delivery-queue.ts";
import { MemorySubscription, type SubscriptionHome } from "./memory-subscription.ts";
import { SubjectIndex } from "./subject-index.ts";

export interface MemoryBusOptions {
  readonly clock: Clock;
  /** Hears what handlers throw or reject with, and the message's subject. Must not throw itself. */
  readonly onError: (error: SirsiError, subject: string) => void;
}

export function openMemoryBus(options: MemoryBusOptions): Bus {
  return new MemoryBus(options);
}

class MemoryBus implements Bus, SubscriptionHome {
  readonly #clock: Clock;
  readonly #onError: MemoryBusOptions["onError"];
  readonly #inboxPrefix: string;
  readonly #index = new SubjectIndex<MemorySubscription>();
  readonly #subscriptions = new Set<MemorySubscription>();
  readonly #requests = new Map<string, PendingRequest>();
  readonly #flushes = new Set<Deferred<void>>();
  readonly #queue = new DeliveryQueue();
  #status: BusStatus = "connected";
  #drained: Promise<void> | null = null;
  #requestCount = 0;
  #turn = 0;

  constructor({ clock, onError }: MemoryBusOptions) {
    this.#clock = clock;
    this.#onError = onError;
    this.#inboxPrefix = `_INBOX.${newId(clock.now())}.`;
  }

  get status(): BusStatus {
    return this.#status;
  }

  publish(subject: string, data: Uint8Array, options: PublishOptions = {}): void {
    if (this.#status === "closed") throw unavailable("closed");
    requireSubject(subject);
    const reply = options.reply === undefined ? null : requireSubject(options.reply);
    this.#dispatch(subject, data, requireHeaders(options.headers), reply);
  }

  hasSubscribers(subject: string): boolean {
    return this.#index.has(subject);
  }

  subscribe(pattern: string, handler: BusHandler, options: SubscribeOptions = {}): Subscription {
    if (this.#status !== "connected") throw unavailable(this.#status);
    requirePattern(pattern);
    const subscription = new MemorySubscription(this, { pattern, handler, ...requireSubscribeTerms(options) });
    this.#subscriptions.add(subscription);
    this.#index.add(pattern, subscription);
    return subscription;
  }

  async request(subject: string, data: Uint8Array, options: RequestOptions): Promise<BusMessage> {
    if (this.#status !== "connected") throw unavailable(this.#status);
    requireSubject(subject);
    const headers = requireHeaders(options.headers);
    requireTimeout(options);
    if (options.signal?.aborted === true) throw cancelled(subject, options.signal);

    const inbox = `${this.#inboxPrefix}${++this.#requestCount}`;
    const request = new PendingRequest(subject, options, this.#clock, () => this.#requests.delete(inbox));
    this.#requests.set(inbox, request);
    if (this.#dispatch(subject, data, headers, inbox) === 0) {
      request.fail(new SirsiError("BUS_NO_RESPONDERS", `Nobody listens on ${subject}. Check that the receiver runs, then send again.`));
    }
    return request.promise;
  }

  async flush(): Promise<void> {
    if (this.#status === "closed") throw unavailable("closed");
    const flushed = new Deferred<void>();
    this.#flushes.add(flushed);
    this.#queue.push(() => {
      this.#flushes.delete(flushed);
      flushed.resolve();
    });
    return flushed.promise;
  }

  drain(): Promise<void> {
    return (this.#drained ??= this.#drain());
  }

  async #drain(): Promise<void> {
    if (this.#status === "closed") return;
    this.#status = "draining";
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.drain()));
    await Promise.allSettled([...this.#requests.values()].map((request) => request.promise));
    await Promise.allSettled([...this.#flushes].map((flushed) => flushed.promise));
    await this.close();
  }

  async close(): Promise<void> {
    this.#status = "closed";
    for (const subscription of this.#subscriptions) subscription.close();
    for (const request of this.#requests.values()) request.fail(unavailable("closed"));
    for (const flushed of this.#flushes) flushed.reject(unavailable("closed"));
    this.#flushes.clear();
  }

  detach(subscription: MemorySubscription): void {
    this.#index.remove(subscription.pattern, subscription);
    if (subscription.closed) this.#subscriptions.delete(subscription);
  }

  report(thrown: unknown, subject: string): void {
    this.#onError(SirsiError.from(thrown), subject);
  }

  /** Queues a message for all it goes to and tells how many those are. */
  #dispatch(subject: string, data: Uint8Array, headers: Headers, reply: string | null): number {
    const request = subject.startsWith(this.#inboxPrefix) ? this.#requests.get(subject) : undefined;
    const receivers = this.#choose(this.#index.match(subject));
    if (request === undefined && receivers.length === 0) return 0;
    const message: BusMessage = {
      subject,
      data: new Uint8Array(data),
      headers,
      reply,
      respond: (answer, answerHeaders) => {
        if (reply === null || this.#status === "closed") return;
        this.#dispatch(reply, answer, requireHeaders(answerHeaders), null);
      },
    };
    if (request !== undefined) this.#queue.push(() => request.succeed(message));
    for (const receiver of receivers) {
      receiver.accept();
      this.#queue.push(() => receiver.deliver(message));
    }
    return receivers.length;
  }

  /** All that share with nobody, and one of each queue. */
  #choose(matching: MemorySubscription[]): MemorySubscription[] {
    if (matching.every((subscription) => subscription.queue === null)) return matching;
    const chosen: MemorySubscription[] = [];
    const ofQueue = new Map<string, MemorySubscription>();
    for (const subscription of matching) {
      if (subscription.queue === null) {
        chosen.push(subscription);
        continue;
      }
      const rival = ofQueue.get(subscription.queue);
      if (rival === undefined || subscription.servedAt < rival.servedAt) ofQueue.set(subscription.queue, subscription);
    }
    for (const subscription of ofQueue.values()) {
      subscription.servedAt = ++this.#turn;
      chosen.push(subscription);
    }
    return chosen;
  }
}
