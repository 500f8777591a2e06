/** What the process uses of its machine. */
import { availableParallelism, totalmem } from "node:os";
import type { Clock } from "../core/clock.ts";

export class SystemUsage {
  readonly #clock: Clock;
  readonly #startedAt: number;
  #cpu = process.cpuUsage();
  #at: number;
  #percent = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.#at = this.#startedAt;
  }

  get uptimeSeconds(): number {
    return Math.floor((this.#clock.monotonic() - this.#startedAt) / 1000);
  }

  /** Share of all cores since the reading before; a reading within a second repeats the last. */
  get cpuPercent(): number {
    const now = this.#clock.monotonic();
    const elapsedMs = now - this.#at;
    if (elapsedMs < 1_000) return this.#percent;
    const used = process.cpuUsage(this.#cpu);
    this.#percent = Math.min(100, ((used.user + used.system) / 1000 / elapsedMs / availableParallelism()) * 100);
    this.#cpu = process.cpuUsage();
    this.#at = now;
    return this.#percent;
  }

  get memoryPercent(): number {
    return (process.memoryUsage.rss() / totalmem()) * 100;
  }
}
