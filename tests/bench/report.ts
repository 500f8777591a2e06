/** The benchmark's outcome, for a terminal and for docs/benchmarks.md. */
import { comparisonText, type Figure, readingText, targetText, valueText, verdictOf } from "./figure.ts";
import type { Machine } from "./machine.ts";
import type { Plan, Section } from "./section.ts";

export interface SectionOutcome {
  readonly section: Section;
  readonly figures: readonly Figure[];
  /** What went wrong; empty when every answer was right. */
  readonly fault: string;
  readonly seconds: number;
  /** The machine's load at its end. */
  readonly load: number;
}

export interface RunReport {
  readonly machine: Machine;
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly plan: Omit<Plan, "folder">;
  readonly outcomes: readonly SectionOutcome[];
  readonly seconds: number;
}

export function machineLines({ cores, cpu, memoryGb, system, node, loadBefore }: Machine): string[] {
  return [`${cores} cores, ${cpu}, ${memoryGb} GB of memory`, `${system}, Node ${node}`, `load average ${loadBefore.toFixed(2)} before the run${loadBefore > cores / 2 ? ": the machine was busy with other things, so trust the ratios and not the times" : ""}`];
}

export function sectionText({ section, figures, fault, seconds, load }: SectionOutcome): string {
  const lines = [`\n${section.title} [${section.name}; ${seconds.toFixed(0)} s, load ${load.toFixed(1)}]`];
  for (const figure of figures) lines.push(...figureLines(figure));
  if (fault !== "") lines.push(`  WRONG  ${fault}`);
  lines.push(`  not measured: ${section.notMeasured.join("; ")}`);
  return `${lines.join("\n")}\n`;
}

function figureLines(figure: Figure): string[] {
  const verdict = verdictOf(figure);
  const target = verdict === "" ? "" : `   [target ${targetText(figure)}]`;
  const lines = [`  ${verdict.padEnd(4)}  ${figure.what}: ${readingText(figure.ours)}${target}`];
  if (figure.bare !== null) {
    const { as } = figure.compared ?? { as: "ratio" };
    const compared = figure.compared === null ? "" : as === "ratio" ? `${comparisonText(figure.compared)} of ` : `${comparisonText(figure.compared)} over `;
    lines.push(`          ${compared}${readingText(figure.bare.reading)}, ${figure.bare.what}`);
  }
  return lines;
}

/** Targets by name with what became of them. */
export function summaryText({ outcomes, seconds }: RunReport): string {
  const judged = outcomes.flatMap(({ figures }) => figures).filter((figure) => verdictOf(figure) !== "");
  const missed = judged.filter((figure) => verdictOf(figure) === "MISS");
  const wrong = outcomes.filter(({ fault }) => fault !== "");
  const lines = [`\n${judged.length - missed.length} of ${judged.length} targets met in ${seconds.toFixed(0)} s`];
  for (const figure of missed) lines.push(`  MISS  ${figure.what}: ${held(figure)}, target ${targetText(figure)}`);
  for (const { section, fault } of wrong) lines.push(`  WRONG ${section.name}: ${fault}`);
  return `${lines.join("\n")}\n`;
}

function held({ target, ours, compared }: Figure): string {
  if (target?.of === "compared" && compared !== null) return comparisonText(compared);
  return readingText(ours);
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|");
}

function tableOf({ section, figures }: SectionOutcome): string {
  const rows = figures.map((figure) => {
    const bare = figure.bare === null ? "" : `${readingText(figure.bare.reading)}: ${figure.bare.what}`;
    const compared = figure.compared === null ? "" : comparisonText(figure.compared);
    const verdict = verdictOf(figure);
    return `| ${[figure.what, readingText(figure.ours), bare, compared, targetText(figure), verdict].map(escaped).join(" | ")} |`;
  });
  return [
    `## ${section.title}`,
    "",
    "| figure | ours | bare baseline | compared | target | |",
    "|---|---|---|---|---|---|",
    ...rows,
    "",
    `Not measured: ${section.notMeasured.join("; ")}.`,
    "",
  ].join("\n");
}

export function docsPage(run: RunReport): string {
  const [hardware, software, load] = machineLines(run.machine);
  return [
    "# Benchmarks",
    "",
    "<!-- Written by `npm run bench -- --write-docs` from its own run. Do not edit. -->",
    "",
    "```",
    "npm run bench                      # everything, a few minutes",
    "npm run bench -- --quick           # the same, coarser, under a minute and a half",
    "npm run bench -- --only message    # one section",
    "npm run bench -- --help",
    "```",
    "",
    "Every figure stands beside a bare baseline that was taken in the same run, in turns with it, on the same machine:",
    "read the ratios first, for the times are this machine's. A cell shows the median over the turns, and in brackets the",
    "quartiles. `compared` is the median of the ratios (or differences, with a +) of each turn to the bare turn next to it.",
    "Every answer is checked; a wrong one voids its section and fails the run. A missed target does not.",
    "",
    `Taken ${run.date.slice(0, 10)} on ${hardware}; ${software}; ${load}.`,
    `${run.plan.rounds} turns of ${run.plan.roundMs} ms each, seed ${run.plan.seed}; ${valueText(run.seconds, "s")} in all.`,
    "",
    ...run.outcomes.map(tableOf),
    "## What none of them measures",
    "",
    "A network, TLS, a fleet of hosts, days of running, modules from other compilers, and a machine under other load than",
    "the one named above. Client and server share the machine's cores, as everything else here does.",
    "",
  ].join("\n");
}
