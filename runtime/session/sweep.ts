/**
 * Something done again and again, one run at a time.
 * idle ──start()──▶ armed ──timer──▶ running ──▶ armed … ──close()──▶ closed
 */
import type { Clock, Timer } from "../core/clock.ts";
import type { Logger } from "../observe/logger.ts";

export class Sweep {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  readonly #log: Logger;
  readonly #once: () => Promise<void>;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(clock: Clock, intervalMs: number, log: Logger, once: () => Promise<void>) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
    this.#log = log;
    this.#once = once;
  }

  start(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(this.#intervalMs, () => {
      this.run().then(
        () => this.start(),
        (err: unknown) => {
          this.#log.warn({ err }, "a sweep over the sessions failed; the next one tries again");
          this.start();
        },
      );
    });
  }

  /** Runs now, after a run that is under way. */
  async run(): Promise<void> {
    while (this.#running !== null) await this.#running.catch(() => {});
    const running = this.#once();
    this.#running = running.finally(() => {
      this.#running = null;
    });
    await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running?.catch(() => {});
  }
}
