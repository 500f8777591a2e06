/** When an agent that failed is started again, and when it is set aside. Pure. */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";

export interface RestartConfig {
  /** Faults within the window that are still answered by a restart. */
  readonly maxRestarts: number;
  readonly windowMs: number;
  readonly backoff: BackoffConfig;
}

export const DEFAULT_RESTART: RestartConfig = {
  maxRestarts: 5,
  windowMs: 60_000,
  backoff: { firstMs: 50, maxMs: 5_000, factor: 2 },
};

export type RestartDecision = { readonly kind: "restart"; readonly delayMs: number; readonly faults: readonly number[] } | { readonly kind: "quarantine"; readonly faults: readonly number[] };

/** `faults`: times of earlier faults, oldest first; `now` and they are on the monotonic clock. The first restart is at once. */
export function decideRestart(config: RestartConfig, faults: readonly number[], now: number, random: number): RestartDecision {
  const recent = [...faults.filter((at) => now - at < config.windowMs), now];
  if (recent.length > config.maxRestarts) return { kind: "quarantine", faults: recent };
  const delayMs = recent.length === 1 ? 0 : backoffMs(config.backoff, recent.length - 2, random);
  return { kind: "restart", delayMs, faults: recent };
}
