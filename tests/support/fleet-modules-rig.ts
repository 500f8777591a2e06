/**
 * Hosts of a fleet in one process, as far as modules go: the real FleetModules of each, on
 * registries and swaps that do what a test says, and rows and bytes that all share.
 */
import { openMemoryBus } from "../../runtime/bus/memory/index.ts";
import type { ModuleQuestion } from "../../runtime/contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { ManualClock, systemClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { type FleetModules, type FleetModulesGround, openFleetModules } from "../../runtime/hypervisor/fleet-modules/index.ts";
import { newSwap } from "../../runtime/hypervisor/swap/swap-record.ts";
import { digestOf } from "../../runtime/module/inspect.ts";
import type { ModuleView, RegistryEvent, Revision } from "../../runtime/module/index.ts";
import { silentLogger } from "../../runtime/observe/index.ts";
import type { FleetModule, HostEntry } from "../../runtime/store/fleet-store.ts";
import type { SwapRecord } from "../../runtime/store/store.ts";
import { manifest } from "./fake-agents.ts";

/** What a host makes of a revision. */
export type Fate = "keep" | "pending" | "reject" | "revert";

export const build = (version: string, name = "m"): Uint8Array => Buffer.from(JSON.stringify({ name, version }));
export const digest = (version: string, name = "m"): string => digestOf(build(version, name));

/** The fleet's rows and bytes; passes for the store of every host. */
export class FleetTable {
  readonly rows = new Map<string, FleetModule>();
  readonly bytes = new Map<string, Uint8Array>();
  /** Thrown by whatever is called. */
  failure: SirsiError | null = null;

  async listFleetModules(): Promise<FleetModule[]> {
    this.#enter();
    return [...this.rows.values()];
  }

  async putFleetModule(row: FleetModule): Promise<boolean> {
    this.#enter();
    if ((this.rows.get(row.module)?.generation ?? 0) !== row.generation - 1) return false;
    this.rows.set(row.module, row);
    return true;
  }

  async putModuleBytes(of: string, bytes: Uint8Array): Promise<void> {
    this.#enter();
    this.bytes.set(of, bytes);
  }

  async getModuleBytes(of: string): Promise<Uint8Array | null> {
    this.#enter();
    return this.bytes.get(of) ?? null;
  }

  #enter(): void {
    if (this.failure !== null) throw this.failure;
  }
}

export class FakeHost {
  readonly name: string;
  readonly entry: HostEntry;
  /** By version; those that are not named are kept. */
  readonly fates = new Map<string, Fate>();
  /** A swap to this version goes on until it is resolved. */
  readonly gates = new Map<string, Deferred<void>>();
  readonly views = new Map<string, ModuleView>();
  readonly swapRecords: SwapRecord[] = [];
  /** Versions that were tried, in order. */
  readonly tried: string[] = [];
  modules!: FleetModules;
  /** Bytes that were to be taken. */
  installs = 0;
  /** Asks that come and go get lost. */
  cut = false;
  since: (module: string, digest: string) => number | null = () => null;
  readonly #rig: FleetRig;
  readonly #trying = new Map<string, { readonly digest: string; readonly over: Deferred<void> }>();
  readonly #subscribers = new Set<(event: RegistryEvent) => void>();
  readonly #overListeners = new Set<(record: SwapRecord) => void>();
  readonly #archive = new Map<string, Uint8Array>();
  #swaps = 0;

  constructor(rig: FleetRig, name: string) {
    this.#rig = rig;
    this.name = name;
    this.entry = { hostId: `id-of-${name}`, name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 10, state: "active", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 1_000 };
  }

