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
 *
 * Where several hosts share a store, the agents of this one are those that it owns
 * (house-fleet.ts, ownership.ts).
 */
import type { Asker, AskTarget } from "../capability/index.ts";
import type { MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import type { Revision } from "../module/revision.ts";
import type { Orphan } from "../store/fleet-store.ts";
import type { AgentQuery, AgentRecord, StoredAgent, TimerRecord } from "../store/store.ts";
import { Agent } from "./agent.ts";
import type { AgentChanges, AgentPage, Agents, AgentView, Delivery, Reply, SpawnSpec } from "./agents.ts";
import { AlarmClock } from "./alarm-clock.ts";
import { Asking } from "./asking.ts";
import { Attendance } from "./attendance.ts";
import { Births } from "./births.ts";
import { Census } from "./census.ts";
import { HealthRounds } from "./health-rounds.ts";
import { goHome, type Homing } from "./homing.ts";
import type { HandOver, HouseFleet, Received, TakenOver } from "./house-fleet.ts";
import type { AgentHouseConfig, HouseGround } from "./house-ground.ts";
import { IdUpkeep } from "./id-upkeep.ts";
import { OutboxCourier } from "./outbox-courier.ts";
import { Ownership } from "./ownership.ts";
import { Residency } from "./residency.ts";
import { hasEnded, isUnfinished, notFound, Roll } from "./roll.ts";
import { Stopping } from "./stopping.ts";
import { SupervisionTree } from "./supervision-tree.ts";
import type { Surroundings } from "./surroundings.ts";
import type { SwapOutcome } from "./swap.ts";
import { Switchboard } from "./switchboard.ts";
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

const CLOSING_AT_ONCE = 64;
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
  readonly #births: Births;
  readonly #stopping: Stopping;
  readonly #attendance: Attendance;
  /** Null: this host is the only one. */
  readonly #ownership: Ownership | null;
  #restored: Promise<RestoreReport> | null = null;
  #started = false;
  #closing = false;
  #closed: Promise<void> | null = null;

  constructor(ground: HouseGround, config: AgentHouseConfig) {
    const { clock, durability, log, random, store } = ground;
    this.#ground = ground;
    this.#homing = config.homing ?? null;
    const fleet = config.fleet ?? null;
    this.#attendance = new Attendance(fleet?.onPresence ?? null);
    this.#around = { ...ground, ...this.#providedToAgents() };
    this.#census = new Census(store, config.maxAgents, fleet === null ? null : { clock, countOwned: () => fleet.countOwned() });
    this.#residency = new Residency({
      clock,
      maxResident: config.maxResident,
      maxBytes: config.maxResidentBytes,
      idleAfterMs: ground.idleAfterMs,
      load: (agentId, arrive) => this.#load(agentId, arrive),
      onFault: (error, agentId) => log.warn({ agentId, err: error.message }, "an agent could not leave memory and stays for now"),
      onGone: (agentId) => this.#attendance.left(agentId),
    });
    this.#roll = new Roll({ store, revisions: ground.revisions, residency: this.#residency });
    this.#switchboard = new Switchboard({
      ground,
      use: (agentId) => this.#residency.use(agentId),
      activate: (agentId) => this.activate(agentId),
      pass: (agent, delivery) => this.#pass(agent, delivery),
      fleet,
    });
    this.#asking = new Asking({ clock, send: (agentId, sessionId, delivery) => this.#switchboard.send(agentId, sessionId, delivery), shared: fleet !== null });
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
    this.#tree = new SupervisionTree({
      store,
      log,
      strategyOf: (agentId) => this.#strategyOf(agentId),
      resident: (agentId) => this.#residency.get(agentId),
      restartElsewhere: (agentIds, reason) => fleet?.remote.restart?.(agentIds, reason),
    });
    this.#births = new Births({ around: this.#around, census: this.#census, residency: this.#residency, roll: this.#roll, attendance: this.#attendance, activate: (agentId) => this.activate(agentId), listen: (agent) => this.#listen(agent) });
    this.#ownership = fleet === null ? null : this.#openOwnership(fleet);
    this.#stopping = new Stopping({ ground, census: this.#census, residency: this.#residency, roll: this.#roll, hearers: this.#hearers, ownership: this.#ownership, closed: () => this.#closed !== null });
  }

  #openOwnership(fleet: HouseFleet): Ownership {
    return new Ownership({
      ground: this.#ground,
      fleet,
      residency: this.#residency,
      roll: this.#roll,
      census: this.#census,
      hearers: this.#hearers,
      courier: this.#courier,
      alarms: this.#alarms,
      activate: (agentId) => this.activate(agentId),
      stop: (agentId, reason) => this.stop(agentId, reason),
      closed: () => this.#closed !== null,
    });
  }

  #providedToAgents(): Pick<Surroundings, "outbox" | "timers" | "supervision" | "deliver"> {
    return {
      outbox: { committed: (entries) => this.#courier.committed(entries) },
      timers: { changed: (agentId, changes, fired) => this.#alarms.changed(agentId, changes, fired) },
      supervision: {
        restarted: (agent) => void this.#tree.restarted(agent),
        finished: (agent, reason) => this.#stopping.finish(agent.id, reason),
        fenced: (agent, error) => (this.#ownership === null ? this.#residency.remove(agent.id) : this.#ownership.fenced(agent, error)),
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

  /** Knows again what the store has. Repeatable: later calls get the first one's report, until everything was fenced. */
  restore(): Promise<RestoreReport> {
    this.#restored ??= this.#restore();
    return this.#restored;
  }

  async #restore(): Promise<RestoreReport> {
    const { clock, log, random, revisions, store } = this.#ground;
    await this.#census.open();
    const life = this.#ownership?.life;
    const wakeUp = new WakeUp({
      clock,
      random,
      store,
      revisions,
      log,
      hear: (agentId, sessionId, topics) => this.#hearers.set(agentId, sessionId, topics),
      // Those that are addressed find a shard that is not busy with all who waited.
      resume: async (agentId) => await (await this.activate(agentId)).slot.waitFound,
      remove: async (agentId) => {
        if (!this.#roll.isComing(agentId)) await this.stop(agentId, "its spawn was cut off");
      },
      deliver: () => {
        this.#courier.start();
        this.#alarms.start();
      },
      closed: () => this.#closed !== null || this.#ownership?.life !== life,
    });
    if (!this.#started) {
      this.#started = true;
      this.#rounds.start();
      this.#upkeep.start();
    }
    return { restored: this.#census.total, awake: wakeUp.run() };
  }

  async spawn(spec: SpawnSpec): Promise<AgentView> {
    this.#requireOpen();
    return await this.#births.spawn(spec);
  }

  /** Takes in an agent that `put` puts into the store; it counts from now on. AGENT_LIMIT_REACHED. */
  async adopt(sessionId: string, put: () => Promise<string>): Promise<string> {
    this.#requireOpen();
    return await this.#births.adopt(sessionId, put);
  }

  /** The agent, brought up when it sleeps. AGENT_NOT_FOUND, AGENT_TERMINATED, and why its revision cannot be had. G3. */
  activate(agentId: string): Promise<Agent> {
    if (this.#closed !== null) return Promise.reject(shuttingDown());
    if (this.#roll.hasEnded(agentId)) return Promise.reject(this.#roll.missing(agentId));
    return this.#residency.activate(agentId);
  }

  async #load(agentId: string, arrive: (agent: Agent) => void): Promise<Agent> {
    const { store } = this.#ground;
    const life = this.#ownership?.life ?? 0;
    const acquired = (await this.#ownership?.acquire(agentId)) ?? "owned";
    // The state comes in the same turn of the store. One that cannot be read is met where its instance is opened.
    const [stored, wait, chain] = await Promise.all([store.getAgent(agentId), store.getWait(agentId), store.getState(agentId, null).catch(() => null)]);
    if (stored === null || isUnfinished(stored)) throw notFound(agentId);
    if (stored.record.state === "TERMINATED") {
      if (acquired === "taken") this.#ownership?.uncount();
      throw hasEnded(stored.record);
    }
    if (acquired === "missing") throw notFound(agentId);
    const revision = await this.#revisionOf(stored);
    if (this.#closed !== null) throw shuttingDown();
    this.#ownership?.requireLife(life, agentId);
    faultPoint("page.in");
    const agent = new Agent(this.#around, stored.record, revision, stored);
    arrive(agent);
    this.#ownership?.arrived(agentId, stored.epoch);
    if (chain !== null) agent.ledger.foundState(chain);
    agent.restored();
    this.#attendance.came(agent);
    if (wait !== null) agent.resumeWait(wait);
    if (this.#ownership !== null) this.#listen(agent);
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

  stop(agentId: string, reason: string): Promise<void> {
    return this.#stopping.stop(agentId, reason);
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

  /** What another host has for an agent of this one, that must be of the session ("" for any). AGENT_FENCED when it is another's. */
  sendEntry(agentId: string, sessionId: string, delivery: Delivery): Promise<Received> {
    return this.#asking.answer(agentId, delivery.askedBy ?? [], () => this.#switchboard.take(agentId, sessionId, delivery));
  }

  /** Another host's agent failed, and those of these that are in memory share its fate. */
  restart(agentIds: readonly string[], reason: string): void {
    const { log } = this.#ground;
    for (const agentId of agentIds) this.#residency.get(agentId)?.restart(reason).catch((thrown: unknown) => log.warn({ agentId, err: SirsiError.from(thrown).message }, "an agent that shares the fate of another could not be restarted, and goes on as it is"));
  }

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

  // --- coming from other hosts, going to them --------------------------------------------

  /** Makes orphans this host's, as far as others were not first, and goes on with what they have in hand. Never rejects. */
  async takeOver(orphans: readonly Orphan[]): Promise<TakenOver> {
    return (await this.#ownership?.takeOver(orphans)) ?? { acquired: 0, resumed: 0 };
  }

  /** Another host gave it to this one: to memory, and on with what is in hand. */
  async bring(agentId: string): Promise<void> {
    await this.#ownership?.bring(agentId);
  }

  /**
   * Gives one agent away, from its next quiet moment on: between two steps, or in a wait. `give` makes
   * it the other's; when it says false, or fails, or no such moment comes in time, the agent goes on here.
   */
  async handOver(agentId: string, give: () => Promise<boolean>, patienceMs?: number): Promise<HandOver> {
    return (await this.#ownership?.handOver(agentId, give, patienceMs)) ?? { kind: "stayed", reason: "this host is in no fleet" };
  }

  /** These were given away asleep. */
  forget(agentIds: readonly string[]): void {
    this.#ownership?.forget(agentIds);
  }

  /** This host was buried: every agent leaves memory at once, without a write. Agents come again when they are acquired anew; `restore` looks for its own. */
  fenceAll(reason: string): void {
    this.#ownership?.fenceAll(reason);
    this.#restored = null;
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
    this.#hearers.dropAll();
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

function shuttingDown(): SirsiError {
  return new SirsiError("SHUTTING_DOWN", "the host is shutting down and takes no new work; try again when it is back", { retryAfterMs: 1_000 });
}
