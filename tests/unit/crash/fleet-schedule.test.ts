/** The plan of a fleet's faults, what its command line takes, and what its report says. */
import { describe, expect, it } from "vitest";
import { MARKS, withBlock } from "../../crash/crash-report.ts";
import { FLEET_MARKS, fleetMarkdownOf, fleetReportOf, fleetSummaryOf } from "../../crash/fleet/fleet-report.ts";
import { readFleetOptions } from "../../crash/fleet/options.ts";
import { FAULT_KINDS, planFault, type PlanOptions } from "../../crash/fleet/schedule.ts";
import { Tally } from "../../crash/tally.ts";

const OPTIONS: PlanOptions = { seed: 7, hosts: 3, agents: 16, leaseMs: 2_000, kinds: [] };
const plan = (count: number, options = OPTIONS) => Array.from({ length: count }, (_, i) => planFault(options, i + 1));

describe("the plan of faults", () => {
  it("is the same for a seed and another for another", () => {
    expect(plan(40)).toEqual(plan(40));
    expect(plan(40)).not.toEqual(plan(40, { ...OPTIONS, seed: 8 }));
  });

  it("has every kind once before any comes again", () => {
    const kinds = plan(FAULT_KINDS.length * 2).map(({ kind }) => kind);
    for (const turn of [kinds.slice(0, FAULT_KINDS.length), kinds.slice(FAULT_KINDS.length)]) expect(turn.toSorted()).toEqual(FAULT_KINDS.toSorted());
  });

  it("keeps to the kinds it is given, in their order", () => {
    expect(plan(3, { ...OPTIONS, kinds: ["nats-cut", "host-killed"] }).map(({ kind }) => kind)).toEqual(["nats-cut", "host-killed", "nats-cut"]);
  });

  it("has two at once now and then, never two that undo each other", () => {
    const pairs = plan(400).flatMap((fault) => (fault.besides === null ? [] : [[fault, fault.besides.fault] as const]));
    expect(pairs.length).toBeGreaterThan(80);
    for (const [one, other] of pairs) {
      expect(other.besides).toBeNull();
      expect([one.kind, one.host]).not.toEqual([other.kind, other.host]);
      if (one.kind === "rolling-restart") expect(other.kind).not.toMatch(/^host-(?:killed|paused)|^clock-/);
    }
    expect(plan(50, { ...OPTIONS, kinds: ["nats-cut"] }).filter(({ besides }) => besides !== null)).toEqual([]);
  });

  it("pauses hosts for clearly less than a lease, or clearly more", () => {
    const holds = (kind: "host-paused" | "host-paused-long") => plan(200, { ...OPTIONS, kinds: [kind] }).map(({ holdMs }) => holdMs);
    expect(Math.max(...holds("host-paused"))).toBeLessThan(0.7 * OPTIONS.leaseMs);
    expect(Math.min(...holds("host-paused-long"))).toBeGreaterThan(1.4 * OPTIONS.leaseMs);
  });
});

describe("the command line of a fleet's faults", () => {
  it("is bounded by a time of its own, and by the number of faults", () => {
    expect(readFleetOptions(["--fleet"])).toMatchObject({ faults: Infinity, minutes: 10, seed: 1, kinds: [], leaseMs: 2_000 });
    expect(readFleetOptions(["--fleet", "--faults", "100", "--kinds", "nats-cut, store-cut"])).toMatchObject({ faults: 100, minutes: 240, kinds: ["nats-cut", "store-cut"] });
  });

  it("refuses a fault that there is not", () => {
    expect(() => readFleetOptions(["--fleet", "--kinds", "flood"])).toThrow(/--kinds names "flood"; there are host-killed, /);
  });
});

describe("the report of a fleet's faults", () => {
  it("tells of each kind how often it came and how long clients waited, in a block of its own", () => {
    const tally = new Tally();
    for (const ms of [100, 300]) {
      tally.count("faults");
      tally.count("faults by kind nats-cut");
      tally.time("wait nats-cut", ms);
      tally.time("took nats-cut", 2 * ms);
      tally.time("client 1", ms);
    }
    const report = fleetReportOf(readFleetOptions(["--fleet", "--seed", "9", "--clients", "2"]), tally, 90_000, []);
    expect(fleetSummaryOf(report)).toContain("2 faults in 1.5 minutes on 3 hosts (seed 9): 2 nats-cut");
    expect(report.longestByClientMs).toEqual([0, 300]);
    expect(fleetMarkdownOf(report)).toContain("| nats-cut | 2 | p50 600 ms, most 600 ms | p50 300 ms, most 300 ms |");
    const page = `${MARKS.begin}\none host\n${MARKS.end}\n${FLEET_MARKS.begin}\nold\n${FLEET_MARKS.end}\n`;
    expect(withBlock(page, FLEET_MARKS, "new")).toBe(`${MARKS.begin}\none host\n${MARKS.end}\n${FLEET_MARKS.begin}\nnew\n${FLEET_MARKS.end}\n`);
  });
});
