/**
 * What the fleet's demo plays on: NATS with JetStream, PostgreSQL and Redis, and hosts as
 * processes of their own, each with a directory as on a machine of its own. Gone without a
 * trace whatever happens.
 */
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { SirsiError } from "../../runtime/core/errors.ts";
import { type HostProcess, startHostProcess } from "../host-process.ts";
import { natsService } from "../services/nats.ts";
import { postgresService } from "../services/postgres.ts";
import { redisService } from "../services/redis.ts";
import { type Service, type ServiceRecord, startInNewDirectory } from "../services/service.ts";
import { HOST_LOGIN, documentedAccounts } from "./documented-accounts.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAIN = join(ROOT, "runtime/cli/main.ts");
const MODULES = ["counter", "relay"];

const execute = promisify(execFile);

interface Running {
  readonly service: Service;
  readonly record: ServiceRecord;
}

export interface CommandResult {
  readonly code: number;
  readonly output: string;
}

export class FleetStage {
  readonly directory: string;
  readonly #modules: readonly string[];
  readonly #accounts: string;
  readonly #cleared = new AbortController();
  readonly #hosts = new Map<string, HostProcess>();
  #servers: Running[] = [];
  #logs = "";

  /** `modules`: those that the first host has. `accounts`: of NATS; empty for a server that lets everybody say everything. */
  constructor(modules: readonly string[] = MODULES, accounts: string = documentedAccounts()) {
    this.#modules = modules;
    this.#accounts = accounts;
    this.directory = mkdtempSync(join(tmpdir(), "sirsi-fleet-"));
  }

  /** Where a server that was started is reached; its login included. */
  urlOf(name: string): string {
    return this.#servers.find(({ record }) => record.name === name)?.record.url ?? "";
  }

  /** Their URLs, for people: without what is secret. */
  async startServers(): Promise<readonly string[]> {
    for (const [service, config] of [[natsService, this.#accounts], [postgresService, ""], [redisService, ""]] as const) {
      this.#servers.push({ service, record: await startInNewDirectory(service, { config }) });
    }
    writeFileSync(join(this.directory, "sirsi.fleet.toml"), this.#configuration(), { mode: 0o600 });
    return this.#servers.map(({ record }) => `${record.name} on ${record.host}:${record.port}`);
  }

  /** What all hosts have in common, as `sirsi serve --fleet` finds it. */
  #configuration(): string {
    const url = (name: string) => JSON.stringify(this.urlOf(name));
    return [
      `[store]\nurl = ${url("postgres")}`,
      `[event_bus]\nservers = [${url("nats")}]${this.#accounts === "" ? "" : `\nuser = "${HOST_LOGIN.user}"\npassword = "${HOST_LOGIN.password}"`}`,
      `[context]\nredis_url = ${url("redis")}`,
      "[agents]\nexchanges_kept = 1000",
      `[log]\nlevel = "warn"\nformat = "json"`,
    ].join("\n\n");
  }

  /** The first one has the modules; the others get them from their fleet. */
  async startHost(name: string, zone: string): Promise<HostProcess> {
    const home = join(this.directory, name);
    const modulesDir = join(home, "modules");
    if (this.#hosts.size === 0) this.#furnish(modulesDir);
    else mkdirSync(modulesDir, { recursive: true });
    const host = await startHostProcess({
      cwd: this.directory,
      dataDir: join(home, "data"),
      modulesDir,
      args: ["--fleet", "--host-name", name, "--zone", zone],
      signal: this.#cleared.signal,
    });
    this.#hosts.set(name, host);
    return host;
  }

  #furnish(modulesDir: string): void {
    mkdirSync(modulesDir, { recursive: true });
    for (const name of this.#modules) {
      const file = join(ROOT, "modules", `${name}.wasm`);
      if (!existsSync(file)) throw new SirsiError("CONFIG_INVALID", `${file} is not there; build the agents with \`npm run build:agents\``);
      copyFileSync(file, join(modulesDir, `${name}.wasm`));
    }
  }

  host(name: string): HostProcess {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new SirsiError("INTERNAL", `the demo's host ${name} is not running`);
    return host;
  }

  /** SIGKILL: the host has no chance to tidy up, and says goodbye to nobody. */
  async kill(name: string): Promise<void> {
    await this.host(name).end("SIGKILL");
    this.#keepLog(name);
  }

  /** As `cp` and `mv` do it, in one host's module directory. */
  replaceModule(name: string, file: string): void {
    const target = join(this.directory, name, "modules", basename(file));
    copyFileSync(file, `${target}.partial`);
    renameSync(`${target}.partial`, target);
  }

  /** The command line, as an operator at one host's door. */
  async sirsi(name: string, ...args: readonly string[]): Promise<CommandResult> {
    const argv = [MAIN, "--address", this.host(name).grpcAddress, ...args];
    try {
      const { stdout, stderr } = await execute(execPath, argv, { cwd: this.directory, signal: this.#cleared.signal });
      return { code: 0, output: stderr + stdout };
    } catch (thrown) {
      const { code, stdout, stderr } = thrown as { readonly code: unknown; readonly stdout?: string; readonly stderr?: string };
      if (typeof code !== "number") throw thrown;
      return { code, output: `${stderr ?? ""}${stdout ?? ""}` };
    }
  }

  /** Asks every host to stop. Their exit codes, by name. */
  async stopHosts(): Promise<ReadonlyMap<string, number | null>> {
    const names = [...this.#hosts.keys()];
    const codes = await Promise.all(names.map(async (name) => [name, (await this.host(name).end("SIGTERM")).code] as const));
    for (const name of names) this.#keepLog(name);
    return new Map(codes);
  }

  /** In the order they were started in, backwards. */
  async stopServers(): Promise<void> {
    for (let server = this.#servers.pop(); server !== undefined; server = this.#servers.pop()) await server.service.stop(server.record);
  }

  #keepLog(name: string): void {
    this.#logs += this.#said(name, this.host(name));
    this.#hosts.delete(name);
  }

  #said(name: string, host: HostProcess): string {
    const lines = host.log().trim().split("\n").slice(-20);
    return lines.join("") === "" ? "" : `--- ${name} ---\n${lines.join("\n")}\n`;
  }

  /** The last that each host has logged. */
  log(): string {
    return this.#logs + [...this.#hosts].map(([name, host]) => this.#said(name, host)).join("");
  }

  /** At once, from a signal handler too. Repeatable. */
  clear(): void {
    this.#cleared.abort();
    for (const { record } of this.#servers.splice(0)) {
      endAtOnce(record);
      rmSync(record.directory, { recursive: true, force: true, maxRetries: 5 });
    }
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** PostgreSQL takes its children along at this signal; the others end by it as well. */
function endAtOnce({ pid }: ServiceRecord): void {
  try {
    process.kill(pid, "SIGQUIT");
  } catch {
    // It has ended already.
  }
}
