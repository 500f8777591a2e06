/** `npm run crash -- --fleet`: hosts, links and servers fail again and again, and nothing that was said may turn out untrue. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { exit, stdout } from "node:process";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../../runtime/core/clock.ts";
import { withBlock } from "../crash-report.ts";
import { Tally } from "../tally.ts";
import { FLEET_MARKS, type FleetReport, fleetMarkdownOf, fleetReportOf, fleetSummaryOf } from "./fleet-report.ts";
import { FleetRun } from "./fleet-run.ts";
import { FleetStage } from "./fleet-stage.ts";
import { type FleetCrashOptions, HELP, readFleetOptions } from "./options.ts";

const PAGE = fileURLToPath(new URL("../../../docs/durability.md", import.meta.url));
const SHOWN = 20;
/** After which what does not want to end is left to the end of this process, which kills it. */
const TIDY_MS = 60_000;

/** Gives the exit code. */
export async function crashFleet(args: readonly string[]): Promise<number> {
  const options = readFleetOptions(args);
  if (options.help) {
    stdout.write(HELP);
    return 0;
  }
  const report = await crash(options);
  stdout.write(`\n${fleetSummaryOf(report)}\n`);
  if (options.report !== null) writeFileSync(options.report, `${JSON.stringify(report, null, 2)}\n`);
  if (options.writeDocs) writeFileSync(PAGE, withBlock(readFileSync(PAGE, "utf8"), FLEET_MARKS, fleetMarkdownOf(report)));
  return report.violations.length === 0 ? 0 : 1;
}

async function crash(options: FleetCrashOptions): Promise<FleetReport> {
  const directory = options.dir === null ? mkdtempSync(join(tmpdir(), "sirsi-fleet-crash-")) : resolve(options.dir);
  mkdirSync(directory, { recursive: true });
  const over = new AbortController();
  // Whatever ends this process ends the hosts; servers see to it themselves.
  process.once("exit", () => over.abort());
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => exit(130));
  const tally = new Tally();
  const say = options.quiet ? () => {} : (line: string) => void stdout.write(`${line}\n`);
  const began = systemClock.monotonic();
  const stage = await FleetStage.open({ ...options, directory, tally }, over.signal);
  say(`the fleet is up after ${Math.round(systemClock.monotonic() - began)} ms`);
  const run = new FleetRun(stage, options, tally, say);
  try {
    await run.run(began + options.minutes * 60_000, options.faults);
  } finally {
    if (stage.violations.length > 0) keep(directory, run, stage, options.seed);
    await tidy(stage);
  }
  const report = fleetReportOf(options, tally, systemClock.monotonic() - began, stage.violations);
  if (stage.violations.length === 0 && options.dir === null) rmSync(directory, { recursive: true, force: true });
  return report;
}

async function tidy(stage: FleetStage): Promise<void> {
  const late = setTimeout(() => {
    stdout.write("the fleet did not end in time; it is killed\n");
    exit(2);
  }, TIDY_MS);
  await stage[Symbol.asyncDispose]();
  clearTimeout(late);
}

function keep(directory: string, { fault }: FleetRun, { members, servers, violations }: FleetStage, seed: number): void {
  for (const { log, name } of members) writeFileSync(join(directory, `${name}.log`), log);
  for (const server of [servers.nats, servers.postgres, servers.redis]) writeFileSync(join(directory, `${server.record.name}.log`), readFileSync(join(server.directory, "server.log")));
  writeFileSync(join(directory, "violations.json"), JSON.stringify({ seed, fault, violations }, null, 2));
  stdout.write(`\nVIOLATED with seed ${seed} by fault ${fault?.number} (${fault?.kind}); the logs are in ${directory}\n`);
  for (const { expected, found, ledger, what } of violations.slice(0, SHOWN)) stdout.write(`\n  ${what}, ${ledger}\n    expected ${expected}\n    found    ${found}\n`);
  if (violations.length > SHOWN) stdout.write(`\n  and ${violations.length - SHOWN} more in violations.json\n`);
}
