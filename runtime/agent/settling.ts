/** Outbox entries whose receiver commits nothing for them, taken from the store some at a time. */
import { backoffMs } from "../core/backoff.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import type { OutboxKey, Store } from "../store/store.ts";
import { DELIVERY_BACKOFF } from "./delivery-fate.ts";

const BATCH_MAX = 512;

export interface SettlingConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: Pick<Store, "settleOutbox">;
  readonly log: Logger;
  /** They are gone from the store. */
  readonly settled: (keys: readonly OutboxKey[]) => void;
}

export class Settling {
  readonly #config: SettlingConfig;
  #waiting: OutboxKey[] = [];
  #writing: Promise<void> | null = null;
  #retry: Timer | null = null;
  #failures = 0;
  #dropped = 0;

  constructor(config: SettlingConfig) {
    this.#config = config;
  }

  add(key: OutboxKey): void {
    this.#waiting.push(key);
    this.#go();
  }

  /** What comes while a batch is written makes the next one. */
  #go(): void {
    if (this.#writing !== null || this.#retry !== null || this.#waiting.length === 0) return;
    const batch = this.#waiting.splice(0, BATCH_MAX);
    this.#writing = this.#write(batch).then(() => {
      this.#writing = null;
      this.#go();
    });
  }

  async #write(batch: readonly OutboxKey[]): Promise<void> {
    const { clock, random, store, log, settled } = this.#config;
    // Everything of this turn goes together.
    await Promise.resolve();
    const all = [...batch, ...this.#waiting.splice(0, BATCH_MAX - batch.length)];
    const dropped = this.#dropped;
    try {
      await store.settleOutbox(all);
      this.#failures = 0;
      settled(all);
    } catch (thrown) {
      if (dropped !== this.#dropped) return;
      this.#waiting = [...all, ...this.#waiting];
      if (this.#failures++ === 0) log.warn({ entries: this.#waiting.length, err: SirsiError.from(thrown).message }, "delivered outbox entries could not be taken from the store; tried again until they are");
      this.#retry = clock.after(backoffMs(DELIVERY_BACKOFF, this.#failures - 1, random()), () => {
        this.#retry = null;
        this.#go();
      });
    }
  }

  /** What is not written yet never will be; the batch that is being written is not tried again. */
  drop(): void {
    this.#waiting = [];
    this.#retry?.cancel();
    this.#retry = null;
    this.#dropped++;
  }

  /** Waits for the batch that is being written, and writes once what is left. */
  async close(): Promise<void> {
    this.#retry?.cancel();
    await this.#writing;
    this.#retry?.cancel();
    const left = this.#waiting.splice(0);
    if (left.length > 0) await this.#config.store.settleOutbox(left).catch(() => undefined);
  }
}
