/**
 * Wakes agents for their timers. The store holds every timer until the commit of the
 * step that it was; here is only when the next one is due, and those in hand.
 *
 *   (store) ─listed as due─▶ firing ─fired─▶ gone, by the agent's own commit
 *                             │  ▲
 *                        failed  └─listed again
 *                             ▼  │
 *                          resting ─▶ doubtful ─not listed─▶ gone
 *
 * Invariants
 * - T1 A timer fires at most once at a time, and only when the store had it after the last
 *   attempt ended: an attempt that failed may have been committed all the same.
 * - T2 A timer fires when the machine's clock has reached it. A clock that is set forward
 *   or back makes timers early or late, and neither loses nor doubles one; that it was
 *   set is noticed within LOOK_AGAIN_MS.
 * - T3 At most IN_HAND_MAX timers are in memory. Those that fail wait longer each time,
 *   and hold up no others.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { Logger } from "../observe/index.ts";
import type { Store, TimerChange, TimerRecord } from "../store/store.ts";
import { backoffMs } from "../core/backoff.ts";
import { DELIVERY_BACKOFF, isForGood } from "./delivery-fate.ts";
import type { FiredTimer } from "./surroundings.ts";

export interface AlarmClockConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: Pick<Store, "listTimers" | "nextTimer">;
  readonly log: Logger;
  /** Resolves when the timer's step is committed. */
  readonly fire: (timer: TimerRecord) => Promise<void>;
  readonly inHandMax?: number;
}

type HandState =
  | { readonly kind: "firing" }
  | { readonly kind: "resting"; readonly until: Timer }
  /** To be fired again when the look after this one lists it. */
  | { readonly kind: "doubtful"; readonly since: number };

interface InHand {
  timer: TimerRecord;
  attempts: number;
  state: HandState;
  /** Set to another time while it was fired. */
  setAnew: boolean;
  /** Its agent was forgotten: what comes of the firing under way is nobody's affair. */
  gone: boolean;
}

const FIRING: HandState = { kind: "firing" };
const IN_HAND_MAX = 10_000;
const PAGE = 256;
const LOOK_AGAIN_MS = 10_000;
const STORE_RETRY_MS = 1_000;
/** Timers whose rest is over are looked at together. */
const GATHER_MS = 100;

export class AlarmClock {
  readonly #config: AlarmClockConfig;
  readonly #inHandMax: number;
  readonly #inHand = new Map<string, InHand>();
  /** When the clock of the machine is to be looked at next; Infinity when nothing is set. */
  #dueAt = Infinity;
  #timer: Timer | null = null;
  #looking: Promise<void> | null = null;
  #looks = 0;
  #lookAgain = false;
  /** T1: what ended or was changed while a list was read. */
  readonly #overtaken = new Set<string>();
  #started = false;
  /** Rises when everything is dropped: a look of before takes nothing any more. */
  #life = 0;
  #closed = false;

  constructor(config: AlarmClockConfig) {
    this.#config = config;
    this.#inHandMax = config.inHandMax ?? IN_HAND_MAX;
  }

  /** Timers in memory. */
  get inHand(): number {
    return this.#inHand.size;
  }

  start(): void {
    this.#started = true;
    this.#look();
  }

  /** The store has timers that were not set here. */
  look(): void {
    this.#look();
  }

