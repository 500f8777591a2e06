/**
 * An agent's steps, one at a time: each from the work it is given to the settled reply.
 *
 *   begin ─▶ on its instance ─done─▶ recorded ─▶ shown ─▶ over
 *                  │ waits, or is to be run again: the long way, to the same end
 *                  └─failed──────▶ given up ─────────────▶ over
 *
 * Whoever gives a step up (`giveUp`) settles its work at once; what still comes of it
 * ends in `over` alone, which drops the instance. It is these that keep A1 to A4.
 */
import { SirsiError } from "../core/errors.ts";
import type { LatencyHistogram } from "../observe/index.ts";
import type { AgentPhaseEvent } from "./agent-state.ts";
import type { Conversation } from "./conversation.ts";
import { isDurable } from "./durability.ts";
import { StepEffects } from "./effects.ts";
import { Deaths } from "./poison.ts";
import { recordStep } from "./record-step.ts";
import { completeStep, type FirstOutcome, isSame, resumeStep, runStep, sendStep, type SentStep, type Stepper } from "./run-step.ts";
import { announce, type Completed, letGo } from "./run-work.ts";
import { type DoneStep, isGuestFault } from "./step.ts";
import { answerLateRepeat, giveUpOn } from "./step-failure.ts";
import type { ModuleCells } from "./surroundings.ts";
import type { Work } from "./work.ts";

export interface Stepping extends Omit<Stepper, "isCurrent" | "stepSeconds"> {
  readonly id: string;
  readonly conversation: Conversation;
  readonly latency: LatencyHistogram;
  readonly cells: ModuleCells;
  move(event: AgentPhaseEvent): void;
  /** Looks for the next thing to do. */
  pump(): void;
  publish(type: string, attributes: Readonly<Record<string, string>>): void;
  fail(work: Work, error: SirsiError): void;
  /** Drops the instance, and with it what was not committed (A4). */
  lost(): void;
  fenced(error: SirsiError): void;
  /** A guest fault ended a step. */
  faulted(error: SirsiError): void;
  /** Its state cannot be opened. */
  damaged(error: SirsiError): void;
  /** Timers of these names are no longer to fire as they were. */
  changedTimers(timerIds: ReadonlySet<string>): void;
  /** Something was answered for that is in memory alone. */
  deferred(): void;
}

export const STEP_BEGINS: AgentPhaseEvent = { kind: "step_begins" };
export const STEP_ENDED: AgentPhaseEvent = { kind: "step_ended" };

export class Steps implements Stepper {
  readonly #agent: Stepping;
  readonly #deaths = new Deaths();
  #current: Work | null = null;

  constructor(agent: Stepping) {
    this.#agent = agent;
  }

  /** The work in hand. */
  get current(): Work | null {
    return this.#current;
  }

  get around(): Stepper["around"] {
    return this.#agent.around;
  }

  get slot(): Stepper["slot"] {
    return this.#agent.slot;
  }

  get ledger(): Stepper["ledger"] {
    return this.#agent.ledger;
  }

  get revision(): Stepper["revision"] {
    return this.#agent.revision;
  }

  get record(): Stepper["record"] {
    return this.#agent.record;
  }

  get stepSeconds(): Stepper["stepSeconds"] {
    return this.#agent.cells.stepSeconds;
  }

  get gate(): Stepper["gate"] {
    return this.#agent.gate;
  }

  get conversation(): Conversation {
    return this.#agent.conversation;
  }

