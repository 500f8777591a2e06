/** Forgets message ids whose time is over: at most so many at once, and once a minute. */
import { type Clock, type Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { steadyClock } from "../core/steady-clock.ts";
import type { Logger } from "../observe/index.ts";
import type { Store } from "../store/store.ts";

export interface IdUpkeepConfig {
  readonly clock: Clock;
  readonly store: Pick<Store, "forgetExchanges">;
  readonly keptMs: number;
  readonly log: Logger;
}

const EVERY_MS = 60_000;
const BATCH = 1_000;
const BATCHES_MAX = 100;

export class IdUpkeep {
  readonly #config: IdUpkeepConfig;
  /** A clock that is set forward must not make every id look old at once. */
  readonly #steady: Clock;
  #timer: Timer | null = null;
  #closed = false;

  constructor(config: IdUpkeepConfig) {
    this.#config = config;
    this.#steady = steadyClock(config.clock);
  }

  start(): void {
    if (this.#closed) return;
    this.#timer = this.#config.clock.after(EVERY_MS, () => void this.sweep().then(() => this.start()));
  }

  /** Never rejects. */
  async sweep(): Promise<void> {
    const { clock, keptMs, log, store } = this.#config;
    const before = Math.min(clock.now(), this.#steady.now()) - keptMs;
    try {
      for (let batches = 0; batches < BATCHES_MAX && !this.#closed; batches++) {
        if ((await store.forgetExchanges(before, BATCH)) < BATCH) return;
      }
    } catch (thrown) {
      log.warn({ err: SirsiError.from(thrown).message }, "old message ids could not be forgotten; tried again in a minute");
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
