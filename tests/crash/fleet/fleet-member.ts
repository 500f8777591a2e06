/** One of the fleet's hosts: `sirsi serve --fleet` with directories, ports and links of its own. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { type HostProcess, startHostProcess } from "../../../scripts/host-process.ts";
import { freePort } from "../../../scripts/services/service.ts";
import { FaultProxy } from "../../support/fault-proxy.ts";
import { sharedCache } from "../../support/shared-cache.ts";
import { FIXED_SETTINGS } from "../schedule.ts";
import type { FleetServers } from "./fleet-servers.ts";

const PRELOAD = fileURLToPath(new URL("host-preload.ts", import.meta.url));
const START_MS = 60_000;
const END_MS = 40_000;
const BEGIN_ANEW_MS = 300;

export interface MemberOptions {
  readonly name: string;
  readonly directory: string;
  readonly servers: FleetServers;
  readonly leaseMs: number;
  /** Agents in memory at most: few, and they come and go all the time. */
  readonly residents: number;
  /** By file name. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** Kills whatever runs. */
  readonly over: AbortSignal;
}

export class FleetMember implements AsyncDisposable {
  readonly name: string;
  readonly dataDir: string;
  /** What stands between it and the servers. */
  readonly nats: FaultProxy;
  readonly store: FaultProxy;
  readonly #options: MemberOptions;
  readonly #modulesDir: string;
  readonly #port: number;
  #process: HostProcess | null = null;
  #stopped = false;
  #logs = "";
  #starts = 0;

  private constructor(options: MemberOptions, nats: FaultProxy, store: FaultProxy, port: number) {
    this.name = options.name;
    this.#options = options;
    this.nats = nats;
    this.store = store;
    this.#port = port;
    this.dataDir = join(options.directory, options.name, "data");
    this.#modulesDir = join(options.directory, options.name, "modules");
    for (const made of [this.dataDir, this.#modulesDir]) mkdirSync(made, { recursive: true });
    // To prepare a module takes longer than all else of a start.
    symlinkSync(sharedCache(), join(this.dataDir, "cache"));
    for (const [file, wasm] of options.modules) writeFileSync(join(this.#modulesDir, file), wasm);
  }

  static async make(options: MemberOptions): Promise<FleetMember> {
    const nats = await FaultProxy.before(options.servers.nats.port);
    return new FleetMember(options, nats, await FaultProxy.before(options.servers.postgres.port), await freePort());
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Of all its lives. */
  get log(): string {
    return this.#logs + (this.#process?.log() ?? "");
  }

  /** Resolves when it takes agents; gives how long that took. `skewMs`: how far its clock is off. One that ends before is begun anew, as by what watches over services. */
  async start(skewMs = 0): Promise<number> {
    const began = systemClock.monotonic();
    for (;;) {
      try {
        await this.#start(skewMs);
        return systemClock.monotonic() - began;
      } catch (thrown) {
        if (this.#options.over.aborted || systemClock.monotonic() - began > START_MS) throw thrown;
        this.#logs += `${SirsiError.from(thrown).message}\n`;
        await pause(BEGIN_ANEW_MS);
      }
    }
  }

  async #start(skewMs: number): Promise<void> {
    this.#logs += `\n--- ${this.name}, life ${++this.#starts}${skewMs === 0 ? "" : `, its clock off by ${skewMs} ms`} ---\n`;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), START_MS);
    try {
      this.#process = await startHostProcess({
        cwd: this.#options.directory,
        dataDir: this.dataDir,
        modulesDir: this.#modulesDir,
        nodeArgs: ["--import", PRELOAD],
        args: ["--fleet", "--host-name", this.name, "--grpc-listen", this.address],
        env: { ...FIXED_SETTINGS, ...this.#settings(), FLEET_CLOCK_SKEW_MS: String(skewMs) },
        signal: AbortSignal.any([this.#options.over, late.signal]),
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #settings(): Readonly<Record<string, string>> {
    const { leaseMs, residents, servers } = this.#options;
    const store = new URL(servers.postgres.url);
    store.port = String(this.store.port);
    return {
      SIRSI_STORE_URL: store.href,
      SIRSI_EVENT_BUS_SERVERS: `nats://127.0.0.1:${this.nats.port}`,
      SIRSI_CONTEXT_REDIS_URL: servers.redis.url,
      SIRSI_FLEET_LEASE_MS: String(leaseMs),
      SIRSI_AGENTS_MAX_RESIDENT: String(residents),
      SIRSI_AGENTS_EXCHANGES_KEPT: "200",
      SIRSI_SHARDS_COUNT: "1",
      SIRSI_SWAP_WATCH_MS: "300",
      SIRSI_SWAP_REHEARSE_AGENTS: "1",
      SIRSI_GRPC_DRAIN_TIMEOUT_MS: "5000",
    };
  }

  get runs(): boolean {
    return this.#process !== null;
  }

  /** kill -9, whatever state it is in. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** As an operator stops it; gives its exit code. */
  async stop(): Promise<number | null> {
    return await this.#end("SIGTERM");
  }

  async #end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    const process = this.#process;
    if (process === null) return null;
    const late = setTimeout(() => void process.end("SIGKILL"), END_MS);
    const { code } = await process.end(signal);
    clearTimeout(late);
    this.#logs += process.log();
    this.#process = null;
    this.#stopped = false;
    return code;
  }

  /** As when its machine was asleep, or its collector at work. */
  freeze(): void {
    this.#signal("SIGSTOP");
    this.#stopped = true;
  }

  thaw(): void {
    if (this.#stopped) this.#signal("SIGCONT");
    this.#stopped = false;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#process === null) throw new SirsiError("INTERNAL", `${this.name} does not run; correct the harness`);
    process.kill(this.#process.pid, signal);
  }

  /** Every link as it should be. */
  heal(): void {
    this.nats.heal();
    this.store.heal();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.nats[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }
}
