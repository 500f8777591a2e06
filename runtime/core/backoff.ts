/** Exponential backoff with full jitter, as a pure function of the attempt. */
export interface BackoffConfig {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly factor: number;
}

/** Milliseconds to wait before attempt `attempt` (0 is the first retry). `random` is in [0, 1). */
export function backoffMs(config: BackoffConfig, attempt: number, random: number): number {
  const ceiling = Math.min(config.maxMs, config.firstMs * config.factor ** attempt);
  return Math.round(ceiling * (0.5 + random / 2));
}
