/**
 * Everything that must hold before a change is taken: `npm test`, and what CI runs.
 *
 * Needs what `npm ci` installed, and NATS, PostgreSQL and Redis, which it gets by itself
 * where it may (scripts/services). Each section is a command of its own, so that it can be
 * run alone; all of them run whatever the others say, save that nothing is worth running
 * without servers or on agents that do not build. The last line has the totals of the test
 * runner.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { execPath, exit, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { processEnvironment } from "../runtime/config/index.ts";
import { systemClock } from "../runtime/core/clock.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const BIN = join(ROOT, "node_modules", ".bin");
const REPORT = join(ROOT, ".cache", "test-report.json");

interface Section {
  readonly name: string;
  /** Whether it passed; it has said why when not. */
  readonly run: () => boolean;
  /** Nothing after it makes sense when it fails. */
  readonly vital?: boolean;
}

interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  readonly tookMs: number;
}

/** Runs a command of node_modules/.bin, or `node`, with its output on ours. */
function command(name: string, ...args: readonly string[]): boolean {
  const env = { ...processEnvironment(), PATH: `${BIN}${delimiter}${processEnvironment()["PATH"] ?? ""}` };
  const { status, signal, error } = spawnSync(name === "node" ? execPath : join(BIN, name), args, { cwd: ROOT, env, stdio: "inherit" });
  if (error !== undefined) stdout.write(`${name} cannot be started (${error.message}); run \`npm ci\` first\n`);
  else if (signal !== null) stdout.write(`${name} was ended by ${signal}\n`);
  return status === 0;
}

/** Generates the protobuf code anew, elsewhere, and compares: the working tree stays as it is. */
function generatedCodeIsCurrent(): boolean {
  const fresh = mkdtempSync(join(tmpdir(), "sirsi-generated-"));
  try {
    if (!command("buf", "generate", "--output", fresh)) return false;
    const folder = join("runtime", "contract", "gen");
    const [wanted, present] = [filesOf(join(fresh, folder)), filesOf(join(ROOT, folder))];
    const stale = [...new Set([...wanted.keys(), ...present.keys()])].filter((name) => wanted.get(name) !== present.get(name));
    for (const name of stale) stdout.write(`${join(folder, name)} is not what proto/ says; run: npm run generate\n`);
    return stale.length === 0;
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

function filesOf(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(files.map((entry) => join(entry.parentPath, entry.name)).map((path) => [path.slice(directory.length), readFileSync(path, "utf8")]));
}

function runTests(): boolean {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  rmSync(REPORT, { force: true });
  return command("vitest", "run", "--coverage", "--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`);
}

const SECTIONS: readonly Section[] = [
  // Tests run real servers, which some machines are not allowed to get by themselves: better told once than by each test.
  { name: "servers", run: () => command("node", "scripts/services/main.ts", "install"), vital: true },
  { name: "agents", run: () => command("node", "scripts/build-agents.ts"), vital: true },
  { name: "types", run: () => command("tsc", "-p", ".") },
  { name: "lint", run: () => [command("oxlint", "--type-aware", "--deny-warnings"), command("buf", "lint")].every(Boolean) },
  {
    name: "generated files",
    run: () => [generatedCodeIsCurrent(), command("node", "scripts/generate-guest-codec.ts", "--check"), command("node", "scripts/generate-docs.ts", "--check")].every(Boolean),
  },
  { name: "tests", run: runTests },
  // A few kills only; `npm run crash -- --minutes N` is the long run.
  { name: "crash", run: () => command("node", "tests/crash/main.ts", "--minutes", "0.4", "--seed", "1") },
  // A few faults of different kinds; `npm run crash -- --fleet --faults N` is the long run.
  {
    name: "crash fleet",
    run: () => command("node", "tests/crash/main.ts", "--fleet", "--faults", "7", "--seed", "1", "--kinds", "host-killed,nats-half-open,host-drained,host-paused-long,postgres-killed,module-swapped,redis-killed"),
  },
  { name: "demo", run: () => command("node", "scripts/demo.ts") },
];

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`.padStart(8);
}

/** As the test runner counted them; nothing when it did not come so far. */
function totals(): { readonly passed: number; readonly failed: number } {
  try {
    const { numPassedTests, numFailedTests, numFailedTestSuites, numTotalTests } = JSON.parse(readFileSync(REPORT, "utf8")) as Record<string, number>;
    // A file that cannot even be loaded has no tests to fail.
    const failed = numFailedTests || (numTotalTests === 0 ? numFailedTestSuites : 0);
    return { passed: numPassedTests ?? 0, failed: failed ?? 0 };
  } catch {
    return { passed: 0, failed: 0 };
  }
}

function main(): number {
  const started = systemClock.monotonic();
  const outcomes: Outcome[] = [];
  rmSync(REPORT, { force: true });
  for (const { name, run, vital } of SECTIONS) {
    stdout.write(`\n──── ${name} ────\n`);
    const begun = systemClock.monotonic();
    const passed = run();
    outcomes.push({ name, passed, tookMs: systemClock.monotonic() - begun });
    if (!passed && vital === true) break;
  }
  stdout.write("\n──── in all ────\n");
  for (const { name, passed, tookMs } of outcomes) stdout.write(`${passed ? "passed" : "FAILED"} ${seconds(tookMs)}  ${name}\n`);
  stdout.write(`       ${seconds(systemClock.monotonic() - started)}\n`);
  const { passed, failed } = totals();
  stdout.write(`${passed} passed, ${failed} failed\n`);
  return outcomes.length === SECTIONS.length && outcomes.every((outcome) => outcome.passed) ? 0 : 1;
}

exit(main());
