/**
 * Hosts of one fleet in one process: the routing of runtime/fleet over a memory bus, before
 * agents without guests. Who owns what is a map that stands for the store.
 */
import { ownedElsewhere } from "../../runtime/agent/index.ts";
import type { Delivery, Reply, SpawnSpec } from "../../runtime/agent/agents.ts";
import { openMemoryBus } from "../../runtime/bus/memory/index.ts";
import { create } from "@bufbuild/protobuf";
import { MessageSchema, MessageType, Priority } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { ModuleAnswerSchema } from "../../runtime/contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import type { Fleet } from "../../runtime/fleet/fleet.ts";
import { FleetAgents } from "../../runtime/fleet/fleet-agents.ts";
import { HostControl } from "../../runtime/fleet/host-control.ts";
import { HostLink } from "../../runtime/fleet/host-link.ts";
import { Owners } from "../../runtime/fleet/owners.ts";
import { ANYWHERE } from "../../runtime/fleet/placement.ts";
import { RemoteCalls } from "../../runtime/fleet/remote-calls.ts";
import { Routing } from "../../runtime/fleet/routing.ts";
import { silentLogger } from "../../runtime/observe/index.ts";
import type { HostEntry } from "../../runtime/store/fleet-store.ts";
import { FakeAgents, manifest } from "./fake-agents.ts";

const clock = systemClock;
export const SESSION = newId(1_750_000_000_000);
const CONFIG: SpawnSpec["config"] = { parameters: { tone: "dry" }, timeoutSeconds: 7, maxConcurrentOperations: 2, enableCaching: true, requiredCapabilities: [] };

class SeenFleet implements Fleet {
  held = true;
  readonly #name: string;
  readonly #rig: FleetRig;
  listeners: (() => void)[] = [];

  constructor(name: string, rig: FleetRig) {
    this.#name = name;
    this.#rig = rig;
  }

  get self(): HostEntry {
    return this.#rig.entries.get(this.#name) ?? this.#rig.entryOf(this.#name);
  }

  get hosts(): readonly HostEntry[] {
    return [...this.#rig.entries.values()];
  }

  host(hostId: string): HostEntry | null {
    return this.hosts.find((one) => one.hostId === hostId) ?? null;
  }

  onChange(listener: () => void): () => void {
    this.listeners.push(listener);
    return () => undefined;
  }
}

/** Agents of one host: what it does not own it refuses as a house would. */
class OwnedAgents extends FakeAgents {
  readonly hostId: string;
  readonly #rig: FleetRig;
  readonly brought: string[] = [];
  readonly released: string[] = [];
  readonly restarted: string[] = [];

  constructor(hostId: string, rig: FleetRig) {
    super(clock, manifest("echo"), manifest("forgetful", { durability: "none" }));
    this.hostId = hostId;
    this.#rig = rig;
    // Everybody reads the same store.
    Object.defineProperty(this, "views", { value: rig.views });
  }

  has(agentId: string): boolean {
    return this.#rig.owners.get(agentId) === this.hostId;
  }

  acquire(agentId: string): void {
    const owner = this.#rig.owners.get(agentId);
    if (owner === undefined || owner === "") this.#rig.owners.set(agentId, this.hostId);
    else if (owner !== this.hostId) throw ownedElsewhere(agentId, owner);
  }

  override async spawn(spec: SpawnSpec) {
    const view = await super.spawn(spec);
    this.#rig.owners.set(view.record.agentId, this.hostId);
    return view;
  }

  override async send(agentId: string, delivery: Delivery): Promise<Reply> {
    this.acquire(agentId);
    return await super.send(agentId, delivery);
  }

  override async stop(agentId: string, reason: string): Promise<void> {
    this.acquire(agentId);
    await super.stop(agentId, reason);
  }

  async release(agentId: string): Promise<void> {
    this.acquire(agentId);
    this.released.push(agentId);
  }

  async adopt(_sessionId: string, put: () => Promise<string>): Promise<string> {
    return await put();
  }

  restart(agentIds: readonly string[], reason: string): void {
    for (const agentId of agentIds) this.restarted.push(`${agentId} ${reason}`);
  }

  async bring(agentId: string): Promise<void> {
    this.acquire(agentId);
    this.brought.push(agentId);
  }

