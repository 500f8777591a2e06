/** How many agents fit, and what they weigh. One run each: ten thousand of them are their own repetition. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { BenchChild } from "./bench-child.ts";
import type { Figure } from "./figure.ts";
import type { ResidentsAsk, ResidentsReport } from "./residents-process.ts";
import { single } from "./rounds.ts";
import type { Plan, Section } from "./section.ts";

const COUNT = 10_000;
const SPAWNED_S = 20;
const RESIDENT_MB = 1_500;
const MB = 1_000_000;

async function filled(plan: Plan, kind: ResidentsAsk["kind"], agentType: string): Promise<ResidentsReport> {
  const folder = join(plan.folder, `${kind}-${agentType}`);
  mkdirSync(folder);
  const child = new BenchChild(new URL("./residents-process.ts", import.meta.url));
  try {
    return await child.ask<ResidentsReport>({ kind, agentType, count: COUNT, folder } satisfies ResidentsAsk);
  } finally {
    await child.end();
  }
}

function figures(agentType: string, ours: ResidentsReport, bare: ResidentsReport, judged: boolean): Figure[] {
  const many = `${COUNT.toLocaleString("en-US")} resident ${agentType}s in one host`;
  const instances = `${COUNT.toLocaleString("en-US")} bare instances of the same module in one process`;
  const compared = (a: number, b: number) => ({ as: "ratio", reading: single(a / b, "×") }) as const;
  const each = (report: ResidentsReport) => (report.residentBytes - report.emptyBytes) / COUNT / 1_000;
  return [
    {
      what: `${many}: spawned in`,
      ours: single(ours.spawnedMs / 1000, "s"),
      bare: { what: instances, reading: single(bare.spawnedMs / 1000, "s") },
      compared: compared(ours.spawnedMs, bare.spawnedMs),
      target: judged ? { of: "ours", bound: "at most", value: SPAWNED_S } : null,
    },
    {
      what: `${many}: memory of the whole process`,
      ours: single(ours.residentBytes / MB, "MB"),
      bare: { what: instances, reading: single(bare.residentBytes / MB, "MB") },
      compared: compared(ours.residentBytes, bare.residentBytes),
      target: judged ? { of: "ours", bound: "at most", value: RESIDENT_MB } : null,
    },
    { what: `${many}: memory for each`, ours: single(each(ours), "KB"), bare: { what: instances, reading: single(each(bare), "KB") }, compared: compared(each(ours), each(bare)), target: null },
    { what: `${many}: all of them have answered a message after`, ours: single(ours.answeredMs / 1000, "s"), bare: null, compared: null, target: null },
  ];
}

async function measure(plan: Plan): Promise<Figure[]> {
  const taken: Figure[] = [];
  for (const [agentType, judged] of plan.quick ? ([["counter", true]] as const) : ([["counter", true], ["echo", true]] as const)) {
    const bare = await filled(plan, "bare", agentType);
    taken.push(...figures(agentType, await filled(plan, "host", agentType), bare, judged));
  }
  return taken;
}

export const residentsSection: Section = {
  name: "residents",
  title: "Many agents",
  notMeasured: ["agents with much state of their own: these hold a few hundred bytes", "paging out: all of them are resident", "the transport: they are made and asked inside the host's process"],
  run: measure,
};
