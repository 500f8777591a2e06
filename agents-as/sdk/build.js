#!/usr/bin/env node
/**
 * Builds an agent: compiles DIR/assembly/index.ts, adds the manifest from DIR/agent.json as the
 * custom section `sirsi.manifest`, and writes NAME.wasm in one step.
 *
 *   node build.js DIR [--out OUT_DIR]
 *
 * Agents import the SDK as "@sirsi/agent-sdk"; the compiler is given the copy beside this
 * file, so nothing needs to be installed or linked for that.
 *
 * The compiler's runtime is `incremental`: it collects during a step as well, so a step that
 * makes much garbage does not run into the memory limit, and after the SDK's first collection
 * it keeps the heap within twice what the agent holds. Checkpoints are as small as with
 * `minimal`, at a price of some tenths of a microsecond a message. Bounds checks stay in.
 */
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { argv, exit, pid, stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";

const SDK_DIR = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

const MANIFEST_SECTION = "sirsi.manifest";
const MANIFEST_FIELDS = ["name", "version", "abi", "displayName", "description", "durability", "stateSchema", "onSwap", "restart", "supervision", "offers", "requests", "defaultConfig", "topics", "placement", "limits"];
/** What the compiler's entry is: the agent, and the exports the host calls. */
const ENTRY = "sirsi-agent-entry.ts";
const ENTRY_SOURCE = 'import "./assembly/index";\nexport { sirsi_abi, sirsi_alloc, sirsi_free, sirsi_call } from "@sirsi/agent-sdk/abi";\n';
const ALLOWED_IMPORTS = new Set(["env.abort", "sirsi.log", "sirsi.now", "sirsi.random", "sirsi.emit", "sirsi.request"]);
const IMPORT_ADVICE = {
  "env.seed": "Math.random() has no source here; use Random.f64() of the SDK",
  "env.Date.now": "Date.now() has no clock here; use Clock.now() of the SDK",
  "env.trace": "trace() has nowhere to go; use Log.debug() of the SDK",
  "env.console.log": "console.log() has nowhere to go; use Log.info() of the SDK",
};

/** Says what is wrong with an agent's sources; `message` is for the author as it stands. */
export class BuildError extends Error {
  name = "BuildError";
}

/**
 * Builds the agent in `directory` into `outDirectory`.
 * @param {string} directory
 * @param {{ outDirectory?: string }} [options]
 * @returns {Promise<{ name: string, version: string, file: string, sizeBytes: number }>}
 */
export async function buildAgent(directory, options = {}) {
  const agentDir = resolve(directory);
  const outDir = resolve(options.outDirectory ?? join(agentDir, "build"));
  const manifest = await readManifest(agentDir);
  const compiled = await compile(agentDir);
  refuseUnknownImports(compiled);
  const bytes = withSection(compiled, MANIFEST_SECTION, JSON.stringify(manifest));
  const file = join(outDir, `${manifest.name}.wasm`);
  await writeAtomically(file, bytes);
  return { name: manifest.name, version: manifest.version, file, sizeBytes: bytes.length };
}

async function readManifest(agentDir) {
  const file = join(agentDir, "agent.json");
  const text = await readFile(file, "utf8").catch(() => {
    throw new BuildError(`${file} is missing: an agent needs one, with at least "name" and "version"`);
  });
  let manifest;
  try {
    manifest = JSON.parse(text);
  } catch (error) {
    throw new BuildError(`${file} is not JSON: ${error.message}`);
  }
  const unknown = Object.keys(manifest).filter((key) => !MANIFEST_FIELDS.includes(key));
  if (unknown.length > 0) throw new BuildError(`${file} has fields that a manifest does not: ${unknown.join(", ")}. It may have ${MANIFEST_FIELDS.join(", ")}`);
  if (typeof manifest.name !== "string" || !/^[a-z][a-z0-9-]{0,62}$/.test(manifest.name)) throw new BuildError(`${file}: "name" must be lower-case letters, digits and dashes, beginning with a letter`);
  if (typeof manifest.version !== "string" || manifest.version === "") throw new BuildError(`${file}: "version" must say which version this is, such as "1.0.0"`);
  return { ...manifest, abi: manifest.abi ?? 1 };
}

// --- compiling ---

async function compile(agentDir) {
  const asc = await import("assemblyscript/asc");
  const errors = asc.createMemoryStream();
  // Without colours, which the compiler would else use wherever CI is set: what it says is worked on as plain text.
  const args = [ENTRY, "--baseDir", agentDir, "--outFile", "agent.wasm", "-O3", "--runtime", "incremental", "--noColors"];
  if (await importsJson(join(agentDir, "assembly"))) args.push("--transform", require.resolve("json-as"));
  let binary = null;
  const { error } = await asc.main(args, {
    stderr: errors,
    readFile: (name, baseDir) => readSource(agentDir, name, baseDir),
    writeFile: (_name, contents) => {
      binary = contents;
    },
    listFiles: () => [],
  });
  if (error !== null || binary === null) {
    const shown = errors.toString().replaceAll(/^FAILURE .*$/gm, "").trim();
    throw new BuildError(`${withPlaces(agentDir, shown)}\n\n${relativeName(agentDir)} was not built: ${error?.message ?? "the compiler wrote nothing"}`.trim());
  }
  return binary;
}

async function readSource(agentDir, name, baseDir) {
  if (name === ENTRY) return ENTRY_SOURCE;
  const path = resolve(baseDir, name);
  return readFile(redirect(path), "utf8").catch(() => null);
}

/** Where a package that agents import really is. */
function redirect(path) {
  const parts = path.split(sep).join("/");
  const sdk = /\/node_modules\/@sirsi\/agent-sdk\/(.*)$/.exec(parts);
  if (sdk !== null) return join(SDK_DIR, "assembly", sdk[1]);
  const json = /\/node_modules\/json-as\/(.*)$/.exec(parts);
  if (json !== null) return join(packageDir("json-as"), json[1]);
  return path;
}

/** A package's root: its entry is somewhere below. */
function packageDir(name) {
  const entry = require.resolve(name);
  return entry.slice(0, entry.lastIndexOf(`${sep}${name}${sep}`) + name.length + 2);
}

/** json-as rewrites sources, which costs time: only agents that import it pay. */
async function importsJson(directory) {
  for (const file of await sourceFiles(directory)) if (/from\s+["']json-as["']/.test(await readFile(file, "utf8"))) return true;
  return false;
}

/** Every file below a directory, sorted. */
export async function sourceFiles(directory) {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).toSorted();
}

/** The compiler names places as "in file.ts(3,5)"; editors and terminals know "file.ts:3:5". */
function withPlaces(agentDir, text) {
  return text.replaceAll(/\bin (\S+?)\((\d+),(\d+)\)/g, (_all, file, line, column) => {
    const inSdk = /^~lib\/@sirsi\/agent-sdk\/(.*)$/.exec(file);
    const path = inSdk !== null ? join(SDK_DIR, "assembly", inSdk[1]) : file.startsWith("~lib/") ? file : join(agentDir, file);
    return `at ${relativeName(path)}:${line}:${column}`;
  });
}

function relativeName(path) {
  return path.startsWith("~lib/") ? path : relative(process.cwd(), path) || ".";
}

// --- the module's bytes ---

function refuseUnknownImports(bytes) {
  const unknown = WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ module, name }) => `${module}.${name}`).filter((name) => !ALLOWED_IMPORTS.has(name));
  if (unknown.length === 0) return;
  throw new BuildError(`the agent imports what no host offers: ${unknown.map((name) => (name in IMPORT_ADVICE ? `${name} (${IMPORT_ADVICE[name]})` : name)).join(", ")}`);
}

