/**
 * The bus between hosts: messages by subject over a NATS server or a cluster of them.
 *
 * States: open -> draining -> closed, and open -> closed. While open or draining
 * the link below comes and goes; `status` tells.
 *
 * N1 Every request settles exactly once: by an answer, by the lack of listeners, by
 *    its deadline, by its signal, or with BUS_UNAVAILABLE when the connection is
 *    lost or the bus closes. None is left to its deadline by a lost connection.
 * N2 Without a connection nothing is kept for later: `publish`, `request` and `flush`
 *    refuse with BUS_UNAVAILABLE, and an answer is counted as lost. Who must not
 *    lose a message has it in the store and sends it again; what would come out of
 *    a buffer minutes later could contradict what another host did meanwhile.
 * N3 A subscription outlives connections: `subscribe` works without one, and every
 *    new connection has all of them before anything else is said on it.
 * N4 What a server will not carry is refused (PAYLOAD_TOO_LARGE), never cut.
 */
import { ErrorCode, NatsError, type Msg, type NatsConnection } from "nats";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import type { Bus, BusCounts, BusHandler, BusMessage, BusStatus, PublishOptions, RequestOptions, SubscribeOptions, Subscription } from "../bus.ts";
import { requireSubscribeTerms, requireTimeout, unavailable } from "../call-options.ts";
import { requireHeaders, type Headers } from "../headers.ts";
import { PendingRequest, cancelled } from "../pending-request.ts";
import { requirePattern, requireSubject } from "../subject.ts";
import { NatsLink } from "./nats-link.ts";
import { saysNoResponders, toBusMessage, toWire } from "./nats-message.ts";
import { completeOptions, type NatsBusConfig, type NatsBusOptions } from "./nats-options.ts";
import { NatsSubscription, type SubscriptionHome } from "./nats-subscription.ts";
import { SendWindow } from "./send-window.ts";

const TOO_LARGE: string = ErrorCode.MaxPayloadExceeded;

/** The bus, and what services of the server beyond messages need of it (JetStream). */
export interface NatsBus extends Bus {
  readonly counts: BusCounts;
  /** The server of this connection is one of a cluster; false without a connection. */
  readonly clustered: boolean;
  /** A subject that nobody else uses, with room for tokens below it; where this host's account may listen. */
  newInbox(): string;
  /** Calls back with each new connection, once it has all subscriptions; not for the one that is there. The result takes it back. */
  onConnect(listener: () => void): () => void;
}

/**
 * Resolves when connected. Throws CONFIG_INVALID for settings, files or a login that
 * cannot be used, BUS_UNAVAILABLE when no server is there in time.
 */
export async function openNatsBus(options: NatsBusOptions): Promise<NatsBus> {
  const bus = new LinkedBus(completeOptions(options));
  await bus.open();
  return bus;
}

class LinkedBus implements NatsBus, SubscriptionHome {
  readonly #config: NatsBusConfig;
  readonly #link: NatsLink;
  readonly #inboxPrefix: string;
  readonly #subscriptions = new Set<NatsSubscription>();
  /** By the last token of their inbox. */
  readonly #requests = new Map<string, { readonly subject: string; readonly pending: PendingRequest }>();
  readonly #flushes = new Set<Deferred<void>>();
  readonly #connectListeners = new Set<() => void>();
  readonly #counts = { disconnects: 0, dropped: 0, answersLost: 0 };
  #window: SendWindow | null = null;
  #phase: "open" | "draining" | "closed" = "open";
  #drained: Promise<void> | null = null;
  #requestCount = 0;

