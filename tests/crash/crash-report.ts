/** What a run amounts to, as data and as the block of docs/durability.md. */
import { cpus } from "node:os";
import { version } from "node:process";
import { FAULT_POINTS } from "../../runtime/core/fault-points.ts";
import type { CrashOptions } from "./options.ts";
import type { Violation } from "./model.ts";
import type { SwapBooks } from "./store-books.ts";
import type { Tally } from "./tally.ts";

export interface CrashReport {
  readonly seed: number;
  readonly minutes: number;
  readonly agents: number;
  readonly clients: number;
  readonly disk: string;
  readonly machine: string;
  readonly kills: number;
  readonly killsByKind: Readonly<Record<string, number>>;
  readonly killsByPoint: Readonly<Record<string, number>>;
  readonly killsByMoment: Readonly<Record<string, number>>;
  readonly pointsNotReached: Readonly<Record<string, number>>;
  readonly messages: { readonly answered: number; readonly sentAgain: number; readonly repeats: number; readonly refused: number; readonly unsettled: number };
  readonly reads: { readonly answered: number; readonly refused: Readonly<Record<string, number>> };
  readonly booked: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly swaps: { readonly calls: Readonly<Record<string, number>>; readonly ends: Readonly<Record<string, number>>; readonly refusals: Readonly<Record<string, number>>; readonly books: SwapBooks };
  readonly spells: Readonly<Record<string, number>>;
  readonly filesTorn: number;
  readonly verifications: number;
  readonly startMs: ReturnType<Tally["times"]>;
  readonly answeredMs: ReturnType<Tally["times"]>;
  readonly verifiedMs: ReturnType<Tally["times"]>;
  readonly violations: readonly Violation[];
}

export function reportOf(options: CrashOptions, tally: Tally, disk: string, tookMs: number, violations: readonly Violation[], books: SwapBooks): CrashReport {
  return {
    seed: options.seed,
    minutes: Math.round(tookMs / 6_000) / 10,
    agents: options.agents,
    clients: options.clients,
    disk,
    machine: `${cpus().length} cores, Node ${version}`,
    kills: tally.of("kills"),
    killsByKind: tally.below("kills by kind "),
    killsByPoint: tally.below("kills by point "),
    killsByMoment: tally.below("kills by moment "),
    pointsNotReached: tally.below("points not reached "),
    messages: {
      answered: tally.of("messages answered"),
      sentAgain: tally.of("messages sent again"),
      repeats: tally.of("repeats answered the same") + tally.of("repeats forgotten"),
      refused: tally.of("refused without effect"),
      unsettled: tally.of("unsettled questions"),
    },
    reads: { answered: tally.of("reads answered"), refused: tally.below("reads refused ") },
    booked: tally.below("booked "),
    faults: tally.below("answers "),
    swaps: { calls: tally.below("swap calls "), ends: tally.below("swap ends "), refusals: tally.below("swap refusals "), books },
    spells: tally.below("spells "),
    filesTorn: tally.of("files torn"),
    verifications: tally.of("verifications"),
    startMs: tally.times("start"),
    answeredMs: tally.times("answered"),
    verifiedMs: tally.times("verified"),
    violations,
  };
}

export const list = (counts: Readonly<Record<string, number>>) => Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(", ") || "none";
export const thousands = (count: number) => count.toLocaleString("en-US");

export function summaryOf(report: CrashReport): string {
  const { messages, swaps, startMs, answeredMs } = report;
  return [
    `${report.kills} kills in ${report.minutes} minutes (seed ${report.seed}): ${list(report.killsByKind)}`,
    `fault points that killed: ${list(report.killsByPoint)}`,
    `${thousands(messages.answered)} messages answered, ${thousands(messages.sentAgain)} sent again, ${thousands(messages.repeats)} repeated on purpose; booked: ${list(report.booked)}`,
    `swaps: ${list(swaps.calls)}; refused: ${list(swaps.refusals)}; by the store: ${list(swaps.books.states)}; ${thousands(swaps.books.moved)} moves, ${thousands(swaps.books.reverted)} back, ${thousands(swaps.books.failed)} failed`,
    `${report.verifications} verifications; serving after p50 ${startMs.p50} ms, p99 ${startMs.p99} ms; every open message answered after p50 ${answeredMs.p50} ms, p99 ${answeredMs.p99} ms`,
    `spells: ${list(report.spells)}; ${report.filesTorn} cache files torn`,
    `${report.violations.length} violated invariants`,
  ].join("\n");
}

export interface Marks {
  readonly begin: string;
  readonly end: string;
}

export const MARKS: Marks = { begin: "<!-- crash harness: begin -->", end: "<!-- crash harness: end -->" };

export function markdownOf(report: CrashReport): string {
  const { messages, swaps, startMs, answeredMs, verifiedMs } = report;
  const rows: readonly (readonly [string, string])[] = [
    ["kills", `${report.kills} in ${report.minutes} minutes: ${list(report.killsByKind)}`],
    ["when they came", list(report.killsByMoment)],
    ["messages answered", `${thousands(messages.answered)}; ${thousands(messages.sentAgain)} were sent again after a failure, ${thousands(messages.repeats)} after their answer, on purpose`],
    ["reads", `${thousands(report.reads.answered)} answered; refused: ${list(report.reads.refused)}`],
    ["commands booked", list(report.booked)],
    ["faults on purpose", list(report.faults)],
    ["swaps asked for", `${list(swaps.calls)} answered; refused, or cut off by a kill: ${list(swaps.refusals)}`],
    ["swaps by their end", list(swaps.books.states)],
    ["agents moved", `${thousands(swaps.books.moved)}, and ${thousands(swaps.books.reverted)} back; a swap's longest pause p50 ${swaps.books.pauseP50Ms} ms, most ${swaps.books.pauseMaxMs} ms`],
    ["disk and process", `${list(report.spells)}; ${report.filesTorn} cache files torn`],
    ["verifications", thousands(report.verifications)],
    ["start to serving", `p50 ${startMs.p50} ms, p99 ${startMs.p99} ms, most ${startMs.max} ms`],
    ["serving to every open message answered", `p50 ${answeredMs.p50} ms, p99 ${answeredMs.p99} ms, most ${answeredMs.max} ms`],
    ["serving to verified", `p50 ${verifiedMs.p50} ms, p99 ${verifiedMs.p99} ms, most ${verifiedMs.max} ms`],
    ["**violated invariants**", `**${report.violations.length}**`],
  ];
  const points = FAULT_POINTS.map((point) => `\`${point}\` ${report.killsByPoint[point] ?? 0}`).join(", ");
  return [
    `Seed ${report.seed}, ${report.agents} agents, ${report.clients} clients, ${report.machine}, on ${report.disk}.`,
    "",
    "| | |",
    "|---|---|",
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    "",
    `Kills by fault point: ${points}.`,
  ].join("\n");
}

/** The page with what stands between the marks replaced. */
export function withBlock(page: string, marks: Marks, block: string): string {
  const [begin, end] = [page.indexOf(marks.begin), page.indexOf(marks.end)];
  if (begin < 0 || end < begin) return page;
  return `${page.slice(0, begin + marks.begin.length)}\n${block}\n${page.slice(end)}`;
}