  isCurrent(work: Work): boolean {
    return isSame(work, this.#current);
  }

  /** What the step in hand ends with is for nobody any more; its caller gets this error. */
  giveUp(error: SirsiError): void {
    const current = this.#current;
    this.#current = null;
    if (current !== null) this.#agent.fail(current, error);
  }

  /** Most steps find their instance there and end without a wait: they are spared the promises of the long way. */
  begin(work: Work): void {
    this.#agent.move(STEP_BEGINS);
    this.#current = work;
    const handle = this.slot.live;
    if (handle === null || resumes(work)) {
      void this.#run(work, null);
      return;
    }
    try {
      sendStep(this, work, handle, (sent, outcome) => (outcome.kind === "done" ? this.#done(work, sent, outcome) : void this.#run(work, { sent, outcome })));
    } catch (thrown) {
      this.#failed(work, thrown);
    }
  }

  async #run(work: Work, first: FirstOutcome | null): Promise<void> {
    try {
      this.#completed(work, await (resumes(work) ? resumeStep(this, work) : runStep(this, work, first)));
    } catch (thrown) {
      this.#failed(work, thrown);
    }
  }

  #done(work: Work, sent: SentStep, end: DoneStep): void {
    try {
      if (this.#current === work) this.#completed(work, completeStep(this, work, sent, end, StepEffects.none));
      else this.#over(work);
    } catch (thrown) {
      this.#failed(work, thrown);
    }
  }

  /** Records it, and then shows it (A2). */
  #completed(work: Work, completed: Completed): void {
    if (this.#current !== work) {
      this.#over(work);
      return;
    }
    const { end, endedAt } = completed;
    this.slot.memoryBytes = end.memoryBytes;
    this.#agent.cells.fuel.inc(end.fuelUsed);
    const written = work.kind === "health" ? null : recordStep(this, completed, endedAt - work.queuedAt, this.around.clock.now());
    if (written === null) this.#show(work, completed);
    else written.then(() => this.#show(work, completed)).catch((thrown: unknown) => this.#failed(work, thrown));
  }

  #show(work: Work, completed: Completed): void {
    if (this.#current === work) this.#settle(work, completed);
    this.#over(work);
  }

  #settle(work: Work, completed: Completed): void {
    const { answer, effects } = completed;
    const { around, record, revision, ledger, latency, cells } = this.#agent;
    const tookMs = around.clock.monotonic() - work.queuedAt;
    if (work.kind === "message") {
      latency.record(tookMs);
      (answer.refusal === null ? cells.messageOk : cells.messageRefused).observe(tookMs / 1000);
    }
    if (effects.size > 0) {
      if (isDurable(revision)) this.#agent.changedTimers(new Set(effects.timers(0).map(({ timerId }) => timerId)));
      else letGo(effects, around, record);
    }
    announce(completed, around, record);
    answer.settle(tookMs);
    if (ledger.unsaved > 0) this.#agent.deferred();
  }

  #failed(work: Work, thrown: unknown): void {
    if (this.#current !== work) this.#over(work);
    else void this.#giveUpOn(work, SirsiError.from(thrown)).then(() => this.#over(work));
  }

  /** Never rejects. */
  async #giveUpOn(work: Work, error: SirsiError): Promise<void> {
    const agent = this.#agent;
    agent.lost();
    if (error.code === "AGENT_FENCED") {
      agent.fenced(error);
      if (this.#current === work) agent.fail(work, error);
      return;
    }
    const repeat = error.code === "MESSAGE_ID_REUSED" && work.kind === "message" ? await answerLateRepeat(this, work) : null;
    if (repeat !== null) {
      if (repeat !== "answered") agent.fail(work, repeat);
      return;
    }
    if (error.code === "INTERNAL") agent.around.log.error({ agentId: agent.id, err: error.details.cause ?? error }, "a step failed for a fault of the host");
    agent.ledger.countError(agent.around.clock.now());
    agent.publish("ERROR_OCCURRED", { reason: error.code, message: error.message });
    const verdict = await giveUpOn(this, this.#deaths, work, error);
    if (this.#current !== work) return;
    if (verdict.kind === "failed") agent.fail(work, verdict.error);
    else if (work.kind === "timer") work.reply.resolve();
    if (error.code === "STORE_CORRUPT" && agent.slot.damaged) agent.damaged(error);
    else if (isGuestFault(error)) agent.faulted(error);
  }

  #over(work: Work): void {
    this.gate.over();
    if (this.#current === work) this.#current = null;
    else this.slot.drop(); // Given up meanwhile, it may have opened an instance since.
    this.#agent.move(STEP_ENDED);
    this.#agent.pump();
  }
}

function resumes(work: Work): boolean {
  return "wait" in work && work.wait !== null;
}
