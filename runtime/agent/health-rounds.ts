/**
 * Asks resident agents how they are: each about once in an interval, a few at a time,
 * evenly over the interval, so that no message waits behind a crowd of questions. Who
 * has work in hand is passed over; work that fails shows by itself.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { eachAtMost } from "./turnstile.ts";

export interface Examined {
  readonly restful: boolean;
  /** Asks the agent. Must not reject. */
  examine(): Promise<void>;
}

export interface HealthRoundsConfig<A extends Examined> {
  readonly clock: Clock;
  /** 0: nobody is asked. */
  readonly intervalMs: number;
  readonly agents: () => Iterable<A>;
  readonly size: () => number;
}

const STEP_MS = 250;
const AT_ONCE = 2;
/** Most that are asked in one step, whatever the interval. */
const STEP_MAX = 200;

export class HealthRounds<A extends Examined> {
  readonly #config: HealthRoundsConfig<A>;
  #left: Iterator<A> | null = null;
  #timer: Timer | null = null;
  #closed = false;
  /** Questions that are due and not whole yet. */
  #owed = 0;

  constructor(config: HealthRoundsConfig<A>) {
    this.#config = config;
  }

  start(): void {
    const { clock, intervalMs } = this.#config;
    if (intervalMs === 0 || this.#closed) return;
    const stepMs = Math.min(STEP_MS, intervalMs);
    this.#timer = clock.after(stepMs, () => void this.#step(stepMs / intervalMs).then(() => this.start()));
  }

  async #step(share: number): Promise<void> {
    this.#owed = Math.min(STEP_MAX, this.#owed + this.#config.size() * share);
    const asked: A[] = [];
    for (; this.#owed >= 1; this.#owed--) {
      const agent = this.#next();
      if (agent === null) {
        this.#owed = 0;
        break;
      }
      if (agent.restful) asked.push(agent);
    }
    await eachAtMost(AT_ONCE, asked, async (agent) => {
      // It may have been given work since.
      if (agent.restful && !this.#closed) await agent.examine();
    });
  }

  /** The next of the round; null at its end, and another round begins with the next step. */
  #next(): A | null {
    this.#left ??= this.#config.agents()[Symbol.iterator]();
    const { value, done } = this.#left.next();
    if (done !== true) return value;
    this.#left = null;
    return null;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
