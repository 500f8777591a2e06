/**
 * A stream in JetStream: found or made anew with each connection, written to and read from
 * on any of them.
 *
 * States: opening -> open | unusable; from each back to opening with a new connection, or
 * when the stream is found missing; from any to closed.
 *
 * J1 Without JetStream, or with a stream that cannot serve, the state says why and what to
 *    do, and it is looked at again now and then.
 * J2 A stream that is there is taken as it is; only its subjects and its retention must fit.
 */
import { backoffMs } from "../../core/backoff.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Logger } from "../../observe/index.ts";
import type { Subscription } from "../bus.ts";
import type { EventStream, EventStreamCounts, EventStreamState, Reading, StreamReader } from "../event-stream.ts";
import type { Headers } from "../headers.ts";
import { requirePattern } from "../subject.ts";
import { JetStreamApi } from "./jetstream-api.ts";
import { JetStreamAppends } from "./jetstream-appends.ts";
import { JetStreamReading, SILENCE_MAX_MS } from "./jetstream-reading.ts";
import { setUpStream, type FoundStream, type SetupOutcome } from "./jetstream-setup.ts";
import type { NatsBus } from "./nats-bus.ts";

export interface JetStreamEventsOptions {
  readonly bus: NatsBus;
  readonly clock: Clock;
  readonly log: Logger;
  /** The pattern of all subjects that are appended to. */
  readonly subjects: string;
  readonly name: string;
  /** 0: no stream is looked for or made. */
  readonly maxPerSubject: number;
  /** Default 24 hours. */
  readonly maxAgeMs?: number;
  /** Default 1 GiB. */
  readonly maxBytes?: number;
  /** Nothing is sent while it says no (D5). */
  readonly mayAppend: () => boolean;
  /** Of a subject's oldest entry: nothing was ever before it. */
  readonly isFirst: (data: Uint8Array) => boolean;
  /** What may wait for its confirmation. Default 16,384 entries of together 32 MiB. */
  readonly waitingMax?: number;
  readonly waitingMaxBytes?: number;
}

const MIB = 1024 * 1024;
const DAY_MS = 24 * 3_600_000;
/** The server holds every id for so long, some 200 bytes each. */
const DUPLICATE_MS = 60_000;
const RETRY = { firstMs: 100, maxMs: 5_000, factor: 2 };
const LOOK_AGAIN_MS = 30_000;
const NO_JETSTREAM = "the NATS server has no JetStream; switch it on (`jetstream { store_dir: … }` in its configuration, or -js)";

/** Opens at once; `opened` tells when the state is known for the first time. */
export function openJetStreamEvents(options: JetStreamEventsOptions): JetStreamEvents {
  requirePattern(options.subjects);
  return new JetStreamEvents(options);
}

export class JetStreamEvents implements EventStream {
  readonly #options: JetStreamEventsOptions;
  readonly #api: JetStreamApi;
  readonly #appends: JetStreamAppends;
  readonly #readings = new Set<JetStreamReading>();
  readonly #confirmations: Subscription;
  readonly #stopListening: () => void;
  readonly #opened = new Deferred<void>();
  #state: EventStreamState = { kind: "opening", reason: "the stream is being looked for" };
  #stream: FoundStream | null = null;
  #closed = false;
  /** Tells a set-up apart from those before. */
  #turn = 0;
  #timer: Timer | null = null;
  #checks: Timer | null = null;