  open(): FleetModules {
    this.modules = openFleetModules(this.#ground());
    return this.modules;
  }

  version(module = "m"): string | null {
    return this.views.get(module)?.active?.manifest.version ?? null;
  }

  error(module = "m"): string {
    return this.views.get(module)?.lastError?.message ?? "";
  }

  /** What an operator does, or a file that was dropped. */
  async install(version: string, module = "m"): Promise<void> {
    const bytes = build(version, module);
    await this.#rig.table.putModuleBytes(digestOf(bytes), bytes); // F1, by the archive
    const outcome = await this.#install(bytes);
    if (outcome.kind === "candidate") await this.#perform(outcome.from, outcome.to);
  }

  async remove(module = "m"): Promise<void> {
    const view = this.views.get(module)!;
    this.#set(module, { state: "RETIRED", active: null, lastError: null });
    this.#emit({ kind: "retired", module, last: view.active });
  }

  /** As a file that was there before the host started. */
  has(version: string, module = "m"): this {
    this.#activate(this.#revision(build(version, module)));
    return this;
  }

  #ground(): FleetModulesGround {
    const { table, clock, bus } = this.#rig;
    const rig = this.#rig;
    return {
      clock,
      log: silentLogger,
      store: table,
      bus,
      prefix: "p",
      choices: { canaryPercent: 10, watchMs: 1_000 },
      fleet: {
        self: this.entry,
        get hosts() {
          return rig.live;
        },
        onChange: (listener) => {
          rig.listeners.add(listener);
          return () => void rig.listeners.delete(listener);
        },
      },
      ask: (hostId, question) => rig.ask(this, hostId, question),
      modules: {
        list: () => [...this.views.values()],
        candidateOf: () => null,
        install: (bytes) => this.#install(bytes),
        remove: async (module) => {
          await this.remove(module);
          return this.views.get(module)!;
        },
        remark: (module, error) => this.#set(module, { lastError: error?.toPlain() ?? null }),
        revisionByDigest: async (of) => this.#revision(table.bytes.get(of)!),
        bytesOf: async (of) => this.#archive.get(of) ?? null,
        dateBy: (since) => {
          this.since = since;
        },
        subscribe: (subscriber) => {
          this.#subscribers.add(subscriber);
          return () => void this.#subscribers.delete(subscriber);
        },
      },
      swaps: {
        trying: (module) => this.#trying.get(module)?.digest ?? null,
        over: async (module) => await this.#trying.get(module)?.over.promise,
        onOver: (listener) => {
          this.#overListeners.add(listener);
          return () => void this.#overListeners.delete(listener);
        },
        performToEnd: ({ from, to }, choices) => this.#perform(from, to, choices),
        takeBack: async (from, to, reason) => {
          this.#activate(to);
          this.#set(to.manifest.name, { lastError: new SirsiError("MODULE_REJECTED", reason).toPlain() });
          return this.#over(to, from, "REVERTED", reason);
        },
      },
    };
  }

