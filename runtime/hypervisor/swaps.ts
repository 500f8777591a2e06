/**
 * Moves a module's live agents whenever another revision becomes active. Whoever
 * asks about a move under way, or the latest one, gets that one's report: an
 * install that waits and the registry's event are about the same move.
 */
import type { AgentHouse, SwapReport } from "../agent/index.ts";
import type { Revision } from "../module/index.ts";

interface Move {
  readonly to: Revision;
  readonly report: Promise<SwapReport>;
}

export class Swaps {
  readonly #house: Pick<AgentHouse, "swap">;
  readonly #latest = new Map<string, Move>();

  constructor(house: Pick<AgentHouse, "swap">) {
    this.#house = house;
  }

  /** `to` has become the active revision of its module. Never rejects. */
  activated(module: string, to: Revision): Promise<SwapReport> {
    const before = this.#latest.get(module)?.report ?? Promise.resolve();
    const report = before.then(() => this.#house.swap(module, to));
    this.#latest.set(module, { to, report });
    return report;
  }

  /** The report of the module's move to `digest`; nothing moved when there was none. */
  reportOf(module: string, digest: string): Promise<SwapReport> {
    const latest = this.#latest.get(module);
    return latest?.to.digest === digest ? latest.report : Promise.resolve(NOTHING);
  }
}

const NOTHING: SwapReport = { moved: 0, kept: 0, failed: 0, failureReason: "" };
