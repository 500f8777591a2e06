/** Buckets of this host alone. */
import { BoundedCache } from "../../../core/bounded-cache.ts";
import type { Clock } from "../../../core/clock.ts";
import type { RateLimits, RateRule, RateVerdict } from "../context.ts";
import { takeFrom } from "../rate-bucket.ts";

/** Those used longest ago are forgotten, which fills them: with so many, a bucket had minutes to fill by itself. */
const BUCKETS_MAX = 100_000;

export class MemoryRates implements RateLimits {
  readonly #clock: Clock;
  readonly #fullAt = new BoundedCache<string, number>(BUCKETS_MAX);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  take(rules: readonly RateRule[]): RateVerdict {
    return takeFrom(this.#fullAt, rules, this.#clock.monotonic());
  }
}
