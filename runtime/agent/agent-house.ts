/**
 * All agents of this host: who they are, how they come and go, and how one asks another.
 *
 * Invariants
 * - G1 An agent is registered before its first await, so limits count it from the start.
 * - G2 An agent that asks waits for at most one other; a circle of waits is refused when
 *   it would close (ASK_CYCLE), not found out by a deadline.
 */
import { hash } from "node:crypto";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { type Message, MessageMetricsSchema, Priority, type SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { create } from "@bufbuild/protobuf";
import type { Asker, AskTarget } from "../capability/index.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { isMessageId, newId } from "../core/ids.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import { Agent } from "./agent.ts";
import type { AgentChanges, Agents, AgentView, Delivery, Reply, SpawnSpec, SwapReport } from "./agents.ts";
import type { Surroundings } from "./surroundings.ts";

export interface AgentHouseConfig {
  readonly maxAgents: number;
  /** Has the agent hear its session's topic; returns how to stop. */
  readonly hearTopic: (sessionId: string, topic: string, hear: (event: AgentEvent) => void) => () => void;
}

/** Ended agents whose last look is still answered. */
const REMEMBERED_MAX = 1_000;
const SWAPS_AT_ONCE = 16;
const RESTORE_PAGE = 500;
const DEFAULT_SPAWN_MS = 30_000;

export interface RestoreReport {
  readonly restored: number;
  /** Agents whose revision is gone: they are kept in the store and set aside. */
  readonly unreachable: readonly { readonly agentId: string; readonly reason: string }[];
}

export class AgentHouse implements Agents {
  readonly #around: Surroundings;
  readonly #config: AgentHouseConfig;
  readonly #agents = new Map<string, Agent>();
  readonly #bySession = new Map<string, Map<string, Agent>>();
  readonly #ended = new Map<string, AgentView>();
  /** Who waits for whom: asker to asked. */
  readonly #waitsFor = new Map<string, string>();
  readonly #topics = new Map<string, (() => void)[]>();
  #closing = false;
  #closed = false;

  constructor(around: Surroundings, config: AgentHouseConfig) {
    this.#around = around;
    this.#config = config;
  }

  get count(): number {
    return this.#agents.size;
  }

  // --- coming and going --------------------------------------------------------

  async spawn(spec: SpawnSpec): Promise<AgentView> {
    this.#requireOpen();
    if (this.#agents.size >= this.#config.maxAgents) {
      throw new SirsiError("AGENT_LIMIT_REACHED", `this host has ${this.#agents.size} agents, as many as it may (max_concurrent_agents); delete agents that are done, or raise the limit`);
    }
    const { clock, metrics } = this.#around;
    const started = clock.monotonic();
    const revision = this.#around.revisions.resolve(spec.agentType);
    const now = clock.now();
    const record: AgentRecord = {
      agentId: newId(now),
      sessionId: spec.sessionId,
      module: revision.manifest.name,
      digest: revision.digest,
      state: "INITIALIZING",
      parentAgentId: spec.parentAgentId,
      createdAt: now,
      updatedAt: now,
      metadata: spec.metadata,
      config: spec.config,
      context: spec.context,
      statusMessage: "",
    };
    const agent = new Agent(this.#around, record, revision, null);
    this.#register(agent);
    try {
      await agent.begin(spec.deadline ?? started + DEFAULT_SPAWN_MS);
    } catch (thrown) {
      this.#unregister(agent);
      // One that was stopped while it came up has let go of it already.
      if (agent.phase.kind !== "terminated") this.#around.revisions.release(revision.digest);
      throw thrown;
    }
    this.#listen(agent);
    metrics.histogram("sirsi_spawn_seconds", revision.manifest.name).observe((clock.monotonic() - started) / 1000);
    this.#around.publish({ type: "AGENT_SPAWNED", sessionId: agent.sessionId, sourceAgentId: agent.id, targetAgentId: "", payload: null, topic: "", attributes: { module: record.module, version: revision.manifest.version, digest: record.digest }, traceparent: "" });
    return agent.view();
  }

  /** Knows again, after a restart, every agent that had not ended. Their instances open when needed. */
  async restore(): Promise<RestoreReport> {
    const unreachable: { agentId: string; reason: string }[] = [];
    let restored = 0;
    for (let after = ""; ; ) {
      const page = await this.#around.store.listLiveAgents(after, RESTORE_PAGE);
      for (const stored of page) {
        try {
          const revision = await this.#around.revisions.revisionByDigest(stored.record.digest);
          const agent = new Agent(this.#around, stored.record, revision, stored);
          this.#register(agent);
          agent.restored();
          this.#listen(agent);
          restored++;
        } catch (thrown) {
          unreachable.push({ agentId: stored.record.agentId, reason: SirsiError.from(thrown).message });
        }
      }
      const last = page.at(-1);
      if (last === undefined || page.length < RESTORE_PAGE) break;
      after = last.record.agentId;
    }
    return { restored, unreachable };
  }

  async stop(agentId: string, reason: string): Promise<void> {
    const agent = this.#agents.get(agentId);
    if (agent === undefined) return;
    this.#unlisten(agentId);
    await agent.stop(reason);
    this.#unregister(agent);
    this.#ended.set(agentId, agent.view());
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size <= REMEMBERED_MAX) break;
      this.#ended.delete(oldest);
    }
  }

  #register(agent: Agent): void {
    this.#agents.set(agent.id, agent);
    let session = this.#bySession.get(agent.sessionId);
    if (session === undefined) {
      session = new Map();
      this.#bySession.set(agent.sessionId, session);
    }
    session.set(agent.id, agent);
  }

  #unregister(agent: Agent): void {
    this.#agents.delete(agent.id);
    const session = this.#bySession.get(agent.sessionId);
    session?.delete(agent.id);
    if (session?.size === 0) this.#bySession.delete(agent.sessionId);
  }

  #listen(agent: Agent): void {
    const { topics } = agent.revision.manifest;
    if (topics.length === 0) return;
    const hear = (event: AgentEvent) => {
      if (event.sourceAgentId !== agent.id && !agent.hear(event)) this.#around.log.warn({ agentId: agent.id, topic: event.topic }, "an event was dropped: the agent's mailbox is full, or it is set aside");
    };
    this.#topics.set(agent.id, topics.map((topic) => this.#config.hearTopic(agent.sessionId, topic, hear)));
  }

  /** Its new revision may hear other topics. */
  #relisten(agent: Agent): void {
    this.#unlisten(agent.id);
    if (agent.phase.kind !== "terminated") this.#listen(agent);
  }

  #unlisten(agentId: string): void {
    for (const off of this.#topics.get(agentId) ?? []) off();
    this.#topics.delete(agentId);
  }

  #requireOpen(): void {
    if (this.#closing) throw new SirsiError("SHUTTING_DOWN", "the host is shutting down and takes no new work; try again when it is back", { retryAfterMs: 1_000 });
  }

  // --- looking --------------------------------------------------------------------

  find(agentId: string): AgentView | null {
    return this.#agents.get(agentId)?.view() ?? this.#ended.get(agentId) ?? null;
  }

  recordOf(agentId: string): AgentRecord | null {
    return (this.#agents.get(agentId) ?? this.#ended.get(agentId))?.record ?? null;
  }

  ofSession(sessionId: string): readonly AgentView[] {
    return Array.from(this.#bySession.get(sessionId)?.values() ?? [], (agent) => agent.view());
  }

  /** Every agent, for sums over all of them. */
  all(): Iterable<Agent> {
    return this.#agents.values();
  }

  /** Live agents of a module by the digest of their revision. */
  countByDigest(module: string): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { record } of this.#agents.values()) {
      if (record.module === module) counts.set(record.digest, (counts.get(record.digest) ?? 0) + 1);
    }
    return counts;
  }

  async exchanges(agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]> {
    const agent = this.#need(agentId);
    return agent.durable ? await this.#around.store.listExchanges(agentId, beforeSequence, limit) : agent.conversation.list(beforeSequence, limit);
  }

  // --- work -----------------------------------------------------------------------

  send(agentId: string, delivery: Delivery): Promise<Reply> {
    if (this.#closing) return Promise.reject(new SirsiError("SHUTTING_DOWN", "the host is shutting down and takes no new messages; send again when it is back", { retryAfterMs: 1_000 }));
    const agent = this.#agents.get(agentId);
    if (agent === undefined) return Promise.reject(this.#missing(agentId));
    return this.#pass(agent, delivery);
  }

  /** What one agent has for another is work in hand: it goes through while the host drains. */
  #pass(agent: Agent, delivery: Delivery): Promise<Reply> {
    if (this.#closed) return Promise.reject(new SirsiError("SHUTTING_DOWN", "the host is shutting down; send again when it is back", { retryAfterMs: 1_000 }));
    this.#around.publish({ type: "MESSAGE_RECEIVED", sessionId: agent.sessionId, sourceAgentId: delivery.sourceAgentId, targetAgentId: agent.id, payload: null, topic: "", attributes: { message_id: delivery.message.messageId }, traceparent: delivery.traceparent });
    return agent.send(delivery);
  }

  async suggest(agentId: string, context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null) {
    this.#requireOpen();
    return await this.#need(agentId).suggest(context, max, deadline, signal);
  }

  async update(agentId: string, changes: AgentChanges): Promise<AgentView> {
    const agent = this.#need(agentId);
    await agent.update(changes);
    return agent.view();
  }

  #need(agentId: string): Agent {
    const agent = this.#agents.get(agentId);
    if (agent === undefined) throw this.#missing(agentId);
    return agent;
  }

  #missing(agentId: string): SirsiError {
    const ended = this.#ended.get(agentId);
    if (ended !== undefined) return new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended (${ended.record.statusMessage}); spawn a new agent`);
    return new SirsiError("AGENT_NOT_FOUND", `no agent has the id ${agentId}; list the session's agents with \`sirsi agent list\``);
  }

  /** The `ask` capability. */
  async ask(target: AskTarget, asker: Asker): Promise<MessageResult> {
    const agent = this.#agents.get(target.agentId);
    if (agent === undefined || agent.sessionId !== asker.sessionId) throw new SirsiError("AGENT_NOT_FOUND", `no agent of this session has the id ${target.agentId}`);
    this.#requireNoCycle(asker.agentId, target.agentId);
    this.#waitsFor.set(asker.agentId, target.agentId);
    try {
      const answer = this.#pass(agent, this.#deliveryOf(target, asker));
      const reply = await settledInTime(answer, target, asker.signal, this.#around.clock);
      return { $typeName: "sirsi.agent.v1.MessageResult", response: reply.response, suggestions: [...reply.suggestions], metrics: create(MessageMetricsSchema, reply.metrics) };
    } finally {
      this.#waitsFor.delete(asker.agentId);
    }
  }

  #deliveryOf(target: AskTarget, asker: Asker): Delivery {
    const message: Message = { ...target.message };
    // The same step asks under the same id, so a step that is run again asks only once.
    if (!isMessageId(message.messageId)) message.messageId = `ask-${hash("sha1", `${asker.agentId}/${asker.idempotencyKey}`, "hex")}`;
    return { message, context: {}, priority: Priority.NORMAL, sourceAgentId: asker.agentId, deadline: target.deadline, signal: asker.signal, traceparent: asker.traceparent, onPartial: null };
  }

  #requireNoCycle(askerId: string, targetId: string): void {
    const path = [askerId];
    for (let at: string | undefined = targetId; at !== undefined; at = this.#waitsFor.get(at)) {
      path.push(at);
      if (at === askerId) throw new SirsiError("ASK_CYCLE", `agent ${askerId} cannot ask agent ${targetId}: ${path.join(" waits for ")}, so none would ever answer. Emit a message instead, or answer first`);
    }
  }

  /** An emitted message: delivered, and its reply dropped. */
  deliver(effect: { readonly agentId: string; readonly message: Message }, from: { readonly agentId: string; readonly sessionId: string }): void {
    const agent = this.#agents.get(effect.agentId);
    const message: Message = { ...effect.message };
    if (!isMessageId(message.messageId)) message.messageId = newId(this.#around.clock.now());
    const sent = agent === undefined || agent.sessionId !== from.sessionId ? Promise.reject(new SirsiError("AGENT_NOT_FOUND", `no agent of this session has the id ${effect.agentId}`)) : this.#pass(agent, { message, context: {}, priority: Priority.NORMAL, sourceAgentId: from.agentId, deadline: null, signal: null, traceparent: "", onPartial: null });
    sent.catch((thrown: unknown) => {
      const error = SirsiError.from(thrown);
      this.#around.publish({ type: "ERROR_OCCURRED", sessionId: from.sessionId, sourceAgentId: from.agentId, targetAgentId: effect.agentId, payload: null, topic: "", attributes: { reason: error.code, message: error.message, message_id: message.messageId }, traceparent: "" });
    });
  }

  // --- swap and end -----------------------------------------------------------------

  /** Moves a module's agents to `to`, some at a time, each at a quiet moment of its own. */
  async swap(module: string, to: Revision): Promise<SwapReport> {
    const waiting = [...this.#agents.values()].filter(({ record }) => record.module === module && record.digest !== to.digest);
    const report = { moved: 0, kept: 0, failed: 0, failureReason: "" };
    const next = async (): Promise<void> => {
      for (let agent = waiting.pop(); agent !== undefined; agent = waiting.pop()) {
        const outcome = await agent.swap(to);
        report[outcome.kind]++;
        if (outcome.kind === "moved") this.#relisten(agent);
        this.#around.metrics.counter("sirsi_swaps_total", module, outcome.kind).inc();
        if (outcome.kind === "failed") {
          report.failureReason ||= outcome.reason;
          this.#around.log.warn({ agentId: agent.id, module, to: to.digest, reason: outcome.reason }, "an agent could not move to the new revision and stays on the old one");
        }
      }
    };
    await Promise.all(Array.from({ length: SWAPS_AT_ONCE }, next));
    return report;
  }

  /** Takes no new work, and resolves when what was in hand has ended or `graceMs` is over. */
  async drain(graceMs: number): Promise<void> {
    this.#closing = true;
    const quiet = Promise.all(Array.from(this.#agents.values(), (agent) => agent.quiet()));
    let timer: { cancel(): void } | null = null;
    const late = new Promise<void>((resolve) => {
      timer = this.#around.clock.after(graceMs, resolve);
    });
    await Promise.race([quiet, late]);
    (timer as { cancel(): void } | null)?.cancel();
  }

  /** Lets go of everything now; agents stay in the store as they last committed. */
  close(): void {
    this.#closing = true;
    this.#closed = true;
    for (const offs of this.#topics.values()) for (const off of offs) off();
    this.#topics.clear();
    for (const agent of this.#agents.values()) agent.close();
  }
}

/** An answer, or the end of waiting for it: the asked agent may have longer work in hand. */
function settledInTime<T>(promise: Promise<T>, target: AskTarget, signal: AbortSignal, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = clock.after(target.deadline - clock.monotonic(), () => reject(new SirsiError("DEADLINE_EXCEEDED", `agent ${target.agentId} did not answer in time; allow it more, or ask again later`)));
    const abort = () => reject(new SirsiError("CANCELLED", "the step was given up while it waited for another agent"));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      late.cancel();
      signal.removeEventListener("abort", abort);
    });
  });
}
