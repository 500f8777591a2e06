/** The hosts' part of a fleet's store, in memory, by a clock of its own; for tests of what stands on it. */
import type { Clock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { FleetStore, HostDescription, HostEntry, HostLoad, HostStateName, Renewal } from "../../runtime/store/fleet-store.ts";

interface Row {
  description: HostDescription;
  state: HostStateName;
  load: HostLoad;
  readonly joinedAt: number;
  leaseEnd: number;
}

export class LeaseTable {
  readonly #clock: Clock;
  readonly rows = new Map<string, Row>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get #now(): number {
    return this.#clock.monotonic();
  }

  stateOf(hostId: string): HostStateName | null {
    return this.rows.get(hostId)?.state ?? null;
  }

  entries(): HostEntry[] {
    return [...this.rows.values()].filter(({ state }) => state !== "dead").map(({ description, state, load, joinedAt, leaseEnd }) => ({ ...description, state, load, joinedAt, leaseLeftMs: leaseEnd - this.#now }));
  }

  /** The store as one host has it open. */
  door(): HostDoor {
    return new HostDoor(this);
  }

  join(description: HostDescription, leaseMs: number, predecessor: string | null): void {
    const before = predecessor === null ? undefined : this.rows.get(predecessor);
    if (before !== undefined) before.state = "dead";
    this.rows.set(description.hostId, { description, state: "joining", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: this.#now, leaseEnd: this.#now + leaseMs });
  }

  renew(hostId: string, load: HostLoad, leaseMs: number): Renewal {
    const row = this.rows.get(hostId);
    const held = row !== undefined && row.state !== "dead";
    if (held) {
      row.load = load;
      row.leaseEnd = this.#now + leaseMs;
    }
    return { held, now: this.#clock.now(), hosts: this.entries() };
  }

  bury(hostId: string): boolean {
    const row = this.rows.get(hostId);
    if (row === undefined || row.state === "dead") return true;
    if (row.leaseEnd > this.#now) return false;
    row.state = "dead";
    return true;
  }
}

type Door = Pick<FleetStore, "joinFleet" | "describeHost" | "renewLease" | "setHostState" | "buryHost" | "leaveFleet">;

export class HostDoor implements Door {
  readonly #table: LeaseTable;
  hostId = "";
  /** The server is away. */
  broken = false;

  constructor(table: LeaseTable) {
    this.#table = table;
  }

  #require(): void {
    if (this.broken) throw new SirsiError("STORE_UNAVAILABLE", "the server is away; try again later");
  }

  async joinFleet(host: HostDescription, leaseMs: number, predecessor: string | null): Promise<void> {
    this.#require();
    this.hostId = host.hostId;
    this.#table.join(host, leaseMs, predecessor);
  }

  async describeHost(host: HostDescription): Promise<void> {
    this.#require();
    const row = this.#table.rows.get(host.hostId);
    if (row !== undefined) row.description = host;
  }

  async renewLease(load: HostLoad, leaseMs: number): Promise<Renewal> {
    this.#require();
    return this.#table.renew(this.hostId, load, leaseMs);
  }

  async setHostState(hostId: string, state: Exclude<HostStateName, "dead">): Promise<boolean> {
    this.#require();
    const row = this.#table.rows.get(hostId);
    if (row === undefined || row.state === "dead") return false;
    row.state = state;
    return true;
  }

  async buryHost(hostId: string): Promise<boolean> {
    this.#require();
    return this.#table.bury(hostId);
  }

  async leaveFleet(): Promise<void> {
    this.#require();
    const row = this.#table.rows.get(this.hostId);
    if (row !== undefined) row.state = "dead";
  }
}
