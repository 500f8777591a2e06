/**
 * A session's events as they come over the bus, for all who follow it on this host, where
 * nobody keeps them. This host gives the sequences: `start << 20` (start: milliseconds since
 * 1970 when the channel was made) plus a count, so they rise over channels too. They are
 * the same for its followers and mean nothing to another host.
 *
 * Subscribed while it has followers. What passes while the connection is lost is not seen;
 * the next event shows that something is missing, and its followers are told.
 */
import type { Bus, Subscription } from "../bus/bus.ts";
import { SirsiError } from "../core/errors.ts";
import { EventChains } from "./event-chain.ts";
import type { EventFollower } from "./event-follower.ts";
import { type HeardEvent, hearEvent } from "./heard-event.ts";

export class LiveChannel {
  readonly #followers = new Set<EventFollower<HeardEvent>>();
  readonly #subscription: Subscription;
  readonly #base: bigint;
  readonly #chains = new EventChains();
  #count = 0;

  constructor(bus: Pick<Bus, "subscribe">, subject: string, startMs: number) {
    this.#base = BigInt(Math.floor(startMs)) << 20n;
    this.#subscription = bus.subscribe(subject, ({ data }) => this.#hear(data));
  }

  get isEmpty(): boolean {
    return this.#followers.size === 0;
  }

  add(follower: EventFollower<HeardEvent>): void {
    this.#followers.add(follower);
  }

  /** The last one takes the subscription along. */
  remove(follower: EventFollower<HeardEvent>): void {
    this.#followers.delete(follower);
    if (this.isEmpty) this.#subscription.close();
  }

  #hear(data: Uint8Array): void {
    const heard = hearEvent(data, this.#base + BigInt(this.#count + 1));
    if (heard === null) return;
    this.#count += 1;
    const follows = this.#chains.follows(heard.message.eventId);
    for (const follower of this.#followers) {
      if (!follows) follower.fail(missed());
      follower.offer(heard);
      if (heard.isLast) follower.end();
    }
  }
}

function missed(): SirsiError {
  return new SirsiError("EVENTS_NOT_KEPT", "events were missed while the connection to NATS was lost or too slow, and this fleet keeps none. Follow again from 0, and read the current state");
}
