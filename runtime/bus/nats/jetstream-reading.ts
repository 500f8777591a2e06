/**
 * One reader of one subject of the stream, over all the connections and consumers it
 * outlives. Each consumer is of one connection, and dies by itself when nobody listens.
 *
 * States: waiting (no stream) -> starting -> flowing -> waiting | starting, without end;
 * from any to closed.
 *
 * R1 The reader gets each entry once, in order: a consumer whose deliveries have a gap is
 *    left for a new one that begins after the last entry that was given.
 * R2 It does not begin behind a hole: before each consumer the stream must show that nothing
 *    from the next entry on is gone, else the reading fails with EVENTS_NOT_KEPT. What the
 *    stream lets go while a consumer lags behind it, the server does not tell.
 * R3 What an earlier consumer still sends is not heard: each has a subject of its own.
 */
import { AckPolicy, DeliverPolicy, ReplayPolicy, nanos, type StreamInfo } from "nats";
import { backoffMs } from "../../core/backoff.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { BusMessage, Subscription } from "../bus.ts";
import type { Reading, StreamReader } from "../event-stream.ts";
import { isNearlyFull, keepsFrom } from "./jetstream-kept.ts";
import { JS, apiFailure, type JetStreamApi } from "./jetstream-api.ts";
import type { FoundStream } from "./jetstream-setup.ts";
import type { NatsBus } from "./nats-bus.ts";

export interface ReadingHome {
  readonly bus: Pick<NatsBus, "newInbox" | "subscribe" | "publish">;
  readonly api: JetStreamApi;
  readonly clock: Clock;
  /** Of a subject's oldest entry: nothing was ever before it. */
  readonly isFirst: (data: Uint8Array) => boolean;
  /** The stream is not there any more. */
  missing(): void;
  forget(reading: JetStreamReading): void;
}

const HEARTBEAT_MS = 5_000;
/** Silence after which a consumer is taken for gone. */
export const SILENCE_MAX_MS = 3 * HEARTBEAT_MS;
/** How long the server keeps a consumer that nobody hears. */
const UNHEARD_MS = 10_000;
const RETRY = { firstMs: 100, maxMs: 5_000, factor: 2 };
const NOTHING = new Uint8Array();

export class JetStreamReading implements Reading {
  readonly #home: ReadingHome;
  readonly #subject: string;
  readonly #reader: StreamReader;
  #stream: FoundStream | null = null;
  /** The lowest sequence that the reader has yet to see; 0 while it is not known where it begins. */
  #next: number;
  #subscription: Subscription | null = null;
  /** What this consumer has to begin with; null for whatever comes. */
  #mustBeFirst: number | null = null;
  /** Deliveries of this consumer so far. */
  #delivered = 0;
  #heardAt = 0;
  #caughtUp = false;
  #closed = false;
  /** Tells a start apart from those before. */
  #turn = 0;
  #failures = 0;
  #retry: Timer | null = null;

  constructor(home: ReadingHome, subject: string, from: number, reader: StreamReader) {
    this.#home = home;
    this.#subject = subject;
    this.#next = from;
    this.#reader = reader;
  }

