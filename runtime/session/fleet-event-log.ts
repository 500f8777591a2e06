/**
 * The events of all sessions of a fleet, as one of its hosts publishes and follows them.
 *
 * Every host publishes what happens on it on the session's subject. Where a stream keeps
 * that, it also orders it: the sequence of an event is its place in the stream, the same on
 * every host, and a follower reads the stream. Where none does, followers hear what is
 * published while they listen, and the host they are on counts.
 *
 * Invariants: (1) publishing never waits and never throws; (2) each event is published
 * once, under an id that is its own wherever it is read; (3) nothing is published while
 * this host may not speak for its agents (D5); (4) sequences of one following rise
 * strictly, without repeat, and without gap: where one shows, the following ends with
 * EVENTS_NOT_KEPT.
 */
import type { HostEvent, PublishEvent } from "../agent/agents.ts";
import type { Bus } from "../bus/bus.ts";
import type { EventStream, Reading } from "../bus/event-stream.ts";
import { encodeUnplacedEvent } from "../contract/event-codec.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { BoundedCache } from "../core/bounded-cache.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { Logger } from "../observe/logger.ts";
import type { Metrics } from "../observe/metrics.ts";
import { cloudEventHeaders } from "./cloud-event.ts";
import { EventChains, EventNumbers } from "./event-chain.ts";
import { EventFollower, FOLLOWER_BUFFER } from "./event-follower.ts";
import { eventsSubject, topicSubject } from "./event-subjects.ts";
import { type HeardEvent, hearEvent } from "./heard-event.ts";
import { LiveChannel } from "./live-channel.ts";
import type { FollowOptions, SessionEvents } from "./session-events.ts";

export interface FleetEventLogDeps {
  readonly bus: Pick<Bus, "publish" | "subscribe">;
  readonly stream: EventStream;
  /** What every subject starts with. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly eventsKept: number;
  /** Whether this host may speak for its agents. */
  readonly held: () => boolean;
  readonly log: Logger;
  readonly metrics: Metrics | null;
}

/** What an event costs a slow follower besides its bytes. */
const EVENT_BYTES = 1_024;
const ENDED_REMEMBERED = 16_384;

type Follower = EventFollower<HeardEvent>;

export class FleetEventLog implements SessionEvents {
  readonly stream: EventStream;
  readonly #deps: FleetEventLogDeps;
  readonly #numbers: EventNumbers;
  readonly #followers = new Map<string, Set<Follower>>();
  readonly #channels = new Map<string, LiveChannel>();
  readonly #ended = new BoundedCache<string, true>(ENDED_REMEMBERED);
  #busFailing = false;

  constructor(deps: FleetEventLogDeps) {
    this.#deps = deps;
    this.stream = deps.stream;
    this.#numbers = new EventNumbers(newId(deps.clock.now()));
  }

