/**
 * One agent: its phase, its mailbox, and the loop that takes one step at a time.
 *
 * Phases are in agent-state.ts. The loop (`#pump`) runs while the phase is `ready`: a
 * pending change first (a swap, a restart, a save), then the head of the mailbox.
 *
 * Invariants
 * - A1 One step at a time; the next begins when the one before is committed.
 * - A2 A reply is given, an event published, a message let go only after the commit (D1).
 * - A3 Every work item is settled exactly once, also when the agent is stopped, fails or hangs.
 * - A4 After any end of a step but a committed one the instance is dropped; the next step
 *   begins from the last state at rest. An agent without durability begins afresh.
 */
import type { Suggestion, SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { LatencyHistogram } from "../observe/index.ts";
import type { AgentRecord, StoredAgent, TimerRecord, WaitRecord } from "../store/store.ts";
import { AgentLedger } from "./agent-ledger.ts";
import { type AgentPhase, type AgentPhaseEvent, phaseReason, publicState, transition } from "./agent-state.ts";
import { type OwnHealth, ownHealthOf, viewOf } from "./agent-view.ts";
import type { AgentChanges, AgentView, Delivery, Reply } from "./agents.ts";
import { Arrivals } from "./arrivals.ts";
import { bringUp } from "./bring-up.ts";
import { Changes, type Hold } from "./changes.ts";
import { Conversation } from "./conversation.ts";
import { depart, type Departed } from "./departure.ts";
import { isDurable } from "./durability.ts";
import { Ending } from "./ending.ts";
import { Inbox } from "./inbox.ts";
import { InstanceSlot } from "./instance-slot.ts";
import { instanceSource } from "./instance-source.ts";
import { IntervalSaver } from "./interval-saver.ts";
import { Recovery } from "./recovery.ts";
import { relocate } from "./relocation.ts";
import { answerRepeat } from "./repeat.ts";
import { letGo } from "./run-work.ts";
import { STEP_BEGINS, STEP_ENDED, type Stepping, Steps } from "./steps.ts";
import type { ModuleCells, Surroundings } from "./surroundings.ts";
import type { SwapCause, SwapOutcome } from "./swap.ts";
import { WaitGate } from "./wait-gate.ts";
import type { Work } from "./work.ts";


export class Agent implements Stepping {
  readonly id: string;
  readonly sessionId: string;
  readonly conversation: Conversation;
  readonly ledger: AgentLedger;
  readonly latency = new LatencyHistogram();
  readonly around: Surroundings;
  readonly slot: InstanceSlot;
  #record: AgentRecord;
  #revision: Revision;
  #phase: AgentPhase = { kind: "initializing" };
  readonly #inbox: Inbox;
  readonly #steps: Steps;
  readonly changes = new Changes();
  readonly gate = new WaitGate();
  readonly #arrivals: Arrivals;
  readonly #saver: IntervalSaver;
  readonly #recovery: Recovery;
  ownHealth: OwnHealth | null = null;
  readonly cells: ModuleCells;
  readonly #ending = new Ending(this);

  constructor(around: Surroundings, record: AgentRecord, revision: Revision, stored: StoredAgent | null) {
    this.around = around;
    this.id = record.agentId;
    this.sessionId = record.sessionId;
    this.#record = record;
    this.#revision = revision;
    this.#steps = new Steps(this);
    this.#inbox = new Inbox(this.id, around.clock, revision.limits.mailboxDepth, this);
    this.conversation = new Conversation(around.exchangesKept, stored?.exchangeSequence ?? 0);
    this.ledger = new AgentLedger(around, record, stored, this.conversation, (error) => this.fenced(error));
    this.slot = new InstanceSlot(instanceSource(this));
    this.#arrivals = new Arrivals(this);
    this.#saver = new IntervalSaver(this);
    this.#recovery = new Recovery(this);
    this.cells = around.cells(record.module);
    around.revisions.retain(revision.digest);
  }

  get record(): AgentRecord {
    return this.#record;
  }

  get revision(): Revision {
    return this.#revision;
  }

  /** The step in hand. */
  get current(): Work | null {
    return this.#steps.current;
  }

  get phase(): AgentPhase {
    return this.#phase;
  }

  /** It has a state in the store. */
  get durable(): boolean {
    return isDurable(this.#revision);
  }

  /** Nothing in hand, nothing waiting, nothing pending: it may leave memory. */
  get restful(): boolean {
    const { kind } = this.#phase;
    return (kind === "ready" || kind === "quarantined") && this.current === null && this.#inbox.size === 0 && this.changes.idle && !this.#arrivals.lookingUp;
  }

  /** A host that drains need not wait for it: its step waits and goes on after a restart, or it was set aside. */
  get resumable(): boolean {
    if (this.#phase.kind === "quarantined") return this.current === null;
    return this.current !== null && this.ledger.inWait && this.#inbox.size === 0 && this.changes.idle;
  }

  /** Guest memory; 0 without an instance. */
  get residentBytes(): number {
    return this.slot.memoryBytes;
  }

  view(): AgentView {
    const { clock, idleAfterMs } = this.around;
    return viewOf({
      record: this.#record,
      manifest: this.#revision.manifest,
      phase: this.#phase,
      counters: this.ledger.counters,
      mailboxDepth: this.#inbox.size,
      atWork: this.current !== null,
      memoryBytes: this.slot.memoryBytes,
      latency: this.latency,
      restarts: this.#recovery.restarts,
      recentFault: this.#recovery.recentFault || this.#refusedRevision,
      ownHealth: this.ownHealth,
      idleAfterMs,
      now: clock.now(),
    });
  }

  /** S6: one that could not move back from a revision that was not kept works on, and shows it. */
  get #refusedRevision(): string {
    const reason = this.around.revisions.refusalOf?.(this.#revision.digest) ?? "";
    return reason === "" ? "" : `its revision was not kept, and it could not move back: ${reason}`;
  }

  /** As the store has it: what a host that finds it there needs to know. Only a quarantine or an end outlasts a restart. */
  noted(record: AgentRecord = this.#record): AgentRecord {
    const { kind } = this.#phase;
    const lasting = kind === "quarantined" || kind === "terminated";
    return { ...record, state: lasting ? publicState(this.#phase) : "READY", statusMessage: phaseReason(this.#phase), updatedAt: this.around.clock.now() };
  }

  // --- beginning ---------------------------------------------------------------

  /** Brings up a new agent. Throws what went wrong; the agent is not there then. */
  async begin(deadline: number): Promise<void> {
    const life = await bringUp(this, deadline);
    this.slot.adopt(life);
    if (!this.durable) letGo(life.effects, this.around, this.#record);
    this.move({ kind: "opened" });
    this.pump();
  }

  /** It may have been stopped while it came up or moved to another revision, or taken away. */
  requireNotEnded(): void {
    if (this.#phase.kind === "terminated") throw new SirsiError("AGENT_TERMINATED", `agent ${this.id} was ended meanwhile (${this.#phase.reason})`);
    if (this.#phase.kind === "left") throw new SirsiError("AGENT_FENCED", `agent ${this.id} was taken from this host meanwhile; ask again`, { retryAfterMs: 50 });
  }

  /** A stored agent, known again; its instance is opened when it is needed. */
  restored(): void {
    this.move({ kind: "opened" });
    if (this.#record.state === "ERROR") this.move({ kind: "faulted", reason: this.#record.statusMessage, giveUp: true });
  }

  /** Goes on with the step that the store has waiting (D4). Right after `restored`, before any other work. */
  resumeWait(stored: WaitRecord): void {
    this.#arrivals.wait(stored);
  }

  // --- work --------------------------------------------------------------------

  /** D2: a message id known to the conversation never becomes work again. */
  send(delivery: Delivery): Promise<Reply> {
    const known = this.conversation.find(delivery.message.messageId);
    if (known === undefined && this.durable && !this.#knowsIds) this.#wake();
    if (known !== undefined || (this.durable && !this.#knowsIds)) return this.#arrivals.lookUp(answerRepeat(this, delivery, known, () => this.#arrivals.message(delivery)));
    return this.#arrivals.message(delivery);
  }

  /** Its instance comes while the store is asked about an id: most ids are new. */
  #wake(): void {
    if (this.#phase.kind !== "ready" || !this.restful || this.slot.live !== null) return;
    const opened = this.slot.open().then(() => undefined, () => undefined);
    void opened.then(() => {
      if (this.#phase.kind === "terminated" || this.#phase.kind === "left") this.slot.drop();
    });
  }

  /** Whether an id that the conversation does not have may be begun on. A commit that comes later than the reply finds a repeat too late. */
  get #knowsIds(): boolean {
    return this.#revision.manifest.durability === "interval" ? this.conversation.whole : this.conversation.complete;
  }

  suggest(context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    return this.#arrivals.suggestion(context, max, deadline, signal);
  }

  /** An event on a topic that it hears. False when its mailbox would not take it. */
  hear(event: AgentEvent): boolean {
    return this.#arrivals.event(event);
  }

  /** Resolves when the timer's step is committed, or when it was given up for good. */
  fire(timer: TimerRecord): Promise<void> {
    return this.#arrivals.timer(timer);
  }

  /** Asks the guest for its health, when it has an instance and nothing else to do. Never rejects. */
  async examine(): Promise<void> {
    if (this.#phase.kind !== "ready" || !this.restful || this.slot.live === null) return;
    this.ownHealth = ownHealthOf(await this.#arrivals.health().catch((thrown: unknown) => SirsiError.from(thrown)));
  }

  refusal(): SirsiError | null {
    return this.#inbox.refusal();
  }

  /** Most work finds its agent at rest and spares itself the mailbox. */
  enqueue(work: Work, priority: number): void {
    if (this.#phase.kind === "ready" && this.#inbox.size === 0 && this.#inbox.tooLate(work, work.queuedAt) === null) {
      this.#steps.begin(work);
      return;
    }
    this.#inbox.push(work, priority);
    this.pump();
  }

  pump(): void {
    if (this.#phase.kind !== "ready") return;
    const change = this.changes.next();
    if (change === undefined) {
      const work = this.#inbox.take();
      if (work !== undefined) this.#steps.begin(work);
      return;
    }
    this.move(STEP_BEGINS);
    void this.changes.alone(() => change.act()).catch((thrown: unknown) => change.refuse(SirsiError.from(thrown))).then(() => {
      if (this.#phase.kind === "terminated") this.slot.drop();
      this.move(STEP_ENDED);
      this.pump();
    });
  }

  /** What waits in the mailbox of timers that a step changed no longer fires as it was. */
  changedTimers(timerIds: ReadonlySet<string>): void {
    if (this.#inbox.size === 0 || timerIds.size === 0) return;
    for (const work of this.#inbox.remove((each) => each.kind === "timer" && timerIds.has(each.timerId))) if (work.kind === "timer") work.reply.resolve();
  }

  /** Level `interval`: there is something to commit. */
  deferred(): void {
    this.#saver.soon();
  }

  /** Settles a work item that came to nothing. */
  fail(work: Work, error: SirsiError): void {
    if (work.kind === "message") {
      this.conversation.forget(work.delivery.message.messageId);
      this.cells.messageError.observe((this.around.clock.monotonic() - work.queuedAt) / 1000);
    }
    work.reply.reject(error);
  }

  // --- failure -------------------------------------------------------------------

  /** A4. What level `interval` had not saved goes with the instance. */
  lost(): void {
    this.slot.drop();
    this.ledger.discard();
  }

  faulted(error: SirsiError): void {
    this.#recovery.faulted(error);
  }

  damaged(error: SirsiError): void {
    this.#recovery.quarantine(error.message);
  }

  /** Lets a quarantined agent work again, and forgets its faults. */
  release(): Promise<void> {
    return this.#recovery.release();
  }

  /** Goes back to its last commit at the next quiet moment, as after a fault. One without durability begins afresh. */
  async restart(reason: string): Promise<void> {
    if (!this.#works) return;
    await this.between(async () => {
      await this.save();
      this.slot.drop();
      this.around.log.info({ agentId: this.id, reason }, "an agent was restarted");
    });
  }

  /** D5: it has another owner, or none. Or (an error but AGENT_FENCED) what the store has of it is to be read anew. */
  fenced(error: SirsiError): void {
    if (this.#phase.kind === "left") return;
    // One that was stopped has let go of everything.
    if (this.#phase.kind === "terminated") this.ledger.close();
    else this.#leaveBehind(error, error);
    this.around.supervision.fenced(this, error);
  }

  move(event: AgentPhaseEvent): void {
    const before = this.#phase;
    const { phase, ignored } = transition(before, event);
    if (ignored) return;
    this.#phase = phase;
    // READY to BUSY and back is every message's way; the rest is news.
    if (event === STEP_BEGINS || event === STEP_ENDED || phase.kind === "left") return;
    const [from, to] = [publicState(before), publicState(phase)];
    if (from !== to) this.publish("STATUS_CHANGED", { from, to, reason: phaseReason(phase) });
  }

  publish(type: string, attributes: Readonly<Record<string, string>>): void {
    this.around.publish({ type, sessionId: this.sessionId, sourceAgentId: this.id, targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" });
  }

  // --- swap, update ----------------------------------------------------------------

  /** It takes steps now, or will without anybody's doing. */
  get #works(): boolean {
    const { kind } = this.#phase;
    return kind !== "quarantined" && kind !== "terminated" && kind !== "left";
  }

  /** Moves to another revision at the next quiet moment. Resolves with what became of it. */
  swap(to: Revision, cause: SwapCause): Promise<SwapOutcome> {
    // What set it aside was the revision that it leaves: it works again on the other.
    const released = cause === "revert" && this.#phase.kind === "quarantined";
    if (!this.#works && !released) return Promise.resolve({ kind: "kept", reason: `the agent is ${this.#phase.kind}` });
    const moved = this.between(() => relocate(this, to, cause)).catch((thrown: unknown): SwapOutcome => ({ kind: "kept", reason: SirsiError.from(thrown).message }));
    if (released) this.release().catch((thrown: unknown) => this.around.log.warn({ agentId: this.id, err: SirsiError.from(thrown).message }, "an agent that was set aside waits to move back: its release could not be noted"));
    return moved;
  }

  settleOn(to: Revision, { life, record }: Extract<SwapOutcome, { kind: "moved" }>): void {
    const from = this.#revision;
    this.slot.drop();
    if (this.#phase.kind === "terminated" || this.#phase.kind === "left") life.handle.close();
    this.requireNotEnded();
    this.#record = record;
    this.#revision = to;
    this.slot.adopt(life);
    this.around.revisions.retain(to.digest);
    this.around.revisions.release(from.digest);
    this.publish("AGENT_SWAPPED", { from: from.digest, to: to.digest, version: to.manifest.version });
  }

  /** Commits what was answered for and is in memory alone; the agent is quiet. */
  save(): Promise<void> {
    return this.#saver.saveNow();
  }

  update(changes: AgentChanges): Promise<void> {
    return this.changes.alone(async () => {
      const record = this.noted({ ...this.#record, ...changes });
      await this.ledger.put(record);
      this.#record = { ...this.#record, ...changes, updatedAt: record.updatedAt };
    });
  }

  /** Does something between two steps. Rejects when it fails, or when the agent will take no step any more. */
  between<T>(act: () => Promise<T>): Promise<T> {
    const done = this.changes.add(act);
    this.pump();
    return done;
  }

  // --- leaving, ending --------------------------------------------------------------

  /**
   * Leaves memory: what is unsaved is committed, the instance goes, and this object is of no
   * further use; its agent comes back from the store. False when it is not at rest after
   * all, or could not be saved: nothing has changed then.
   */
  async leave(): Promise<boolean> {
    if (!this.restful) return false;
    if (this.ledger.unsaved > 0) {
      await this.#saver.save().catch(() => undefined);
      // The quiet moment in which it was saved ends in this turn.
      await new Promise(setImmediate);
      if (!this.restful || this.ledger.unsaved > 0) return false;
    }
    const gone = new SirsiError("AGENT_FENCED", `agent ${this.id} left memory; send again`, { retryAfterMs: 50 });
    this.#leaveBehind(gone, gone);
    return true;
  }

  /** Work in its mailbox, the step in hand not counted. */
  get waiting(): number {
    return this.#inbox.size;
  }

  holdStill(): Hold {
    const hold = this.changes.hold();
    this.pump();
    return hold;
  }

  /** Goes to another host: `give` makes it the other's. False from it, or an error, and it goes on here. Never rejects. */
  depart(give: () => Promise<boolean>, patienceMs: number): Promise<Departed> {
    return depart(this, give, patienceMs);
  }

  goElsewhere(): void {
    const goesOn = new SirsiError("AGENT_FENCED", `agent ${this.id} moved to another host in the middle of the step, which goes on there; send the message again, under the same id, for its reply`, { retryAfterMs: 50 });
    const refusal = new SirsiError("AGENT_FENCED", `agent ${this.id} moved to another host; the message had no effect here, send it again`, { retryAfterMs: 50 });
    if (this.#phase.kind !== "terminated") this.#leaveBehind(goesOn, refusal);
  }

  /** `refusal`: for what was not begun. */
  #leaveBehind(error: SirsiError, refusal: SirsiError): void {
    this.move({ kind: "left" });
    this.ledger.close();
    this.giveUpCurrent(error);
    this.abandon(refusal);
    this.slot.drop();
    this.around.revisions.release(this.#revision.digest);
  }

  /** Ends the agent for good. Repeatable. */
  stop(reason: string): Promise<void> {
    return this.#ending.stop(reason);
  }

  /** What its step ends with is for nobody any more; its caller gets this error. */
  giveUpCurrent(error: SirsiError): void {
    this.#steps.giveUp(error);
  }

  /**
   * Forgets the instance without ending the agent: the host is closing. A step that waits
   * goes on when it is back. Resolves when what was unsaved is committed, or cannot be.
   */
  async close(): Promise<void> {
    const resting = this.current === null;
    const refusal = new SirsiError("SHUTTING_DOWN", "the host is shutting down; the message had no effect, send it again when the host is back", { retryAfterMs: 1_000 });
    const goesOn = new SirsiError("SHUTTING_DOWN", "the host is shutting down in the middle of the step, which goes on when it is back; send the message again then, under the same id, for its reply", { retryAfterMs: 1_000 });
    this.giveUpCurrent(this.ledger.inWait ? goesOn : refusal);
    this.abandon(refusal);
    if (resting) await this.#saver.saveNow().catch(() => undefined);
    this.slot.drop();
  }

  /** Refuses all that waits. */
  abandon(refusal: SirsiError): void {
    this.#recovery.close();
    this.#saver.close();
    this.#inbox.close();
    for (const work of this.#inbox.remove(() => true)) this.fail(work, refusal);
    this.changes.refuseAll(refusal);
  }
}
