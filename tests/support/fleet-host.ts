/**
 * Hosts of a fleet with real modules, swaps and agents. Each on a store of its own, and what
 * they share in memory; or all on one store that hosts share.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { AgentHouse, DEFAULT_RESTART, moduleCells } from "../../runtime/agent/index.ts";
import { openMemoryBus } from "../../runtime/bus/memory/index.ts";
import { openCapabilities } from "../../runtime/capability/index.ts";
import { type InstallModuleResponse, InstallModuleRequestSchema, RollbackModuleRequestSchema, SwapOptionsSchema, type SwapSummary } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { GUEST_LIMITS, type GuestLimitName, type GuestLimits } from "../../runtime/core/limits.ts";
import { newId } from "../../runtime/core/ids.ts";
import { type FleetModules, openFleetModules, sharedBytesOf } from "../../runtime/hypervisor/fleet-modules/index.ts";
import { createHypervisorService } from "../../runtime/hypervisor/hypervisor-service.ts";
import { SoloHost } from "../../runtime/hypervisor/operator/solo-host.ts";
import type { HypervisorServiceApi } from "../../runtime/hypervisor/service-api.ts";
import { openSwaps } from "../../runtime/hypervisor/swap/open-swaps.ts";
import type { Swaps } from "../../runtime/hypervisor/swap/swaps.ts";
import { ModuleRegistry } from "../../runtime/module/index.ts";
import { openMetrics, silentLogger } from "../../runtime/observe/index.ts";
import { ShardPool } from "../../runtime/sandbox/index.ts";
import type { FleetStore, HostEntry } from "../../runtime/store/fleet-store.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { Store } from "../../runtime/store/store.ts";
import { FleetTable } from "./fleet-modules-rig.ts";
import { delivery } from "./house.ts";
import { testPolicy } from "./module-policy.ts";
import { operatorBench } from "./operator-bench.ts";
import { call } from "./service-bench.ts";
import { sharedCache } from "./shared-cache.ts";

const LIMITS_MAX = Object.fromEntries((Object.keys(GUEST_LIMITS) as GuestLimitName[]).map((name) => [name, GUEST_LIMITS[name].max])) as GuestLimits;
const SWAP = { canaryPercent: 50, watchMs: 100, rehearseAgents: 3 };

export interface FleetHostOptions {
  /** The most that a manifest may ask for on this host. */
  readonly limitsMax?: Partial<GuestLimits>;
  readonly grants?: readonly string[];
  /** In the module directory when it starts. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

export class FleetHosts implements AsyncDisposable {
  readonly home = mkdtempSync(join(tmpdir(), "sirsi-fleet-"));
  readonly table = new FleetTable();
  readonly bus = openMemoryBus({ clock: systemClock, onError: () => undefined });
  readonly hosts = new Map<string, FleetHost>();
  readonly #openShared: (() => Promise<FleetStore>) | null;

  constructor(openShared: (() => Promise<FleetStore>) | null = null) {
    this.#openShared = openShared;
  }

  /** As a host has it open, and where it finds what all share. */
  async openStore(name: string, dataDir: string): Promise<{ readonly store: Store; readonly table: FleetParts }> {
    if (this.#openShared === null) return { store: await openSqliteStore({ dataDir, clock: systemClock }), table: this.table };
    const store = await this.#openShared();
    await store.joinFleet(entryOf(name), 600_000, null);
    await store.setHostState(hostIdOf(name), "active");
    return { store, table: store };
  }

  /** Opens a host, on what it left when there was one of this name, and has it join. */
  async start(name: string, options: FleetHostOptions = {}): Promise<FleetHost> {
    const host = await FleetHost.open(this, name, options);
    this.hosts.set(name, host);
    await host.fleetModules.join();
    return host;
  }

  async stop(host: FleetHost): Promise<void> {
    this.hosts.delete(host.name);
    await host.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts.values()) await host.close();
    await this.bus.close();
    rmSync(this.home, { recursive: true, force: true });
  }
}

type FleetParts = Pick<FleetStore, "getModuleBytes" | "listFleetModules" | "putFleetModule" | "putModuleBytes">;

interface Parts {
  readonly table: FleetParts;
  readonly store: Store;
  readonly pool: ShardPool;
  readonly modules: ModuleRegistry;
  readonly house: AgentHouse;
  readonly swaps: Swaps;
}

export class FleetHost {
  readonly name: string;
  readonly directory: string;
  readonly sessionId = newId(systemClock.now());
  readonly modules: ModuleRegistry;
  readonly swaps: Swaps;
  readonly store: Store;
  readonly fleetModules: FleetModules;
  readonly service: HypervisorServiceApi;
  readonly #parts: Parts;

  private constructor(fleet: FleetHosts, name: string, directory: string, parts: Parts) {
    this.name = name;
    this.directory = directory;
    this.#parts = parts;
    const { modules, store, swaps } = parts;
    this.modules = modules;
    this.store = store;
    this.swaps = swaps;
    this.fleetModules = openFleetModules({
      clock: systemClock,
      log: silentLogger,
      store: parts.table,
      modules,
      swaps,
      choices: SWAP,
      fleet: {
        self: entryOf(name),
        get hosts() {
          return [...fleet.hosts.keys()].toSorted().map(entryOf);
        },
        onChange: () => () => undefined,
      },
      bus: fleet.bus,
      prefix: "p",
      ask: async (hostId, question) => {
        const host = [...fleet.hosts.values()].find(({ name: other }) => hostIdOf(other) === hostId);
        if (host === undefined) throw new SirsiError("BUS_NO_RESPONDERS", `nobody listens for ${hostId}`);
        return await host.fleetModules.answer(question);
      },
    });
    this.service = createHypervisorService({ modules, liveAgents: (module) => parts.house.countByDigest(module), swaps, swapDefaults: SWAP, otherHosts: () => this.fleetModules.saysOfOthers(), store, baseEvery: 32, fleet: new SoloHost({ entry: () => entryOf(name), agents: () => 0 }), operator: operatorBench().deps });
  }

