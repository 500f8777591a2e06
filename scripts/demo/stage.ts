/** What the demo plays on: a temporary directory with a host on it, gone without a trace whatever happens. */
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { SirsiClient } from "../../runtime/client/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { buildAgents } from "../build-agents.ts";
import { type HostProcess, startHostProcess } from "../host-process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MODULES = ["echo", "counter", "relay", "aws"];

export class Stage {
  readonly directory = mkdtempSync(join(tmpdir(), "sirsi-demo-"));
  readonly modulesDir = join(this.directory, "modules");
  readonly #cleared = new AbortController();
  #host: HostProcess | null = null;
  #client: SirsiClient | null = null;

  constructor() {
    mkdirSync(this.modulesDir);
    for (const name of MODULES) {
      const file = join(ROOT, "modules", `${name}.wasm`);
      if (!existsSync(file)) throw new SirsiError("CONFIG_INVALID", `${file} is not there; build the agents with \`npm run build:agents\``);
      copyFileSync(file, join(this.modulesDir, `${name}.wasm`));
    }
  }

  get client(): SirsiClient {
    if (this.#client === null) throw new SirsiError("INTERNAL", "the demo's host is not running");
    return this.#client;
  }

  async start(): Promise<HostProcess> {
    const env = { SIRSI_LOG_LEVEL: "warn", SIRSI_AGENTS_EXCHANGES_KEPT: "1000" };
    this.#host = await startHostProcess({ cwd: this.directory, dataDir: join(this.directory, "data"), modulesDir: this.modulesDir, env, signal: this.#cleared.signal });
    this.#client?.close();
    this.#client = new SirsiClient({ address: this.#host.grpcAddress });
    return this.#host;
  }

  /** SIGKILL: the host has no chance to tidy up. Its connection breaks by that and by nothing else. */
  async kill(): Promise<void> {
    await this.#host?.end("SIGKILL");
  }

  /** As `cp` and `mv` do it: the watcher of the directory never sees half a file. */
  replaceModule(file: string): void {
    const target = join(this.modulesDir, basename(file));
    copyFileSync(file, `${target}.partial`);
    renameSync(`${target}.partial`, target);
  }

  /** What the host has logged so far. */
  log(): string {
    return this.#host?.log() ?? "";
  }

  /** Asks the host to stop and clears up. Answers its exit code. */
  async close(): Promise<number | null> {
    this.#client?.close();
    const end = await this.#host?.end("SIGTERM");
    this.clear();
    return end?.code ?? null;
  }

  /** At once, from a signal handler too. Repeatable. */
  clear(): void {
    this.#cleared.abort();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A second build of counter, made by the SDK's build tool: the same code, the next version. */
export async function buildNextCounter(version: string): Promise<string> {
  const sources = join(ROOT, ".cache", "demo", "agents");
  const folder = join(sources, "counter");
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(ROOT, "agents-as", "counter"), folder, { recursive: true });
  const manifest = join(folder, "agent.json");
  writeFileSync(manifest, JSON.stringify({ ...(JSON.parse(readFileSync(manifest, "utf8")) as object), version }));
  const [built] = await buildAgents({ sourceDir: sources, outDir: join(ROOT, ".cache", "demo", "modules"), only: ["counter"] });
  if (built === undefined) throw new SirsiError("INTERNAL", "the build tool built nothing");
  return built.file;
}

/** A plan from a public project when the checkout has its shared data beside it, else a state of the project's own. */
export function terraformFile(): string {
  const shared = join(ROOT, "..", "shared", "data", "terraform", "checkov", "tfplan.json");
  return existsSync(shared) ? shared : join(ROOT, "tests", "fixtures", "terraform", "aws-state.json");
}
