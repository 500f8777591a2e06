/**
 * An agent's move to another host, seen from the agent: it comes to stand still, is given
 * away as the store has it, and leaves. When it is not given after all it goes on as
 * though nothing had been.
 *
 *   working ─at rest, or in a committed wait─▶ still ─given─▶ left
 *      ▲  └─too late─▶ stays                     │
 *      └────────────────not given────────────────┘
 *
 * Invariants
 * - Z1 While it is still it takes no step, and the one in a wait does not go on: nothing of
 *   it is on its way to the store as it is given.
 * - Z2 What waits for it is refused only when it is given: none of it was begun.
 */
import type { Clock } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { AgentPhase } from "./agent-state.ts";
import type { Hold } from "./changes.ts";
import type { WaitGate } from "./wait-gate.ts";
import type { Work } from "./work.ts";

export interface Departing {
  readonly id: string;
  readonly around: { readonly clock: Clock };
  readonly phase: AgentPhase;
  /** The step in hand. */
  readonly current: Work | null;
  readonly gate: WaitGate;
  /** Messages and other work in its mailbox. */
  readonly waiting: number;
  /** Its next quiet moment, until it is released. */
  holdStill(): Hold;
  /** Commits what is unsaved; at rest. */
  save(): Promise<void>;
  /** Leaves memory; the step in hand, if there is one, goes on elsewhere. */
  goElsewhere(): void;
}

export type Departed =
  | {
      readonly kind: "moved";
      /** Its step waits, or messages were refused. */
      readonly hadWork: boolean;
      /** For which it stood still. */
      readonly pauseMs: number;
    }
  | { readonly kind: "stayed"; readonly reason: string };

type Stillness = "rest" | "wait" | "late";

/** `give` makes it another's; false when it is not to be given. Never rejects. */
export async function depart(agent: Departing, give: () => Promise<boolean>, patienceMs: number): Promise<Departed> {
  const { clock } = agent.around;
  const stop = new Stop(agent, patienceMs);
  try {
    const found = await stop.found;
    const stillSince = clock.monotonic();
    if (found === "late") return { kind: "stayed", reason: `its step did not come to an end, or to a wait, within ${patienceMs} ms` };
    if (found === "rest") await agent.save();
    const ended = endOf(agent);
    if (ended !== null) return { kind: "stayed", reason: ended };
    if (!(await give())) return { kind: "stayed", reason: "it was not given away" };
    const hadWork = agent.current !== null || agent.waiting > 0;
    agent.goElsewhere();
    return { kind: "moved", hadWork, pauseMs: clock.monotonic() - stillSince };
  } catch (thrown) {
    return { kind: "stayed", reason: SirsiError.from(thrown).message };
  } finally {
    stop.release();
  }
}

function endOf({ phase }: Departing): string | null {
  if (phase.kind === "terminated") return `it has ended (${phase.reason})`;
  return phase.kind === "left" ? "it has left memory meanwhile" : null;
}

/** Has the agent stand still at the next moment at which it may. */
class Stop {
  readonly #agent: Departing;
  readonly #found = new Deferred<Stillness>();
  readonly #hold: Hold;
  readonly #undo: (() => void)[] = [];
  #still = false;

  constructor(agent: Departing, patienceMs: number) {
    this.#agent = agent;
    // What it does not need: the promise is handed out with the first answer.
    this.#hold = agent.holdStill();
    this.#hold.reached.then(
      () => this.#settle("rest"),
      (thrown: unknown) => this.#found.reject(SirsiError.from(thrown)),
    );
    const timer = agent.around.clock.after(patienceMs, () => this.#late());
    this.#undo.push(agent.gate.watch(() => this.#inWait()), () => timer.cancel());
    this.#inWait();
    // It will take no step by itself: the hold keeps one that is released meanwhile.
    const { kind } = agent.phase;
    if (agent.current === null && (kind === "quarantined" || kind === "restarting")) this.#settle("rest");
  }

  /** Rejects when it will never stand still again: it ended. */
  get found(): Promise<Stillness> {
    return this.#found.promise;
  }

  /** One whose request must not be made twice is rather waited for. */
  #inWait(): void {
    if (this.#agent.gate.repeatable) this.#holdWait();
  }

  #holdWait(): void {
    if (this.#still) return;
    this.#undo.push(this.#agent.gate.hold());
    this.#settle("wait");
  }

  #late(): void {
    if (this.#agent.gate.waiting) this.#holdWait();
    else this.#settle("late");
  }

  #settle(found: Stillness): void {
    this.#still = true;
    this.#found.resolve(found);
  }

  release(): void {
    for (const undo of this.#undo) undo();
    this.#hold.release();
  }
}
