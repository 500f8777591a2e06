/**
 * Who is in memory. Agents come when they are addressed and leave when they are at
 * rest and others need the room, or when they were idle for long.
 *
 *   asleep ─activate─▶ coming ─loaded─▶ resident ─chosen─▶ leaving ─left─▶ asleep
 *                        │                 ▲                   │
 *                        └─failed─▶ asleep └──not at rest──────┘
 *
 * Invariants
 * - R1 There is never more than one object for an agent: whoever wants one that comes
 *   shares its coming, and one that leaves has left before it comes back.
 * - R2 What keeps nothing in the store never leaves.
 * - R3 The one used least recently leaves first, unless it has work in hand.
 * - R4 A use costs the same however many are resident; each turn of the clock and each
 *   arrival looks at a bounded number of them.
 * - R5 Nobody begins to leave in the turn of the event loop in which it is used: whoever
 *   got it has it until the turn ends.
 * - R6 The limits are met as soon as agents are at rest. Until then more may be there, for
 *   an agent in a wait may wait for one that is asleep; beyond CEILING nobody comes.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import { type Dated, RecencyList } from "./recency-list.ts";
import { Turnstile } from "./turnstile.ts";

/** What residency asks of an agent. */
export interface Lodger {
  readonly id: string;
  readonly durable: boolean;
  /** Nothing in hand and nothing waiting. */
  readonly restful: boolean;
  readonly residentBytes: number;
  /** Lets go of its memory; false when it is not at rest after all. */
  leave(): Promise<boolean>;
}

export interface ResidencyConfig<A> {
  readonly clock: Clock;
  readonly maxResident: number;
  readonly maxBytes: number;
  readonly idleAfterMs: number;
  /** Brings an agent up from the store. `arrive` takes it in, in the turn in which it is made and before it does anything. */
  readonly load: (agentId: string, arrive: (agent: A) => void) => Promise<A>;
  /** One could not leave: it stays, and is tried again. */
  readonly onFault: (error: SirsiError, agentId: string) => void;
  /** Its object is no longer here. Must not throw. */
  readonly onGone?: (agentId: string) => void;
}

interface Room<A> extends Dated<Room<A>> {
  readonly agent: A;
  usedAt: number;
  bytes: number;
  /** Used since its bytes were read. */
  stale: boolean;
  /** It is in the list of those that may leave. */
  listed: boolean;
  /** Settles, without rejecting, when it has left or stays. */
  leaving: Promise<void> | null;
}

/** V8 holds some 13,000 to 16,000 WebAssembly memories. */
const CEILING = 15_000;
const COMING_AT_ONCE = 128;
const LEAVING_AT_ONCE = 64;
/** Of those at the old end of the list, how many are looked at in one go. */
const LOOKS_MAX = 256;
const TICK_MS = 1_000;
/** While there are more than there should be: those that were at work will rest soon. */
const HASTE_MS = 50;

export class Residency<A extends Lodger> {
  readonly #config: ResidencyConfig<A>;
  readonly #rooms = new Map<string, Room<A>>();
  readonly #coming = new Map<string, Promise<A>>();
  /** Agents that something is done with while they are asleep. */
  readonly #doors = new Map<string, Promise<void>>();
  /** Those that may leave. */
  readonly #list = new RecencyList<Room<A>>();
  readonly #arrivals = new Turnstile(COMING_AT_ONCE);
  #bytes = 0;
  #leaving = 0;
  #stale: Room<A>[] = [];
  #timer: Timer | null = null;
  #roomWanted = false;
  #closed = false;

  constructor(config: ResidencyConfig<A>) {
    this.#config = config;
  }

  /** Objects in memory, those that leave included. */
  get size(): number {
    return this.#rooms.size;
  }

