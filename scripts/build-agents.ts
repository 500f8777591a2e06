/**
 * Builds every agent under agents-as/ into modules/, those whose inputs changed.
 *
 *   node scripts/build-agents.ts [--out DIR] [--only NAME]… [--force]
 *
 * An agent's inputs are its own files, the SDK's, and the compiler's version; their hash is kept in
 * .cache/agents. Each build is a process of its own: the compiler holds on to what it makes.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { argv, execPath, exit, stderr, stdout } from "node:process";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { systemClock } from "../runtime/core/clock.ts";
import { SirsiError } from "../runtime/core/errors.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const AGENTS_DIR = join(ROOT, "agents-as");
const SDK_DIR = join(AGENTS_DIR, "sdk");

export interface BuildAgentsOptions {
  /** Where NAME.wasm goes. Default: modules/. */
  readonly outDir?: string;
  /** Folder names under agents-as; default: all. */
  readonly only?: readonly string[];
  /** Folders that hold agents; default: agents-as. */
  readonly sourceDir?: string;
  /** Build also what has not changed. */
  readonly force?: boolean;
  /** Gets one line an agent. */
  readonly report?: (line: string) => void;
}

export interface BuiltAgent {
  readonly folder: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly fresh: boolean;
}

function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.startsWith(join(directory, "build")))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

function packageVersion(name: string): string {
  return (JSON.parse(readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;
}

function inputHash(agentDir: string): string {
  const hash = createHash("sha256").update(`assemblyscript ${packageVersion("assemblyscript")}, json-as ${packageVersion("json-as")}`);
  for (const directory of [SDK_DIR, agentDir]) {
    for (const file of filesBelow(directory)) hash.update(`\0${relative(directory, file)}\0`).update(readFileSync(file));
  }
  return hash.digest("hex");
}

interface Stamp {
  readonly inputs: string;
  readonly output: string;
}

function readStamp(file: string): Stamp | null {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Stamp;
  } catch {
    return null;
  }
}

function digestOf(file: string): string {
  return existsSync(file) ? createHash("sha256").update(readFileSync(file)).digest("hex") : "";
}

function agentFile(agentDir: string, outDir: string): string {
  try {
    const { name } = JSON.parse(readFileSync(join(agentDir, "agent.json"), "utf8")) as { name: unknown };
    return join(outDir, `${String(name)}.wasm`);
  } catch (thrown) {
    throw new SirsiError("CONFIG_INVALID", `${relative(ROOT, join(agentDir, "agent.json"))} cannot be read: ${(thrown as Error).message}`, { cause: thrown });
  }
}

/** Runs the SDK's build tool; rejects with what it printed. */
function runBuild(agentDir: string, outDir: string): Promise<void> {
  return new Promise((settle, reject) => {
    const child = spawn(execPath, [join(SDK_DIR, "build.js"), agentDir, "--out", outDir], { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? settle() : reject(new SirsiError("MODULE_REJECTED", errors.trim() || `the build ended with ${code}`))));
  });
}

async function buildOne(folder: string, sourceDir: string, outDir: string, options: BuildAgentsOptions): Promise<BuiltAgent> {
  const agentDir = join(sourceDir, folder);
  const file = agentFile(agentDir, outDir);
  const stampFile = join(ROOT, ".cache", "agents", `${createHash("sha256").update(`${agentDir}\0${file}`).digest("hex").slice(0, 16)}.json`);
  const inputs = inputHash(agentDir);
  const stamp = readStamp(stampFile);
  const size = () => statSync(file).size;
  if (options.force !== true && stamp?.inputs === inputs && stamp.output === digestOf(file)) {
    options.report?.(`${folder}: unchanged, ${size()} bytes`);
    return { folder, file, sizeBytes: size(), fresh: false };
  }
  const started = systemClock.monotonic();
  await runBuild(agentDir, outDir);
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify({ inputs, output: digestOf(file) } satisfies Stamp));
  options.report?.(`${folder}: built in ${((systemClock.monotonic() - started) / 1000).toFixed(1)} s, ${size()} bytes`);
  return { folder, file, sizeBytes: size(), fresh: true };
}

/** Builds agents, as many at once as there are cores; throws after all have ended when one failed. */
export async function buildAgents(options: BuildAgentsOptions = {}): Promise<readonly BuiltAgent[]> {
  const sourceDir = options.sourceDir ?? AGENTS_DIR;
  const outDir = resolve(options.outDir ?? join(ROOT, "modules"));
  const present = readdirSync(sourceDir).filter((folder) => folder !== "sdk" && existsSync(join(sourceDir, folder, "agent.json")));
  const missing = (options.only ?? []).filter((folder) => !present.includes(folder));
  if (missing.length > 0) throw new SirsiError("CONFIG_INVALID", `no agent ${missing.join(", ")} under ${relative(ROOT, sourceDir)}; there are ${present.join(", ")}`);
  const queue = options.only === undefined ? present : [...options.only];
  const built: BuiltAgent[] = [];
  const failures: string[] = [];
  const runner = async () => {
    for (let folder = queue.shift(); folder !== undefined; folder = queue.shift()) {
      try {
        built.push(await buildOne(folder, sourceDir, outDir, options));
      } catch (thrown) {
        failures.push(`${folder}: ${SirsiError.from(thrown).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, runner));
  if (failures.length > 0) throw new SirsiError("MODULE_REJECTED", failures.join("\n\n"));
  return built.toSorted((a, b) => a.folder.localeCompare(b.folder));
}

async function main(): Promise<number> {
  const { values } = parseArgs({ args: argv.slice(2), options: { out: { type: "string" }, only: { type: "string", multiple: true }, force: { type: "boolean" } } });
  try {
    await buildAgents({
      ...(values.out === undefined ? {} : { outDir: values.out }),
      ...(values.only === undefined ? {} : { only: values.only }),
      force: values.force ?? false,
      report: (line) => stdout.write(`${line}\n`),
    });
    return 0;
  } catch (thrown) {
    stderr.write(`${SirsiError.from(thrown).message}\n`);
    return 1;
  }
}

if (import.meta.main) exit(await main());
