/** `npm run crash`: a host is killed again and again, and nothing that it said may turn out untrue. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { argv, exit, stderr, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { CrashRun } from "./crash-run.ts";
import { type CrashReport, MARKS, markdownOf, reportOf, summaryOf, withBlock } from "./crash-report.ts";
import { boundedFiles, mountedDisk } from "./disk.ts";
import type { Violation } from "./model.ts";
import { type CrashOptions, HELP, readOptions } from "./options.ts";
import type { SwapBooks } from "./store-books.ts";
import { openStage } from "./stage.ts";
import { Tally } from "./tally.ts";

const PAGE = fileURLToPath(new URL("../../docs/durability.md", import.meta.url));
const NO_SWAPS: SwapBooks = { states: {}, moved: 0, kept: 0, failed: 0, reverted: 0, pauseP50Ms: 0, pauseMaxMs: 0 };
const SHOWN = 20;
const WARM = ["one", "two", "one", "two", "two", "ref", "trp", "lop", "sik"] as const;

async function crash(options: CrashOptions): Promise<CrashReport> {
  const directory = options.dir === null ? mkdtempSync(join(tmpdir(), "sirsi-crash-")) : resolve(options.dir);
  mkdirSync(directory, { recursive: true });
  const disk = options.diskMib === null ? boundedFiles() : mountedDisk(directory, options.diskMib);
  const tally = new Tally();
  const say = options.quiet ? () => {} : (line: string) => void stdout.write(`${line}\n`);
  const stage = await openStage({ directory, disk, seed: options.seed, agents: options.agents, clients: options.clients, tally, warm: options.minutes < 2 ? ["two"] : WARM });
  const run = new CrashRun(stage, options.seed, tally, say);
  let swaps = NO_SWAPS;
  const began = systemClock.monotonic();
  try {
    await run.run(began + options.minutes * 60_000, options.kills);
  } finally {
    await run.stop();
    swaps = stage.books.swaps();
    if (stage.violations.length > 0) keep(directory, run, stage.violations, options.seed);
    else await stage[Symbol.asyncDispose]();
  }
  const report = reportOf(options, tally, disk.words, systemClock.monotonic() - began, stage.violations, swaps);
  if (stage.violations.length === 0 && options.dir === null) rmSync(directory, { recursive: true, force: true });
  return report;
}

function keep(directory: string, run: CrashRun, violations: readonly Violation[], seed: number): void {
  for (const [index, log] of run.logs.entries()) writeFileSync(join(directory, `host-${index}.log`), log);
  writeFileSync(join(directory, "violations.json"), JSON.stringify({ seed, cycle: run.cycle, violations }, null, 2));
  const { cycle } = run;
  const fault = cycle?.fault === null || cycle === null ? "no fault point" : `${cycle.fault.action} at ${cycle.fault.point} #${cycle.fault.hit}`;
  stdout.write(`\nVIOLATED with seed ${seed} in cycle ${cycle?.number} (${cycle?.ordeal}, ${fault}); the data and the logs are in ${directory}\n`);
  for (const { what, ledger, expected, found } of violations.slice(0, SHOWN)) stdout.write(`\n  ${what}, ${ledger}\n    expected ${expected}\n    found    ${found}\n`);
  if (violations.length > SHOWN) stdout.write(`\n  and ${violations.length - SHOWN} more in violations.json\n`);
}

async function main(): Promise<number> {
  const args = argv.slice(2);
  // Loaded when asked for: its servers' clients are of no use to a single host.
  if (args.includes("--fleet")) return await (await import("./fleet/fleet-crash.ts")).crashFleet(args);
  const options = readOptions(args);
  if (options.help) {
    stdout.write(HELP);
    return 0;
  }
  const report = await crash(options);
  stdout.write(`\n${summaryOf(report)}\n`);
  if (options.report !== null) writeFileSync(options.report, `${JSON.stringify(report, null, 2)}\n`);
  if (options.writeDocs) writeFileSync(PAGE, withBlock(readFileSync(PAGE, "utf8"), MARKS, markdownOf(report)));
  return report.violations.length === 0 ? 0 : 1;
}

try {
  exit(await main());
} catch (thrown) {
  const error = SirsiError.from(thrown);
  stderr.write(`${error.message}\n${error.code === "INTERNAL" ? `${thrown instanceof Error ? thrown.stack : ""}\n` : ""}`);
  exit(2);
}
