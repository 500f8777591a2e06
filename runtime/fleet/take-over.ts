/**
 * Takes agents that belong to nobody and have work in hand: those of hosts that died, and
 * those that were given away asleep. Each host takes those that placement wants on it; one
 * that its host does not take in time is taken by whoever sees it.
 *
 * Idle agents are not looked for: whoever addresses one has it taken.
 *
 * Invariants
 * - K1 Which host gets an agent is decided by the store alone (`take`): two that try take
 *   turns, and one of them finds it taken.
 * - K2 A look that is asked for while one is under way is made after it: nothing that was
 *   there when it was asked for is missed.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import type { FleetStore, Orphan } from "../store/fleet-store.ts";
import type { Fleet } from "./fleet.ts";
import { type Wants, place } from "./placement.ts";

export interface TakeOverConfig {
  readonly clock: Clock;
  readonly store: Pick<FleetStore, "listOrphans">;
  readonly fleet: Fleet;
  readonly log: Logger;
  /** Modules whose agents hear topics: theirs are wanted also without work in hand. */
  readonly hearing: () => readonly string[];
  readonly wantsOfModule: (module: string) => Wants;
  /** Makes them this host's, as far as nobody was first, and goes on with what they have in hand; how many became its own. */
  readonly take: (orphans: readonly Orphan[]) => Promise<{ readonly acquired: number }>;
}

const PAGE = 500;
/** Without anybody's asking: a notice may have been lost. */
const LOOK_EVERY_MS = 5_000;
/** Looks after which an agent is taken though it is another's by placement. */
const PATIENT_LOOKS = 2;
const AGAIN_MS = 500;

export class TakeOver {
  readonly #config: TakeOverConfig;
  /** Of orphans that are others' by placement: in how many looks they were seen. */
  #seen = new Map<string, number>();
  #looking: Promise<void> | null = null;
  #lookAgain = false;
  #timer: Timer | null = null;
  #closed = false;
  readonly #stopListening: () => void;

  constructor(config: TakeOverConfig) {
    this.#config = config;
    this.#stopListening = config.fleet.onChange(() => this.look());
  }

  /** K2. */
  look(): void {
    if (this.#closed) return;
    if (this.#looking !== null) {
      this.#lookAgain = true;
      return;
    }
    this.#timer?.cancel();
    this.#lookAgain = false;
    this.#looking = this.#look()
      .catch((thrown: unknown) => {
        this.#config.log.warn({ err: SirsiError.from(thrown).message }, "agents without an owner could not be looked for; tried again");
        return AGAIN_MS;
      })
      .then((nextMs) => {
        this.#looking = null;
        if (this.#closed) return;
        if (this.#lookAgain) this.look();
        else this.#timer = this.#config.clock.after(nextMs, () => this.look());
      });
  }

  /** When to look again. */
  async #look(): Promise<number> {
    const { fleet, hearing, store } = this.#config;
    if (!fleet.held || fleet.self.state !== "active") return LOOK_EVERY_MS;
    const seen = new Map<string, number>();
    const modules = hearing();
    let taken = 0;
    let left = 0;
    for (let after = ""; !this.#closed; ) {
      const page = await store.listOrphans(modules, after, PAGE);
      const mine = page.filter((orphan) => this.#isMine(orphan, seen));
      const acquired = mine.length === 0 ? 0 : (await this.#config.take(mine)).acquired;
      taken += acquired;
      left += page.length - acquired;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      after = last.agentId;
    }
    this.#seen = seen;
    if (taken > 0) this.#config.log.info({ agents: taken }, "agents that had no owner and work in hand were taken over");
    return left > 0 ? AGAIN_MS : LOOK_EVERY_MS;
  }

  #isMine({ agentId, module }: Orphan, seen: Map<string, number>): boolean {
    const { fleet, wantsOfModule } = this.#config;
    const looks = (this.#seen.get(agentId) ?? 0) + 1;
    seen.set(agentId, looks);
    return looks > PATIENT_LOOKS || place(agentId, fleet.hosts, wantsOfModule(module))?.hostId === fleet.self.hostId;
  }

  close(): void {
    this.#closed = true;
    this.#stopListening();
    this.#timer?.cancel();
  }
}
