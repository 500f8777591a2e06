/**
 * This host's place in its fleet: the lease that it renews, and whom it sees beside it.
 *
 *   (new) ─open─▶ joining ─activate─▶ live ─buried─▶ lost ─left everything─▶ joining
 *                                      │
 *                                    leave ─▶ gone
 *
 * Invariants
 * - M1 `held` is true only while the lease surely runs in the store: it is counted from
 *   before the renewal was asked for, on this host's steady clock, and given up as well
 *   when the machine's clock has jumped ahead (a machine that slept may not show it on the
 *   other). A host whose `held` is false answers nothing and publishes nothing (D5).
 * - M2 A host that was buried lets go of every agent before it joins again, under a new id.
 * - M3 It buries others only when the store said that their lease is over, and it has
 *   itself renewed without a gap for a whole lease: after an outage of the store everybody
 *   gets the time of one to come back.
 * - M4 A renewal that hangs does not keep the next one from being tried.
 * - M5 No two live hosts have one name: modules are kept by it. One that finds its name
 *   taken waits for as long as a dead host could still be seen, and then does not start.
 */
import { type BackoffConfig, backoffMs } from "../core/backoff.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { Logger } from "../observe/index.ts";
import type { FleetStore, HostDescription, HostEntry, HostLoad, HostStateName, Renewal } from "../store/fleet-store.ts";
import type { Fleet } from "./fleet.ts";

export interface MembershipConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: Pick<FleetStore, "joinFleet" | "describeHost" | "renewLease" | "setHostState" | "buryHost" | "leaveFleet">;
  readonly log: Logger;
  readonly leaseMs: number;
  readonly describe: () => Omit<HostDescription, "hostId">;
  readonly load: () => HostLoad;
  /** An id that this host had before and that surely runs no more; null for none. */
  readonly predecessor: string | null;
  /** Kept where the next start finds it as its predecessor. */
  readonly remember: (hostId: string) => void;
  /** Lets go of every agent, without a write; whoever waits is told to ask again. */
  readonly onBuried: () => Promise<void>;
  /** The store's clock said `now`, at some moment between these two on the steady clock. */
  readonly onTime: (now: number, askedAt: number, heardAt: number) => void;
  /** Joined under a new id, in state `joining`, and takes agents again when this resolves. */
  readonly onRejoined: (hostId: string) => Promise<void>;
}

/** Renewals in one lease. */
const RENEWALS = 4;
/** Of a lease, what is not counted on: time between a look at `held` and what it allowed. */
const MARGIN = 0.05;
const RENEWALS_AT_ONCE = 3;
/** After so many leases a host that is still seen surely runs. */
const NAMESAKE_LEASES = 1.5;
const NO_LOAD: HostLoad = { resident: 0, residentBytes: 0, cpu: 0 };
const REJOIN: BackoffConfig = { firstMs: 100, maxMs: 5_000, factor: 2 };
/** After the end of another's lease, before it is looked at. */
const AFTER_END_MS = 20;

export class Membership implements Fleet {
  readonly #config: MembershipConfig;
  #self: HostEntry;
  #hosts: readonly HostEntry[] = [];
  #byId = new Map<string, HostEntry>();
  #listeners: (() => void)[] = [];
  /** M1: on the steady clock, and on the machine's. */
  #heldUntil = -Infinity;
  #wallUntil = -Infinity;
  /** M3: since when renewals have come without a gap. */
  #steadySince = 0;
  #renewedAt = -Infinity;
  #renewing = 0;
  #failing = false;
  #wanted: HostStateName = "joining";
  #timer: Timer | null = null;
  #burial: Timer | null = null;
  #rejoining: Promise<void> | null = null;
  #closed = false;

  private constructor(config: MembershipConfig) {
    this.#config = config;
    this.#self = this.#entry();
  }

  /** Joins; the host takes agents after `activate`. CONFIG_INVALID when another host of its name runs. */
  static async open(config: MembershipConfig): Promise<Membership> {
    const membership = new Membership(config);
    await membership.#join(config.predecessor);
    try {
      await membership.#requireOwnName();
    } catch (thrown) {
      await membership.leave();
      throw thrown;
    }
    return membership;
  }

