/**
 * The events of all sessions of this host: numbers them, keeps the newest, hands
 * them to followers and to the bus.
 *
 * Sequences: `start << 20` (start: milliseconds since 1970 when this log was made)
 * plus the session's own count. So they rise strictly within a session, also over
 * a restart, as long as the machine's clock does not go back over it.
 *
 * Invariants: (1) a follower gets kept events and live ones with no gap and no
 * repeat, for both happen in one turn of the event loop; (2) publishing never
 * waits and never throws; (3) all rings together stay below KEPT_BYTES_MAX, the
 * stillest sessions giving way first; (4) an event costs no encoding unless
 * somebody listens.
 */
import type { HostEvent, PublishEvent } from "../agent/agents.ts";
import type { Bus } from "../bus/bus.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Logger } from "../observe/logger.ts";
import type { Metrics } from "../observe/metrics.ts";
import { EventFollower, FOLLOWER_BUFFER } from "./event-follower.ts";
import { EventRing } from "./event-ring.ts";
import { eventsSubject, topicSubject } from "./event-subjects.ts";
import { encodeEvent, eventMessage } from "./kept-event.ts";
import type { KeptEvent } from "./kept-event.ts";
import type { FollowOptions, SessionEvents } from "./session-events.ts";

/** Room for the kept events of all sessions. */
export const KEPT_BYTES_MAX = 128 * 1024 * 1024;

/** A payload may keep this much of its buffer that is not its own. */
const SLACK_BYTES = 64;

export interface EventLogDeps {
  readonly bus: Pick<Bus, "publish" | "hasSubscribers">;
  /** What every subject starts with. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly eventsKept: number;
  readonly log: Logger;
  readonly metrics: Metrics | null;
  /** Default KEPT_BYTES_MAX. */
  readonly keptBytesMax?: number;
}

/** What the log holds of one session. */
interface Channel {
  readonly subject: string;
  readonly ring: EventRing;
  readonly followers: Set<EventFollower<KeptEvent>>;
  /** Events so far, in this process. */
  count: number;
  /** The session was made while this log ran: nothing of it was lost before. */
  born: boolean;
  ended: boolean;
  lastAt: number;
}

export class EventLog implements SessionEvents {
  readonly #deps: EventLogDeps;
  readonly #base: bigint;
  readonly #keptBytesMax: number;
  readonly #channels = new Map<string, Channel>();
  #keptBytes = 0;
  #busFailing = false;

  constructor(deps: EventLogDeps) {
    this.#deps = deps;
    this.#base = BigInt(Math.floor(deps.clock.now())) << 20n;
    this.#keptBytesMax = deps.keptBytesMax ?? KEPT_BYTES_MAX;
  }

  get keptBytes(): number {
    return this.#keptBytes;
  }

  /** Takes what happened. Bound, so that it can be handed on as it is. */
  readonly publish: PublishEvent = (event) => {
    this.#append(this.#channel(event.sessionId), event);
  };

  /** A session was made: all of its events will have been seen here. */
  begin(sessionId: string): void {
    this.#channel(sessionId).born = true;
  }

  /** The session's last event, after which its followers end. Repeatable: the first one counts. */
  end(sessionId: string, last: HostEvent): void {
    const channel = this.#channel(sessionId);
    if (channel.ended) return;
    channel.ended = true;
    this.#append(channel, last);
    for (const follower of channel.followers) follower.end();
  }

  /** Drops what is kept of a session that was removed. */
  forget(sessionId: string): void {
    const channel = this.#channels.get(sessionId);
    if (channel === undefined) return;
    this.#channels.delete(sessionId);
    this.#keptBytes -= channel.ring.bytes;
    for (const follower of channel.followers) follower.end();
  }

  /** Ends every follower, for the host is going down. */
  close(): void {
    for (const channel of this.#channels.values()) {
      for (const follower of channel.followers) follower.end();
    }
  }

  /**
   * Follows from this call on, whether or not it is read at once; leave it by
   * ending the iteration or by the signal. EVENTS_NOT_KEPT, at once, when events
   * from `fromSequence` on are gone.
   */
  follow(sessionId: string, options: FollowOptions): AsyncIterableIterator<AgentEvent> {
    const { signal } = options;
    const channel = this.#channel(sessionId);
    const fromCount = options.fromSequence === 0n ? channel.count + 1 : this.#countFrom(channel, options.fromSequence);
    const stop = () => follower.fail(new SirsiError("CANCELLED", "the following of events was cancelled by its caller"));
    const types = options.types.length === 0 ? null : new Set(options.types);
    const sequenceOf = ({ count }: KeptEvent) => this.#base + BigInt(count);
    const follower = new EventFollower<KeptEvent>({
      wants: ({ event, count }) => count >= fromCount && (types === null || types.has(event.type)),
      kept: channel.ring.from(fromCount),
      sequenceOf,
      messageOf: (kept) => eventMessage(kept, sequenceOf(kept)),
      room: FOLLOWER_BUFFER,
      detach: (self) => {
        channel.followers.delete(self);
        signal?.removeEventListener("abort", stop);
      },
    });
    channel.followers.add(follower);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener("abort", stop, { once: true });
    if (channel.ended || !options.live) follower.end();
    return follower;
  }

