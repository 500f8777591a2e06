/** What a run of the crash tests says of itself, and what its command line takes. */
import { describe, expect, it } from "vitest";
import { MARKS, markdownOf, reportOf, summaryOf, withBlock } from "../../crash/crash-report.ts";
import { readOptions } from "../../crash/options.ts";
import { Tally } from "../../crash/tally.ts";

function sample() {
  const tally = new Tally();
  for (const kind of ["random", "random", "fault point"]) {
    tally.count("kills");
    tally.count(`kills by kind ${kind}`);
  }
  tally.count("kills by point swap.saved");
  tally.count("messages answered", 12_345);
  for (const ms of [10, 20, 30]) tally.time("start", ms);
  const books = { states: { KEPT: 2, REVERTED: 1 }, moved: 40, kept: 1, failed: 0, reverted: 16, pauseP50Ms: 12, pauseMaxMs: 31 };
  return reportOf(readOptions(["--seed", "9"]), tally, "a disk", 90_000, [], books);
}

describe("the report", () => {
  it("has the counts of the run, in words and as a table", () => {
    const report = sample();
    expect(report).toMatchObject({ seed: 9, minutes: 1.5, kills: 3, killsByKind: { "fault point": 1, random: 2 }, killsByPoint: { "swap.saved": 1 }, startMs: { p50: 20, max: 30, count: 3 } });
    expect(summaryOf(report)).toContain("3 kills in 1.5 minutes (seed 9): 1 fault point, 2 random");
    expect(markdownOf(report)).toContain("| messages answered | 12,345;");
    expect(markdownOf(report)).toContain("`swap.saved` 1");
    expect(markdownOf(report)).toContain("`step.done` 0");
  });

  it("replaces its block of a page, and leaves a page without one alone", () => {
    const page = `before\n${MARKS.begin}\nold\n${MARKS.end}\nafter\n`;
    const written = withBlock(page, MARKS, markdownOf(sample()));
    expect(written).toMatch(/^before\n/);
    expect(written).toContain("Seed 9");
    expect(written).not.toContain("old");
    expect(withBlock(written, MARKS, markdownOf(sample()))).toBe(written);
    expect(withBlock("nothing here", MARKS, markdownOf(sample()))).toBe("nothing here");
  });
});

describe("the command line", () => {
  it("takes numbers and refuses what is none", () => {
    expect(readOptions([])).toMatchObject({ minutes: 1, kills: Infinity, seed: 1, agents: 16, clients: 10, report: null, diskMib: null });
    expect(readOptions(["--minutes", "0.4", "--kills", "3", "--disk-mib", "64"])).toMatchObject({ minutes: 0.4, kills: 3, diskMib: 64 });
    expect(() => readOptions(["--agents", "1"])).toThrow(/--agents must be a whole number, 2 at least/);
    expect(() => readOptions(["--seed", "x"])).toThrow(/--seed/);
  });
});
