/**
 * When an agent of level `interval` commits what it has answered for: an interval after
 * the first of it at the latest, sooner when it has become much, and when the agent
 * leaves memory. What the store does not take stays, and is tried again.
 */
import type { Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { type Recorder, saveState } from "./record-step.ts";
import { isGuestFault } from "./step.ts";
import type { Surroundings } from "./surroundings.ts";

/** Fewer than a conversation keeps: a repeat of one that is not saved yet is found there. */
const DEFERRED_MAX = 32;

export interface Saving extends Pick<Recorder, "slot" | "ledger" | "revision"> {
  readonly id: string;
  readonly around: Surroundings;
  /** Has it done at a quiet moment. */
  between(act: () => Promise<void>): Promise<void>;
  /** What was not saved cannot be saved any more. */
  lost(): void;
  fenced(error: SirsiError): void;
}

export class IntervalSaver {
  readonly #agent: Saving;
  #timer: Timer | null = null;

  constructor(agent: Saving) {
    this.#agent = agent;
  }

  /** After each step. */
  soon(): void {
    if (this.#agent.ledger.unsaved >= DEFERRED_MAX && this.#timer !== null) this.#now();
    else this.#plan();
  }

  #plan(): void {
    const { clock, durability } = this.#agent.around;
    this.#timer ??= clock.after(durability.intervalMs, () => this.#now());
  }

  #now(): void {
    this.close();
    // A failure was logged, and is tried again.
    this.save().catch(() => undefined);
  }

  /** Resolves when nothing is unsaved. */
  async save(): Promise<void> {
    if (this.#agent.ledger.unsaved > 0) await this.#agent.between(() => this.saveNow());
  }

  /** The agent is quiet. */
  async saveNow(): Promise<void> {
    if (this.#agent.ledger.unsaved === 0) return;
    try {
      await saveState(this.#agent, null);
    } catch (thrown) {
      this.#failed(SirsiError.from(thrown));
      throw thrown;
    }
  }

  #failed(error: SirsiError): void {
    const { id, around, ledger, slot } = this.#agent;
    around.log.warn({ agentId: id, err: error.message }, "an agent's state could not be committed at the end of its interval");
    if (error.code === "AGENT_FENCED") this.#agent.fenced(error);
    else if (error.code === "MESSAGE_ID_REUSED") ledger.forgetDeferred();
    else if (slot.live === null || isGuestFault(error)) this.#agent.lost();
    if (ledger.unsaved > 0) this.#plan();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}
