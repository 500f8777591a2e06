/**
 * A bucket as one number: the moment at which it will be full again. A piece taken moves
 * it on by the time in which one piece comes back; a bucket that would then be full later
 * than a minute from now did not have one. (The generic cell rate algorithm.)
 */
import type { BoundedCache } from "../../core/bounded-cache.ts";
import type { RateRule, RateVerdict } from "./context.ts";

const MINUTE_MS = 60_000;

/** From every bucket, or from none. `fullAt` has the buckets by key; one that is not there is full. */
export function takeFrom(fullAt: BoundedCache<string, number>, rules: readonly RateRule[], now: number): RateVerdict {
  let [by, retryAfterMs] = [0, 0];
  const next = rules.map(({ key, perMinute }, at) => {
    const full = Math.max(fullAt.get(key) ?? now, now) + MINUTE_MS / perMinute;
    const wait = full - now - MINUTE_MS;
    if (wait > retryAfterMs) [by, retryAfterMs] = [at, wait];
    return full;
  });
  if (retryAfterMs > 0) return { kind: "refused", by, retryAfterMs: Math.ceil(retryAfterMs) };
  for (const [at, { key }] of rules.entries()) fullAt.set(key, next[at] ?? now);
  return { kind: "granted" };
}
