/** Agents that leave memory and come back: what a message costs that has to fetch its agent. */
import { systemClock } from "../../runtime/core/clock.ts";
import { TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import { BareShard } from "./bare-shard.ts";
import type { Figure } from "./figure.ts";
import { quantile, ratioOf, readingOf, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const P99_MS = 5;
const ROUNDS = 5;
/** Of so many agents a quarter has room, and each is asked in turn: every message finds its agent asleep. */
const AGENTS = 1_000;
const QUICK_AGENTS = 200;

interface Round {
  readonly asleep: readonly number[];
  readonly resident: readonly number[];
  readonly bare: readonly number[];
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const started = systemClock.monotonic();
  await act();
  return systemClock.monotonic() - started;
}

async function ask(house: TestHouse, agentId: string): Promise<void> {
  const said = await house.say(agentId, "get");
  requireRight(said === "7", () => `a counter that came back said ${said} and not 7`);
}

async function round(house: TestHouse, agentIds: readonly string[], bareShard: BareShard): Promise<Round> {
  const taken = { asleep: [] as number[], resident: [] as number[], bare: [] as number[] };
  for (const agentId of agentIds) {
    requireRight(![...house.house.residents()].some(({ id }) => id === agentId), () => `agent ${agentId} was in memory`);
    taken.asleep.push(await timed(() => ask(house, agentId)));
    taken.resident.push(await timed(() => ask(house, agentId)));
    taken.bare.push(await timed(() => bareShard.instantiate()));
  }
  await bareShard.forget();
  return taken;
}

async function measure(plan: Plan): Promise<Figure[]> {
  const count = plan.quick ? QUICK_AGENTS : AGENTS;
  const revisions = new FixedRevisions(await builtRevision("counter"));
  const bareShard = new BareShard(revisions.resolve("counter").compiled);
  const house = await TestHouse.open({ revisions, maxResident: count / 4 });
  const agentIds: string[] = [];
  for (let n = 0; n < count; n++) {
    const agentId = await house.spawn("counter");
    await house.say(agentId, "add 7");
    agentIds.push(agentId);
  }
  const memoryKb = Math.max(...Array.from(house.house.residents(), ({ residentBytes }) => residentBytes)) / 1024;
  await round(house, agentIds, bareShard);
  const rounds: Round[] = [];
  for (let n = 0; n < ROUNDS; n++) rounds.push(await round(house, agentIds, bareShard));
  const restart = await restarted(house, revisions, count);
  await bareShard.end();
  const each = (of: (round: Round) => readonly number[], q: number) => rounds.map((one) => quantile(of(one), q));
  const what = `a message to one of ${count.toLocaleString("en-US")} agents of ${memoryKb} KB of memory that sleeps`;
  const [p50, residentP50, bareP50] = [each(({ asleep }) => asleep, 0.5), each(({ resident }) => resident, 0.5), each(({ bare }) => bare, 0.5)];
  const [p99, residentP99] = [each(({ asleep }) => asleep, 0.99), each(({ resident }) => resident, 0.99)];
  return [
    {
      what: `${what}, p50`,
      ours: readingOf(p50, "ms"),
      bare: { what: "the same message to an agent in memory", reading: readingOf(residentP50, "ms") },
      compared: ratioOf(p50, residentP50),
      target: null,
    },
    {
      what: `${what}, p99`,
      ours: readingOf(p99, "ms"),
      // Its commit waits for the same disk: what coming back adds is the difference.
      bare: { what: "the same message to an agent in memory", reading: readingOf(residentP99, "ms") },
      compared: ratioOf(p99, residentP99),
      target: { of: "ours", bound: "at most", value: P99_MS },
    },
    {
      what: "so coming back from the store adds",
      ours: readingOf(p50.map((value, n) => value - (residentP50[n] ?? 0)), "ms"),
      bare: { what: "WebAssembly.Instance of the same module, and a thread's round trip", reading: readingOf(bareP50, "ms") },
      compared: ratioOf(p50.map((value, n) => value - (residentP50[n] ?? 0)), bareP50),
      target: null,
    },
    { what: `all ${count.toLocaleString("en-US")} agents known again after a restart`, ours: single(restart, "ms"), bare: null, compared: null, target: null },
  ];
}

async function restarted(house: TestHouse, revisions: FixedRevisions, count: number): Promise<number> {
  const { dataDir } = house;
  await house.shut(true);
  const started = systemClock.monotonic();
  const again = await TestHouse.open({ revisions, dataDir });
  const { restored } = await again.house.restore();
  const took = systemClock.monotonic() - started;
  requireRight(restored === count, () => `${restored} of ${count} agents were known again`);
  await again.shut();
  return took;
}

export const pagingSection: Section = {
  name: "paging",
  title: "Agents that come back from the store",
  notMeasured: ["a cold disk: the system has the pages in memory", "agents with much state of their own", "many at once: `registered` has them"],
  run: measure,
};
