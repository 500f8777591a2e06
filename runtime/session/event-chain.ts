/**
 * Ids of a fleet's events, by which a reader notices what never reached it.
 *
 * `<log>.<number>.<number before>`: a log is one run of one host, its numbers rise, and the
 * number before is that of its event before in the same session: 0 for none, `x` when it
 * is not known any more. The stream gives an order and cannot tell of what it let go before
 * a reader came to it, or of what never came to the stream; the chain of each log can.
 */
import { BoundedCache } from "../core/bounded-cache.ts";

/** Sessions whose last event a host remembers. */
const SESSIONS_REMEMBERED = 131_072;
const UNKNOWN = "x";
const ID = /^(.+)\.(\d+)\.(\d+|x)$/;

/** The writer's side. */
export class EventNumbers {
  readonly #logId: string;
  readonly #lastBySession = new BoundedCache<string, number>(SESSIONS_REMEMBERED);
  #number = 0;
  /** Above it a session that is not remembered may have had events. */
  #forgetful = false;

  constructor(logId: string) {
    this.#logId = logId;
  }

  next(sessionId: string): string {
    const before = this.#lastBySession.get(sessionId) ?? (this.#forgetful ? UNKNOWN : 0);
    this.#number += 1;
    this.#lastBySession.set(sessionId, this.#number);
    this.#forgetful ||= this.#lastBySession.size >= SESSIONS_REMEMBERED / 2;
    return `${this.#logId}.${this.#number}.${before}`;
  }

  /** Nothing more will happen in it. */
  forget(sessionId: string): void {
    this.#lastBySession.delete(sessionId);
  }
}

/** The side of one reader of one session. */
export class EventChains {
  readonly #lastByLog = new Map<string, number>();

  /** False when events of the same log between this one and the last that was seen are missing. */
  follows(eventId: string): boolean {
    const parts = ID.exec(eventId);
    const log = parts?.[1];
    if (log === undefined) return true;
    const number = Number(parts?.[2]);
    const before = parts?.[3] === UNKNOWN ? null : Number(parts?.[3]);
    const last = this.#lastByLog.get(log);
    // One that was sent again may come behind its successors.
    if (last !== undefined && number <= last) return true;
    this.#lastByLog.set(log, number);
    return last === undefined || before === null || before === last;
  }
}
