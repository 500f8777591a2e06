/**
 * How many agents there are that have not ended, asleep ones included. The store is
 * asked once for each number; from then on it is kept by what happens here.
 *
 * In a fleet the whole number is that of this host's own agents, which come and go between
 * hosts; a session's agents are on all of them, so its number is believed for a moment only.
 *
 * Invariants: (1) an agent counts from the moment when its spawn is asked for, so limits
 * hold however many are asked for at once; (2) a number read while it is known is exact.
 */
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { AgentQuery, Store } from "../store/store.ts";

/** Sessions whose number is kept; others are asked for again. */
const SESSIONS_MAX = 65_536;
const ASKED_AGAIN_MAX = 5;
const BELIEVED_MS = 1_000;
const EVERYBODY: AgentQuery = { sessionId: null, module: null, digest: null, parentAgentId: null };

interface Question {
  readonly answer: Promise<number>;
  /** Something was counted meanwhile, which the answer may or may not include. */
  disturbed: boolean;
}

/** Of a host that is one of several. */
export interface SharedCensus {
  readonly clock: Clock;
  readonly countOwned: () => Promise<number>;
}

export class Census {
  readonly #store: Pick<Store, "countLiveAgents">;
  readonly #max: number;
  readonly #shared: SharedCensus | null;
  /** In a fleet, when a session's number is to be asked for again. */
  readonly #believedUntil = new Map<string, number>();
  #recounting: Promise<void> | null = null;
  #disturbed = false;
  readonly #sessions = new Map<string, number>();
  readonly #questions = new Map<string, Question>();
  /** Spawns that the store may not know of yet, by session. */
  readonly #underWay = new Map<string, number>();
  #total = 0;

  constructor(store: Pick<Store, "countLiveAgents">, max: number, shared: SharedCensus | null = null) {
    this.#store = store;
    this.#max = max;
    this.#shared = shared;
  }

  get total(): number {
    return this.#total;
  }

  /** Takes the whole number from the store; before anything is counted here, unless it is one of several. */
  async open(): Promise<void> {
    if (this.#shared === null) this.#total = await this.#store.countLiveAgents(EVERYBODY);
    else await this.recount();
  }

  /** Of one of several: takes its number from the store again. */
  recount(): Promise<void> {
    // What is asked already may not know of what made somebody ask.
    this.#disturbed = true;
    this.#recounting ??= this.#recount().finally(() => {
      this.#recounting = null;
    });
    return this.#recounting;
  }

  /** As for a session: until nothing was counted meanwhile, or with the number that keeps the limit. */
  async #recount(): Promise<void> {
    for (let asked = 1; this.#shared !== null; asked++) {
      this.#disturbed = false;
      const owned = await this.#shared.countOwned();
      const underWay = [...this.#underWay.values()].reduce((sum, spawns) => sum + spawns, 0);
      if (asked < ASKED_AGAIN_MAX && (this.#disturbed || underWay > 0)) continue;
      this.#total = owned + underWay;
      return;
    }
  }

  /** Agents that have not ended became this host's, or (below 0) are no longer. */
  moved(change: number): void {
    this.#disturbed = true;
    this.#total = Math.max(0, this.#total + change);
  }

  /** This host has no agents any more; spawns that are under way end by themselves. */
  reset(): void {
    this.#disturbed = true;
    this.#total = [...this.#underWay.values()].reduce((sum, spawns) => sum + spawns, 0);
    this.#sessions.clear();
    this.#believedUntil.clear();
  }

  /** A session's agents. At once when the number is known; whoever waits for it asks again then, for it may have changed. */
  of(sessionId: string): number | Promise<number> {
    const known = this.#sessions.get(sessionId);
    if (known !== undefined && this.#believes(sessionId)) return known;
    let question = this.#questions.get(sessionId);
    if (question === undefined) {
      question = { answer: this.#ask(sessionId), disturbed: false };
      this.#questions.set(sessionId, question);
    }
    return question.answer;
  }

  #believes(sessionId: string): boolean {
    return this.#shared === null || this.#shared.clock.monotonic() < (this.#believedUntil.get(sessionId) ?? 0);
  }

  async #ask(sessionId: string): Promise<number> {
    try {
      for (let asked = 1; ; asked++) {
        const stored = await this.#store.countLiveAgents({ ...EVERYBODY, sessionId });
        const question = this.#questions.get(sessionId);
        const underWay = this.#underWay.get(sessionId) ?? 0;
        if (asked < ASKED_AGAIN_MAX && question !== undefined && (question.disturbed || underWay > 0)) {
          question.disturbed = false;
          continue;
        }
        // With spawns that never pause, the number that keeps the limit.
        this.#keep(sessionId, stored + underWay);
        return stored + underWay;
      }
    } finally {
      this.#questions.delete(sessionId);
    }
  }

  #keep(sessionId: string, count: number): void {
    if (this.#sessions.size >= SESSIONS_MAX) this.#forgetSome();
    this.#sessions.set(sessionId, count);
    if (this.#shared !== null) this.#believedUntil.set(sessionId, this.#shared.clock.monotonic() + BELIEVED_MS);
  }

  /** Those that came first; never one in which a spawn is under way. */
  #forgetSome(): void {
    let looks = SESSIONS_MAX / 16;
    for (const sessionId of this.#sessions.keys()) {
      if (looks-- === 0) return;
      if (this.#underWay.has(sessionId)) continue;
      this.#sessions.delete(sessionId);
      this.#believedUntil.delete(sessionId);
    }
  }

  /** A spawn begins. AGENT_LIMIT_REACHED. */
  enter(sessionId: string): void {
    if (this.#total >= this.#max) {
      throw new SirsiError("AGENT_LIMIT_REACHED", `this host has ${this.#total} agents, as many as it may (max_concurrent_agents); delete agents that are done, or raise the limit`);
    }
    this.#underWay.set(sessionId, (this.#underWay.get(sessionId) ?? 0) + 1);
    this.#count(sessionId, 1);
  }

  /** The spawn ended: the agent is in the store, or never will be. */
  entered(sessionId: string, made: boolean): void {
    const underWay = (this.#underWay.get(sessionId) ?? 0) - 1;
    if (underWay > 0) this.#underWay.set(sessionId, underWay);
    else this.#underWay.delete(sessionId);
    this.#count(sessionId, made ? 0 : -1);
  }

  /** One has ended. */
  left(sessionId: string): void {
    this.#count(sessionId, -1);
  }

  #count(sessionId: string, change: number): void {
    this.#disturbed = true;
    this.#total = Math.max(0, this.#total + change);
    const known = this.#sessions.get(sessionId);
    if (known !== undefined) this.#sessions.set(sessionId, Math.max(0, known + change));
    const question = this.#questions.get(sessionId);
    if (question !== undefined) question.disturbed = true;
  }
}