  /** The stream is there, for the first time or again. */
  start(stream: FoundStream): void {
    if (this.#closed) return;
    if (this.#stream !== null && this.#stream.created !== stream.created) {
      this.fail(notKept(this.#next, null, "the stream was made anew, and its sequences began again"));
      return;
    }
    this.#stream = stream;
    this.#restart();
  }

  /** The connection is lost, and the consumer with it. */
  wait(): void {
    this.#turn += 1;
    this.#mustBeFirst = null;
    this.#retry?.cancel();
    this.#subscription?.close();
    this.#subscription = null;
  }

  /** Looks whether the consumer still shows signs of life. */
  check(): void {
    if (this.#subscription !== null && this.#home.clock.monotonic() - this.#heardAt > SILENCE_MAX_MS) this.#restart();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.wait();
    this.#home.forget(this);
  }

  fail(error: SirsiError): void {
    if (this.#closed) return;
    this.close();
    this.#reader.failed(error);
  }

  #restart(): void {
    this.wait();
    const stream = this.#stream;
    if (stream === null || this.#closed) return;
    const turn = this.#turn;
    this.#begin(stream, turn).then(
      () => (this.#failures = 0),
      (thrown: unknown) => this.#onFailure(SirsiError.from(thrown), turn),
    );
  }

  #onFailure(error: SirsiError, turn: number): void {
    if (turn !== this.#turn) return;
    if (error.code === "EVENTS_NOT_KEPT" || error.code === "PERMISSION_DENIED") {
      this.fail(error);
      return;
    }
    if (error.code === "BUS_NO_RESPONDERS") {
      this.#home.missing();
      return;
    }
    this.#retry = this.#home.clock.after(backoffMs(RETRY, this.#failures++, 0.5), () => this.#restart());
  }

  async #begin(stream: FoundStream, turn: number): Promise<void> {
    const { api } = this.#home;
    if (this.#next === 0) {
      // Both are on their way before anything that is appended later.
      const [outcome, newest] = await Promise.all([api.streamInfo(stream.name), api.newestOf(stream.name, this.#subject)]);
      if (turn !== this.#turn) return;
      const { last_seq: last } = this.#requireInfo(outcome).state;
      this.#next = last + 1;
      this.#reader.before?.(newest !== null && newest.sequence <= last ? newest : null);
    } else {
      const outcome = await api.streamInfo(stream.name, this.#subject);
      if (turn !== this.#turn) return;
      await this.#requireKept(stream, this.#requireInfo(outcome));
    }
    if (turn === this.#turn) await this.#consume(stream, turn);
  }

  #requireInfo(outcome: Awaited<ReturnType<JetStreamApi["streamInfo"]>>): StreamInfo {
    if (outcome.kind === "answer") return outcome.answer;
    if (outcome.fault.code === JS.streamNotFound) this.#home.missing();
    throw apiFailure("tell about the stream", outcome.fault);
  }

  /** R2. Of a subject that is nearly full it also notes what must come first, for it may go before it is read. */
  async #requireKept({ name, maxPerSubject }: FoundStream, { state }: StreamInfo): Promise<void> {
    const { api, isFirst } = this.#home;
    const from = this.#next;
    const look = { first: state.first_seq, last: state.last_seq, count: state.subjects?.[this.#subject] ?? 0, maxPerSubject };
    const verdict = keepsFrom(from, look);
    if (verdict === "ahead") throw notKept(from, null, `the stream has come to ${look.last} only, so that sequence is of another one, which is gone`);
    if (verdict === "look") {
      const oldest = await api.firstFrom(name, this.#subject, 1);
      if (oldest === null || (oldest.sequence > from && !isFirst(oldest.data))) throw notKept(from, oldest?.sequence ?? look.last + 1, "they are no longer kept");
    }
    if (isNearlyFull(look)) this.#mustBeFirst = (await api.firstFrom(name, this.#subject, from))?.sequence ?? null;
  }

  async #consume(stream: FoundStream, turn: number): Promise<void> {
    const { bus, api, clock } = this.#home;
    const inbox = bus.newInbox();
    this.#delivered = 0;
    this.#heardAt = clock.monotonic();
    this.#subscription = bus.subscribe(inbox, (message) => {
      if (turn === this.#turn) this.#hear(message, inbox);
    });
    const outcome = await api.createConsumer(stream.name, {
      name: inbox.slice(inbox.lastIndexOf(".") + 1),
      deliver_subject: inbox,
      filter_subject: this.#subject,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#next,
      ack_policy: AckPolicy.None,
      replay_policy: ReplayPolicy.Instant,
      max_deliver: 1,
      flow_control: true,
      idle_heartbeat: nanos(HEARTBEAT_MS),
      inactive_threshold: nanos(UNHEARD_MS),
      mem_storage: true,
      num_replicas: 1,
    });
    if (turn !== this.#turn) return;
    if (outcome.kind === "fault") {
      if (outcome.fault.code === JS.streamNotFound) this.#home.missing();
      throw apiFailure("make a consumer", outcome.fault);
    }
    if (outcome.answer.num_pending === 0 && this.#delivered === 0) this.#tellCaughtUp();
  }

  #hear(message: BusMessage, inbox: string): void {
    this.#heardAt = this.#home.clock.monotonic();
    if (message.subject === inbox) {
      this.#hearServer(message);
      return;
    }
    const place = placeOf(message.reply);
    if (place === null) return;
    const isHole = place.delivery !== this.#delivered + 1 || (this.#mustBeFirst !== null && place.sequence !== this.#mustBeFirst);
    if (isHole) {
      this.#restart();
      return;
    }
    this.#mustBeFirst = null;
    this.#delivered = place.delivery;
    if (place.sequence < this.#next) return;
    this.#next = place.sequence + 1;
    this.#reader.entry({ sequence: place.sequence, data: message.data });
    if (place.pending === 0) this.#tellCaughtUp();
  }

  /** A heartbeat, or a question whether we keep up: both tell how far the server has come. */
  #hearServer(message: BusMessage): void {
    const { headers } = message;
    // Without an answer the server stops.
    message.respond(NOTHING);
    const stalled = headers["Nats-Consumer-Stalled"];
    if (stalled !== undefined) this.#home.bus.publish(stalled, NOTHING);
    const delivered = Number(headers["Nats-Last-Consumer"] ?? Number.NaN);
    if (delivered > this.#delivered) this.#restart();
    // All up to there was looked at, so nothing of this subject is in between.
    else if (delivered === this.#delivered) this.#next = Math.max(this.#next, Number(headers["Nats-Last-Stream"] ?? 0) + 1);
  }

  #tellCaughtUp(): void {
    if (this.#caughtUp || this.#closed) return;
    this.#caughtUp = true;
    this.#reader.caughtUp?.();
  }
}

function notKept(from: number, oldest: number | null, reason: string): SirsiError {
  const next = oldest === null ? "Follow from 0 for what comes now" : `The oldest that can be had is ${oldest}: follow from there, or from 0 for what comes now`;
  return new SirsiError("EVENTS_NOT_KEPT", `events from sequence ${from} on cannot be had: ${reason}. ${next}`, {
    ...(oldest !== null && { metadata: { oldest_sequence: String(oldest) } }),
  });
}

interface Place {
  readonly sequence: number;
  /** The consumer's own count, from 1. */
  readonly delivery: number;
  /** What is left for this consumer. */
  readonly pending: number;
}

/**
 * From `$JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivery>.<time>.<pending>`, or the
 * newer form with domain and account before the stream and a token at the end.
 */
function placeOf(reply: string | null): Place | null {
  const tokens = reply?.split(".") ?? [];
  if (tokens[0] !== "$JS" || tokens[1] !== "ACK" || tokens.length < 9) return null;
  const at = tokens.length === 9 ? 5 : 7;
  return { sequence: Number(tokens[at]), delivery: Number(tokens[at + 1]), pending: Number(tokens[at + 3]) };
}
