/** What a run amounts to, as data and as the block of docs/durability.md. */
import { cpus } from "node:os";
import { version } from "node:process";
import { type Marks, list, thousands } from "../crash-report.ts";
import type { Violation } from "../model.ts";
import type { Tally } from "../tally.ts";
import { TWO } from "./fleet-run.ts";
import { HOST_COUNT } from "./fleet-stage.ts";
import type { FleetCrashOptions } from "./options.ts";
import { FAULT_KINDS } from "./schedule.ts";

type Times = ReturnType<Tally["times"]>;

export interface KindReport {
  readonly kind: string;
  /** How often, alone or besides another. */
  readonly count: number;
  /** From the fault's beginning to its end; of those alone. */
  readonly tookMs: Times;
  /** From a message's first sending to its answer: the longest of each fault. */
  readonly waitMs: Times;
}

export interface FleetReport {
  readonly seed: number;
  readonly minutes: number;
  readonly hosts: number;
  readonly agents: number;
  readonly clients: number;
  readonly leaseMs: number;
  readonly machine: string;
  readonly faults: number;
  /** Of them, begun while another lasted. */
  readonly besides: number;
  readonly kinds: readonly KindReport[];
  readonly messages: { readonly answered: number; readonly sentAgain: number; readonly repeats: number };
  readonly booked: Readonly<Record<string, number>>;
  /** What was not answered, by reason. */
  readonly refusals: Readonly<Record<string, number>>;
  /** By their end, and what was asked for and refused. */
  readonly swaps: Readonly<Record<string, number>>;
  readonly swapRefusals: Readonly<Record<string, number>>;
  readonly ownerChanges: number;
  readonly verifications: number;
  /** Of every fault, the client that waited longest. */
  readonly waitMs: Times;
  /** Of every client, the longest it ever waited. */
  readonly longestByClientMs: readonly number[];
  readonly startMs: Times;
  readonly stopMs: Times;
  readonly drainMs: Times;
  readonly drainPauseMs: Times;
  readonly movePauseMs: Times;
  readonly answeredMs: Times;
  readonly verifiedMs: Times;
  readonly violations: readonly Violation[];
}

export function fleetReportOf(options: FleetCrashOptions, tally: Tally, tookMs: number, violations: readonly Violation[]): FleetReport {
  const { agents, clients, leaseMs, seed } = options;
  return {
    seed,
    minutes: Math.round(tookMs / 6_000) / 10,
    hosts: HOST_COUNT,
    agents,
    clients,
    leaseMs,
    machine: `${cpus().length} cores, Node ${version}`,
    faults: tally.of("faults"),
    besides: tally.of("faults besides others"),
    kinds: [...FAULT_KINDS, TWO].map((kind) => ({ kind, count: kind === TWO ? tally.of("faults besides others") : tally.of(`faults by kind ${kind}`), tookMs: tally.times(`took ${kind}`), waitMs: tally.times(`wait ${kind}`) })).filter(({ count }) => count > 0),
    messages: { answered: tally.of("messages answered"), sentAgain: tally.of("messages sent again"), repeats: tally.of("repeats answered the same") + tally.of("repeats forgotten") },
    booked: tally.below("booked "),
    refusals: tally.below("refusals "),
    swaps: tally.below("swap ends "),
    swapRefusals: tally.below("swap refusals "),
    ownerChanges: tally.of("changes of owner"),
    verifications: tally.of("verifications"),
    waitMs: tally.times("wait"),
    longestByClientMs: Array.from({ length: clients }, (_, index) => tally.times(`client ${index}`).max),
    startMs: tally.times("start"),
    stopMs: tally.times("stop"),
    drainMs: tally.times("drain"),
    drainPauseMs: tally.times("drain pause"),
    movePauseMs: tally.times("move pause"),
    answeredMs: tally.times("answered"),
    verifiedMs: tally.times("verified"),
    violations,
  };
}