function withSection(bytes, name, text) {
  const encoder = new TextEncoder();
  const nameBytes = encoder.encode(name);
  const payload = encoder.encode(text);
  const body = [...leb128(nameBytes.length), ...nameBytes, ...payload];
  return Buffer.concat([bytes, Uint8Array.of(0, ...leb128(body.length)), Uint8Array.from(body)]);
}

function leb128(value) {
  const bytes = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return bytes;
}

/** A watcher of the directory never sees half a file: the name appears when the bytes are all there. */
async function writeAtomically(file, bytes) {
  await mkdir(dirname(file), { recursive: true });
  const partial = `${file}.${pid}.partial`;
  try {
    await writeFile(partial, bytes);
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

// --- the command ---

async function main(args) {
  const at = args.indexOf("--out");
  const outDirectory = at >= 0 ? args[at + 1] : undefined;
  const directory = args.filter((_arg, i) => at < 0 || (i !== at && i !== at + 1))[0];
  if (directory === undefined || directory.startsWith("-")) {
    stderr.write("usage: sirsi-build-agent DIR [--out OUT_DIR]\n  DIR has agent.json and assembly/index.ts; NAME.wasm is written to OUT_DIR (DIR/build unless given)\n");
    return 2;
  }
  try {
    const built = await buildAgent(directory, outDirectory === undefined ? {} : { outDirectory });
    stdout.write(`${built.name} ${built.version}: ${relativeName(built.file)}, ${built.sizeBytes} bytes\n`);
    return 0;
  } catch (error) {
    stderr.write(`${error instanceof BuildError ? error.message : error.stack}\n`);
    return 1;
  }
}

// A package's command is a link to this file.
if (argv[1] !== undefined && import.meta.filename === realpathSync(argv[1])) exit(await main(argv.slice(2)));
