/**
 * Which agents are this host's, in a fleet: how they come to it, and what is let go of
 * when they are no longer. F1 to F4 (house-fleet.ts) are kept here.
 */
import { backoffMs } from "../core/backoff.ts";
import { BoundedCache } from "../core/bounded-cache.ts";
import { SirsiError } from "../core/errors.ts";
import type { Acquisition, Orphan } from "../store/fleet-store.ts";
import type { Agent } from "./agent.ts";
import type { AlarmClock } from "./alarm-clock.ts";
import type { Census } from "./census.ts";
import { DELIVERY_BACKOFF, isForGood } from "./delivery-fate.ts";
import { type HandOver, type HouseFleet, ownedElsewhere, ownerIn, type TakenOver } from "./house-fleet.ts";
import type { HouseGround } from "./house-ground.ts";
import type { OutboxCourier } from "./outbox-courier.ts";
import type { Residency } from "./residency.ts";
import type { Roll } from "./roll.ts";
import type { SupervisedAgent } from "./surroundings.ts";
import type { TopicHearers } from "./topic-hearers.ts";
import { eachAtMost } from "./turnstile.ts";

export interface OwnershipConfig {
  readonly ground: Pick<HouseGround, "clock" | "random" | "store" | "log" | "revisions">;
  readonly fleet: HouseFleet;
  readonly residency: Residency<Agent>;
  readonly roll: Roll;
  readonly census: Census;
  readonly hearers: TopicHearers;
  readonly courier: OutboxCourier;
  readonly alarms: AlarmClock;
  readonly activate: (agentId: string) => Promise<Agent>;
  readonly stop: (agentId: string, reason: string) => Promise<void>;
  readonly closed: () => boolean;
}

const PATIENCE_MS = 10_000;
const AT_ONCE = 16;
/** Of an agent that is with the host where it was made. */
const FIRST_EPOCH = 1;
/** One that is forgotten is only looked for once more. */
const EPOCHS_KEPT = 65_536;

export type Acquired =
  /** It was an orphan. */
  | "taken"
  /** It was this host's, or was given to it. */
  | "owned"
  /** There is no such agent any more. */
  | "missing";

export class Ownership {
  readonly #config: OwnershipConfig;
  /** Of agents that came from other hosts: the epoch under which they are known here. */
  readonly #epochs = new BoundedCache<string, number>(EPOCHS_KEPT);
  #life = 0;

  constructor(config: OwnershipConfig) {
    this.#config = config;
  }

  /** Another one after each burial: what was begun in one of before is not to be ended. */
  get life(): number {
    return this.#life;
  }

  requireLife(life: number, agentId: string): void {
    if (life === this.#life) return;
    throw new SirsiError("AGENT_FENCED", `agent ${agentId} was taken from this host while it came to memory; send again`, { retryAfterMs: 100 });
  }

  // --- coming ------------------------------------------------------------------------

  /** F1. Before anything of the agent is read. Counts one that was an orphan, be it one that has ended: `uncount` those. AGENT_FENCED, with its owner. */
  async acquire(agentId: string): Promise<Acquired> {
    const acquired = await this.#acquire(agentId);
    if (acquired === "taken") this.#lookFor(agentId);
    return acquired;
  }

  /** It was taken, and has ended long ago. */
  uncount(): void {
    this.#config.census.moved(-1);
  }

  /**
   * F3. Called with the epoch that was read, before the agent does anything: when it came from another
   * host since it was here last, there may be things in the store that were not put there from here.
   */
  arrived(agentId: string, epoch: number): void {
    if (epoch === FIRST_EPOCH || this.#epochs.get(agentId) === epoch) return;
    this.#epochs.set(agentId, epoch);
    this.#lookFor(agentId);
  }

  #lookFor(agentId: string): void {
    const { alarms, courier } = this.#config;
    courier.rescan(agentId);
    alarms.look();
  }

  async #acquire(agentId: string): Promise<Acquired> {
    const { census, fleet, hearers } = this.#config;
    const life = this.#life;
    const acquisition = await fleet.acquire(agentId);
    this.requireLife(life, agentId);
    switch (acquisition.kind) {
      case "elsewhere":
        hearers.drop(agentId);
        throw ownedElsewhere(agentId, acquisition.hostId);
      case "missing":
        return "missing";
      case "owned":
        if (acquisition.taken) census.moved(1);
        return acquisition.taken ? "taken" : "owned";
    }
  }

