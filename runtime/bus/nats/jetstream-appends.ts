/**
 * What is on its way into the stream: sent, and kept until the server confirms it.
 *
 * Modes: held (no stream yet: all waits) <-> open (sent, each confirmed) and
 * held <-> plain (no stream at all: sent once, to whoever listens).
 *
 * A1 Appending never waits and never throws. What waits is bounded in number and in
 *    bytes; what comes above that is lost, and counted.
 * A2 What was sent and not confirmed is sent again with the same id, in the order of
 *    appending. Later than `repeatMs` after its first sending the stream might not know
 *    it again: then it is lost rather than doubled.
 * A3 Nothing leaves, first or again, while `mayAppend` says no; what waits is dropped (D5).
 * A4 Nothing overtakes what waits to be sent for the first time.
 */
import type { Clock, Timer } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Logger } from "../../observe/index.ts";
import type { Bus, BusMessage } from "../bus.ts";
import type { EventStreamCounts } from "../event-stream.ts";
import type { Headers } from "../headers.ts";

export interface AppendsConfig {
  readonly bus: Pick<Bus, "publish">;
  readonly clock: Clock;
  readonly log: Logger;
  /** Confirmations come to this subject with the number of what they confirm behind it. */
  readonly inbox: string;
  readonly mayAppend: () => boolean;
  /** Nobody takes what is appended: the stream is gone. */
  readonly onMissing: () => void;
  readonly waitingMax: number;
  readonly waitingMaxBytes: number;
}

interface Waiting {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Headers;
  /** On the monotonic clock; null for never. */
  firstSentAt: number | null;
  /** Null when it must be sent (again). */
  sentAt: number | null;
}

/** How long a confirmation may take. */
const CONFIRM_MS = 5_000;
const LOOK_EVERY_MS = 1_000;
/** About what an entry costs besides its data. */
const OVERHEAD_BYTES = 512;
/** No second attempt helps these. */
const HOPELESS = new Set(["PAYLOAD_TOO_LARGE", "INVALID_ARGUMENT"]);

export class JetStreamAppends {
  readonly #config: AppendsConfig;
  /** By number, in the order of appending. */
  readonly #waiting = new Map<number, Waiting>();
  #mode: "held" | "open" | "plain" = "held";
  #repeatMs = 0;
  #bytes = 0;
  /** Of those that wait, with sentAt null. */
  #unsent = 0;
  #number = 0;
  #timer: Timer | null = null;
  #emptied: Deferred<void> | null = null;
  #lossTold = false;
  readonly #counts = { appended: 0, repeated: 0, lost: 0 };

  constructor(config: AppendsConfig) {
    this.#config = config;
  }