  #channel(sessionId: string): Channel {
    let channel = this.#channels.get(sessionId);
    if (channel === undefined) {
      channel = {
        subject: eventsSubject(this.#deps.prefix, sessionId),
        ring: new EventRing(this.#deps.eventsKept),
        followers: new Set(),
        count: 0,
        born: false,
        ended: false,
        lastAt: 0,
      };
      this.#channels.set(sessionId, channel);
    }
    return channel;
  }

  #append(channel: Channel, told: HostEvent): void {
    const { ring, followers } = channel;
    const event = compact(told);
    channel.count += 1;
    channel.lastAt = this.#deps.clock.now();
    const before = ring.bytes;
    ring.push(event, channel.lastAt);
    this.#keptBytes += ring.bytes - before;
    if (this.#keptBytes > this.#keptBytesMax) this.#giveWay(channel);
    if (followers.size > 0) {
      const kept = { event, at: channel.lastAt, count: channel.count };
      for (const follower of followers) follower.offer(kept);
    }
    this.#toBus(channel, event);
    this.#deps.metrics?.counter("sirsi_events_total", event.type).inc();
  }

  #toBus(channel: Channel, event: HostEvent): void {
    try {
      let bytes = this.#send(channel.subject, channel, event, null);
      const topic = topicSubject(this.#deps.prefix, event);
      if (topic !== null) bytes = this.#send(topic, channel, event, bytes);
      if (bytes !== null) this.#busFailing = false;
    } catch (err) {
      // Said once for each spell: an event that misses the bus is still kept and followed.
      if (!this.#busFailing) this.#deps.log.warn({ err, subject: channel.subject }, "events do not reach the bus; local followers still get them");
      this.#busFailing = true;
    }
  }

  /** Publishes when somebody listens; the encoded event, once it was needed. `event` is the channel's newest. */
  #send(subject: string, { count, lastAt }: Channel, event: HostEvent, encoded: Uint8Array | null): Uint8Array | null {
    const { bus } = this.#deps;
    if (bus.hasSubscribers !== undefined && !bus.hasSubscribers(subject)) return encoded;
    const bytes = encoded ?? encodeEvent(eventMessage({ event, at: lastAt, count }, this.#base + BigInt(count)));
    bus.publish(subject, bytes);
    return bytes;
  }

  /** The count to begin at, or EVENTS_NOT_KEPT. */
  #countFrom(channel: Channel, fromSequence: bigint): number {
    const wanted = Number(fromSequence - this.#base);
    const fromCount = channel.born ? Math.max(1, wanted) : wanted;
    if (fromCount >= channel.ring.first) return fromCount;
    const oldest = this.#base + BigInt(channel.ring.first);
    throw new SirsiError("EVENTS_NOT_KEPT", `events from sequence ${fromSequence} on are no longer kept; the oldest that can be had is ${oldest}. Follow from there, or from 0 for what comes now`, {
      metadata: { oldest_sequence: oldest.toString() },
    });
  }

  /** Empties the rings of the stillest sessions until a tenth of the room is free; `busy` comes last, and only if it must. */
  #giveWay(busy: Channel): void {
    const target = this.#keptBytesMax * 0.9;
    const others = [...this.#channels.values()].filter((channel) => channel !== busy && channel.ring.size > 0).toSorted((a, b) => a.lastAt - b.lastAt);
    for (const { ring } of others) {
      if (this.#keptBytes <= target) return;
      this.#keptBytes -= ring.bytes;
      ring.clear();
    }
    if (this.#keptBytes <= this.#keptBytesMax) return;
    this.#keptBytes -= busy.ring.bytes;
    busy.ring.clear();
  }
}

/** Bytes that are a view into something larger would keep all of that with them. */
function compact(event: HostEvent): HostEvent {
  const { payload } = event;
  if (payload === null || payload.value.buffer.byteLength <= payload.value.length + SLACK_BYTES) return event;
  return { ...event, payload: { typeUrl: payload.typeUrl, value: payload.value.slice() } };
}