  static async open(fleet: FleetHosts, name: string, { limitsMax = {}, grants = ["ask", "sleep"], files = {} }: FleetHostOptions): Promise<FleetHost> {
    const home = join(fleet.home, name);
    const [directory, dataDir] = [join(home, "modules"), join(home, "data")];
    mkdirSync(directory, { recursive: true });
    for (const [file, bytes] of Object.entries(files)) writeFileSync(join(directory, file), bytes);
    mkdirSync(dataDir, { recursive: true });
    try {
      symlinkSync(sharedCache(), join(dataDir, "cache"));
    } catch {
      // There since the host was here before.
    }
    const { store, table } = await fleet.openStore(name, dataDir);
    const policy = testPolicy({ limitsMax: { ...LIMITS_MAX, ...limitsMax }, defaultGrants: grants });
    const modules = new ModuleRegistry(
      { directory, dataDir, policy, watch: false, keepSuperseded: 5, moduleMaxBytes: 1 << 24, admitTimeoutMs: 60_000, cacheMaxBytes: 1 << 28, clock: systemClock, holdCandidates: true, onFault: () => undefined, shared: sharedBytesOf(table) },
      store,
    );
    const pool = new ShardPool({ clock: systemClock, count: 1, stallMs: 5_000, onLog: () => undefined, onShardLost: () => undefined });
    const { house, swaps } = openHouse(store, pool, modules);
    modules.subscribe((event) => {
      if (event.kind === "candidate") swaps.onCandidate(event);
    });
    await modules.start();
    await swaps.recall();
    await house.restore();
    modules.allowForgetting();
    swaps.begin();
    const host = new FleetHost(fleet, name, directory, { store, table, pool, modules, house, swaps });
    await host.#addSession();
    return host;
  }

  async #addSession(): Promise<void> {
    const now = systemClock.now();
    await this.store.putSession({ sessionId: this.sessionId, userId: "u", state: "ACTIVE", createdAt: now, updatedAt: now, expiresAt: now + 3_600_000, metadata: {}, config: { maxAgents: 100, timeoutSeconds: 3600, enableLogging: false, preferences: {} } });
  }

  async spawn(agentType: string): Promise<string> {
    const config = { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] };
    return (await this.#parts.house.spawn({ sessionId: this.sessionId, agentType, config, context: {}, parentAgentId: null, metadata: {}, deadline: null })).record.agentId;
  }

  async say(agentId: string, content: string): Promise<string> {
    return (await this.#parts.house.send(agentId, delivery(content))).response.content;
  }

  async install(wasm: Uint8Array, watchMs = SWAP.watchMs): Promise<SwapSummary> {
    const answer: InstallModuleResponse = await this.service.installModule(create(InstallModuleRequestSchema, { wasm, swap: create(SwapOptionsSchema, { watchMs: BigInt(watchMs) }) }), call());
    return answer.swap!;
  }

  async rollback(name: string): Promise<SwapSummary> {
    return (await this.service.rollbackModule(create(RollbackModuleRequestSchema, { name }), call())).swap!;
  }

  version(module: string): string | null {
    return this.modules.list().find(({ name }) => name === module)?.active?.manifest.version ?? null;
  }

  /** What lies in the module directory. */
  file(name: string): Buffer {
    return readFileSync(join(this.directory, name));
  }

  async versionOf(agentId: string): Promise<string> {
    const stored = await this.store.getAgent(agentId);
    return (await this.modules.revisionByDigest(stored!.record.digest)).manifest.version;
  }

  async close(): Promise<void> {
    this.fleetModules.close();
    const { house, modules, pool, store, swaps } = this.#parts;
    await swaps.close();
    await house.close();
    await modules.close();
    await pool.close();
    await store.close();
  }
}

function openHouse(store: Store, pool: ShardPool, modules: ModuleRegistry) {
  const metrics = openMetrics({ processMetrics: false });
  const house: AgentHouse = new AgentHouse(
    {
      clock: systemClock,
      random: () => 0.5,
      store,
      pool,
      revisions: modules,
      capabilities: openCapabilities({ clock: systemClock, documents: store, ask: (target, asker) => house.ask(target, asker) }),
      publish: (event) => opened.health.notice(event),
      metrics,
      cells: moduleCells(metrics),
      log: silentLogger,
      restart: DEFAULT_RESTART,
      exchangesKept: 100,
      idleAfterMs: 60_000,
      durability: { baseEvery: 32, historyCommits: 64, intervalMs: 1_000, messageIdsKeptSeconds: 86_400 },
    },
    {
      maxAgents: 100,
      maxResident: 100,
      maxResidentBytes: 2 ** 31,
      healthIntervalMs: 0,
      hearTopic: () => () => undefined,
      homing: { homeOf: (record) => opened.swaps.homeOf(record), movedHome: (agentId, to, outcome) => opened.swaps.movedHome(agentId, to, outcome) },
    },
  );
  const opened: ReturnType<typeof openSwaps> = openSwaps({ clock: systemClock, log: silentLogger, metrics, store, modules, house, config: { swap: SWAP, shards: { count: 1 } } });
  return { house, swaps: opened.swaps };
}

/** The same for the same name, which has six characters at most. */
export function hostIdOf(name: string): string {
  return `0190f3c2-6b7e-7c31-8a51-${Buffer.from(name).toString("hex").padStart(12, "0")}`;
}

function entryOf(name: string): HostEntry {
  return { hostId: hostIdOf(name), name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 10, state: "active", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 1_000 };
}
