/**
 * What waits for an agent, and no longer than it may: what is late, or whose caller has
 * gone, is let go when its turn comes, when room is short, and at the latest when its
 * deadline passes, though the agent may be set aside or busy for long.
 *
 * One timer for an agent, set when something waits: later messages mostly end later, and
 * cost nothing.
 */
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { AgentPhase } from "./agent-state.ts";
import { Mailbox } from "./mailbox.ts";
import { refusalOf, tooLate } from "./refusal.ts";
import { rankOf, type Work } from "./work.ts";

/** Whose inbox it is. */
export interface InboxOwner {
  readonly phase: AgentPhase;
  /** Settles what came to nothing. */
  fail(work: Work, error: SirsiError): void;
}

export class Inbox {
  readonly #agentId: string;
  readonly #clock: Clock;
  readonly #owner: InboxOwner;
  readonly #mailbox: Mailbox<Work>;
  #timer: Timer | null = null;
  /** When the first of them is late. */
  #due = Infinity;

  constructor(agentId: string, clock: Clock, capacity: number, owner: InboxOwner) {
    this.#agentId = agentId;
    this.#clock = clock;
    this.#owner = owner;
    this.#mailbox = new Mailbox(capacity);
  }

  get size(): number {
    return this.#mailbox.size;
  }

  /** Null when there is room and the agent takes work. */
  refusal(): SirsiError | null {
    if (this.#mailbox.full) this.#sweep();
    return refusalOf(this.#agentId, this.#owner.phase, this.#mailbox);
  }

  /** Null when it may begin now. */
  tooLate(work: Work, now: number): SirsiError | null {
    return tooLate(this.#agentId, this.#owner.phase, work, now);
  }

  push(work: Work, priority: number): void {
    this.#mailbox.push(work, rankOf(priority));
    this.#watch(work.deadline);
  }

  /** The next that is not too late. */
  take(): Work | undefined {
    for (;;) {
      const work = this.#mailbox.take();
      if (work === undefined) return undefined;
      const late = this.tooLate(work, this.#clock.monotonic());
      if (late === null) return work;
      this.#owner.fail(work, late);
    }
  }

  remove(matches: (work: Work) => boolean): Work[] {
    return this.#mailbox.remove(matches);
  }

  /** Watches no deadlines any more. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#due = -Infinity;
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    const late = this.#mailbox.remove((work) => this.tooLate(work, now) !== null);
    for (const work of late) this.#owner.fail(work, this.tooLate(work, now) ?? new SirsiError("CANCELLED", "the message was taken out of the mailbox"));
  }

  #watch(deadline: number): void {
    if (deadline >= this.#due) return;
    this.#timer?.cancel();
    this.#due = deadline;
    // Late is what is past its deadline: a moment after it.
    this.#timer = this.#clock.after(deadline - this.#clock.monotonic() + 1, () => {
      this.#due = Infinity;
      this.#sweep();
      let next = Infinity;
      for (const waiting of this.#mailbox) next = Math.min(next, waiting.deadline);
      this.#watch(next);
    });
  }
}
