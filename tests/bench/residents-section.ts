/** How many agents fit, and what they weigh. One run each: ten thousand of them are their own repetition. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BenchChild } from "./bench-child.ts";
import type { Figure, Unit } from "./figure.ts";
import type { ResidentsAsk, ResidentsReport } from "./residents-process.ts";
import { single } from "./rounds.ts";
import type { Plan, Section } from "./section.ts";

const COUNT = 10_000;
/** For a quick run, which shows that it works and judges nothing. */
const QUICK_COUNT = 2_000;
const AGENT_TYPE = "counter";
const SPAWNED_S = 20;
const RESIDENT_MB = 1_500;
const MB = 1_000_000;

async function filled(plan: Plan, kind: ResidentsAsk["kind"], count: number): Promise<ResidentsReport> {
  const folder = join(plan.folder, kind);
  mkdirSync(folder);
  const child = new BenchChild(new URL("./residents-process.ts", import.meta.url));
  try {
    return await child.ask<ResidentsReport>({ kind, agentType: AGENT_TYPE, count, folder } satisfies ResidentsAsk);
  } finally {
    await child.end();
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const count = plan.quick ? QUICK_COUNT : COUNT;
  const bare = await filled(plan, "bare", count);
  const ours = await filled(plan, "host", count);
  const number = count.toLocaleString("en-US");
  const many = `${number} resident ${AGENT_TYPE}s in one host`;
  const figure = (what: string, of: (report: ResidentsReport) => number, unit: Unit, atMost: number | null): Figure => ({
    what: `${many}: ${what}`,
    ours: single(of(ours), unit),
    bare: { what: `${number} bare instances of the same module in one process`, reading: single(of(bare), unit) },
    compared: { as: "ratio", reading: single(of(ours) / of(bare), "×") },
    target: atMost === null || plan.quick ? null : { of: "ours", bound: "at most", value: atMost },
  });
  return [
    figure("spawned in", (report) => report.spawnedMs / 1_000, "s", SPAWNED_S),
    figure("memory of the whole process", (report) => report.residentBytes / MB, "MB", RESIDENT_MB),
    figure("memory for each", (report) => (report.residentBytes - report.emptyBytes) / count / 1_000, "KB", null),
    { what: `${many}: all of them have answered a message after`, ours: single(ours.answeredMs / 1_000, "s"), bare: null, compared: null, target: null },
  ];
}

export const residentsSection: Section = {
  name: "residents",
  title: "Many agents",
  notMeasured: ["agents with much state of their own: these hold a few hundred bytes", "paging out: all of them are resident", "the transport: they are made and asked inside the host's process"],
  run: measure,
};
