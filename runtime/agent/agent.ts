/**
 * One agent: its phase, its mailbox, and the loop that takes one step at a time.
 *
 * Phases are in agent-state.ts. The loop (`#pump`) runs while the phase is `ready`:
 * a pending swap first, then the head of the mailbox.
 *
 * Invariants
 * - A1 One step at a time; the next begins when the one before is committed.
 * - A2 A reply is given, an event published, a message let go only after the commit (D1).
 * - A3 Every work item is settled exactly once, also when the agent is stopped, fails or hangs.
 * - A4 After any end of a step but a committed one the instance is dropped; the next step
 *   begins from the last commit. An agent without durability begins afresh.
 */
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { Suggestion, SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Timer } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { LatencyHistogram } from "../observe/index.ts";
import type { AgentRecord, StoredAgent } from "../store/store.ts";
import { type AgentPhase, type AgentPhaseEvent, phaseReason, publicState, transition } from "./agent-state.ts";
import type { AgentChanges, AgentView, Delivery, HostEvent, Reply } from "./agents.ts";
import { AgentLedger } from "./agent-ledger.ts";
import { answerRepeat } from "./repeat.ts";
import { Conversation, messageHash } from "./conversation.ts";
import { InstanceSlot } from "./instance-slot.ts";
import { NO_SIGNAL, openFresh, openFrom, type OpenedLife, type StepOptions, tellShutdown } from "./life.ts";
import { settledWithin } from "./grace.ts";
import { Mailbox } from "./mailbox.ts";
import { viewOf } from "./agent-view.ts";
import { refusalOf, tooLate } from "./refusal.ts";
import { FaultHistory } from "./restart-policy.ts";
import { runStep } from "./run-step.ts";
import { isGuestFault } from "./step.ts";
import { type Completed, release } from "./run-work.ts";
import type { ModuleCells, Surroundings } from "./surroundings.ts";
import { type SwapOutcome, swapLife } from "./swap.ts";
import { rankOf, type Work } from "./work.ts";

/** How long a stopped agent may go on with the step in hand. */
const STOP_GRACE_MS = 2_000;

interface PendingSwap {
  readonly to: Revision;
  readonly done: Deferred<SwapOutcome>;
}

export class Agent {
  readonly id: string;
  readonly sessionId: string;
  readonly conversation: Conversation;
  readonly ledger: AgentLedger;
  readonly latency = new LatencyHistogram();
  readonly around: Surroundings;
  #record: AgentRecord;
  #revision: Revision;
  #phase: AgentPhase = { kind: "initializing" };
  #mailbox: Mailbox<Work>;
  readonly #slot = new InstanceSlot(() => this.#openNow());
  #current: Work | null = null;
  #swaps: PendingSwap[] = [];
  readonly #faults: FaultHistory;
  #cells: ModuleCells;
  #restartTimer: Timer | null = null;
  #idleWaiters: (() => void)[] = [];
  #changes: Promise<unknown> = Promise.resolve();
  #ending: Promise<void> | null = null;
  #endNoted = false;

  constructor(around: Surroundings, record: AgentRecord, revision: Revision, stored: StoredAgent | null) {
    this.around = around;
    this.id = record.agentId;
    this.sessionId = record.sessionId;
    this.#record = record;
    this.#revision = revision;
    this.#mailbox = new Mailbox(revision.limits.mailboxDepth);
    this.conversation = new Conversation(around.exchangesKept, stored?.exchangeSequence ?? 0);
    this.ledger = new AgentLedger(around, record.agentId, stored);
    this.#faults = new FaultHistory(around.restart);
    this.#cells = around.cells(record.module);
    around.revisions.retain(revision.digest);
  }

  get record(): AgentRecord {
    return this.#record;
  }

  get revision(): Revision {
    return this.#revision;
  }

  get phase(): AgentPhase {
    return this.#phase;
  }

  /** Every level but `none` commits after each step, which is more than `interval` asks for. */
  get durable(): boolean {
    return this.#revision.manifest.durability !== "none";
  }