  /** A timer of this agent is in hand. */
  holds(agentId: string): boolean {
    for (const { timer } of this.#inHand.values()) if (timer.agentId === agentId) return true;
    return false;
  }

  /** Others wake these agents from now on. */
  forget(agentIds: ReadonlySet<string>): void {
    for (const [key, inHand] of this.#inHand) if (agentIds.has(inHand.timer.agentId)) this.#drop(key, inHand);
  }

  #drop(key: string, inHand: InHand): void {
    inHand.gone = true;
    if (inHand.state.kind === "resting") inHand.state.until.cancel();
    this.#inHand.delete(key);
  }

  /** Drops everything until it is started again. */
  reset(): void {
    this.#life++;
    this.#started = false;
    this.#timer?.cancel();
    this.#timer = null;
    this.#dueAt = Infinity;
    this.#lookAgain = false;
    for (const [key, inHand] of this.#inHand) this.#drop(key, inHand);
  }

  /** Told after each commit that set, cancelled or fired timers. */
  changed(agentId: string, changes: readonly TimerChange[], fired: FiredTimer | null): void {
    if (fired !== null) this.#overtake(keyOf(agentId, fired.timerId), fired.dueAt);
    for (const change of changes) {
      this.#overtake(keyOf(agentId, change.timerId), change.kind === "set" ? change.dueAt : null);
      if (change.kind === "set") this.#expect(change.dueAt);
    }
  }

  /** What is in hand under this name is no longer as it was. While it is fired, its commit decides. */
  #overtake(key: string, dueAt: number | null): void {
    if (this.#looking !== null) this.#overtaken.add(key);
    const inHand = this.#inHand.get(key);
    if (inHand === undefined || inHand.timer.dueAt === dueAt) return;
    if (inHand.state.kind === "firing") {
      inHand.setAnew = dueAt !== null;
      return;
    }
    if (inHand.state.kind === "resting") inHand.state.until.cancel();
    this.#inHand.delete(key);
  }

  #expect(dueAt: number): void {
    if (this.#looking !== null) this.#lookAgain = true;
    if (dueAt >= this.#dueAt) return;
    this.#dueAt = dueAt;
    this.#arm();
  }

  /** T2: the machine's clock decides, so it is looked at again and again while something is set. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (!this.#started || this.#closed || this.#dueAt === Infinity) return;
    const { clock } = this.#config;
    const armedAt = clock.now();
    const delayMs = Math.max(0, Math.min(this.#dueAt - armedAt, LOOK_AGAIN_MS));
    this.#timer = clock.after(delayMs, () => {
      this.#timer = null;
      const now = clock.now();
      // One that was set back knows nothing of times that were meant by it before.
      if (now >= this.#dueAt || now < armedAt) this.#look();
      else this.#arm();
    });
  }

  // --- the list ----------------------------------------------------------------------

  #look(): void {
    if (this.#closed || !this.#started) return;
    if (this.#looking !== null) {
      this.#lookAgain = true;
      return;
    }
    this.#lookAgain = false;
    this.#looks++;
    this.#overtaken.clear();
    this.#looking = this.#lookNow();
  }

  async #lookNow(): Promise<void> {
    const life = this.#life;
    let next: number;
    try {
      next = await this.#takeDue(life);
    } catch (thrown) {
      this.#config.log.warn({ err: SirsiError.from(thrown).message }, "timers could not be read from the store; tried again in a second");
      next = this.#config.clock.now() + STORE_RETRY_MS;
    }
    this.#looking = null;
    this.#overtaken.clear();
    if (this.#lookAgain) {
      this.#look();
      return;
    }
    if (life !== this.#life) return;
    this.#dueAt = next;
    this.#arm();
  }

  /** Takes what is due in hand; when to look again. */
  async #takeDue(life: number): Promise<number> {
    const { clock, store } = this.#config;
    for (;;) {
      const now = clock.now();
      const room = this.#inHandMax - this.#inHand.size;
      // Looked at again when one of those in hand is done.
      if (room <= 0) return Infinity;
      // Those in hand are listed too, and come first.
      const limit = this.#inHand.size + Math.min(PAGE, room);
      const due = await store.listTimers(now, limit);
      if (this.#closed || life !== this.#life) return Infinity;
      let taken = 0;
      for (const timer of due) if (this.#take(timer)) taken++;
      if (due.length < limit) {
        this.#dropUnlisted();
        return (await store.nextTimer(now)) ?? Infinity;
      }
      if (taken === 0) return now + STORE_RETRY_MS;
    }
  }

  #take(timer: TimerRecord): boolean {
    const key = keyOf(timer.agentId, timer.timerId);
    if (this.#overtaken.has(key)) return false;
    let inHand = this.#inHand.get(key);
    if (inHand === undefined) {
      if (this.#inHand.size >= this.#inHandMax) return false;
      inHand = { timer, attempts: 0, state: FIRING, setAnew: false, gone: false };
      this.#inHand.set(key, inHand);
    } else if (inHand.state.kind !== "doubtful" || inHand.state.since >= this.#looks) {
      return false;
    }
    inHand.timer = timer;
    this.#fire(key, inHand);
    return true;
  }

  /** T1: an attempt that seemed to fail was committed. */
  #dropUnlisted(): void {
    for (const [key, { state }] of this.#inHand) if (state.kind === "doubtful" && state.since < this.#looks) this.#inHand.delete(key);
  }

  // --- one timer -----------------------------------------------------------------------

  #fire(key: string, inHand: InHand): void {
    inHand.state = FIRING;
    inHand.setAnew = false;
    inHand.attempts++;
    void this.#attempt(inHand).then((restMs) => {
      if (this.#closed || inHand.gone) return;
      if (restMs === null) this.#done(key, inHand);
      else this.#rest(inHand, restMs);
    });
  }

  #rest(inHand: InHand, restMs: number): void {
    const until = this.#config.clock.after(restMs, () => {
      inHand.state = { kind: "doubtful", since: this.#looks };
      this.#expect(this.#config.clock.now() + GATHER_MS);
    });
    inHand.state = { kind: "resting", until };
  }

  #done(key: string, { setAnew }: InHand): void {
    const wasFull = this.#inHand.size >= this.#inHandMax;
    this.#inHand.delete(key);
    if (this.#looking !== null) this.#overtaken.add(key);
    if (setAnew || wasFull) this.#look();
  }

  /** Null when it is done with; else milliseconds until it is tried again. Never rejects. */
  async #attempt({ timer, attempts }: InHand): Promise<number | null> {
    const { fire, log, random } = this.#config;
    try {
      faultPoint("timer.before-fire");
      await fire(timer);
      return null;
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      // The guest answered with an error of its own: its step stands.
      if (error.code === "GUEST_ERROR") return null;
      const { agentId, timerId } = timer;
      if (isForGood(error)) {
        log.warn({ agentId, timerId, reason: error.code, err: error.message }, "a timer has nobody left to wake");
        return null;
      }
      if (attempts === 1) log.warn({ agentId, timerId, reason: error.code, err: error.message }, "a timer could not be fired; tried again until it is");
      return Math.max(error.details.retryAfterMs ?? 0, backoffMs(DELIVERY_BACKOFF, attempts - 1, random()));
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { state } of this.#inHand.values()) if (state.kind === "resting") state.until.cancel();
    this.#inHand.clear();
  }
}

/** A NUL cannot be part of either. */
function keyOf(agentId: string, timerId: string): string {
  return `${agentId}\0${timerId}`;
}