  /** M5. One that has died is there until its lease is over. */
  async #requireOwnName(): Promise<void> {
    const { clock, leaseMs, store } = this.#config;
    const until = clock.monotonic() + leaseMs * NAMESAKE_LEASES;
    for (;;) {
      const namesake = this.#hosts.find(({ hostId, name }) => name === this.#self.name && hostId !== this.#self.hostId);
      if (namesake === undefined || (namesake.leaseLeftMs <= 0 && (await store.buryHost(namesake.hostId)))) return;
      if (clock.monotonic() >= until) {
        throw new SirsiError("CONFIG_INVALID", `another host named ${namesake.name} runs in this fleet (at ${namesake.grpcAddress}); give this one a name of its own with fleet.host_name or --host-name`);
      }
      await new Promise<void>((resolve) => clock.after(leaseMs / RENEWALS, resolve));
      await this.#renew();
    }
  }

  get self(): HostEntry {
    return this.#self;
  }

  get hosts(): readonly HostEntry[] {
    return this.#hosts;
  }

  get held(): boolean {
    const { clock } = this.#config;
    return clock.monotonic() < this.#heldUntil && clock.now() < this.#wallUntil;
  }

  host(hostId: string): HostEntry | null {
    return this.#byId.get(hostId) ?? null;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((one) => one !== listener);
    };
  }

  /** From here on it takes agents. */
  async activate(): Promise<void> {
    await this.setState("active");
  }

  /** What `describe` says has changed. */
  async describeAnew(): Promise<void> {
    await this.#config.store.describeHost({ ...this.#config.describe(), hostId: this.#self.hostId });
    await this.refresh();
  }

  /** Of this host; it stays so when it joins again. */
  async setState(state: Exclude<HostStateName, "dead">): Promise<void> {
    this.#wanted = state;
    await this.#config.store.setHostState(this.#self.hostId, state);
    await this.refresh();
  }

  /** Looks now, and not only when the next renewal is due. */
  async refresh(): Promise<void> {
    await this.#renew();
  }

  /** This host owns nothing any more, and the others know it at once. Repeatable. */
  async leave(): Promise<void> {
    if (this.#closed) return;
    this.close();
    await this.#config.store.leaveFleet();
  }

  /** Renews no more: the lease runs out. */
  close(): void {
    this.#closed = true;
    this.#heldUntil = -Infinity;
    this.#timer?.cancel();
    this.#burial?.cancel();
  }

  #entry(): HostEntry {
    const { clock, describe } = this.#config;
    return { ...describe(), hostId: newId(clock.now()), state: "joining", load: NO_LOAD, joinedAt: clock.now(), leaseLeftMs: 0 };
  }

  async #join(predecessor: string | null): Promise<void> {
    const { clock, leaseMs, remember, store } = this.#config;
    const { state: _state, load: _load, joinedAt: _joinedAt, leaseLeftMs: _leaseLeftMs, ...description } = this.#self;
    // Before it is in the store: one that dies in between leaves an id that nobody has.
    remember(description.hostId);
    await store.joinFleet(description, leaseMs, predecessor);
    this.#steadySince = clock.monotonic();
    await this.#renew();
    this.#plan();
  }

  // --- the lease ---------------------------------------------------------------------

  #plan(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    const { clock, leaseMs } = this.#config;
    this.#timer = clock.after(leaseMs / RENEWALS, () => {
      this.#plan();
      if (this.#renewing < RENEWALS_AT_ONCE) void this.#renew();
    });
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    if (this.#closed || this.#rejoining !== null) return;
    const { clock, leaseMs, load, log, store } = this.#config;
    const asked = { steady: clock.monotonic(), wall: clock.now(), hostId: this.#self.hostId };
    this.#renewing++;
    try {
      const renewal = await store.renewLease(load(), leaseMs);
      if (this.#closed || this.#rejoining !== null || asked.hostId !== this.#self.hostId) return;
      if (!renewal.held) return this.#buried();
      if (this.#failing) log.info({}, "the lease in the fleet is renewed again");
      this.#failing = false;
      this.#renewed(asked, renewal);
    } catch (thrown) {
      if (!this.#failing) log.warn({ err: SirsiError.from(thrown).message }, "the lease in the fleet could not be renewed; until it is, and once it has run out, this host answers nothing");
      this.#failing = true;
    } finally {
      this.#renewing--;
    }
  }

  #renewed(asked: { readonly steady: number; readonly wall: number }, { hosts, now }: Renewal): void {
    const { clock, leaseMs, onTime } = this.#config;
    onTime(now, asked.steady, clock.monotonic());
    const sure = leaseMs * (1 - MARGIN);
    if (asked.steady - this.#renewedAt > leaseMs / 2) this.#steadySince = asked.steady;
    this.#renewedAt = Math.max(this.#renewedAt, asked.steady);
    this.#heldUntil = Math.max(this.#heldUntil, asked.steady + sure);
    this.#wallUntil = asked.wall + sure;
    this.#see(hosts);
    this.#watch(asked.steady);
  }

  #see(hosts: readonly HostEntry[]): void {
    const before = standing(this.#hosts);
    this.#hosts = hosts.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    this.#byId = new Map(hosts.map((host) => [host.hostId, host]));
    this.#self = this.#byId.get(this.#self.hostId) ?? this.#self;
    if (standing(this.#hosts) !== before) this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  // --- others ------------------------------------------------------------------------

  /** Looks again when the first of the others' leases is over. */
  #watch(seenAt: number): void {
    const { clock } = this.#config;
    this.#burial?.cancel();
    this.#burial = null;
    const others = this.#hosts.filter(({ hostId }) => hostId !== this.#self.hostId);
    if (others.length === 0) return;
    const over = others.filter(({ leaseLeftMs }) => leaseLeftMs <= 0);
    if (over.length > 0 && this.#steady) void this.#bury(over);
    const next = Math.min(...others.map(({ leaseLeftMs }) => leaseLeftMs).filter((left) => left > 0));
    if (next === Infinity) return;
    this.#burial = clock.after(Math.max(0, seenAt + next - clock.monotonic()) + AFTER_END_MS, () => void this.#renew());
  }

  /** M3. */
  get #steady(): boolean {
    return this.#renewedAt - this.#steadySince >= this.#config.leaseMs;
  }

  async #bury(over: readonly HostEntry[]): Promise<void> {
    const { log, store } = this.#config;
    let any = false;
    for (const { hostId, name } of over) {
      try {
        if (!(await store.buryHost(hostId))) continue;
        any = true;
        log.warn({ host: name, hostId }, "a host of the fleet has not renewed its lease and counts as dead; its agents are taken over");
      } catch (thrown) {
        log.warn({ host: name, err: SirsiError.from(thrown).message }, "a host whose lease is over could not be buried; tried again with the next renewal");
      }
    }
    if (any) await this.#renew();
  }

  // --- buried --------------------------------------------------------------------------

  #buried(): void {
    this.#rejoining ??= this.#rejoin().finally(() => {
      this.#rejoining = null;
      if (!this.#closed) void this.#renew();
    });
  }

  /** M2. Until it is done. */
  async #rejoin(): Promise<void> {
    const { clock, log, onBuried, onRejoined, random } = this.#config;
    const before = this.#self.hostId;
    this.#heldUntil = -Infinity;
    log.error({ hostId: before }, "this host did not renew its lease in time and counted as dead: its agents belong to others by now; it lets go of them and joins again");
    await onBuried();
    for (let attempt = 0; !this.#closed; attempt++) {
      try {
        this.#self = this.#entry();
        await this.#joinAgain(before);
        await onRejoined(this.#self.hostId);
        if (this.#wanted !== "joining" && this.#wanted !== "dead") await this.#config.store.setHostState(this.#self.hostId, this.#wanted);
        log.info({ hostId: this.#self.hostId }, "this host is in the fleet again");
        return;
      } catch (thrown) {
        log.warn({ err: SirsiError.from(thrown).message }, "this host could not join its fleet again; tried until it can");
        await new Promise<void>((resolve) => clock.after(backoffMs(REJOIN, attempt, random()), resolve));
      }
    }
  }

  async #joinAgain(predecessor: string): Promise<void> {
    const { clock, leaseMs, load, remember, store } = this.#config;
    const { state: _state, load: _load, joinedAt: _joinedAt, leaseLeftMs: _leaseLeftMs, ...description } = this.#self;
    remember(description.hostId);
    await store.joinFleet(description, leaseMs, predecessor);
    const asked = { steady: clock.monotonic(), wall: clock.now() };
    this.#renewedAt = -Infinity;
    const renewal = await store.renewLease(load(), leaseMs);
    if (!renewal.held) throw new SirsiError("AGENT_FENCED", "it was buried again before it had joined");
    this.#renewed(asked, renewal);
  }
}

/** What listeners hear of: who is there, and in which state. */
function standing(hosts: readonly HostEntry[]): string {
  return hosts.map(({ hostId, state }) => `${hostId}:${state}`).join(" ");
}
