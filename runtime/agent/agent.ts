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
import type { InstanceHandle } from "../sandbox/index.ts";
import type { AgentRecord, StoredAgent } from "../store/store.ts";
import { type AgentPhase, type AgentPhaseEvent, phaseReason, publicState, transition } from "./agent-state.ts";
import type { AgentChanges, AgentView, Delivery, HostEvent, Reply } from "./agents.ts";
import { AgentLedger } from "./agent-ledger.ts";
import { answerRepeat } from "./repeat.ts";
import { Conversation, messageHash } from "./conversation.ts";
import { NO_SIGNAL, openFresh, openFrom, type OpenedLife, type StepOptions, stepOn } from "./life.ts";
import { Mailbox } from "./mailbox.ts";
import { decideRestart } from "./restart-policy.ts";
import { isGuestFault, type StepEnd } from "./step.ts";
import { type DoneWork, runWork, type WorkEnd } from "./run-work.ts";
import type { Surroundings } from "./surroundings.ts";
import { type SwapOutcome, swapLife } from "./swap.ts";
import { rankOf, type Work } from "./work.ts";

/** How long a stopped agent may go on with the step in hand. */
const STOP_GRACE_MS = 2_000;
const STARTS_PER_STEP = 3;

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
  #handle: InstanceHandle | null = null;
  #opening: Promise<InstanceHandle> | null = null;
  #memoryBytes = 0;
  #current: Work | null = null;
  #swaps: PendingSwap[] = [];
  #faults: readonly number[] = [];
  #restarts = 0;
  #restartTimer: Timer | null = null;
  #lastFault = "";
  #idleWaiters: (() => void)[] = [];

  constructor(around: Surroundings, record: AgentRecord, revision: Revision, stored: StoredAgent | null) {
    this.around = around;
    this.id = record.agentId;
    this.sessionId = record.sessionId;
    this.#record = record;
    this.#revision = revision;
    this.#mailbox = new Mailbox(revision.limits.mailboxDepth);
    this.conversation = new Conversation(around.exchangesKept, stored?.exchangeSequence ?? 0);
    this.ledger = new AgentLedger(around, record.agentId, stored);
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

  get durable(): boolean {
    return this.#revision.manifest.durability !== "none";
  }

  get mailboxDepth(): number {
    return this.#mailbox.size;
  }

  get memoryBytes(): number {
    return this.#handle?.alive === true ? this.#memoryBytes : 0;
  }

  view(): AgentView {
    const { counters } = this.ledger;
    const phase = this.#phase.kind;
    const troubled = phase === "quarantined" || phase === "terminated" ? "unhealthy" : phase === "restarting" || this.#recentFaults() > 0 ? "degraded" : "healthy";
    const latency = this.latency.count === 0 ? NO_LATENCY : { p50Ms: this.latency.quantile(0.5), p99Ms: this.latency.quantile(0.99), maxMs: this.latency.maxMs };
    return {
      record: this.#stateOf(this.#record),
      manifest: this.#revision.manifest,
      counters,
      mailboxDepth: this.#mailbox.size,
      activeOperations: this.#current === null ? 0 : 1,
      health: phase === "initializing" ? "unknown" : troubled,
      memoryBytes: this.memoryBytes,
      latency,
      restarts: this.#restarts,
      idle: this.#current === null && this.around.clock.now() - counters.lastActivityAt >= this.around.idleAfterMs,
    };
  }

  #recentFaults(): number {
    const now = this.around.clock.monotonic();
    return this.#faults.filter((at) => now - at < this.around.restart.windowMs).length;
  }

  #stateOf(record: AgentRecord): AgentRecord {
    const reason = phaseReason(this.#phase) || (this.#recentFaults() > 0 ? this.#lastFault : "");
    return { ...record, state: publicState(this.#phase), statusMessage: reason };
  }

  // --- beginning ---------------------------------------------------------------

  /** Brings up a new agent: instance, init, first commit. Throws what went wrong; the agent is not there then. */
  async begin(deadline: number): Promise<void> {
    const life = await openFresh(this.around, this.#revision, this.#record, this.#stepOptions(deadline, "init", NO_SIGNAL));
    this.#adopt(life);
    try {
      await this.ledger.create({ ...this.#record, state: "READY" }, this.#revision, this.durable ? life.checkpoint : null);
    } catch (thrown) {
      this.#dropInstance();
      throw thrown;
    }
    this.#move({ kind: "opened" });
    this.#pump();
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
    const now = this.around.clock.monotonic();
    const work: Work = { kind: "message", delivery, reply, queuedAt: now, deadline: delivery.deadline ?? now + this.#revision.limits.stepTimeoutMs, signal: delivery.signal };
    this.conversation.begin(delivery.message.messageId, delivery.message, reply.promise);
    this.#mailbox.push(work, rankOf(delivery.priority));
    this.#pump();
    return reply.promise;
  }

  suggest(context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    const refusal = this.#refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<readonly Suggestion[]>();
    const now = this.around.clock.monotonic();
    this.#mailbox.push({ kind: "suggest", context, max, reply, queuedAt: now, deadline: deadline ?? now + this.#revision.limits.stepTimeoutMs, signal }, rankOf(0));
    this.#pump();
    return reply.promise;
  }

  /** An event on a topic that it hears. False when its mailbox would not take it. */
  hear(event: AgentEvent): boolean {
    if (this.#refusal() !== null) return false;
    const reply = new Deferred<void>();
    reply.promise.catch((thrown: unknown) => this.around.log.warn({ agentId: this.id, err: SirsiError.from(thrown).message }, "an event was not handled"));
    const now = this.around.clock.monotonic();
    this.#mailbox.push({ kind: "event", event, reply, queuedAt: now, deadline: now + this.#revision.limits.stepTimeoutMs, signal: null }, rankOf(0));
    this.#pump();
    return true;
  }

  #refusal(): SirsiError | null {
    switch (this.#phase.kind) {
      case "terminated":
        return new SirsiError("AGENT_TERMINATED", `agent ${this.id} has ended (${this.#phase.reason}); spawn a new agent`);
      case "quarantined":
        return new SirsiError("AGENT_QUARANTINED", `agent ${this.id} failed too often and was set aside: ${this.#phase.reason}. Mend the module, or delete the agent and spawn it anew`);
      default:
    }
    if (!this.#mailbox.full) return null;
    return new SirsiError("MAILBOX_FULL", `agent ${this.id} has ${this.#mailbox.size} messages waiting, as many as its mailbox holds; send again later, and more slowly`, { retryAfterMs: 100 });
  }

  #pump(): void {
    if (this.#phase.kind !== "ready") return;
    const swap = this.#swaps.shift();
    if (swap !== undefined) {
      this.#move({ kind: "step_begins" });
      void this.#swap(swap).finally(() => this.#stepEnded());
      return;
    }
    for (;;) {
      const work = this.#mailbox.take();
      if (work === undefined) break;
      if (this.#tooLate(work)) continue;
      this.#move({ kind: "step_begins" });
      this.#current = work;
      void this.#run(work).finally(() => this.#stepEnded());
      return;
    }
    for (const waiter of this.#idleWaiters.splice(0)) waiter();
  }

  #stepEnded(): void {
    this.#current = null;
    this.#move({ kind: "step_ended" });
    this.#pump();
  }

  /** Its caller is gone or its time has passed while it waited: it never begins. */
  #tooLate(work: Work): boolean {
    const cancelled = work.signal?.aborted === true;
    if (!cancelled && this.around.clock.monotonic() <= work.deadline) return false;
    const error = cancelled
      ? new SirsiError("CANCELLED", "the caller went away before the agent came to the message; it had no effect")
      : new SirsiError("DEADLINE_EXCEEDED", "the deadline passed while the message waited in the agent's mailbox; it had no effect");
    this.#fail(work, error);
    return true;
  }

  /** Settles a work item that came to nothing. */
  #fail(work: Work, error: SirsiError): void {
    if (work.kind === "message") {
      this.conversation.forget(work.delivery.message.messageId);
      this.around.metrics.histogram("sirsi_message_seconds", this.#record.module, "error").observe((this.around.clock.monotonic() - work.queuedAt) / 1000);
    }
    work.reply.reject(error);
  }

  async #run(work: Work): Promise<void> {
    try {
      const end = await this.#runOnce(work);
      if (this.#current !== work) return; // stopped meanwhile: already settled
      if (end.kind === "failed") {
        this.#failed(end.error, end.guestFault);
        this.#fail(work, end.error);
        return;
      }
      await this.#commit(work, end);
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "INTERNAL") this.around.log.error({ agentId: this.id, err: thrown }, "a step failed for a fault of the host");
      this.#failed(error, isGuestFault(error));
      this.#fail(work, error);
    }
  }

  /** Runs the step, and again when a shard died under it before it had done anything that shows. */
  async #runOnce(work: Work): Promise<Exclude<WorkEnd, { kind: "repeatable" }>> {
    const started = this.around.clock.monotonic();
    for (let attempt = 1; ; attempt++) {
      const handle = this.#handle?.alive === true ? this.#handle : await this.#open();
      const step = (call: Uint8Array, options: StepOptions): Promise<StepEnd> => stepOn(this.around, handle, this.#revision, this.#record, call, options);
      const end = await runWork(work, this.around.clock, this.durable, step);
      if (end.kind !== "repeatable") {
        this.around.metrics.histogram("sirsi_step_seconds", this.#record.module).observe((this.around.clock.monotonic() - started) / 1000);
        return end;
      }
      if (attempt === STARTS_PER_STEP) return { kind: "failed", error: end.error, guestFault: false };
      this.#dropInstance();
    }
  }

  async #commit(work: Work, end: DoneWork): Promise<void> {
    const { clock, metrics } = this.around;
    this.#memoryBytes = end.memoryBytes;
    metrics.counter("sirsi_fuel_total", this.#record.module).inc(end.fuelUsed);
    const tookMs = clock.monotonic() - work.queuedAt;
    const contentHash = work.kind === "message" && this.durable ? messageHash(work.delivery.message) : "";
    const written = this.ledger.record(this.#revision, this.conversation, work, end, contentHash, tookMs);
    if (written !== null) {
      try {
        await written;
      } catch (thrown) {
        // The store may or may not have it: what it has is the truth from here on.
        this.#dropInstance();
        throw thrown;
      }
      if (this.#current !== work) return;
    }
    if (work.kind === "message") {
      this.latency.record(tookMs);
      metrics.histogram("sirsi_message_seconds", this.#record.module, end.refusal === null ? "ok" : "refused").observe(tookMs / 1000);
      if (this.durable) this.conversation.settleStored(work.delivery.message.messageId, contentHash);
    }
    end.release(this.around, this.#record);
    end.settle(tookMs);
  }

  // --- the instance --------------------------------------------------------------

  async #open(): Promise<InstanceHandle> {
    this.#opening ??= this.#openNow().finally(() => {
      this.#opening = null;
    });
    return await this.#opening;
  }

  async #openNow(): Promise<InstanceHandle> {
    this.#dropInstance();
    const checkpoint = this.durable ? await this.ledger.recall() : null;
    const deadline = this.around.clock.monotonic() + this.#revision.limits.stepTimeoutMs;
    const life = checkpoint === null ? await openFresh(this.around, this.#revision, this.#record, this.#stepOptions(deadline, "init", NO_SIGNAL)) : await openFrom(this.around, this.#revision, this.#record, checkpoint);
    this.#adopt(life);
    return life.handle;
  }

  #adopt(life: OpenedLife): void {
    this.#handle = life.handle;
    this.#memoryBytes = life.memoryBytes;
  }

  #dropInstance(): void {
    this.#handle?.close();
    this.#handle = null;
  }

  #stepOptions(deadline: number, stepId: string, signal: AbortSignal): StepOptions {
    return { deadline, stepId, signal, checkpoint: this.durable, traceparent: "", onEmits: () => [] };
  }

  // --- failure -------------------------------------------------------------------

  #failed(error: SirsiError, guestFault: boolean): void {
    this.#dropInstance();
    this.ledger.countError(this.around.clock.now());
    this.#publish("ERROR_OCCURRED", { reason: error.code, message: error.message });
    if (!guestFault || this.#phase.kind === "terminated") return;
    this.#lastFault = error.message;
    this.around.metrics.counter("sirsi_guest_faults_total", this.#record.module, error.code.toLowerCase()).inc();
    this.around.log.warn({ agentId: this.id, sessionId: this.sessionId, module: this.#record.module, code: error.code, err: error.message }, "an agent failed and goes back to its last commit");
    const decision = decideRestart(this.around.restart, this.#faults, this.around.clock.monotonic(), this.around.random());
    this.#faults = decision.faults;
    if (decision.kind === "quarantine") {
      this.#quarantine(error.message);
      return;
    }
    this.#restarts++;
    if (decision.delayMs === 0) return; // #stepEnded makes it ready; the next step opens it anew
    this.#move({ kind: "faulted", reason: error.message, giveUp: false });
    this.#restartTimer = this.around.clock.after(decision.delayMs, () => {
      this.#move({ kind: "restarted" });
      this.#pump();
    });
  }

  #quarantine(reason: string): void {
    this.#move({ kind: "faulted", reason, giveUp: true });
    const refusal = this.#refusal() ?? new SirsiError("AGENT_QUARANTINED", reason);
    for (const work of this.#mailbox.remove(() => true)) this.#fail(work, refusal);
    for (const swap of this.#swaps.splice(0)) swap.done.resolve({ kind: "failed", reason: refusal.message });
    this.ledger.note(this.#stateOf(this.#record));
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
        record: this.#record,
        from,
        to,
        openOld: () => (this.#handle?.alive === true ? Promise.resolve(this.#handle) : this.#open()),
        commit: (record, checkpoint) => this.ledger.commitSwap(record, to, checkpoint),
      });
      if (outcome.kind === "moved") {
        this.#dropInstance();
        this.#record = outcome.record;
        this.#revision = to;
        this.#adopt(outcome.life);
        this.around.revisions.retain(to.digest);
        this.around.revisions.release(from.digest);
        this.#publish("AGENT_SWAPPED", { from: from.digest, to: to.digest, version: to.manifest.version });
      } else if (outcome.spoiled) {
        this.#dropInstance();
      }
      done.resolve(outcome);
    } catch (thrown) {
      this.#dropInstance();
      done.resolve({ kind: "failed", reason: SirsiError.from(thrown).message });
    }
  }

  async update(changes: AgentChanges): Promise<void> {
    const record: AgentRecord = { ...this.#record, ...changes, updatedAt: this.around.clock.now() };
    await this.around.store.putAgent(record);
    this.#record = { ...this.#record, ...changes, updatedAt: record.updatedAt };
  }

  /** Resolves when the step in hand has ended and nothing waits, or the agent cannot go on. */
  quiet(): Promise<void> {
    if (this.#current === null && this.#mailbox.size === 0) return Promise.resolve();
    if (this.#phase.kind === "terminated" || this.#phase.kind === "quarantined") return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Ends the agent for good. Waiting work is refused at once; the step in hand has a short grace. */
  async stop(reason: string): Promise<void> {
    if (this.#phase.kind === "terminated") return;
    const current = this.#current;
    this.#move({ kind: "stopped", reason });
    const refusal = this.#refusal() ?? new SirsiError("AGENT_TERMINATED", reason);
    for (const work of this.#mailbox.remove(() => true)) this.#fail(work, refusal);
    for (const swap of this.#swaps.splice(0)) swap.done.resolve({ kind: "kept", reason: refusal.message });
    this.#restartTimer?.cancel();
    for (const waiter of this.#idleWaiters.splice(0)) waiter();
    if (current !== null) await this.#grace(current, refusal);
    this.#dropInstance();
    this.around.revisions.release(this.#revision.digest);
    await this.around.store.putAgent(this.#stateOf({ ...this.#record, updatedAt: this.around.clock.now() }));
    this.#publish("AGENT_STOPPED", { reason, module: this.#record.module });
  }

  async #grace(current: Work, refusal: SirsiError): Promise<void> {
    const settled = (current.reply.promise as Promise<unknown>).then(
      () => undefined,
      () => undefined,
    );
    const timer = this.around.clock.after(STOP_GRACE_MS, () => {
      if (this.#current === current) this.#current = null;
      this.#fail(current, refusal);
    });
    await settled;
    timer.cancel();
  }

  /** Forgets the instance without ending the agent: the host is closing. */
  close(): void {
    this.#restartTimer?.cancel();
    const current = this.#current;
    this.#current = null;
    const refusal = new SirsiError("SHUTTING_DOWN", "the host is shutting down; the message had no effect, send it again when the host is back", { retryAfterMs: 1_000 });
    for (const work of [...(current === null ? [] : [current]), ...this.#mailbox.remove(() => true)]) this.#fail(work, refusal);
    for (const swap of this.#swaps.splice(0)) swap.done.resolve({ kind: "kept", reason: refusal.message });
    for (const waiter of this.#idleWaiters.splice(0)) waiter();
    this.#dropInstance();
  }
}

const NO_LATENCY = { p50Ms: 0, p99Ms: 0, maxMs: 0 } as const;
const ORDINARY: ReadonlySet<string> = new Set(["READY", "BUSY"]);
