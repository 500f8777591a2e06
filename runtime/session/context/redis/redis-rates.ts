/**
 * Buckets that all hosts take from. While Redis does not answer, each host takes from
 * buckets of its own, which have counted along what it was granted: nobody starts with a
 * full one because the network broke.
 */
import type { Clock } from "../../../core/clock.ts";
import type { RateLimits, RateRule, RateVerdict } from "../context.ts";
import { MemoryRates } from "../memory/memory-rates.ts";
import type { RedisLink } from "./redis-link.ts";

export class RedisRates implements RateLimits {
  readonly #link: RedisLink;
  readonly #keyOf: (key: string) => string;
  readonly #own: MemoryRates;

  constructor(link: RedisLink, clock: Clock, keyOf: (key: string) => string) {
    this.#link = link;
    this.#keyOf = keyOf;
    this.#own = new MemoryRates(clock);
  }

  async take(rules: readonly RateRule[]): Promise<RateVerdict> {
    if (rules.length === 0) return { kind: "granted" };
    const taken = await this.#link.ask((client) => client.sirsiTake(rules.length, ...rules.map(({ key }) => this.#keyOf(key)), ...rules.map(({ perMinute }) => perMinute)));
    if (taken === null) return this.#own.take(rules);
    const [by, retryAfterMs] = taken.answer as [number, number];
    if (by > 0) return { kind: "refused", by: by - 1, retryAfterMs };
    this.#own.take(rules);
    return { kind: "granted" };
  }
}
