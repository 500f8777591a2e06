/** npm run bench: every section in a process of its own, one after the other, and what came of it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { BenchChild } from "./bench-child.ts";
import { type Figure, verdictOf } from "./figure.ts";
import { loadNow, thisMachine } from "./machine.ts";
import { HELP, type Options, readOptions } from "./options.ts";
import { docsPage, machineLines, type RunReport, sectionText, type SectionOutcome, summaryText } from "./report.ts";
import type { SectionAsk } from "./section-process.ts";
import type { Section } from "./section.ts";
import { SECTIONS } from "./sections.ts";

/** A section that is not done by then is ended, with all it started. More rounds may take longer. */
const SECTION_MAX_MS = 120_000;
const ROUND_MAX_MS = 15_000;
const SIGNALS = ["SIGINT", "SIGTERM"] as const;
const DOCS_PAGE = new URL("../../docs/benchmarks.md", import.meta.url);

async function runSection(section: Section, options: Options): Promise<SectionOutcome> {
  const started = systemClock.monotonic();
  const folder = mkdtempSync(join(tmpdir(), `sirsi-bench-${section.name}-`));
  const child = new BenchChild(new URL("./section-process.ts", import.meta.url), { family: true });
  const timer = systemClock.after(Math.max(section.maxMs ?? SECTION_MAX_MS, options.rounds * ROUND_MAX_MS), () => void child.end());
  const interrupt = () => void child.end().then(() => process.exit(130));
  for (const signal of SIGNALS) process.once(signal, interrupt);
  const end = (figures: readonly Figure[], fault: string): SectionOutcome => ({ section, figures, fault, seconds: (systemClock.monotonic() - started) / 1000, load: loadNow() });
  try {
    const { quick, seed, registered, rounds, roundMs } = options;
    return end(await child.ask<readonly Figure[]>({ name: section.name, plan: { quick, seed, registered, rounds, roundMs, folder } } satisfies SectionAsk), "");
  } catch (thrown) {
    return end([], SirsiError.from(thrown).message);
  } finally {
    timer.cancel();
    for (const signal of SIGNALS) process.off(signal, interrupt);
    await child.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function jsonOf(run: RunReport): string {
  const sections = run.outcomes.map(({ section: { name, title, notMeasured }, figures, ...rest }) => ({ name, title, notMeasured, ...rest, figures: figures.map((figure) => ({ ...figure, verdict: verdictOf(figure) })) }));
  const { outcomes: _outcomes, ...rest } = run;
  return `${JSON.stringify({ ...rest, sections }, null, 2)}\n`;
}

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  const say = (text: string) => process.stdout.write(text);
  if (options.help) {
    say(HELP);
    return 0;
  }
  const started = systemClock.monotonic();
  const machine = thisMachine();
  say(`${machineLines(machine).join("\n")}\n${options.rounds} turns of ${options.roundMs} ms each; medians over the turns, quartiles in brackets\n`);
  const outcomes: SectionOutcome[] = [];
  for (const section of SECTIONS) {
    if (options.only.length > 0 && !options.only.includes(section.name)) continue;
    const outcome = await runSection(section, options);
    outcomes.push(outcome);
    say(sectionText(outcome));
  }
  const { quick, seed, registered, rounds, roundMs } = options;
  const run: RunReport = { machine, date: new Date(systemClock.now()).toISOString(), plan: { quick, seed, registered, rounds, roundMs }, outcomes, seconds: (systemClock.monotonic() - started) / 1000 };
  say(summaryText(run));
  const wrong = outcomes.some(({ fault }) => fault !== "");
  if (options.json !== null) writeFileSync(options.json, jsonOf(run));
  if (options.writeDocs && !wrong) writeFileSync(DOCS_PAGE, docsPage(run));
  return wrong ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  process.stderr.write(`${SirsiError.from(thrown).message}\n`);
  process.exitCode = 2;
}
