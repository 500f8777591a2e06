/**
 * How well each revision does: steps and guest faults, counted from the host's own
 * events. And the rule by which a new revision is not kept:
 *
 *   any of its agents was set aside (quarantined) since it came, or
 *   at least FAULTS_MIN guest faults, and their share of its steps above both
 *   FAULT_SHARE and FAULT_FACTOR times the share that the revision before had.
 *
 * An agent that the new revision would not take over counts as a fault. Of canaries, one
 * fault is enough when the revision before had none: they are few, and can go back for nothing.
 */
import type { HostEvent } from "../../agent/index.ts";
import type { AgentRecord } from "../../store/store.ts";

export const FAULTS_MIN = 5;
export const FAULT_SHARE = 0.02;
export const FAULT_FACTOR = 3;

export interface Tally {
  readonly steps: number;
  readonly faults: number;
  /** Agents that were set aside. */
  readonly quarantined: number;
  /** What the last fault was. */
  readonly lastFault: string;
}

const NOTHING: Tally = { steps: 0, faults: 0, quarantined: 0, lastFault: "" };

/** The guest's own doing. GUEST_ERROR is an answer. */
const GUEST_FAULTS: ReadonlySet<string> = new Set(["GUEST_TRAP", "GUEST_FUEL_EXHAUSTED", "GUEST_MEMORY_EXHAUSTED", "GUEST_PROTOCOL", "GUEST_LIMIT"]);
/** Revisions that are counted; beyond them the ones that were counted first are forgotten. */
const REVISIONS_MAX = 256;

interface Counts {
  steps: number;
  faults: number;
  quarantined: number;
  lastFault: string;
}

export interface HealthConfig {
  /** Of an agent in memory, at once; a promise for one that sleeps. */
  readonly recordOf: (agentId: string) => AgentRecord | null | Promise<AgentRecord | null>;
  readonly isQuarantined: (agentId: string) => boolean;
}

export class RevisionHealth {
  readonly #config: HealthConfig;
  readonly #counts = new Map<string, Counts>();
  readonly #listeners = new Set<(digest: string) => void>();

  constructor(config: HealthConfig) {
    this.#config = config;
  }

  /** Every event of the host passes here; most are none of its business. */
  notice({ type, sourceAgentId, targetAgentId, attributes }: HostEvent): void {
    if (type === "MESSAGE_RECEIVED") {
      const counts = this.#of(targetAgentId);
      if (counts !== null) counts.steps++;
    } else if (type === "ERROR_OCCURRED" && targetAgentId === "" && GUEST_FAULTS.has(attributes["reason"] ?? "")) {
      this.#bad(sourceAgentId, (counts) => {
        counts.faults++;
        counts.lastFault = attributes["message"] ?? "";
      });
    } else if (type === "STATUS_CHANGED" && attributes["to"] === "ERROR" && this.#config.isQuarantined(sourceAgentId)) {
      this.#bad(sourceAgentId, (counts) => {
        counts.quarantined++;
      });
    }
  }

  #bad(agentId: string, count: (counts: Counts) => void): void {
    const digest = this.#digestOf(agentId);
    if (digest === null) return;
    count(this.#countsOf(digest));
    for (const listener of this.#listeners) listener(digest);
  }

  #of(agentId: string): Counts | null {
    const digest = this.#digestOf(agentId);
    return digest === null ? null : this.#countsOf(digest);
  }

  #digestOf(agentId: string): string | null {
    const record = this.#config.recordOf(agentId);
    return record === null || record instanceof Promise ? null : record.digest;
  }

  #countsOf(digest: string): Counts {
    let counts = this.#counts.get(digest);
    if (counts === undefined) {
      const [oldest] = this.#counts.keys();
      if (this.#counts.size >= REVISIONS_MAX && oldest !== undefined) this.#counts.delete(oldest);
      counts = { ...NOTHING };
      this.#counts.set(digest, counts);
    }
    return counts;
  }

  /** Since the host started, or since it was last counted anew. */
  tallyOf(digest: string): Tally {
    return { ...(this.#counts.get(digest) ?? NOTHING) };
  }

  /** Counts a revision anew: what it did when it served before is no news. */
  begin(digest: string): void {
    this.#counts.delete(digest);
  }

  /** Called with the digest of each revision that something bad happened to; returns how to stop. */
  onBad(listener: (digest: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export interface Strictness {
  readonly faultsMin: number;
  readonly share: number;
}

export const OF_ALL: Strictness = { faultsMin: FAULTS_MIN, share: FAULT_SHARE };
export const OF_CANARIES: Strictness = { faultsMin: 1, share: 0 };

/** Why the revision is not kept; empty when it may be. `refused`: agents that it would not take over. */
export function verdictOn(now: Tally, before: Tally, refused: number, { faultsMin, share }: Strictness): string {
  const last = now.lastFault === "" ? "" : `; the last one: ${now.lastFault}`;
  if (now.quarantined > 0) return `${now.quarantined === 1 ? "an agent" : `${now.quarantined} agents`} of the new revision failed too often and had to be set aside${last}`;
  const faults = now.faults + refused;
  const steps = Math.max(now.steps + refused, faults);
  const allowed = Math.max(share, FAULT_FACTOR * (before.faults / Math.max(1, before.steps)));
  if (faults < faultsMin || faults / steps <= allowed) return "";
  return `${faults} of ${steps} steps on the new revision failed, more than the ${(allowed * 100).toFixed(1)} % allowed${last}`;
}
