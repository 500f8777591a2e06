/**
 * All agents of this host: how they come and go, are addressed, and ask one another.
 *
 * A host knows its agents through the store. In memory are those in use (residency.ts);
 * one that sleeps comes back when it is addressed, by whoever addresses it: a client,
 * another agent, an event, a timer.
 *
 * Invariants
 * - G1 An agent counts against the limits from before its first await.
 * - G2 A circle of agents that ask each other is refused when it would close (asking.ts).
 * - G3 Whoever has an Agent in hand uses it in the same turn of the event loop: later it
 *   may have left, and another object stand for it.
 */
import type { Asker, AskTarget } from "../capability/index.ts";
import type { MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import { newId } from "../core/ids.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentQuery, AgentRecord, StoredAgent, TimerRecord } from "../store/store.ts";
import { Agent } from "./agent.ts";
import type { AgentChanges, AgentPage, Agents, AgentView, Delivery, Reply, SpawnSpec } from "./agents.ts";
import { AlarmClock } from "./alarm-clock.ts";
import { Asking } from "./asking.ts";
import { Census } from "./census.ts";
import { HealthRounds } from "./health-rounds.ts";
import { goHome, type Homing } from "./homing.ts";
import type { AgentHouseConfig, HouseGround } from "./house-ground.ts";
import { IdUpkeep } from "./id-upkeep.ts";
import { OutboxCourier } from "./outbox-courier.ts";
import { Residency } from "./residency.ts";
import { hasEnded, isUnfinished, notFound, Roll } from "./roll.ts";
import { sleepingView } from "./sleeping-view.ts";
import { SupervisionTree } from "./supervision-tree.ts";
import type { Surroundings } from "./surroundings.ts";
import type { SwapOutcome } from "./swap.ts";
import { eventOf, Switchboard } from "./switchboard.ts";
import { TopicHearers } from "./topic-hearers.ts";
import { eachAtMost } from "./turnstile.ts";
import { type Awakening, WakeUp } from "./wake-up.ts";
import { windDown } from "./wind-down.ts";

export interface RestoreReport {
  /** Agents that the host has. */
  readonly restored: number;
  /** What goes on after the host has begun to serve. Never rejects. */
  readonly awake: Promise<Awakening>;
}

const DEFAULT_SPAWN_MS = 30_000;
const CLOSING_AT_ONCE = 64;
const FINISH_AGAIN_MS = 1_000;
const NOBODY: AgentQuery = { sessionId: null, module: null, digest: null, parentAgentId: null };

export class AgentHouse implements Agents {
  readonly #around: Surroundings;
  readonly #ground: HouseGround;
  readonly #census: Census;
  readonly #residency: Residency<Agent>;
  readonly #roll: Roll;
  readonly #switchboard: Switchboard;
  readonly #asking: Asking;
  readonly #hearers: TopicHearers;
  readonly #courier: OutboxCourier;
  readonly #alarms: AlarmClock;
  readonly #rounds: HealthRounds<Agent>;
  readonly #upkeep: IdUpkeep;
  readonly #tree: SupervisionTree;
  readonly #homing: Homing | null;
  #restored: Promise<RestoreReport> | null = null;
  #closing = false;
  #closed: Promise<void> | null = null;

  constructor(ground: HouseGround, config: AgentHouseConfig) {
    const { clock, durability, log, random, store } = ground;
    this.#ground = ground;
    this.#homing = config.homing ?? null;
    this.#around = { ...ground, ...this.#providedToAgents() };
    this.#census = new Census(store, config.maxAgents);
    this.#residency = new Residency({
      clock,
      maxResident: config.maxResident,
      maxBytes: config.maxResidentBytes,
      idleAfterMs: ground.idleAfterMs,
      load: (agentId) => this.#load(agentId),
      onFault: (error, agentId) => log.warn({ agentId, err: error.message }, "an agent could not leave memory and stays for now"),
    });
    this.#roll = new Roll({ store, revisions: ground.revisions, residency: this.#residency });
    this.#switchboard = new Switchboard({
      ground,
      use: (agentId) => this.#residency.use(agentId),
      activate: (agentId) => this.activate(agentId),
      pass: (agent, delivery) => this.#pass(agent, delivery),
    });
    this.#asking = new Asking({ clock, send: (agentId, sessionId, delivery) => this.#switchboard.send(agentId, sessionId, delivery) });
    this.#hearers = new TopicHearers(config.hearTopic, (agentId, event) => this.#switchboard.hear(agentId, event));
    this.#courier = new OutboxCourier({
      clock,
      random,
      store,
      log,
      deliver: (entry, message) => this.#switchboard.deliverEntry(entry, message),
      publish: (entry, event) => this.#switchboard.publishEntry(entry, event),
      onDead: (letter) => this.#switchboard.tellUndelivered(letter),
    });
    this.#alarms = new AlarmClock({ clock, random, store, log, fire: (timer) => this.#fire(timer) });
    this.#rounds = new HealthRounds({ clock, intervalMs: config.healthIntervalMs, agents: () => this.#residency.agents(), size: () => this.#residency.size });
    this.#upkeep = new IdUpkeep({ clock, store, keptMs: durability.messageIdsKeptSeconds * 1_000, log });
    this.#tree = new SupervisionTree({ store, log, strategyOf: (agentId) => this.#strategyOf(agentId), resident: (agentId) => this.#residency.get(agentId) });
  }

  #providedToAgents(): Pick<Surroundings, "outbox" | "timers" | "supervision" | "deliver"> {
    return {
      outbox: { committed: (entries) => this.#courier.committed(entries) },
      timers: { changed: (agentId, changes, fired) => this.#alarms.changed(agentId, changes, fired) },
      supervision: {
        restarted: (agent) => void this.#tree.restarted(agent),
        finished: (agent, reason) => this.#finish(agent.id, reason),
        fenced: (agent) => this.#residency.remove(agent.id),
      },
      deliver: (effect, from) => this.#switchboard.deliver(effect, from),
    };
  }

  get count(): number {
    return this.#census.total;
  }

  countOf(sessionId: string): number | Promise<number> {
    return this.#census.of(sessionId);
  }

  /** Live agents of a module by the digest of their revision. */
  countByDigest(module: string): Promise<ReadonlyMap<string, number>> {
    return this.#ground.store.countByDigest(module);
  }

  /** Those in memory. */
  residents(): Iterable<Agent> {
    return this.#residency.agents();
  }

  /** It is in memory, and takes work or will. */
  has(agentId: string): boolean {
    return this.#residency.peek(agentId) !== null;
  }

  get residentCount(): number {
    return this.#residency.size;
  }

  // --- beginning -----------------------------------------------------------------

  /** Knows again what the store has. Repeatable: later calls get the first one's report. */
  restore(): Promise<RestoreReport> {
    this.#restored ??= this.#restore();
    return this.#restored;
  }

  async #restore(): Promise<RestoreReport> {
    const { clock, log, random, revisions, store } = this.#ground;
    await this.#census.open();
    const wakeUp = new WakeUp({
      clock,
      random,
      store,
      revisions,
      log,
      hear: (agentId, sessionId, topics) => this.#hearers.set(agentId, sessionId, topics),
      // Those that are addressed find a shard that is not busy with all who waited.
      resume: async (agentId) => await (await this.activate(agentId)).slot.waitFound,
      remove: (agentId) => this.stop(agentId, "its spawn was cut off"),
      deliver: () => {
        this.#courier.start();
        this.#alarms.start();
      },
      closed: () => this.#closed !== null,
    });
    this.#rounds.start();
    this.#upkeep.start();
    return { restored: this.#census.total, awake: wakeUp.run() };
  }

  async spawn(spec: SpawnSpec): Promise<AgentView> {
    this.#requireOpen();
    this.#census.enter(spec.sessionId);
    let made = false;
    try {
      const agent = await this.#bringUp(spec);
      // It may have been stopped as it came up.
      made = agent.phase.kind !== "terminated";
      return agent.view();
    } finally {
      this.#census.entered(spec.sessionId, made);
    }
  }

  async #bringUp(spec: SpawnSpec): Promise<Agent> {
    const { clock, metrics, revisions } = this.#around;
    const started = clock.monotonic();
    const revision = revisions.resolve(spec.agentType);
    const record = newRecord(spec, revision, clock.now());
    const agent = new Agent(this.#around, record, revision, null);
    this.#residency.add(agent);
    this.#roll.begin(agent);
    try {
      await agent.begin(spec.deadline ?? started + DEFAULT_SPAWN_MS);
    } catch (thrown) {
      this.#residency.remove(agent.id);
      // One that was stopped while it came up has let go of it already.
      if (agent.phase.kind !== "terminated") revisions.release(revision.digest);
      throw thrown;
    } finally {
      this.#roll.begun(agent.id);
    }
    this.#listen(agent);
    this.#residency.release(agent.id);
    metrics.histogram("sirsi_spawn_seconds", record.module).observe((clock.monotonic() - started) / 1000);
    this.#around.publish(eventOf("AGENT_SPAWNED", agent, { module: record.module, version: revision.manifest.version, digest: record.digest }));
    return agent;
  }

  /** Takes in an agent that `put` puts into the store; it counts from now on. AGENT_LIMIT_REACHED. */
  async adopt(sessionId: string, put: () => Promise<string>): Promise<string> {
    this.#requireOpen();
    this.#census.enter(sessionId);
    let made = false;
    try {
      const agentId = await put();
      made = true;
      const { revision } = await this.activate(agentId);
      this.#hearers.set(agentId, sessionId, revision.manifest.topics);
      return agentId;
    } finally {
      this.#census.entered(sessionId, made);
    }
  }

  /** The agent, brought up when it sleeps. AGENT_NOT_FOUND, AGENT_TERMINATED, and why its revision cannot be had. G3. */
  activate(agentId: string): Promise<Agent> {
    if (this.#closed !== null) return Promise.reject(shuttingDown());
    if (this.#roll.hasEnded(agentId)) return Promise.reject(this.#roll.missing(agentId));
    return this.#residency.activate(agentId);
  }

  async #load(agentId: string): Promise<Agent> {
    const { store } = this.#ground;
    // The state comes in the same turn of the store. One that cannot be read is met where its instance is opened.
    const [stored, wait, chain] = await Promise.all([store.getAgent(agentId), store.getWait(agentId), store.getState(agentId, null).catch(() => null)]);
    if (stored === null || isUnfinished(stored)) throw notFound(agentId);
    if (stored.record.state === "TERMINATED") throw hasEnded(stored.record);
    const revision = await this.#revisionOf(stored);
    if (this.#closed !== null) throw shuttingDown();
    faultPoint("page.in");
    const agent = new Agent(this.#around, stored.record, revision, stored);
    if (chain !== null) agent.ledger.foundState(chain);
    agent.restored();
    if (wait !== null) agent.resumeWait(wait);
    if (this.#homing !== null) goHome(agent, this.#homing, (moved) => this.#listen(moved));
    return agent;
  }

  async #revisionOf({ record }: StoredAgent): Promise<Revision> {
    try {
      return await this.#ground.revisions.revisionByDigest(record.digest);
    } catch (thrown) {
      const { code, message, details } = SirsiError.from(thrown);
      throw new SirsiError(code, `agent ${record.agentId} cannot work: ${message}. Its state is kept`, details);
    }
  }

  // --- ending --------------------------------------------------------------------

  async stop(agentId: string, reason: string): Promise<void> {
    for (;;) {
      const agent = this.#residency.get(agentId);
      if (agent !== null) {
        await this.#stopResident(agent, reason);
        return;
      }
      if ((await this.#residency.asleep(agentId, () => this.#stopAsleep(agentId, reason))) !== null) return;
    }
  }

  async #stopResident(agent: Agent, reason: string): Promise<void> {
    this.#hearers.drop(agent.id);
    // Whoever brings it up counts it.
    const counted = !this.#roll.isComing(agent.id);
    await agent.stop(reason);
    if (this.#residency.peek(agent.id) !== agent) return;
    this.#residency.remove(agent.id);
    this.#roll.end(agent.view());
    if (counted) this.#census.left(agent.sessionId);
  }

  /** It has no instance that could be told. */
  async #stopAsleep(agentId: string, reason: string): Promise<void> {
    const { clock, store } = this.#ground;
    const stored = await store.getAgent(agentId);
    if (stored === null || stored.record.state === "TERMINATED") return;
    const record: AgentRecord = { ...stored.record, state: "TERMINATED", statusMessage: reason, updatedAt: clock.now() };
    await store.putAgent(record);
    this.#hearers.drop(agentId);
    this.#census.left(record.sessionId);
    if (isUnfinished(stored)) return;
    const manifest = await this.#ground.revisions.revisionByDigest(record.digest).then(
      (revision) => revision.manifest,
      () => null,
    );
    if (manifest !== null) this.#roll.end(sleepingView({ ...stored, record }, manifest));
    this.#around.publish(eventOf("AGENT_STOPPED", { id: agentId, sessionId: record.sessionId }, { reason, module: record.module }));
  }

  /** It is not to be started again, also not when the host is. */
  #finish(agentId: string, reason: string): void {
    this.stop(agentId, reason).catch((thrown: unknown) => {
      const { clock, log } = this.#ground;
      log.warn({ agentId, err: SirsiError.from(thrown).message }, "the end of an agent that is not to be started again could not be noted; tried again in a second");
      clock.after(FINISH_AGAIN_MS, () => {
        if (this.#closed === null) this.#finish(agentId, reason);
      });
    });
  }

  // --- looking -------------------------------------------------------------------

  find(agentId: string): AgentView | null | Promise<AgentView | null> {
    return this.#roll.find(agentId);
  }

  recordOf(agentId: string): AgentRecord | null | Promise<AgentRecord | null> {
    return this.#roll.recordOf(agentId);
  }

  list(sessionId: string, afterAgentId: string, limit: number): Promise<AgentPage> {
    return this.#roll.list({ ...NOBODY, sessionId }, afterAgentId, limit);
  }

  async exchanges(agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]> {
    const agent = this.#residency.peek(agentId);
    if (agent !== null && !agent.durable) return agent.conversation.list(beforeSequence, limit);
    if (agent === null && (await this.find(agentId)) === null) throw notFound(agentId);
    return await this.#ground.store.listExchanges(agentId, beforeSequence, limit);
  }

  // --- work ------------------------------------------------------------------------

  send(agentId: string, delivery: Delivery): Promise<Reply> {
    if (this.#closing) return Promise.reject(shuttingDown());
    const agent = this.#residency.use(agentId);
    return agent === null ? this.#wakeWith(agentId, delivery) : this.#pass(agent, delivery);
  }

  async #wakeWith(agentId: string, delivery: Delivery): Promise<Reply> {
    return await this.#pass(await this.activate(agentId), delivery);
  }

  /** What one agent has for another is work in hand: it goes through while the host drains. */
  #pass(agent: Agent, delivery: Delivery): Promise<Reply> {
    if (this.#closed !== null) return Promise.reject(shuttingDown());
    this.#around.publish({ type: "MESSAGE_RECEIVED", sessionId: agent.sessionId, sourceAgentId: delivery.sourceAgentId, targetAgentId: agent.id, payload: null, topic: "", attributes: { message_id: delivery.message.messageId }, traceparent: delivery.traceparent });
    return agent.send(delivery);
  }

  async suggest(agentId: string, context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null) {
    this.#requireOpen();
    return await (await this.activate(agentId)).suggest(context, max, deadline, signal);
  }

  async update(agentId: string, changes: AgentChanges): Promise<AgentView> {
    const agent = await this.activate(agentId);
    await agent.update(changes);
    return agent.view();
  }

  /** Lets a quarantined agent work again. */
  async release(agentId: string): Promise<void> {
    await (await this.activate(agentId)).release();
  }

  /** Moves one agent to another revision, at a quiet moment of its own. */
  async swapAgent(agentId: string, to: Revision, cause: "swap" | "revert"): Promise<SwapOutcome> {
    const agent = await this.activate(agentId);
    const outcome = await agent.swap(to, cause);
    if (outcome.kind === "moved") this.#listen(agent);
    return outcome;
  }

  #listen(agent: Agent): void {
    this.#hearers.set(agent.id, agent.sessionId, agent.phase.kind === "terminated" ? [] : agent.revision.manifest.topics);
  }

  #requireOpen(): void {
    if (this.#closing) throw shuttingDown();
  }

  // --- between agents ----------------------------------------------------------------

  /** The `ask` capability. */
  ask(target: AskTarget, asker: Asker): Promise<MessageResult> {
    return this.#asking.ask(target, asker);
  }

  async #fire(timer: TimerRecord): Promise<void> {
    const agent = this.#residency.use(timer.agentId) ?? (await this.activate(timer.agentId));
    await agent.fire(timer);
  }

  async #strategyOf(agentId: string): Promise<Revision["manifest"]["supervision"] | null> {
    return (await this.find(agentId))?.manifest.supervision ?? null;
  }

  // --- closing -------------------------------------------------------------------------

  /** Takes no new work, and resolves when what was in hand has ended or `graceMs` is over. */
  async drain(graceMs: number): Promise<void> {
    this.#closing = true;
    await windDown(this.#around.clock, () => this.#working(), graceMs);
  }

  /** What waits for an agent that was set aside may wait for ever. */
  *#working(): Iterable<Agent> {
    for (const agent of this.#residency.agents()) {
      const { kind } = agent.phase;
      if (kind !== "quarantined" && kind !== "terminated" && kind !== "left") yield agent;
    }
  }

  /** Lets go of everything; agents stay in the store as they last committed. Repeatable. */
  close(): Promise<void> {
    this.#closing = true;
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#hearers.close();
    this.#alarms.close();
    this.#rounds.close();
    this.#upkeep.close();
    this.#residency.close();
    const courier = this.#courier.close();
    await eachAtMost(CLOSING_AT_ONCE, [...this.#residency.agents()], async (agent) => {
      await agent.close();
    });
    await courier;
  }
}

function newRecord(spec: SpawnSpec, revision: Revision, now: number): AgentRecord {
  return {
    agentId: spec.agentId ?? newId(now),
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
}

function shuttingDown(): SirsiError {
  return new SirsiError("SHUTTING_DOWN", "the host is shutting down and takes no new work; try again when it is back", { retryAfterMs: 1_000 });
}