  readonly publish: PublishEvent = (event) => {
    if (this.#deps.held()) this.#publish(event, this.#numbers.next(event.sessionId));
  };

  /** Nothing to be known here: the stream itself tells a session's first event. */
  begin(): void {}

  /** Under an id that every host would give it, so that a stream keeps the first one alone. */
  end(sessionId: string, last: HostEvent): void {
    if (this.#ended.get(sessionId) === true || !this.#deps.held()) return;
    this.#ended.set(sessionId, true);
    this.#publish(last, `${sessionId}.ended`);
  }

  forget(sessionId: string): void {
    this.#numbers.forget(sessionId);
    if (this.#deps.held()) this.stream.forget(eventsSubject(this.#deps.prefix, sessionId));
    for (const follower of this.#followers.get(sessionId) ?? []) follower.end();
  }

  /** Nothing is published from here on. */
  close(): void {
    for (const followers of this.#followers.values()) for (const follower of followers) follower.end();
    this.stream.close();
  }

  /** Resolves when what was published is kept, as far as it can be, at the latest after `withinMs`. */
  settled(withinMs: number): Promise<void> {
    return this.stream.settled(withinMs);
  }

  follow(sessionId: string, options: FollowOptions): AsyncIterableIterator<AgentEvent> {
    const { state } = this.stream;
    if (state.kind === "unusable") {
      if (options.fromSequence !== 0n) throw notKept(options.fromSequence, state.reason);
      return this.#followBus(sessionId, options);
    }
    return this.#followStream(sessionId, options);
  }

  #followStream(sessionId: string, options: FollowOptions): Follower {
    let reading: Reading | null = null;
    const chains = new EventChains();
    const follower = this.#follower(sessionId, options, () => reading?.close());
    // Of what comes, a session that is over has nothing.
    if (!options.live && options.fromSequence === 0n) follower.end();
    if (!follower.isOpen) return follower;
    reading = this.stream.read(eventsSubject(this.#deps.prefix, sessionId), Number(options.fromSequence), {
      before: (newest) => {
        // It ended on another host, and this one has not noticed yet.
        if (newest !== null && hearEvent(newest.data, 0n)?.isLast === true) follower.end();
      },
      entry: ({ sequence, data }) => {
        const heard = hearEvent(data, BigInt(sequence));
        if (heard === null) return;
        if (!chains.follows(heard.message.eventId)) follower.fail(missed(sequence));
        follower.offer(heard);
        if (heard.isLast) follower.end();
      },
      caughtUp: () => {
        if (!options.live) follower.end();
      },
      failed: (error) => follower.fail(error),
    });
    return follower;
  }

  #followBus(sessionId: string, options: FollowOptions): Follower {
    let channel: LiveChannel | null = null;
    const follower = this.#follower(sessionId, options, (self) => {
      channel?.remove(self);
      if (channel?.isEmpty === true) this.#channels.delete(sessionId);
    });
    if (!options.live) follower.end();
    if (!follower.isOpen) return follower;
    channel = this.#channels.get(sessionId) ?? new LiveChannel(this.#deps.bus, eventsSubject(this.#deps.prefix, sessionId), this.#deps.clock.now());
    this.#channels.set(sessionId, channel);
    channel.add(follower);
    return follower;
  }

  #follower(sessionId: string, { types, signal }: FollowOptions, leave: (self: Follower) => void): Follower {
    const wanted = types.length === 0 ? null : new Set(types);
    const followers = this.#followers.get(sessionId) ?? new Set<Follower>();
    const stop = () => follower.fail(new SirsiError("CANCELLED", "the following of events was cancelled by its caller"));
    const follower: Follower = new EventFollower<HeardEvent>({
      wants: ({ message }) => wanted === null || wanted.has(message.eventType),
      kept: [],
      sequenceOf: ({ message }) => message.sequence,
      messageOf: ({ message }) => message,
      room: this.#deps.eventsKept + FOLLOWER_BUFFER,
      bytesOf: ({ bytes }) => bytes + EVENT_BYTES,
      detach: (self) => {
        signal?.removeEventListener("abort", stop);
        followers.delete(self);
        if (followers.size === 0) this.#followers.delete(sessionId);
        leave(self);
      },
    });
    followers.add(follower);
    this.#followers.set(sessionId, followers);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener("abort", stop, { once: true });
    return follower;
  }

  #publish(event: HostEvent, eventId: string): void {
    const { clock, prefix, metrics } = this.#deps;
    const at = clock.now();
    const data = encodeUnplacedEvent({ ...event, eventType: event.type, eventId, at });
    this.stream.append(eventsSubject(prefix, event.sessionId), eventId, data, cloudEventHeaders(event, eventId, at, prefix));
    const topic = topicSubject(prefix, event);
    if (topic !== null) this.#toTopic(topic, data);
    metrics?.counter("sirsi_events_total", event.type).inc();
  }

  #toTopic(subject: string, data: Uint8Array): void {
    try {
      this.#deps.bus.publish(subject, data);
      this.#busFailing = false;
    } catch (err) {
      // Said once for each spell.
      if (!this.#busFailing) this.#deps.log.warn({ err, subject }, "events do not reach those who hear their topics");
      this.#busFailing = true;
    }
  }
}

function missed(sequence: number): SirsiError {
  return new SirsiError("EVENTS_NOT_KEPT", `events before sequence ${sequence} came faster than they could be read, or were lost on their way to the stream. Follow again from ${sequence}, and read the current state for what was missed`, {
    metadata: { oldest_sequence: String(sequence) },
  });
}

function notKept(from: bigint, reason: string): SirsiError {
  return new SirsiError("EVENTS_NOT_KEPT", `events from sequence ${from} on cannot be had, for this fleet keeps none: ${reason}. Follow from 0 for what comes now`);
}