  view(): AgentView {
    const { clock, idleAfterMs } = this.around;
    return viewOf({
      record: this.#record,
      manifest: this.#revision.manifest,
      phase: this.#phase,
      counters: this.ledger.counters,
      mailboxDepth: this.#mailbox.size,
      atWork: this.#current !== null,
      memoryBytes: this.#slot.memoryBytes,
      latency: this.latency,
      restarts: this.#faults.restarts,
      recentFault: this.#faults.recent(clock.monotonic()),
      idleAfterMs,
      now: clock.now(),
    });
  }

  /** As the store has it: what a host that finds it there needs to know. Only a quarantine or an end outlasts a restart. */
  #noted(record: AgentRecord): AgentRecord {
    const { kind } = this.#phase;
    const lasting = kind === "quarantined" || kind === "terminated";
    return { ...record, state: lasting ? publicState(this.#phase) : "READY", statusMessage: phaseReason(this.#phase), updatedAt: this.around.clock.now() };
  }

  // --- beginning ---------------------------------------------------------------

  /** Brings up a new agent: instance, init, first commit. Throws what went wrong; the agent is not there then. */
  async begin(deadline: number): Promise<void> {
    const life = await openFresh(this.around, this.#revision, this.#record, this.#stepOptions(deadline, "init", NO_SIGNAL));
    this.#slot.adopt(life);
    try {
      this.#requireNotEnded();
      await this.ledger.create({ ...this.#record, state: "READY" }, this.#revision, this.durable ? life.checkpoint : null);
      this.#requireNotEnded();
    } catch (thrown) {
      this.#slot.drop();
      throw thrown;
    }
    this.#move({ kind: "opened" });
    this.#pump();
  }

  /** It may have been stopped while it came up. */
  #requireNotEnded(): void {
    if (this.#phase.kind === "terminated") throw new SirsiError("AGENT_TERMINATED", `agent ${this.id} was ended meanwhile (${this.#phase.reason})`);
  }

  /** A stored agent, known again after a restart; its instance is opened when it is needed. */
  restored(): void {
    this.#move({ kind: "opened" });
    if (this.#record.state === "ERROR") this.#move({ kind: "faulted", reason: this.#record.statusMessage, giveUp: true });
  }

  // --- work --------------------------------------------------------------------

  /** D2: a message id known to the conversation never becomes work again. */
  send(delivery: Delivery): Promise<Reply> {
    const known = this.conversation.find(delivery.message.messageId);
    if (known !== undefined || !this.conversation.complete) return answerRepeat(this, delivery, known, () => this.#accept(delivery));
    return this.#accept(delivery);
  }

  #accept(delivery: Delivery): Promise<Reply> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<Reply>();
    this.conversation.begin(delivery.message.messageId, delivery.message, reply.promise);
    this.#enqueue({ kind: "message", delivery, reply, ...this.#when(delivery.deadline), signal: delivery.signal }, delivery.priority);
    return reply.promise;
  }

  suggest(context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<readonly Suggestion[]>();
    this.#enqueue({ kind: "suggest", context, max, reply, ...this.#when(deadline), signal }, 0);
    return reply.promise;
  }

  /** An event on a topic that it hears. False when its mailbox would not take it. */
  hear(event: AgentEvent): boolean {
    if (this.#refusal() !== null) return false;
    const reply = new Deferred<void>();
    reply.promise.catch((thrown: unknown) => this.around.log.warn({ agentId: this.id, err: SirsiError.from(thrown).message }, "an event was not handled"));
    this.#enqueue({ kind: "event", event, reply, ...this.#when(null), signal: null }, 0);
    return true;
  }

  #when(deadline: number | null): Pick<Work, "queuedAt" | "deadline"> {
    const queuedAt = this.around.clock.monotonic();
    return { queuedAt, deadline: deadline ?? queuedAt + this.#revision.limits.stepTimeoutMs };
  }

  /** Most work finds its agent at rest and spares itself the mailbox. */
  #enqueue(work: Work, priority: number): void {
    if (this.#phase.kind === "ready" && this.#mailbox.size === 0 && tooLate(work, work.queuedAt) === null) {
      this.#begin(work);
      return;
    }
    this.#mailbox.push(work, rankOf(priority));
    this.#pump();
  }

  #refusal(): SirsiError | null {
    return refusalOf(this.id, this.#phase, this.#mailbox);
  }

  #pump(): void {
    if (this.#phase.kind !== "ready") return;
    const swap = this.#swaps.shift();
    if (swap !== undefined) {
      this.#move(STEP_BEGINS);
      void this.#alone(() => this.#swap(swap)).finally(() => {
        if (this.#phase.kind === "terminated") this.#slot.drop();
        this.#move(STEP_ENDED);
        this.#pump();
      });
      return;
    }
    for (;;) {
      const work = this.#mailbox.take();
      if (work === undefined) break;
      const late = tooLate(work, this.around.clock.monotonic());
      if (late !== null) {
        this.#fail(work, late);
        continue;
      }
      this.#begin(work);
      return;
    }
    this.#tellQuiet();
  }

  #begin(work: Work): void {
    this.#move(STEP_BEGINS);
    this.#current = work;
    void this.#run(work);
  }

  #tellQuiet(): void {
    for (const waiter of this.#idleWaiters.splice(0)) waiter();
  }

  /** Settles a work item that came to nothing. */
  #fail(work: Work, error: SirsiError): void {
    if (work.kind === "message") {
      this.conversation.forget(work.delivery.message.messageId);
      this.#cells.messageError.observe((this.around.clock.monotonic() - work.queuedAt) / 1000);
    }
    work.reply.reject(error);
  }

  /** One step, from the head of the mailbox to its settled reply. Never rejects. */
  async #run(work: Work): Promise<void> {
    try {
      const completed = await runStep({ around: this.around, slot: this.#slot, revision: this.#revision, record: this.#record, durable: this.durable, seconds: this.#cells.stepSeconds }, work);
      if (this.#current === work) {
        const written = this.#write(completed);
        if (written !== null) await written;
        if (this.#current === work) this.#settle(completed);
      }
    } catch (thrown) {
      if (this.#current === work) this.#stepFailed(work, SirsiError.from(thrown));
    }
    if (this.#current === work) this.#current = null;
    else this.#slot.drop(); // Given up meanwhile, it may have opened an instance since.
    this.#move(STEP_ENDED);
    this.#pump();
  }

  #stepFailed(work: Work, error: SirsiError): void {
    if (error.code === "INTERNAL") this.around.log.error({ agentId: this.id, err: error.details.cause ?? error }, "a step failed for a fault of the host");
    this.#failed(error);
    this.#fail(work, error);
  }

  /** A2: what this returns is waited for before anything shows. */
  #write(completed: Completed): Promise<void> | null {
    const { work, end } = completed;
    this.#slot.memoryBytes = end.memoryBytes;
    this.#cells.fuel.inc(end.fuelUsed);
    const tookMs = this.around.clock.monotonic() - work.queuedAt;
    const contentHash = work.kind === "message" && this.durable ? messageHash(work.delivery.message) : "";
    const written = this.ledger.record(this.#revision, this.conversation, completed, contentHash, tookMs, this.around.clock.now());
    if (written === null || work.kind !== "message") return written;
    return written.then(() => this.conversation.settleStored(work.delivery.message.messageId));
  }

  #settle({ work, answer, effects }: Completed): void {
    const tookMs = this.around.clock.monotonic() - work.queuedAt;
    if (work.kind === "message") {
      this.latency.record(tookMs);
      (answer.refusal === null ? this.#cells.messageOk : this.#cells.messageRefused).observe(tookMs / 1000);
    }
    release(work, answer, effects, this.around, this.#record);
    answer.settle(tookMs);
  }

  // --- the instance --------------------------------------------------------------

  async #openNow(): Promise<OpenedLife> {
    const checkpoint = this.durable ? await this.ledger.recall() : null;
    if (checkpoint !== null) return await openFrom(this.around, this.#revision, this.#record, checkpoint);
    const deadline = this.around.clock.monotonic() + this.#revision.limits.stepTimeoutMs;
    return await openFresh(this.around, this.#revision, this.#record, this.#stepOptions(deadline, "init", NO_SIGNAL));
  }

  #stepOptions(deadline: number, stepId: string, signal: AbortSignal): StepOptions {
    return { deadline, stepId, signal, checkpoint: this.durable, traceparent: "", onEmits: () => [] };
  }

  // --- failure -------------------------------------------------------------------

  #failed(error: SirsiError): void {
    this.#slot.drop();
    this.ledger.countError(this.around.clock.now());
    this.#publish("ERROR_OCCURRED", { reason: error.code, message: error.message });
    if (!isGuestFault(error) || this.#phase.kind === "terminated") return;
    this.around.metrics.counter("sirsi_guest_faults_total", this.#record.module, error.code.toLowerCase()).inc();
    this.around.log.warn({ agentId: this.id, sessionId: this.sessionId, module: this.#record.module, code: error.code, err: error.message }, "an agent failed and goes back to its last commit");
    const delayMs = this.#faults.note(error.message, this.around.clock.monotonic(), this.around.random());
    if (delayMs === null) {
      this.#quarantine(error.message);
      return;
    }
    if (delayMs === 0) return; // the end of the step makes it ready, and the next one opens it anew
    this.#move({ kind: "faulted", reason: error.message, giveUp: false });
    this.#restartTimer = this.around.clock.after(delayMs, () => {
      this.#move({ kind: "restarted" });
      this.#pump();
    });
  }

  #quarantine(reason: string): void {
    this.#move({ kind: "faulted", reason, giveUp: true });
    this.#abandon(this.#refusal() ?? new SirsiError("AGENT_QUARANTINED", reason));
    this.ledger.note(this.#noted(this.#record));
  }

  #move(event: AgentPhaseEvent): void {
    const before = publicState(this.#phase);
    const { phase, ignored } = transition(this.#phase, event);
    if (ignored) return;
    this.#phase = phase;
    const after = publicState(phase);
    // READY to BUSY and back is every message's way; the rest is news.
    if (before !== after && !(ORDINARY.has(before) && ORDINARY.has(after))) this.#publish("STATUS_CHANGED", { from: before, to: after, reason: phaseReason(phase) });
  }

  #publish(type: string, attributes: Readonly<Record<string, string>>): void {
    const event: HostEvent = { type, sessionId: this.sessionId, sourceAgentId: this.id, targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" };
    this.around.publish(event);
  }

  // --- swap, update, stop ----------------------------------------------------------

  /** Moves to another revision at the next quiet moment. Resolves with what became of it. */
  swap(to: Revision): Promise<SwapOutcome> {
    if (this.#phase.kind === "terminated" || this.#phase.kind === "quarantined") return Promise.resolve({ kind: "kept", reason: `the agent is ${this.#phase.kind}` });
    const done = new Deferred<SwapOutcome>();
    this.#swaps.push({ to, done });
    this.#pump();
    return done.promise;
  }

  async #swap({ to, done }: PendingSwap): Promise<void> {
    if (to.digest === this.#revision.digest) {
      done.resolve({ kind: "kept", reason: "it is on that revision already" });
      return;
    }
    try {
      const from = this.#revision;
      const outcome = await swapLife({
        around: this.around,
        record: this.#noted(this.#record),
        from,
        to,
        openOld: () => this.#slot.open(),
        commit: (record, checkpoint) => {
          this.#requireNotEnded();
          return this.ledger.commitSwap(record, to, checkpoint);
        },
      });
      if (outcome.kind === "moved") {
        this.#slot.drop();
        if (this.#phase.kind === "terminated") outcome.life.handle.close();
        this.#requireNotEnded();
        this.#record = outcome.record;
        this.#revision = to;
        this.#slot.adopt(outcome.life);
        this.around.revisions.retain(to.digest);
        this.around.revisions.release(from.digest);
        this.#publish("AGENT_SWAPPED", { from: from.digest, to: to.digest, version: to.manifest.version });
      } else if (outcome.spoiled) {
        this.#slot.drop();
      }
      done.resolve(outcome);
    } catch (thrown) {
      this.#slot.drop();
      done.resolve({ kind: "failed", reason: SirsiError.from(thrown).message });
    }
  }

  update(changes: AgentChanges): Promise<void> {
    return this.#alone(async () => {
      const record = this.#noted({ ...this.#record, ...changes });
      await this.around.store.putAgent(record);
      this.#record = { ...this.#record, ...changes, updatedAt: record.updatedAt };
    });
  }

  /** One change of the record at a time: a swap and an update would undo each other. */
  #alone<T>(change: () => Promise<T>): Promise<T> {
    const done = this.#changes.then(change);
    this.#changes = done.catch(() => undefined);
    return done;
  }

  /** Resolves when the step in hand has ended and nothing waits, or the agent cannot go on. */
  quiet(): Promise<void> {
    if (this.#current === null && this.#mailbox.size === 0) return Promise.resolve();
    if (this.#phase.kind === "terminated" || this.#phase.kind === "quarantined") return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Ends the agent for good. Repeatable: an end that could not be noted in the store is noted by the next try. */
  async stop(reason: string): Promise<void> {
    this.#ending ??= this.#end(reason);
    await this.#ending;
    if (this.#endNoted) return;
    await this.around.store.putAgent(this.#noted(this.#record));
    if (this.#endNoted) return;
    this.#endNoted = true;
    this.#publish("AGENT_STOPPED", { reason: phaseReason(this.#phase), module: this.#record.module });
  }

  /** Waiting work is refused at once; the step in hand has a short grace. */
  async #end(reason: string): Promise<void> {
    const current = this.#current;
    this.#move({ kind: "stopped", reason });
    const refusal = this.#refusal() ?? new SirsiError("AGENT_TERMINATED", reason);
    this.#restartTimer?.cancel();
    this.#abandon(refusal);
    const inOrder = current === null || (await this.#grace(current, refusal));
    const { live } = this.#slot;
    if (live !== null && inOrder) await tellShutdown(this.around, live, this.#revision, this.#record, reason);
    this.#slot.drop();
    this.around.revisions.release(this.#revision.digest);
  }

  /** Whether the step ended by itself. */
  #grace(current: Work, refusal: SirsiError): Promise<boolean> {
    return settledWithin(this.around.clock, STOP_GRACE_MS, current.reply.promise, () => {
      this.#current = null;
      this.#fail(current, refusal);
    });
  }

  /** Forgets the instance without ending the agent: the host is closing. */
  close(): void {
    this.#restartTimer?.cancel();
    const current = this.#current;
    this.#current = null;
    const refusal = new SirsiError("SHUTTING_DOWN", "the host is shutting down; the message had no effect, send it again when the host is back", { retryAfterMs: 1_000 });
    if (current !== null) this.#fail(current, refusal);
    this.#abandon(refusal);
    this.#slot.drop();
  }

  /** Refuses all that waits. */
  #abandon(refusal: SirsiError): void {
    for (const work of this.#mailbox.remove(() => true)) this.#fail(work, refusal);
    for (const swap of this.#swaps.splice(0)) swap.done.resolve({ kind: "kept", reason: refusal.message });
    this.#tellQuiet();
  }
}

const STEP_BEGINS: AgentPhaseEvent = { kind: "step_begins" };
const STEP_ENDED: AgentPhaseEvent = { kind: "step_ended" };
const ORDINARY: ReadonlySet<string> = new Set(["READY", "BUSY"]);