  #revision(bytes: Uint8Array): Revision {
    this.#archive.set(digestOf(bytes), bytes);
    const { name, version } = JSON.parse(Buffer.from(bytes).toString()) as { name: string; version: string };
    return { digest: digestOf(bytes), manifest: manifest(name, { version }) } as Revision;
  }

  async #install(bytes: Uint8Array) {
    this.installs++;
    const to = this.#revision(bytes);
    const { name: module, version } = to.manifest;
    const from = this.views.get(module)?.active ?? null;
    const fate = this.fates.get(version) ?? "keep";
    if (fate === "reject") throw new SirsiError("MODULE_REJECTED", `${version} is not admitted on ${this.name}`);
    if (from?.digest === to.digest) return { kind: "unchanged", module, revision: from } as const;
    if (fate === "pending") {
      const error = new SirsiError("MODULE_PENDING_APPROVAL", `${version} asks for more than ${this.name} grants`).toPlain();
      return { kind: "pending", module, digest: to.digest, missing: [], manifest: to.manifest, error } as const;
    }
    if (from === null) {
      this.#activate(to);
      return { kind: "activated", module, from, to } as const;
    }
    return { kind: "candidate", module, from, to, asked: true } as const;
  }

  async #perform(from: Revision, to: Revision, choices = { canaryPercent: 34, watchMs: 7 }): Promise<SwapRecord> {
    const { name: module, version } = to.manifest;
    const trial = { digest: to.digest, over: new Deferred<void>() };
    this.#trying.set(module, trial);
    this.tried.push(version);
    await this.gates.get(version)?.promise;
    const kept = (this.fates.get(version) ?? "keep") === "keep";
    if (kept) this.#activate(to);
    else this.#set(module, { lastError: new SirsiError("MODULE_REJECTED", `${version} trapped`).toPlain() });
    this.#trying.delete(module);
    trial.over.resolve();
    return this.#over(from, to, kept ? "KEPT" : "REVERTED", kept ? "" : `${version} trapped`, choices);
  }

  #over(from: Revision, to: Revision, state: "KEPT" | "REVERTED", reason: string, choices = { canaryPercent: 1, watchMs: 1 }): SwapRecord {
    const swapId = `${this.name}-${++this.#swaps}`;
    const record: SwapRecord = { ...newSwap({ swapId, module: to.manifest.name, fromDigest: from.digest, toDigest: to.digest, ...choices }, 1), state, reason, endedAt: 1 };
    this.swapRecords.push(record);
    for (const listener of this.#overListeners) listener(record);
    return record;
  }

  #activate(to: Revision): void {
    const module = to.manifest.name;
    const from = this.views.get(module)?.active ?? null;
    this.#set(module, { state: "ACTIVE", active: to, lastError: null });
    this.#emit({ kind: "activated", module, from, to });
  }

  #set(name: string, change: Partial<ModuleView>): void {
    const before = this.views.get(name) ?? { name, state: "FAILED", file: `${name}.wasm`, active: null, revisions: [], lastError: null };
    this.views.set(name, { ...before, ...change });
  }

  #emit(event: RegistryEvent): void {
    for (const subscriber of this.#subscribers) subscriber(event);
  }
}

export class FleetRig implements AsyncDisposable {
  readonly table = new FleetTable();
  readonly clock = new ManualClock();
  readonly bus = openMemoryBus({ clock: systemClock, onError: () => undefined });
  readonly listeners = new Set<() => void>();
  /** "a asks b: m 2.0.0", in order, without those that only look. */
  readonly asked: string[] = [];
  live: HostEntry[] = [];
  readonly #hosts: FakeHost[] = [];

  /** Not of the fleet before it joins. */
  host(name: string): FakeHost {
    const host = new FakeHost(this, name);
    this.#hosts.push(host);
    return host;
  }

  async join(host: FakeHost): Promise<FakeHost> {
    this.live = [...this.live, host.entry].toSorted((one, other) => (one.name < other.name ? -1 : 1));
    this.#tell();
    await host.open().join();
    return host;
  }

  /** Each with these versions of the module "m", which the first makes the fleet's. */
  async fleet(names: string, version: string): Promise<FakeHost[]> {
    const hosts: FakeHost[] = [];
    for (const name of names) hosts.push(await this.join(this.host(name).has(version)));
    return hosts;
  }

  die(host: FakeHost): void {
    host.cut = true;
    host.modules.close();
    this.live = this.live.filter(({ name }) => name !== host.name);
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.listeners) listener();
  }

  async ask(from: FakeHost, hostId: string, question: ModuleQuestion) {
    const to = this.#hosts.find(({ entry }) => entry.hostId === hostId);
    if (to === undefined || to.cut || from.cut) throw new SirsiError("BUS_NO_RESPONDERS", `nobody listens for ${hostId}`);
    if (question.module !== "" && !question.look) this.asked.push(`${from.name} asks ${to.name}: ${this.#named(question)}`);
    return await to.modules.answer(question);
  }

  #named({ digest: of, revert }: ModuleQuestion): string {
    const bytes = this.table.bytes.get(of);
    const version = bytes === undefined ? "none" : (JSON.parse(Buffer.from(bytes).toString()) as { version: string }).version;
    return revert ? `back to ${version}` : version;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.#hosts) host.modules?.close();
    await this.bus.close();
  }
}