  /**
   * Makes orphans this host's, as far as others were not first, and goes on with what they have in
   * hand. As at a start: topics come first, for an event that is published before is heard by nobody.
   */
  async takeOver(orphans: readonly Orphan[]): Promise<TakenOver> {
    const { alarms, courier, hearers } = this.#config;
    const life = this.#life;
    const acquired: Orphan[] = [];
    await eachAtMost(AT_ONCE, orphans, async (orphan) => {
      if (await this.#takes(orphan)) acquired.push(orphan);
    });
    if (life !== this.#life) return { acquired: 0, resumed: 0 };
    for (const { ended } of acquired) if (ended) this.uncount();
    const topics = await this.#topicsOf(acquired);
    // What one sent before it ended is still to arrive; nothing else is done for it.
    for (const { agentId, digest, ended, sessionId } of acquired) if (!ended) hearers.set(agentId, sessionId, topics.get(digest) ?? []);
    courier.rescanExpected();
    alarms.look();
    let resumed = 0;
    await eachAtMost(AT_ONCE, acquired, async ({ agentId, initializing, inWait }) => {
      if (initializing) await this.#remove(agentId);
      else if (inWait && (await this.#resume(agentId, 0, life))) resumed++;
    });
    return { acquired: acquired.length, resumed };
  }

  /** Never rejects. */
  async #takes({ agentId }: Orphan): Promise<boolean> {
    const { courier, ground } = this.#config;
    try {
      if ((await this.#acquire(agentId)) !== "taken") return false;
      courier.expect(agentId);
      return true;
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (ownerIn(error) === null) ground.log.warn({ agentId, err: error.message }, "an agent without an owner could not be taken over");
      return false;
    }
  }

  async #topicsOf(orphans: readonly Orphan[]): Promise<ReadonlyMap<string, readonly string[]>> {
    const { log, revisions } = this.#config.ground;
    const topics = new Map<string, readonly string[]>();
    for (const { digest, module } of orphans) {
      if (topics.has(digest)) continue;
      try {
        topics.set(digest, (await revisions.revisionByDigest(digest)).manifest.topics);
      } catch (thrown) {
        topics.set(digest, []);
        log.warn({ module, digest, err: SirsiError.from(thrown).message }, "agents were taken over whose revision cannot be had: they work, and hear their topics, when it can");
      }
    }
    return topics;
  }

  /** Never rejects: one that could not be ended is so by the next start. */
  async #remove(agentId: string): Promise<void> {
    const { ground, stop } = this.#config;
    try {
      await stop(agentId, "its spawn was cut off");
    } catch (thrown) {
      ground.log.warn({ agentId, err: SirsiError.from(thrown).message }, "an agent whose spawn was cut off could not be ended");
    }
  }

  /** Whether it goes on now. Never rejects: a store that does not answer, or a revision that is not there yet, is waited for. */
  async #resume(agentId: string, attempt: number, life: number): Promise<boolean> {
    const { activate, closed, ground } = this.#config;
    const { clock, log, random } = ground;
    if (closed() || life !== this.#life) return false;
    try {
      await (await activate(agentId)).slot.waitFound;
      return true;
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (closed() || life !== this.#life || isForGood(error) || ownerIn(error) !== null) return false;
      if (attempt === 0) log.warn({ agentId, err: error.message }, "an agent in a wait that was taken over could not go on; tried again until it does");
      clock.after(backoffMs(DELIVERY_BACKOFF, attempt, random()), () => void this.#resume(agentId, attempt + 1, life));
      return false;
    }
  }

  /** Another host gave it to this one: to memory, and on with what is in hand. */
  async bring(agentId: string): Promise<void> {
    const { activate, census } = this.#config;
    await activate(agentId);
    census.recount().catch((thrown: unknown) => this.#config.ground.log.warn({ err: SirsiError.from(thrown).message }, "the agents of this host could not be counted; their number is that of before until it can"));
  }

  // --- going -------------------------------------------------------------------------

  /** Gives an agent away. `give` makes it the other's; when it says false, or fails, the agent goes on here. Never rejects. */
  async handOver(agentId: string, give: () => Promise<boolean>, patienceMs = PATIENCE_MS): Promise<HandOver> {
    const { residency, roll } = this.#config;
    for (;;) {
      if (roll.isComing(agentId)) return { kind: "stayed", reason: "it is still being made" };
      const agent = residency.get(agentId);
      if (agent !== null) return await this.#handOverResident(agent, give, patienceMs);
      const asleep = await residency.asleep(agentId, () => this.#handOverAsleep(agentId, give));
      if (asleep !== null) return asleep.value;
    }
  }

  async #handOverResident(agent: Agent, give: () => Promise<boolean>, patienceMs: number): Promise<HandOver> {
    const { residency } = this.#config;
    const departed = await agent.depart(() => this.#give(agent, give), patienceMs);
    if (departed.kind === "stayed") return departed;
    const { hadWork, pauseMs } = departed;
    const holds = this.#holds(agent.id);
    if (residency.peek(agent.id) === agent) residency.remove(agent.id);
    this.#drop(agent.id);
    return { kind: "moved", hadWork: hadWork || holds || (await this.#hasEffects(agent.id)), stateless: !agent.durable, pauseMs };
  }

  /** It may have been given all the same, or was not this host's before: the store knows. */
  async #give(agent: Agent, give: () => Promise<boolean>): Promise<boolean> {
    let failure: SirsiError | null = null;
    try {
      if (await give()) return true;
    } catch (thrown) {
      failure = SirsiError.from(thrown);
    }
    const whose = await this.#whose(agent.id);
    if (whose?.kind === "elsewhere") {
      if (failure !== null) return true;
      agent.fenced(ownedElsewhere(agent.id, whose.hostId));
    }
    // Given to nobody, and taken back: it is of a new epoch now.
    if (whose?.kind === "owned" && whose.taken) agent.fenced(new SirsiError("STORE_UNAVAILABLE", `agent ${agent.id} could not move to another host; send again, it goes on from what the store has`, { retryAfterMs: 50 }));
    if (failure !== null) throw failure;
    return false;
  }

  /** Null when nobody can tell now: who is not the owner finds out when it commits. */
  async #whose(agentId: string): Promise<Acquisition | null> {
    try {
      return await this.#config.fleet.acquire(agentId);
    } catch {
      return null;
    }
  }

  async #handOverAsleep(agentId: string, give: () => Promise<boolean>): Promise<HandOver> {
    const { clock, store } = this.#config.ground;
    const began = clock.monotonic();
    try {
      if (!(await give())) return { kind: "stayed", reason: "it was not given away" };
      const pauseMs = clock.monotonic() - began;
      const holds = this.#holds(agentId);
      this.#drop(agentId);
      const inWait = await store.getWait(agentId).then((wait) => wait !== null, () => true);
      return { kind: "moved", hadWork: holds || inWait || (await this.#hasEffects(agentId)), stateless: false, pauseMs };
    } catch (thrown) {
      return { kind: "stayed", reason: SirsiError.from(thrown).message };
    }
  }

  #holds(agentId: string): boolean {
    const { alarms, courier } = this.#config;
    return courier.holds(agentId) || alarms.holds(agentId);
  }

  /** When nobody can tell, its new owner is to look. */
  async #hasEffects(agentId: string): Promise<boolean> {
    return (await this.#config.fleet.hasEffects?.(agentId).catch(() => true)) ?? false;
  }

  /** They were given away asleep. One that comes to memory, or has come, leaves without a write. */
  forget(agentIds: readonly string[]): void {
    const { census, residency } = this.#config;
    for (const agentId of agentIds) {
      const gone = new SirsiError("AGENT_FENCED", `agent ${agentId} was given to another host; send again`, { retryAfterMs: 50 });
      const resident = residency.peek(agentId);
      const coming = residency.coming(agentId);
      // Whoever leaves memory is counted out by that.
      if (resident !== null) resident.fenced(gone);
      else if (coming === null) census.moved(-1);
      else void coming.then((agent) => agent.fenced(gone), () => census.moved(-1));
    }
    this.#dropAll(new Set(agentIds));
  }

  /** F2. An agent has let go of everything: see Supervision. */
  fenced(agent: SupervisedAgent, { code }: SirsiError): void {
    const { residency } = this.#config;
    if (residency.peek(agent.id) !== agent) return;
    residency.remove(agent.id);
    if (code === "AGENT_FENCED") this.#drop(agent.id);
  }

  #drop(agentId: string): void {
    const { census, roll } = this.#config;
    // One that is being made is counted by its spawn.
    if (!roll.isComing(agentId)) census.moved(-1);
    this.#dropAll(new Set([agentId]));
  }

  #dropAll(agentIds: ReadonlySet<string>): void {
    const { alarms, courier, hearers } = this.#config;
    for (const agentId of agentIds) hearers.drop(agentId);
    courier.forget(agentIds);
    alarms.forget(agentIds);
  }

  /** This host was buried: everything leaves memory at once, without a write. The house takes agents again when it is restored. */
  fenceAll(reason: string): void {
    const { alarms, census, courier, hearers, residency } = this.#config;
    this.#life++;
    hearers.dropAll();
    alarms.reset();
    courier.reset();
    for (const agent of residency.agents()) agent.fenced(new SirsiError("AGENT_FENCED", `agent ${agent.id} was taken from this host: ${reason}; send again, under the same id`, { retryAfterMs: 250 }));
    census.reset();
  }
}
