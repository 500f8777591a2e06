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
 * A5 What is appended in one go leaves together, before anything else can happen, and its
 *    last one alone asks for a confirmation, which is good for all before it: the stream
 *    takes what comes over one connection in its order.
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
  readonly number: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: Headers;
  /** On the monotonic clock; null for never. */
  firstSentAt: number | null;
  /** Null while it must be sent (again). */
  sentAt: number | null;
}

/** In a large batch, further confirmations are asked for on the way. */
const ASK_EVERY = 256;
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
  /** Those with sentAt null, in their order; and some that wait no more. */
  #toSend: Waiting[] = [];
  #number = 0;
  /** The turn in which something was appended is not over. */
  #gathering = false;
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
      this.#sendPlain(subject, data, headers);
      return;
    }
    const { waitingMax, waitingMaxBytes } = this.#config;
    const bytes = data.length + OVERHEAD_BYTES;
    if (this.#waiting.size >= waitingMax || this.#bytes + bytes > waitingMaxBytes) {
      this.#lose("events wait for the stream, and there is no room for more");
      return;
    }
    this.#counts.appended += 1;
    const entry: Waiting = { number: ++this.#number, subject, data, headers: { "Nats-Msg-Id": id, ...headers }, firstSentAt: null, sentAt: null };
    this.#waiting.set(entry.number, entry);
    this.#toSend.push(entry);
    this.#bytes += bytes;
    if (!this.#gathering) {
      this.#gathering = true;
      queueMicrotask(() => {
        this.#gathering = false;
        if (this.#mode === "open") this.#sendAll();
      });
    }
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
    this.#toSend = [...this.#waiting.values()];
    for (const entry of this.#toSend) entry.sentAt = null;
  }

  /** There is no stream: what never went out goes to those who listen. */
  plain(): void {
    this.#mode = "plain";
    for (const entry of this.#waiting.values()) {
      this.#remove(entry);
      if (entry.firstSentAt === null && this.#config.mayAppend()) this.#sendPlain(entry.subject, entry.data, entry.headers);
    }
  }

  /** A confirmation, or a refusal. */
  hear({ subject, data }: BusMessage): void {
    const number = Number(subject.slice(this.#config.inbox.length + 1));
    if (!this.#waiting.has(number)) return;
    // A server without the stream says so with an empty answer.
    if (data.length === 0) {
      if (this.#mode === "open") this.#config.onMissing();
      return;
    }
    const refusal = refusalIn(data);
    if (refusal === null) {
      this.#confirm(number);
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
    this.#toSend = [];
    this.#emptied?.resolve();
  }

  /** A5. */
  #confirm(upTo: number): void {
    this.#lossTold = false;
    for (const entry of this.#waiting.values()) {
      if (entry.number > upTo) return;
      if (entry.sentAt !== null) this.#remove(entry);
    }
  }

  #sendAll(): void {
    const now = this.#config.clock.monotonic();
    const due = this.#toSend;
    for (const [at, entry] of due.entries()) {
      if (!this.#isDue(entry, now)) continue;
      const asks = at === due.length - 1 || at % ASK_EVERY === ASK_EVERY - 1;
      if (!this.#send(entry, asks, now)) {
        this.#toSend = due.slice(at);
        return;
      }
    }
    this.#toSend = [];
  }

  /** Lets go of what may not go out any more. */
  #isDue(entry: Waiting, now: number): boolean {
    if (!this.#waiting.has(entry.number)) return false;
    if (!this.#config.mayAppend()) this.#remove(entry);
    else if (this.#isTooLate(entry, now)) this.#giveUp(entry);
    return this.#waiting.has(entry.number);
  }

  #isTooLate({ firstSentAt }: Waiting, now: number): boolean {
    return firstSentAt !== null && now - firstSentAt > this.#repeatMs;
  }

  /** False when nothing can be sent now. */
  #send(entry: Waiting, asks: boolean, now: number): boolean {
    const { subject, data, headers, number } = entry;
    try {
      this.#config.bus.publish(subject, data, asks ? { headers, reply: `${this.#config.inbox}.${number}` } : { headers });
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (!HOPELESS.has(error.code)) return false;
      this.#remove(entry);
      this.#lose(error.message);
      return true;
    }
    if (entry.firstSentAt !== null) this.#counts.repeated += 1;
    entry.firstSentAt ??= now;
    entry.sentAt = now;
    return true;
  }

  #sendPlain(subject: string, data: Uint8Array, headers: Headers): void {
    try {
      this.#config.bus.publish(subject, data, { headers });
      this.#counts.appended += 1;
    } catch (thrown) {
      this.#lose(SirsiError.from(thrown).message);
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
    const again: Waiting[] = [];
    for (const entry of this.#waiting.values()) {
      if (!this.#config.mayAppend()) {
        this.#remove(entry);
      } else if (this.#isTooLate(entry, now)) {
        this.#giveUp(entry);
      } else if (entry.sentAt !== null && now - entry.sentAt > CONFIRM_MS) {
        entry.sentAt = null;
        again.push(entry);
      }
    }
    if (again.length > 0) this.#toSend = [...again, ...this.#toSend];
  }

  #giveUp(entry: Waiting): void {
    this.#remove(entry);
    this.#lose("the stream did not confirm them in time");
  }

  #remove(entry: Waiting): void {
    if (!this.#waiting.delete(entry.number)) return;
    this.#bytes -= entry.data.length + OVERHEAD_BYTES;
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