  get counts(): EventStreamCounts {
    return { ...this.#counts, waiting: this.#waiting.size };
  }

  append(subject: string, id: string, data: Uint8Array, headers: Headers): void {
    if (!this.#config.mayAppend()) return;
    if (this.#mode === "plain") {
      this.#publish(subject, data, headers, null);
      return;
    }
    const { waitingMax, waitingMaxBytes } = this.#config;
    const bytes = data.length + OVERHEAD_BYTES;
    if (this.#waiting.size >= waitingMax || this.#bytes + bytes > waitingMaxBytes) {
      this.#lose("events wait for the stream, and there is no room for more");
      return;
    }
    this.#counts.appended += 1;
    const entry: Waiting = { subject, data, headers: { "Nats-Msg-Id": id, ...headers }, firstSentAt: null, sentAt: null };
    this.#waiting.set(++this.#number, entry);
    this.#bytes += bytes;
    this.#unsent += 1;
    // A4: while others wait for their first sending, this one waits behind them.
    if (this.#mode === "open" && this.#unsent === 1) this.#send(this.#number, entry);
    this.#look();
  }

  /** The stream is there; what waits goes out. An id is known again for twice `repeatMs`. */
  open(repeatMs: number): void {
    this.#repeatMs = repeatMs;
    this.#mode = "open";
    this.#sendAll();
  }

  /** The connection or the stream is lost: what was not confirmed will be sent again. */
  hold(): void {
    this.#mode = "held";
    for (const entry of this.#waiting.values()) entry.sentAt = null;
    this.#unsent = this.#waiting.size;
  }

  /** There is no stream: what never went out goes to those who listen. */
  plain(): void {
    this.#mode = "plain";
    for (const [number, entry] of this.#waiting) {
      this.#remove(number, entry);
      if (entry.firstSentAt === null && this.#config.mayAppend()) this.#publish(entry.subject, entry.data, entry.headers, null);
    }
  }

  /** A confirmation, or a refusal. */
  hear({ subject, data }: BusMessage): void {
    const number = Number(subject.slice(this.#config.inbox.length + 1));
    const entry = this.#waiting.get(number);
    if (entry === undefined) return;
    // A server without the stream says so with an empty answer.
    if (data.length === 0) {
      if (this.#mode === "open") this.#config.onMissing();
      return;
    }
    const refusal = refusalIn(data);
    if (refusal === null) {
      this.#remove(number, entry);
      this.#lossTold = false;
      return;
    }
    // It is sent again, until its time is over: most refusals of a stream pass.
    this.#tell(`the stream refuses events: ${refusal}`);
  }

  settled(withinMs: number): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    const done = new Deferred<void>();
    const timer = this.#config.clock.after(withinMs, () => void done.resolve());
    const emptied = (this.#emptied ??= new Deferred<void>());
    void emptied.promise.then(() => {
      timer.cancel();
      done.resolve();
    });
    return done.promise;
  }

  close(): void {
    this.#mode = "held";
    this.#timer?.cancel();
    this.#waiting.clear();
    this.#emptied?.resolve();
  }

  #sendAll(): void {
    const now = this.#config.clock.monotonic();
    for (const [number, entry] of this.#waiting) {
      if (entry.sentAt !== null) continue;
      if (!this.#config.mayAppend()) this.#remove(number, entry);
      else if (entry.firstSentAt !== null && now - entry.firstSentAt > this.#repeatMs) this.#giveUp(number, entry);
      else if (!this.#send(number, entry)) return;
    }
  }

  /** False when nothing can be sent now. */
  #send(number: number, entry: Waiting): boolean {
    const again = entry.firstSentAt !== null;
    const outcome = this.#publish(entry.subject, entry.data, entry.headers, `${this.#config.inbox}.${number}`);
    if (outcome === "later") return false;
    if (outcome === "never") {
      this.#remove(number, entry);
      return true;
    }
    if (again) this.#counts.repeated += 1;
    const now = this.#config.clock.monotonic();
    entry.firstSentAt ??= now;
    entry.sentAt = now;
    this.#unsent -= 1;
    return true;
  }

  #publish(subject: string, data: Uint8Array, headers: Headers, reply: string | null): "sent" | "later" | "never" {
    try {
      this.#config.bus.publish(subject, data, reply === null ? { headers } : { headers, reply });
      if (reply === null) this.#counts.appended += 1;
      return "sent";
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (reply !== null && !HOPELESS.has(error.code)) return "later";
      this.#lose(error.message);
      return "never";
    }
  }

  /** While anything waits, looks now and then for what had no confirmation in time. */
  #look(): void {
    this.#timer ??= this.#config.clock.after(LOOK_EVERY_MS, () => {
      this.#timer = null;
      this.#age();
      if (this.#mode === "open") this.#sendAll();
      if (this.#waiting.size > 0) this.#look();
    });
  }

  #age(): void {
    const now = this.#config.clock.monotonic();
    for (const [number, entry] of this.#waiting) {
      if (!this.#config.mayAppend()) {
        this.#remove(number, entry);
      } else if (entry.firstSentAt !== null && now - entry.firstSentAt > this.#repeatMs) {
        this.#giveUp(number, entry);
      } else if (entry.sentAt !== null && now - entry.sentAt > CONFIRM_MS) {
        entry.sentAt = null;
        this.#unsent += 1;
      }
    }
  }

  #giveUp(number: number, entry: Waiting): void {
    this.#remove(number, entry);
    this.#lose("the stream did not confirm them in time");
  }

  #remove(number: number, entry: Waiting): void {
    if (!this.#waiting.delete(number)) return;
    this.#bytes -= entry.data.length + OVERHEAD_BYTES;
    if (entry.sentAt === null) this.#unsent -= 1;
    if (this.#waiting.size > 0) return;
    this.#emptied?.resolve();
    this.#emptied = null;
  }

  #lose(reason: string): void {
    this.#counts.lost += 1;
    this.#tell(`events are lost: ${reason}`);
  }

  /** Once for each spell. */
  #tell(message: string): void {
    if (!this.#lossTold) this.#config.log.warn({ waiting: this.#waiting.size, lost: this.#counts.lost }, message);
    this.#lossTold = true;
  }
}

/** What a publish confirmation says against it; null for nothing. */
function refusalIn(data: Uint8Array): string | null {
  try {
    const { error } = JSON.parse(new TextDecoder().decode(data)) as { readonly error?: { readonly description?: string } };
    return error === undefined ? null : (error.description ?? "it does not say why");
  } catch {
    return "its answer cannot be read";
  }
}