export function fleetSummaryOf(report: FleetReport): string {
  const { answeredMs, longestByClientMs, messages, verifiedMs, waitMs } = report;
  return [
    `${report.faults} faults in ${report.minutes} minutes on ${report.hosts} hosts (seed ${report.seed}): ${report.kinds.map(({ count, kind }) => `${count} ${kind}`).join(", ") || "none"}`,
    `${thousands(messages.answered)} messages answered, ${thousands(messages.sentAgain)} sent again, ${thousands(messages.repeats)} repeated on purpose; booked: ${list(report.booked)}`,
    `refused, or not answered: ${list(report.refusals)}`,
    `longest wait for an answer, by fault: p50 ${waitMs.p50} ms, p99 ${waitMs.p99} ms; by client: ${longestByClientMs.join(", ")} ms`,
    `${thousands(report.ownerChanges)} changes of owner; swaps: ${list(report.swaps)}; refused: ${list(report.swapRefusals)}`,
    `${report.verifications} verifications; every open message answered after p50 ${answeredMs.p50} ms, most ${answeredMs.max} ms; verified after p50 ${verifiedMs.p50} ms, most ${verifiedMs.max} ms`,
    `${report.violations.length} violated invariants`,
  ].join("\n");
}

export const FLEET_MARKS: Marks = { begin: "<!-- fleet harness: begin -->", end: "<!-- fleet harness: end -->" };

export function fleetMarkdownOf(report: FleetReport): string {
  const { drainMs, drainPauseMs, longestByClientMs, messages, movePauseMs, startMs, verifiedMs, waitMs } = report;
  const rows: readonly (readonly [string, string])[] = [
    ["faults", `${report.faults} in ${report.minutes} minutes; ${report.besides} of them began while another lasted`],
    ["messages answered", `${thousands(messages.answered)}; ${thousands(messages.sentAgain)} were sent again after a failure, ${thousands(messages.repeats)} after their answer, on purpose`],
    ["commands booked", list(report.booked)],
    ["refused, or not answered", list(report.refusals)],
    ["longest wait of any client, by fault", `p50 ${waitMs.p50} ms, p99 ${waitMs.p99} ms, most ${waitMs.max} ms`],
    ["longest wait, by client", `${longestByClientMs.join(", ")} ms`],
    ["changes of owner", thousands(report.ownerChanges)],
    ["drains", `${drainMs.count}; p50 ${drainMs.p50} ms, most ${drainMs.max} ms; an agent's longest pause p50 ${drainPauseMs.p50} ms, most ${drainPauseMs.max} ms`],
    ["moves by hand", `${movePauseMs.count}; pause p50 ${movePauseMs.p50} ms, most ${movePauseMs.max} ms`],
    ["swaps by their end", `${list(report.swaps)}; refused: ${list(report.swapRefusals)}`],
    ["start to serving", `p50 ${startMs.p50} ms, most ${startMs.max} ms`],
    ["end of load to verified", `p50 ${verifiedMs.p50} ms, most ${verifiedMs.max} ms`],
    ["verifications", thousands(report.verifications)],
    ["**violated invariants**", `**${report.violations.length}**`],
  ];
  return [
    `Seed ${report.seed}, ${report.hosts} hosts with a lease of ${report.leaseMs} ms, ${report.agents} agents, ${report.clients} clients, ${report.machine}; all of it on this one machine.`,
    "",
    "| | |",
    "|---|---|",
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    "",
    "| fault | times | lasted, when alone | longest wait for an answer |",
    "|---|---|---|---|",
    ...report.kinds.map(({ count, kind, tookMs, waitMs: wait }) => `| ${kind} | ${count} | ${spread(tookMs)} | ${spread(wait)} |`),
  ].join("\n");
}

function spread({ count, max, p50 }: Times): string {
  return count === 0 ? "" : `p50 ${p50} ms, most ${max} ms`;
}
