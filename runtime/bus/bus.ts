/**
 * Messages by subject, with NATS's rules, as an interface. Every implementation
 * passes the suite in tests/support/bus-contract.ts.
 *
 * Subjects are dot-separated tokens without white space; a subscription may use
 * `*` for one token and a trailing `>` for one or more. Subscribers of one queue
 * share the messages; each message goes to one of them. Delivery is at most once:
 * the bus may lose anything (durability rests on the store, D1 to D3).
 * Errors: BUS_UNAVAILABLE (closed), BUS_NO_RESPONDERS, DEADLINE_EXCEEDED,
 * INVALID_ARGUMENT (a malformed subject, a wildcard in a published one).
 */

export interface BusMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  /** Answers a request; without effect when nobody asked. */
  respond(data: Uint8Array, headers?: Readonly<Record<string, string>>): void;
  /** Where an answer would go; null when nobody asked. */
  readonly reply: string | null;
}

export type BusHandler = (message: BusMessage) => void | Promise<void>;

export interface SubscribeOptions {
  /** Share messages with the other subscribers of this name. */
  readonly queue?: string;
  /** End by itself after this many messages. */
  readonly max?: number;
}

export interface Subscription {
  /** Takes no new messages, finishes those in hand. */
  drain(): Promise<void>;
  /** Stops now. Repeatable. */
  close(): void;
  readonly closed: boolean;
}

export interface PublishOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly reply?: string;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Since the bus was opened; they only rise. */
export interface BusCounts {
  /** Connections that were lost. */
  readonly disconnects: number;
  /** Messages dropped because their subscriber had too many in hand. */
  readonly dropped: number;
  /** Answers that found no connection to go out on. */
  readonly answersLost: number;
}

export type BusStatus = "connected" | "reconnecting" | "draining" | "closed";

export interface Bus {
  publish(subject: string, data: Uint8Array, options?: PublishOptions): void;
  /**
   * Whether anybody in reach would get what is published on `subject`: lets a
   * publisher spare the encoding. Called for every event, so it must cost next to
   * nothing. A bus that cannot know leaves it out.
   */
  hasSubscribers?(subject: string): boolean;
  subscribe(subject: string, handler: BusHandler, options?: SubscribeOptions): Subscription;
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<BusMessage>;
  /** Resolves when all that was published has left this process (memory: was handed to its handlers). */
  flush(): Promise<void>;
  readonly status: BusStatus;
  /** Left out by a bus within one process, which loses nothing. */
  readonly counts?: BusCounts;
  /** Finishes what is in hand, then closes. */
  drain(): Promise<void>;
  close(): Promise<void>;
}