  constructor(config: NatsBusConfig) {
    this.#config = config;
    this.#inboxPrefix = `${config.inboxPrefix}.${newId(config.clock.now())}.`;
    this.#link = new NatsLink(config, {
      up: (connection) => this.#up(connection),
      down: (error) => this.#down(error),
      publishRefused: (subject) => this.#publishRefused(subject),
    });
  }

  open(): Promise<void> {
    return this.#link.open();
  }

  get status(): BusStatus {
    if (this.#phase !== "open") return this.#phase;
    return this.#link.connection === null ? "reconnecting" : "connected";
  }

  get counts(): BusCounts {
    return { ...this.#counts };
  }

  get clustered(): boolean {
    return this.#link.connection?.info?.cluster !== undefined;
  }

  newInbox(): string {
    return `${this.#config.inboxPrefix}.${newId(this.#config.clock.now())}`;
  }

  onConnect(listener: () => void): () => void {
    // Wrapped, so that one listener may be there twice.
    const entry = (): void => listener();
    this.#connectListeners.add(entry);
    return () => void this.#connectListeners.delete(entry);
  }

  publish(subject: string, data: Uint8Array, options: PublishOptions = {}): void {
    if (this.#phase === "closed") throw unavailable("closed");
    requireSubject(subject);
    const reply = options.reply === undefined ? null : requireSubject(options.reply);
    this.#send(subject, data, requireHeaders(options.headers), reply);
  }

  subscribe(pattern: string, handler: BusHandler, options: SubscribeOptions = {}): Subscription {
    if (this.#phase !== "open") throw unavailable(this.#phase);
    requirePattern(pattern);
    const { pendingMax, pendingMaxBytes } = this.#config;
    const subscription = new NatsSubscription(this, { pattern, handler, pendingMax, pendingMaxBytes, ...requireSubscribeTerms(options) });
    this.#subscriptions.add(subscription);
    const { connection } = this.#link;
    if (connection !== null && !connection.isClosed()) subscription.attach(connection);
    return subscription;
  }

  async request(subject: string, data: Uint8Array, options: RequestOptions): Promise<BusMessage> {
    if (this.#phase !== "open") throw unavailable(this.#phase);
    requireSubject(subject);
    const headers = requireHeaders(options.headers);
    requireTimeout(options);
    if (options.signal?.aborted === true) throw cancelled(subject, options.signal);

    const token = String(++this.#requestCount);
    const pending = new PendingRequest(subject, options, this.#config.clock, () => this.#requests.delete(token));
    this.#requests.set(token, { subject, pending });
    try {
      this.#send(subject, data, headers, this.#inboxPrefix + token);
    } catch (thrown) {
      pending.fail(SirsiError.from(thrown));
    }
    return pending.promise;
  }

  async flush(): Promise<void> {
    if (this.#phase === "closed") throw unavailable("closed");
    return this.#flush(this.#connection());
  }

  drain(): Promise<void> {
    return (this.#drained ??= this.#drain());
  }

  async #drain(): Promise<void> {
    if (this.#phase === "closed") return;
    this.#phase = "draining";
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.drain()));
    await Promise.allSettled(Array.from(this.#requests.values(), ({ pending }) => pending.promise));
    const { connection } = this.#link;
    const last = connection === null ? Promise.resolve() : this.#flush(connection);
    await Promise.allSettled([last, ...Array.from(this.#flushes, (flushed) => flushed.promise)]);
    await this.close();
  }

  async close(): Promise<void> {
    this.#phase = "closed";
    for (const subscription of this.#subscriptions) subscription.close();
    this.#failAll(unavailable("closed"));
    await this.#link.close();
  }

  forget(subscription: NatsSubscription): void {
    this.#subscriptions.delete(subscription);
  }

  read(message: Msg): BusMessage {
    return toBusMessage(message, (reply, data, headers) => this.#answer(reply, data, headers));
  }

  report(thrown: unknown, subject: string): void {
    this.#config.onError(SirsiError.from(thrown), subject);
  }

  dropped(pattern: string, first: boolean): void {
    this.#counts.dropped += 1;
    if (first) this.#config.log.warn({ subject: pattern }, "a subscriber does not keep up; messages to it are dropped");
  }

  recovered(pattern: string, droppedCount: number): void {
    this.#config.log.warn({ subject: pattern, dropped: droppedCount }, "a subscriber that did not keep up takes messages again");
  }

  #up(connection: NatsConnection): void {
    this.#window = new SendWindow(connection, this.#config.unconfirmedMaxBytes);
    connection.subscribe(`${this.#inboxPrefix}*`, { callback: (error, message) => this.#hearAnswer(error, message) });
    for (const subscription of this.#subscriptions) subscription.attach(connection);
    for (const listener of this.#connectListeners) listener();
  }

  #down(error: SirsiError): void {
    this.#counts.disconnects += 1;
    this.#window = null;
    for (const subscription of this.#subscriptions) subscription.detach();
    this.#failAll(error);
  }

  #failAll(error: SirsiError): void {
    for (const { pending } of this.#requests.values()) pending.fail(error);
    for (const flushed of this.#flushes) flushed.reject(error);
    this.#flushes.clear();
  }

  #publishRefused(subject: string): void {
    const error = new SirsiError("PERMISSION_DENIED", `The NATS server does not let this host publish on ${subject}. Allow it in the account's permissions.`);
    this.report(error, subject);
    for (const request of this.#requests.values()) if (request.subject === subject) request.pending.fail(error);
  }

  /** The client's reader calls it, so it must not throw. */
  #hearAnswer(error: NatsError | null, message: Msg): void {
    const prefix = this.#inboxPrefix;
    if (error !== null) {
      const told = new SirsiError("PERMISSION_DENIED", `The NATS server does not let this host listen on ${prefix}*, so no request gets its answer. Allow it, or give the bus another inbox prefix.`, { cause: error });
      this.report(told, `${prefix}*`);
      return;
    }
    const request = this.#requests.get(message.subject.slice(prefix.length));
    if (request === undefined) return;
    try {
      if (saysNoResponders(message)) {
        request.pending.fail(new SirsiError("BUS_NO_RESPONDERS", `Nobody listens on ${request.subject}. Check that the receiver runs, then send again.`));
      } else {
        request.pending.succeed(this.read(message));
      }
    } catch (cause) {
      request.pending.fail(new SirsiError("INTERNAL", `The answer to a request on ${request.subject} has headers that cannot be read. Look at what answers there.`, { cause }));
    }
  }

  #answer(reply: string, data: Uint8Array, headers: Headers | undefined): void {
    if (this.#phase === "closed") return;
    try {
      this.#send(reply, data, requireHeaders(headers), null);
    } catch (thrown) {
      // Its asker has been told, or will be by the deadline; the handler could do nothing about it.
      if (!(thrown instanceof SirsiError) || thrown.code !== "BUS_UNAVAILABLE") throw thrown;
      this.#counts.answersLost += 1;
    }
  }

  #send(subject: string, data: Uint8Array, headers: Headers, reply: string | null): void {
    const connection = this.#connection();
    if (this.#window?.hasRoom(data.length) === false) {
      throw new SirsiError("BUS_UNAVAILABLE", `The NATS server does not take what this host sends: ${this.#window.unconfirmedBytes} bytes wait for it. Try again, or look at the server and the network to it.`);
    }
    const wire = toWire(headers);
    try {
      // A copy, since the client keeps the data until it writes it, later.
      connection.publish(subject, new Uint8Array(data), { ...(wire !== undefined && { headers: wire }), ...(reply !== null && { reply }) });
    } catch (thrown) {
      throw sendFailure(thrown, subject, data.length, connection);
    }
    this.#window?.sent(data.length);
  }

  #connection(): NatsConnection {
    const { connection } = this.#link;
    if (connection !== null) return connection;
    throw new SirsiError("BUS_UNAVAILABLE", "The bus has no connection to a NATS server at the moment. Try again; the host connects again by itself.");
  }

  #flush(connection: NatsConnection): Promise<void> {
    const flushed = new Deferred<void>();
    this.#flushes.add(flushed);
    // The client leaves the promise open for ever when the connection is lost; #failAll does not.
    connection.flush().then(
      () => flushed.resolve(),
      (cause: unknown) => flushed.reject(new SirsiError("BUS_UNAVAILABLE", "The connection to the NATS server was lost. Try again.", { cause })),
    ).finally(() => this.#flushes.delete(flushed));
    return flushed.promise;
  }
}

function sendFailure(thrown: unknown, subject: string, dataBytes: number, connection: NatsConnection): SirsiError {
  if (!(thrown instanceof NatsError)) return SirsiError.from(thrown);
  if (thrown.code === TOO_LARGE) {
    const limit = connection.info?.max_payload ?? 0;
    return new SirsiError("PAYLOAD_TOO_LARGE", `The message on ${subject} has ${dataBytes} bytes, and with its headers more than the ${limit} that the NATS server takes. Send less, or raise max_payload in the server's configuration.`, {
      metadata: { limit: String(limit), bytes: String(dataBytes) },
      cause: thrown,
    });
  }
  return new SirsiError("BUS_UNAVAILABLE", `The message on ${subject} did not go out (${thrown.message}). Try again.`, { cause: thrown });
}