  async sendEntry(agentId: string, _sessionId: string, delivery: Delivery) {
    return { reply: await this.send(agentId, delivery), taken: delivery.outboxKey !== null };
  }
}

export interface RigHost {
  readonly name: string;
  readonly hostId: string;
  readonly fleet: SeenFleet;
  readonly house: OwnedAgents;
  readonly owners: Owners;
  readonly link: HostLink;
  readonly remote: RemoteCalls;
  readonly agents: FleetAgents;
  readonly control: HostControl;
  readonly modulesAsked: string[];
}

export class FleetRig {
  readonly entries = new Map<string, HostEntry>();
  /** Agent to host id; "" for an orphan. */
  readonly owners = new Map<string, string>();
  readonly views: FakeAgents["views"] = new Map();
  readonly hosts: RigHost[] = [];
  readonly faults: string[] = [];
  lookUps = 0;
  readonly bus = openMemoryBus({ clock, onError: (error) => void this.faults.push(error.message) });

  constructor(...names: readonly string[]) {
    for (const name of names) this.entries.set(name, this.entryOf(name));
    for (const name of names) this.hosts.push(this.#open(name));
  }

  entryOf(name: string): HostEntry {
    return { hostId: `host-${name}`, name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 100, state: "active", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 1 };
  }

  #open(name: string): RigHost {
    const [bus, prefix, log] = [this.bus, "test", silentLogger];
    const fleet = new SeenFleet(name, this);
    const { hostId } = fleet.self;
    const house = new OwnedAgents(hostId, this);
    const owners = new Owners({ ownersOf: async (ids) => this.#ownersOf(ids) }, fleet);
    const link = new HostLink({ clock, bus, prefix, fleet });
    const remote = new RemoteCalls({ clock, bus, prefix, link });
    const routing = new Routing({ clock, random: Math.random, fleet, owners, isHere: (id) => house.has(id), wantsOf: async () => ANYWHERE });
    const agents = new FleetAgents({ clock, fleet, owners, routing, remote, house, wantsOfType: () => ANYWHERE });
    const modulesAsked: string[] = [];
    const control = new HostControl({
      clock, bus, prefix, fleet, log, agents: house,
      move: async ({ toHostId }) => ({ hostId: toHostId, stayed: false, pauseMs: 2 }),
      takeModule: async ({ digest }) => {
        modulesAsked.push(digest);
        return create(ModuleAnswerSchema, { activeDigest: digest });
      },
      lookForOrphans: () => undefined,
      drain: async () => null,
    });
    return { name, hostId, fleet, house, owners, link, remote, agents, control, modulesAsked };
  }

  #ownersOf(agentIds: readonly string[]): Map<string, string> {
    this.lookUps++;
    const live = new Set([...this.entries.values()].map(({ hostId }) => hostId));
    return new Map(agentIds.flatMap((id) => (live.has(this.owners.get(id) ?? "") ? [[id, this.owners.get(id) as string]] : [])));
  }

  host(name: string): RigHost {
    const found = this.hosts.find((one) => one.name === name);
    if (found === undefined) throw new TypeError(`the rig has no host ${name}`);
    return found;
  }

  /** Its process is gone, and everybody sees it. */
  kill(name: string): void {
    const { control, hostId } = this.host(name);
    control.close();
    this.entries.delete(name);
    for (const [id, owner] of this.owners) if (owner === hostId) this.owners.set(id, "");
    for (const { fleet } of this.hosts) for (const listener of fleet.listeners) listener();
  }

  spec(agentType = "echo"): SpawnSpec {
    return { sessionId: SESSION, agentType, config: CONFIG, context: { topic: "tests" }, parentAgentId: null, metadata: { made: "here" }, deadline: null };
  }

  /** An agent that `name` owns. */
  async agentOn(name: string, agentType = "echo"): Promise<string> {
    const { record } = await this.host(name).house.spawn({ ...this.spec(agentType), agentId: newId(clock.now()) });
    return record.agentId;
  }

  async close(): Promise<void> {
    for (const { control, link } of this.hosts) {
      control.close();
      link.close();
    }
    await this.bus.close();
  }
}

export function delivery(content: string, changes: Partial<Delivery> = {}): Delivery {
  const message = create(MessageSchema, { messageId: newId(clock.now()), type: MessageType.TEXT, content });
  return { message, context: {}, priority: Priority.NORMAL, sourceAgentId: "", deadline: clock.monotonic() + 20_000, signal: null, traceparent: "", onPartial: null, outboxKey: null, deadLetterId: null, ...changes };
}
