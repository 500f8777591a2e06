/** When an agent that failed is started again, and when it is set aside. Pure. */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";
import type { SirsiError } from "../core/errors.ts";
import type { RestartMode } from "../module/revision.ts";

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

/** Whether the module's mode ends an agent for a fault like this, instead of starting it again. */
export function endsFor(mode: RestartMode, fault: SirsiError): boolean {
  switch (mode) {
    case "permanent":
      return false;
    case "transient":
      return fault.details.metadata?.["trap"] === "abort";
    case "temporary":
      return true;
  }
}

/** An agent's faults so far, and what each of them calls for. */
export class FaultHistory {
  readonly #config: RestartConfig;
  #faults: readonly number[] = [];
  #last = "";
  restarts = 0;

  constructor(config: RestartConfig) {
    this.#config = config;
  }

  /** Milliseconds to wait before the restart; null when the agent is to be quarantined. */
  note(reason: string, now: number, random: number): number | null {
    const decision = decideRestart(this.#config, this.#faults, now, random);
    this.#faults = decision.faults;
    this.#last = reason;
    if (decision.kind === "quarantine") return null;
    this.restarts++;
    return decision.delayMs;
  }

  /** Somebody has looked at it: what was is counted no longer. */
  forget(): void {
    this.#faults = [];
    this.#last = "";
  }

  /** Why it last failed; empty when that is longer ago than the policy's window. */
  recent(now: number): string {
    return this.#faults.some((at) => now - at < this.#config.windowMs) ? this.#last : "";
  }
}
