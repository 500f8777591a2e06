/**
 * What hosts of one fleet share through their store, besides what a single host keeps.
 * Only a store that several hosts can open has it (postgres/).
 *
 * Who owns what
 * - A host joins under an id of its own, new at each start and after each burial.
 * - It is live while its lease runs. Leases run by the store's clock alone.
 * - A host whose lease is over may be buried by any other. `dead` is final: a host that
 *   was buried never writes again under that id, and what it owned belongs to nobody.
 * - An agent has at most one owner, and an epoch that rises with each change of owner, so
 *   what an owner before commits is refused (D5). Agents whose owner is dead, or that have
 *   none, are orphans: any live host may acquire them, one at a time.
 *
 * After `joinFleet` the store writes and reads as that host: an agent that it creates is
 * its own, and `listWaiting`, `listInitializing`, `listOutbox` (by sender), `listTimers`,
 * `nextTimer`, `countByDigest`, and listings of agents that name neither session nor
 * parent, tell of its own agents alone. Modules, revisions and swaps are those of the
 * host's name. Everything else is of the whole fleet.
 *
 * Errors, beside those of Store: AGENT_FENCED from `putAgent`, `claimAgent` and `commit` for
 * an agent that exists and that this host does not own (an orphan is acquired first), and
 * from every write once this host is buried. INTERNAL, before `joinFleet`, from what only a
 * host of a fleet can ask.
 */
import type { Store } from "./store.ts";

export type HostStateName = "joining" | "active" | "draining" | "drained" | "dead";

export interface HostLoad {
  /** Agents in memory. */
  readonly resident: number;
  /** Bytes of guest memory in use. */
  readonly residentBytes: number;
  /** Share of all processor time of the host's machine that its process uses, 0 to 1. */
  readonly cpu: number;
}

export interface HostDescription {
  /** New at each start: newId. */
  readonly hostId: string;
  /** Stays over restarts; no two hosts that run have the same. */
  readonly name: string;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Where its gRPC and HTTP doors are reached, host:port. */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  /** Of this software. */
  readonly version: string;
  /** Agents in memory that it takes at most. */
  readonly capacity: number;
}

export interface HostEntry extends HostDescription {
  readonly state: HostStateName;
  readonly load: HostLoad;
  readonly joinedAt: number;
  /** Until its lease is over, by the store's clock, milliseconds; 0 or below: it may be buried. */
  readonly leaseLeftMs: number;
}

export interface Renewal {
  /** False: it was buried, and everything it owned belongs to nobody, or to others. */
  readonly held: boolean;
  /** By the store's clock, when it answered: milliseconds since 1970, UTC. */
  readonly now: number;
  /** All but the dead. */
  readonly hosts: readonly HostEntry[];
}

export type Acquisition =
  /** This host owns it now, or did before; `taken`: it was an orphan. */
  | { readonly kind: "owned"; readonly taken: boolean }
  | { readonly kind: "elsewhere"; readonly hostId: string }
  | { readonly kind: "missing" };

/**
 * An orphan with something to be done for it without anybody's asking. One that has ended is
 * here for its outbox alone: what it sent must arrive, and whoever acquires it delivers it
 * (`listOutbox`), without bringing the agent to memory.
 */
export interface Orphan {
  readonly agentId: string;
  readonly sessionId: string;
  readonly module: string;
  readonly digest: string;
  readonly inWait: boolean;
  readonly hasOutbox: boolean;
  readonly hasTimers: boolean;
  /** Its spawn was cut off. */
  readonly initializing: boolean;
  /** TERMINATED. */
  readonly ended: boolean;
}

/** What a fleet runs of a module. Written by whoever installs, read by every host. */
export interface FleetModule {
  readonly module: string;
  /** Null: it was removed. */
  readonly digest: string | null;
  readonly file: string;
  readonly version: string;
  /** From 1; rises with each change. */
  readonly generation: number;
  readonly changedAt: number;
  /** The host's name. */
  readonly changedBy: string;
}

export interface FleetStore extends Store {
  /**
   * Makes this store that of `host`, state `joining`. `predecessor`: an id that surely
   * runs no more, which is buried in the same transaction, lease or not. Calls made before
   * are done first, in the name that was this store's until then. May be repeated for the
   * same id when its outcome is unknown; AGENT_FENCED when that id was buried.
   */
  joinFleet(host: HostDescription, leaseMs: number, predecessor: string | null): Promise<void>;
  /** Under the same id, what the others see of this host: where its doors are, its labels. */
  describeHost(host: HostDescription): Promise<void>;
  /** Renews the own lease and looks at everybody's, in one go. Never changes a state. */
  renewLease(load: HostLoad, leaseMs: number): Promise<Renewal>;
  /** Of any host that is not dead; false when it is dead, or unknown. */
  setHostState(hostId: string, state: Exclude<HostStateName, "dead">): Promise<boolean>;
  /** True when it is dead now: its lease was over, or it was dead before. Nothing of it is written any more then, not even what was on its way. */
  buryHost(hostId: string): Promise<boolean>;
  /** This host is dead now, by its own will. Calls made before are done first. */
  leaveFleet(): Promise<void>;

  acquireAgent(agentId: string): Promise<Acquisition>;
  /** Ids of live hosts that own them; agents that are gone, or orphans, are left out. */
  ownersOf(agentIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /**
   * Gives own agents to a host, or (null) to nobody; their epochs rise. All at once, so
   * what this host still commits to them is refused from then on. To a host that was buried
   * meanwhile nothing is given: they are nobody's then. Gives the ids of those that were
   * its own.
   */
  giveAgents(agentIds: readonly string[], toHostId: string | null): Promise<readonly string[]>;
  /** Own agents that have not ended, by id, from after `afterAgentId`. */
  listOwned(afterAgentId: string, limit: number): Promise<readonly string[]>;
  countOwned(): Promise<number>;
  /** Orphans with work in hand, and those of one of `modules` (which hear topics), by id. TERMINATED ones only with an outbox. */
  listOrphans(modules: readonly string[], afterAgentId: string, limit: number): Promise<readonly Orphan[]>;
  /** Live agents by owner's host id; "" for orphans. */
  countByOwner(): Promise<ReadonlyMap<string, number>>;

  /** Repeatable. */
  putModuleBytes(digest: string, bytes: Uint8Array): Promise<void>;
  getModuleBytes(digest: string): Promise<Uint8Array | null>;
  listFleetModules(): Promise<readonly FleetModule[]>;
  /** False when the generation before it is not `generation` − 1: somebody else was first. */
  putFleetModule(module: FleetModule): Promise<boolean>;

  /** Open sessions whose expiry lies at or before `before`, and closed ones that still have live agents; in any order. */
  listDueSessions(before: number, limit: number): Promise<readonly string[]>;
}