  constructor(options: JetStreamEventsOptions) {
    this.#options = options;
    const { bus, clock, log } = options;
    this.#api = new JetStreamApi(bus);
    const inbox = bus.newInbox();
    this.#appends = new JetStreamAppends({
      bus,
      clock,
      log,
      inbox,
      mayAppend: options.mayAppend,
      onMissing: () => this.#setUp("the stream was not found"),
      waitingMax: options.waitingMax ?? 16_384,
      waitingMaxBytes: options.waitingMaxBytes ?? 32 * MIB,
    });
    this.#confirmations = bus.subscribe(`${inbox}.*`, (message) => this.#appends.hear(message));
    this.#stopListening = bus.onConnect(() => this.#setUp("there is a new connection"));
    this.#setUp("the stream is being looked for");
    this.#checkLater();
  }

  /** Resolves when it is known whether there is a stream. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get state(): EventStreamState {
    if (this.#state.kind === "open" && this.#options.bus.status !== "connected") return { kind: "opening", reason: "there is no connection to NATS" };
    return this.#state;
  }

  get counts(): EventStreamCounts {
    return this.#appends.counts;
  }

  append(subject: string, id: string, data: Uint8Array, headers: Headers): void {
    this.#appends.append(subject, id, data, headers);
  }

  read(subject: string, from: number, reader: StreamReader): Reading {
    const reading = new JetStreamReading(
      {
        bus: this.#options.bus,
        api: this.#api,
        clock: this.#options.clock,
        isFirst: this.#options.isFirst,
        missing: () => this.#setUp("the stream was not found"),
        forget: (self) => void this.#readings.delete(self),
      },
      subject,
      from,
      reader,
    );
    this.#readings.add(reading);
    if (this.#state.kind === "unusable") reading.fail(gone(this.#state.reason));
    else if (this.#stream !== null) reading.start(this.#stream);
    return reading;
  }

  forget(subject: string): void {
    if (this.#stream === null || this.state.kind !== "open") return;
    this.#api.purge(this.#stream.name, subject).catch((thrown: unknown) => {
      this.#options.log.debug({ subject, err: SirsiError.from(thrown).message }, "events could not be removed; they go with their age");
    });
  }

  settled(withinMs: number): Promise<void> {
    return this.#appends.settled(withinMs);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turn += 1;
    this.#timer?.cancel();
    this.#checks?.cancel();
    this.#stopListening();
    this.#confirmations.close();
    this.#appends.close();
    for (const reading of this.#readings) reading.close();
    this.#opened.resolve();
  }

  #setUp(reason: string): void {
    if (this.#closed) return;
    this.#stream = null;
    this.#state = { kind: "opening", reason };
    this.#appends.hold();
    for (const reading of this.#readings) reading.wait();
    this.#look(0);
  }

  #look(failures: number): void {
    this.#timer?.cancel();
    const turn = ++this.#turn;
    this.#find().then(
      (outcome) => {
        if (turn === this.#turn) this.#settle(outcome);
      },
      (thrown: unknown) => {
        if (turn === this.#turn) this.#retry(SirsiError.from(thrown), failures);
      },
    );
  }

  async #find(): Promise<SetupOutcome> {
    const { bus, name, subjects, maxPerSubject, maxAgeMs = DAY_MS, maxBytes = 1_024 * MIB } = this.#options;
    if (maxPerSubject === 0) return { kind: "unusable", reason: "sessions.events_kept is 0; give it a number from 1 on every host" };
    try {
      return await setUpStream(this.#api, { name, subjects, maxPerSubject, maxAgeMs, maxBytes, duplicateMs: DUPLICATE_MS, clustered: bus.clustered });
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "BUS_NO_RESPONDERS") return { kind: "unusable", reason: NO_JETSTREAM };
      if (error.code === "PERMISSION_DENIED") return { kind: "unusable", reason: `this host's account may not use JetStream (${error.message})` };
      throw error;
    }
  }

  /** Without a connection nothing is tried: the next one begins anew. */
  #retry(error: SirsiError, failures: number): void {
    const { bus, clock, log } = this.#options;
    if (bus.status !== "connected") return;
    if (failures === 0) log.warn({ err: error.message }, "the stream of events cannot be had yet; trying on");
    this.#state = { kind: "opening", reason: error.message };
    this.#timer = clock.after(backoffMs(RETRY, failures, 0.5), () => this.#look(failures + 1));
  }

  #settle(outcome: SetupOutcome): void {
    this.#opened.resolve();
    if (outcome.kind === "unusable") {
      this.#onUnusable(outcome.reason);
      return;
    }
    const { name, replicas, duplicateMs } = outcome;
    this.#options.log.info({ stream: name, replicas }, "events are kept in JetStream");
    this.#stream = outcome;
    this.#state = { kind: "open", name, replicas };
    // Half of the time, so that no repeat comes when its id is about to be forgotten.
    this.#appends.open(duplicateMs / 2);
    for (const reading of this.#readings) reading.start(outcome);
  }

  #onUnusable(reason: string): void {
    const { clock, log } = this.#options;
    const before = this.#state;
    if (before.kind !== "unusable") {
      log.warn({ reason }, "events are not kept: followers see them while they happen, and cannot resume");
      this.#state = { kind: "unusable", reason };
      this.#appends.plain();
      for (const reading of this.#readings) reading.fail(gone(reason));
    }
    this.#timer = clock.after(LOOK_AGAIN_MS, () => this.#look(0));
  }

  #checkLater(): void {
    this.#checks = this.#options.clock.after(SILENCE_MAX_MS / 3, () => {
      for (const reading of this.#readings) reading.check();
      this.#checkLater();
    });
  }
}

function gone(reason: string): SirsiError {
  return new SirsiError("BUS_UNAVAILABLE", `The stream that keeps events cannot be read: ${reason}. Follow again, from 0 for what comes now.`);
}