  /** Of those that may leave, as they were last read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Every object in memory. */
  *agents(): Iterable<A> {
    for (const { agent } of this.#rooms.values()) yield agent;
  }

  /** The agent when it is resident. Whoever uses it does so in the same turn. */
  get(agentId: string): A | null {
    const room = this.#rooms.get(agentId);
    return room === undefined || room.leaving !== null ? null : room.agent;
  }

  /** To look at only: one that leaves, too. */
  peek(agentId: string): A | null {
    return this.#rooms.get(agentId)?.agent ?? null;
  }

  /** The agent when it is resident, and counts as a use. */
  use(agentId: string): A | null {
    const room = this.#rooms.get(agentId);
    if (room === undefined || room.leaving !== null) return null;
    this.#used(room);
    return room.agent;
  }

  /** The agent, brought up when it is not there. Rejects as `load` does. */
  activate(agentId: string): Promise<A> {
    const here = this.use(agentId);
    if (here !== null) return Promise.resolve(here);
    let coming = this.#coming.get(agentId);
    if (coming === undefined) {
      coming = this.#bring(agentId).finally(() => this.#coming.delete(agentId));
      this.#coming.set(agentId, coming);
    }
    return coming;
  }

  /** R1: what leaves has left, and what is done with it asleep is done. */
  async #bring(agentId: string): Promise<A> {
    for (;;) {
      const before = this.#rooms.get(agentId)?.leaving ?? this.#doors.get(agentId);
      if (before === undefined) break;
      await before;
      const stayed = this.use(agentId);
      if (stayed !== null) return stayed;
    }
    return await this.#arrivals.pass(async () => {
      this.#requireRoom(agentId);
      const agent = await this.#config.load(agentId, (arrived) => this.add(arrived));
      this.release(agentId);
      return agent;
    });
  }

  #requireRoom(agentId: string): void {
    if (this.#list.size < Math.max(CEILING, this.#config.maxResident)) return;
    throw new SirsiError("OVERLOADED", `agent ${agentId} cannot come to memory: ${this.#list.size} agents are there and all have work in hand; send again later`, { retryAfterMs: 1_000 });
  }

  /** Takes in an agent that was made here; it stays until it is released. */
  add(agent: A): void {
    this.#rooms.set(agent.id, { agent, usedAt: this.#config.clock.monotonic(), bytes: 0, stale: false, listed: false, leaving: null, older: null, newer: null });
  }

  /** From here on it may leave when it is at rest (R2). */
  release(agentId: string): void {
    const room = this.#rooms.get(agentId);
    if (room === undefined || !room.agent.durable || room.listed) return;
    this.#enlist(room);
    this.#makeRoom();
  }

  /** It ended. */
  remove(agentId: string): void {
    const room = this.#rooms.get(agentId);
    if (room === undefined) return;
    this.#rooms.delete(agentId);
    this.#unlist(room);
    this.#config.onGone?.(agentId);
  }

  /** The agent that comes just now; null when none does. */
  coming(agentId: string): Promise<A> | null {
    return this.#coming.get(agentId) ?? null;
  }

  /** Does `act` while the agent is asleep and stays so; null when it is resident instead, and nothing was done. */
  async asleep<T>(agentId: string, act: () => Promise<T>): Promise<{ readonly value: T } | null> {
    for (;;) {
      if (this.get(agentId) !== null) return null;
      const before: Promise<unknown> | undefined = this.#coming.get(agentId) ?? this.#rooms.get(agentId)?.leaving ?? this.#doors.get(agentId);
      if (before === undefined) break;
      await before.catch(() => undefined);
    }
    const done = act();
    const door = done.then(
      () => undefined,
      () => undefined,
    );
    this.#doors.set(agentId, door);
    try {
      return { value: await done };
    } finally {
      this.#doors.delete(agentId);
    }
  }

  /** Nobody leaves any more. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  // --- use and weight --------------------------------------------------------------

  #used(room: Room<A>): void {
    room.usedAt = this.#config.clock.monotonic();
    if (!room.listed) return;
    this.#list.used(room);
    if (room.stale) return;
    room.stale = true;
    this.#stale.push(room);
  }

  #weigh(room: Room<A>): void {
    const bytes = room.agent.residentBytes;
    this.#bytes += bytes - room.bytes;
    room.bytes = bytes;
  }

  #enlist(room: Room<A>): void {
    room.listed = true;
    this.#list.add(room);
    this.#used(room);
    this.#weigh(room);
    this.#plan();
  }

  #unlist(room: Room<A>): void {
    if (!room.listed) return;
    room.listed = false;
    this.#list.remove(room);
    this.#bytes -= room.bytes;
    room.bytes = 0;
  }

  // --- leaving ---------------------------------------------------------------------

  get #overfull(): boolean {
    return this.#list.size > this.#config.maxResident || this.#bytes > this.#config.maxBytes;
  }

  #plan(): void {
    if (this.#timer !== null || this.#closed || this.#list.size === 0) return;
    this.#timer = this.#config.clock.after(Math.min(this.#overfull ? HASTE_MS : TICK_MS, this.#config.idleAfterMs), () => {
      this.#timer = null;
      this.#tick();
      this.#plan();
    });
  }

  #tick(): void {
    const used = this.#stale;
    this.#stale = [];
    for (const room of used) {
      room.stale = false;
      if (!room.listed) continue;
      this.#weigh(room);
      // Its weight is that of before the work in hand.
      if (room.agent.restful) continue;
      room.stale = true;
      this.#stale.push(room);
    }
    this.#makeRoom();
    const idleSince = this.#config.clock.monotonic() - this.#config.idleAfterMs;
    this.#letLeave((room) => room.usedAt <= idleSince);
  }

  /** R5. */
  #makeRoom(): void {
    if (!this.#overfull || this.#roomWanted) return;
    this.#roomWanted = true;
    setImmediate(() => {
      this.#roomWanted = false;
      this.#letLeave(() => this.#overfull);
    });
  }

  /** R3. Those with work in hand count as used now. */
  #letLeave(wanted: (room: Room<A>) => boolean): void {
    if (this.#closed) return;
    for (let looks = Math.min(LOOKS_MAX, this.#list.size); looks > 0 && this.#leaving < LEAVING_AT_ONCE; looks--) {
      const room = this.#list.oldest;
      if (room === null || !wanted(room)) return;
      if (room.agent.restful) this.#startLeaving(room);
      else this.#used(room);
    }
  }

  #startLeaving(room: Room<A>): void {
    this.#unlist(room);
    this.#leaving++;
    room.leaving = this.#leave(room).then((left) => {
      this.#leaving--;
      // One that stays is tried again by the clock: it may be the only one there is.
      if (left) this.#makeRoom();
    });
  }

  /** Whether it is gone. Never rejects. */
  async #leave(room: Room<A>): Promise<boolean> {
    const { agent } = room;
    let left = false;
    try {
      faultPoint("page.before-out");
      left = await agent.leave();
    } catch (thrown) {
      this.#config.onFault(SirsiError.from(thrown), agent.id);
    }
    if (this.#rooms.get(agent.id) !== room) return true;
    if (left) {
      this.#rooms.delete(agent.id);
      this.#config.onGone?.(agent.id);
      return true;
    }
    room.leaving = null;
    this.#enlist(room);
    return false;
  }
}
