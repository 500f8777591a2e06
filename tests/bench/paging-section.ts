/** Agents that are in the store alone: the first message brings them back. */
import { TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import { BareShard } from "./bare-shard.ts";
import type { Figure } from "./figure.ts";
import { quantile, readingOf, single } from "./rounds.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const STARTS = 3;

interface Start {
  readonly restoreMs: number;
  readonly first: readonly number[];
  readonly second: readonly number[];
  readonly bare: readonly number[];
}

async function askEach(house: TestHouse, agentIds: readonly string[], expected: string): Promise<number[]> {
  const took: number[] = [];
  for (const agentId of agentIds) {
    const started = systemClock.monotonic();
    const said = await house.say(agentId, "get");
    took.push(systemClock.monotonic() - started);
    requireRight(said === expected, () => `a restored counter said ${said} and not ${expected}`);
  }
  return took;
}

async function start(revisions: FixedRevisions, dataDir: string, agentIds: readonly string[], bareShard: BareShard): Promise<Start> {
  const house = await TestHouse.open({ revisions, dataDir });
  const started = systemClock.monotonic();
  const { restored } = await house.house.restore();
  const restoreMs = systemClock.monotonic() - started;
  requireRight(restored === agentIds.length, () => `${restored} of ${agentIds.length} agents were restored`);
  const bare: number[] = [];
  for (let i = 0; i < agentIds.length; i++) {
    const asked = systemClock.monotonic();
    await bareShard.instantiate();
    bare.push(systemClock.monotonic() - asked);
  }
  await bareShard.forget();
  const first = await askEach(house, agentIds, "7");
  const second = await askEach(house, agentIds, "7");
  await house.shut(true);
  return { restoreMs, first, second, bare };
}

async function measure(plan: Plan): Promise<Figure[]> {
  const revisions = new FixedRevisions(await builtRevision("counter"));
  const bareShard = new BareShard(revisions.resolve("counter").compiled);
  const made = await TestHouse.open({ revisions });
  const agentIds = await Promise.all(Array.from({ length: plan.quick ? 100 : 500 }, () => made.spawn("counter")));
  await Promise.all(agentIds.map((agentId) => made.say(agentId, "add 7")));
  const { dataDir } = made;
  await made.shut(true);
  const starts: Start[] = [];
  for (let i = 0; i < STARTS; i++) starts.push(await start(revisions, dataDir, agentIds, bareShard));
  // The last one takes the data along.
  await (await TestHouse.open({ revisions, dataDir })).shut();
  await bareShard.end();
  const p50 = (of: (start: Start) => readonly number[]) => starts.map((each) => quantile(of(each), 0.5));
  const paged = starts.map((each) => quantile(each.first, 0.5) - quantile(each.second, 0.5));
  const bare = p50((each) => each.bare);
  return [
    { what: `all ${agentIds.length} agents known again after a restart`, ours: readingOf(starts.map((each) => each.restoreMs), "ms"), bare: null, compared: null, target: null },
    { what: "the first message to an agent that is only in the store, p50", ours: readingOf(p50((each) => each.first), "ms"), bare: null, compared: null, target: null },
    { what: "the second message to it, p50", ours: readingOf(p50((each) => each.second), "ms"), bare: null, compared: null, target: null },
    {
      what: "so bringing it back adds",
      ours: readingOf(paged, "ms"),
      bare: { what: "WebAssembly.Instance of the same module, and a thread's round trip", reading: readingOf(bare, "ms") },
      compared: { as: "ratio", reading: single(quantile(paged, 0.5) / quantile(bare, 0.5), "×") },
      target: null,
    },
  ];
}

export const pagingSection: Section = {
  name: "paging",
  title: "Agents brought back from the store",
  notMeasured: ["a cold disk: the system has the pages in memory", "agents with much state"],
  run: measure,
};
