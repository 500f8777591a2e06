#!/usr/bin/env node
/*
 * Starts the `sirsi` command on a Node that can run it. Plain JavaScript that an old Node
 * reads too: the machine's own Node may be older than the one the package brings along.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import module, { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED = 26;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Where Node keeps what it compiled: half of a start's time. It does without when it may not write there. */
const COMPILED = join(root, ".cache", "compiled");

/** A checkout has the sources; an installed package has what was built from them. */
function findProgram() {
  const source = join(root, "runtime", "cli", "main.ts");
  return existsSync(source) ? source : join(root, "dist", "cli", "main.js");
}

/** The Node of the package `node`, when it is installed. */
function findBroughtNode() {
  try {
    const manifest = createRequire(import.meta.url).resolve("node/package.json");
    const binary = join(dirname(manifest), "bin", process.platform === "win32" ? "node.exe" : "node");
    return existsSync(binary) ? binary : null;
  } catch {
    return null;
  }
}

function runWith(node, program) {
  const env = { ...process.env, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? COMPILED };
  const child = spawn(node, [program, ...process.argv.slice(2)], { stdio: "inherit", env });
  // A terminal sends its signals to the child as well; those of `kill` come here alone.
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  const onTerminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY);
  process.on("SIGINT", () => {
    if (!onTerminal) child.kill("SIGINT");
  });
  child.on("error", (error) => {
    console.error(`error: ${node} cannot be started (${error.message})\n  next: run \`npm ci\` again, or install Node ${NEEDED}.`);
    process.exit(1);
  });
  child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + (constants.signals[signal] ?? 0)));
}

const program = findProgram();
if (Number.parseInt(process.versions.node, 10) >= NEEDED) {
  module.enableCompileCache(COMPILED);
  await import(pathToFileURL(program).href);
} else {
  const node = findBroughtNode();
  if (node === null) {
    console.error(
      `error: sirsi needs Node ${NEEDED} or newer; this is ${process.versions.node}\n` +
        "  why:  the package `node`, which brings one, is not installed or its install script was not allowed.\n" +
        `  next: run \`npm ci\` (or \`npm rebuild node\`), or install Node ${NEEDED}.`,
    );
    process.exit(1);
  } else {
    runWith(node, program);
  }
}
