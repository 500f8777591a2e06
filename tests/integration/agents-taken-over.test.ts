/** Houses on hosts that share a store: what becomes of agents whose host gave them away asleep, died, or was buried while it lived. */
import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { ManualClock, systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { DEFAULT_RESTART, type HandOver } from "../../runtime/agent/index.ts";
import { ShardPool } from "../../runtime/sandbox/index.ts";
import { type FleetHost, fleetRevisions, HouseFleetRig } from "../support/house-fleet.ts";
import { delivery, textMessage } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import type { FixedRevisions } from "../support/revisions.ts";
import { eventually, turn } from "../support/turn.ts";

let revisions: FixedRevisions;
let pool: ShardPool;
let clock: ManualClock;
let rig: HouseFleetRig;
let a: FleetHost;
let b: FleetHost;

const RESTART = { ...DEFAULT_RESTART, backoff: { firstMs: 0, maxMs: 0, factor: 1 }, maxRestarts: 2 };

beforeAll(async () => {
  revisions = await fleetRevisions();
  pool = new ShardPool({ clock: systemClock, count: 1, stallMs: 30_000, onLog: () => undefined, onShardLost: () => undefined });
}, 120_000);
afterAll(() => pool.close());

beforeEach(async () => {
  clock = new ManualClock();
  rig = new HouseFleetRig({ revisions, clock, restart: RESTART, pool });
  a = await rig.host("host-a");
  b = await rig.host("host-b");
});
afterEach(() => rig[Symbol.asyncDispose]());

const moved = (outcome: HandOver) => (outcome.kind === "moved" ? outcome : expect.fail(outcome.reason));
const shelf = (agent: string) => rig.store.agents.get(agent)!;
const accounts = (agent: string) => shelf(agent).account;
const waits = (agent: string) => eventually(() => shelf(agent).wait !== null);
const isHere = ({ house }: FleetHost, agent: string) => [...house.residents()].some(({ id }) => id === agent);
/** A client of host a, whose message goes to wherever the agent is. */
const say = async (agent: string, content: string) => (await rig.route(agent, "host-a", ({ house }) => house.sendEntry(agent, rig.sessionId, delivery("", { message: textMessage(content) })))).reply.response.content;
const owned = async (host: FleetHost) => {
  await (await host.house.restore()).awake;
  return host.house.count;
};

/** Until it is set aside. */
async function fail(agent: string): Promise<void> {
  for (let n = 0; n <= RESTART.maxRestarts; n++) await rejection(a.rig.say(agent, `abort ${n}`));
}

describe("agents that were given away asleep", () => {
  test("are forgotten: their topics, their timers in hand and their lanes", async () => {
    const hearer = await a.rig.spawn("hearer");
    const timed = await a.rig.spawn("wait");
    await a.rig.say(timed, "timer t 60000 add 1");
    await rig.give("host-a", [hearer, timed], "host-b");
    a.house.forget([hearer, timed]);
    expect([isHere(a, hearer), isHere(a, timed), a.rig.hearers.size, a.house.count]).toEqual([false, false, 0, 0]);
    clock.advance(60_000);
    await turn(20);
    expect(shelf(timed).timers.size).toBe(1);
    await b.house.bring(timed);
    await eventually(() => shelf(timed).timers.size === 0);
    expect(await b.rig.say(timed, "total")).toBe("1");
  });

  test("and come to memory in that moment leave it again", async () => {
    const agent = await a.rig.spawn("wait");
    await eventually(() => a.house.activate(agent).then(({ restful }) => restful));
    moved(await a.handOver(agent, b));
    const coming = b.house.activate(agent);
    await rig.give("host-b", [agent], "host-a");
    b.house.forget([agent]);
    await coming.catch(() => undefined);
    await eventually(() => !isHere(b, agent));
    expect(await a.rig.say(agent, "add 1")).toBe("1");
  });
});

describe("an agent that was taken away in the middle of a commit", () => {
  test("has what that let go taken on by its new owner alone", async () => {
    const [teller, sink] = [await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    const { promise, resolve } = Promise.withResolvers<void>();
    const commits = a.writes.length;
    rig.store.gate = promise;
    const reply = rejection(a.sendAs(teller, "m1", `tell ${sink} add 7`));
    await eventually(() => a.writes.length > commits);
    await rig.give("host-a", [teller], "host-c");
    a.house.forget([teller]);
    // The store had the commit before it was given away.
    shelf(teller).epoch--;
    resolve();
    expect((await reply).code).toBe("AGENT_FENCED");
    await eventually(() => rig.store.outbox.size === 1);
    await turn(20);
    expect([a.sent, rig.store.outbox.size]).toEqual([[], 1]);
    const c = await rig.host("host-c");
    expect((await c.sendAs(teller, "m1", `tell ${sink} add 7`)).replayed).toBe(true);
    await eventually(() => rig.store.outbox.size === 0);
    expect(await b.rig.say(sink, "total")).toBe("7");
  });
});

describe("an agent whose owner died", () => {
  test("goes on with its wait, its outbox and its timers with whoever takes it, and with one only", async () => {
    const [waiter, teller, timed, sink] = [await a.rig.spawn("wait"), await a.rig.spawn("wait"), await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    a.sendAs(waiter, "m1", "add 1; sleep 1000; add 1").catch(() => undefined);
    b.deaf = true;
    await a.rig.say(teller, `tell ${sink} add 7`);
    await a.rig.say(timed, "timer t 5000 add 3");
    await waits(waiter);
    a.bury();
    b.deaf = false;
    const c = await rig.host("host-c");
    const orphans = [waiter, teller, timed].map((agent) => rig.orphan(agent));
    const taken = await Promise.all([b.house.takeOver(orphans), c.house.takeOver(orphans)]);
    expect(taken[0].acquired + taken[1].acquired).toBe(3);
    expect(taken[0].resumed + taken[1].resumed).toBe(1);
    await eventually(() => {
      clock.advance(500);
      return shelf(waiter).wait === null && shelf(timed).timers.size === 0 && rig.store.outbox.size === 0;
    });
    expect(await Promise.all([waiter, timed, sink].map((agent) => say(agent, "total")))).toEqual(["2", "3", "7"]);
    expect(accounts(sink)).toMatchObject({ received: 2, done: 2 });
  });

  test("hears its topics there, before events of the outbox are published", async () => {
    const hearer = await a.rig.spawn("hearer");
    a.bury();
    expect((await b.house.takeOver([rig.orphan(hearer)])).acquired).toBe(1);
    b.rig.hearers.get(`${rig.sessionId}/news`)?.(create(AgentEventSchema, { eventId: "e1", eventType: "flood", topic: "news", attributes: { todo: "add 4" } }));
    await eventually(() => shelf(hearer).commits.some(({ cause }) => cause === "event"));
    expect(await b.rig.say(hearer, "total")).toBe("4");
  });

  test("before its spawn was over is ended", async () => {
    const agent = await a.rig.spawn("wait");
    shelf(agent).record = { ...shelf(agent).record, state: "INITIALIZING" };
    a.bury();
    await b.house.takeOver([rig.orphan(agent)]);
    expect([shelf(agent).record.state, b.house.count]).toEqual(["TERMINATED", 0]);
  });

  test("that had ended is nobody's to count; what it sent before still arrives", async () => {
    const [told, asked, stopped] = [await a.rig.spawn("wait"), await a.rig.spawn("wait"), await a.rig.spawn("wait")];
    const sink = await b.rig.spawn("wait");
    b.deaf = true;
    await a.rig.say(told, `tell ${sink} add 7`);
    for (const agent of [told, asked, stopped]) await a.house.stop(agent, "enough");
    a.bury();
    b.deaf = false;
    await b.house.takeOver([rig.orphan(told)]);
    expect((await rejection(b.rig.say(asked, "total"))).code).toBe("AGENT_TERMINATED");
    await b.house.stop(stopped, "enough");
    await eventually(() => rig.store.outbox.size === 0);
    expect([await b.rig.say(sink, "total"), b.house.count, b.presence]).toEqual(["7", 1, [`came ${sink}`]]);
  });

  test("is taken by whoever addresses it, with all that it has in hand", async () => {
    const [teller, sink] = [await a.rig.spawn("hearer"), await b.rig.spawn("wait")];
    b.deaf = true;
    await a.rig.say(teller, `tell ${sink} add 7`);
    a.bury();
    await b.rig.say(teller, "add 1");
    expect([...b.rig.hearers.keys()]).toEqual([`${rig.sessionId}/news`]);
    await eventually(() => rig.store.outbox.size === 0);
    expect([await b.rig.say(sink, "total"), b.house.count]).toEqual(["7", 2]);
  });
});

describe("a host that was buried", () => {
  test("D5 drops every agent without a write, tells whoever waits, and takes them again after it has joined anew", async () => {
    const kinds = ["wait", "message", "interval", "none", "hearer"];
    const sink = await b.rig.spawn("wait");
    b.deaf = true;
    const agents = await Promise.all(Array.from({ length: 20 }, (_, n) => a.rig.spawn(kinds[n % kinds.length]!)));
    await a.rig.say(agents[0]!, "timer t 600000 add 1");
    const asleep = await a.rig.spawn("wait");
    await a.rig.say(asleep, `tell ${sink} add 7`);
    await eventually(() => a.sent.length > 0);
    // One sender is asleep, with its message on the way.
    await eventually(() => {
      clock.advance(5_000);
      return !isHere(a, asleep);
    });
    const sleeper = agents[5]!;
    const sends = agents.flatMap((agent, n) => Array.from({ length: 5 }, (_, k) => ({ agent, settled: a.sendAs(agent, `m${n}.${k}`, agent === sleeper && k === 0 ? "sleep 60000; add 1" : "add 1").then(() => "done", (thrown: unknown) => SirsiError.from(thrown).code) })));
    await waits(sleeper);
    a.bury();
    a.house.fenceAll("its lease ran out");
    const wrote = a.writes.length;
    expect([a.house.residentCount, a.house.count, a.rig.hearers.size, pool.instances]).toEqual([0, 0, 0, b.house.residentCount]);
    const ends = await Promise.all(sends.map(({ settled }) => settled));
    expect(ends.filter((end) => end !== "done" && end !== "AGENT_FENCED")).toEqual([]);
    expect(ends).toContain("AGENT_FENCED");
    const acquisitions = rig.acquisitions;
    clock.advance(1_200_000);
    await turn(50);
    // Nobody is written to, nor addressed: no timer, no message of one that was asleep.
    expect([a.writes.slice(wrote), rig.acquisitions]).toEqual([[], acquisitions]);
    for (const agent of agents) {
      const told = a.presence.filter((each) => each.endsWith(agent));
      expect([told.length % 2, told.every((each, at) => each.startsWith(at % 2 === 0 ? "came" : "left"))]).toEqual([0, true]);
    }

    await a.rejoin("host-a2");
    expect(a.house.count).toBe(0);
    const { acquired } = await a.house.takeOver(agents.map((agent) => rig.orphan(agent)));
    expect([acquired, a.house.count]).toEqual([20, 20]);
    // Whoever was told to sends again, under the same id: nothing is lost, and nothing done twice.
    for (const [n, agent] of agents.entries()) {
      if (agent === sleeper) continue;
      for (let k = 0; k < 5; k++) await a.sendAs(agent, `m${n}.${k}`, "add 1");
      const keeps = ["wait", "message", "hearer"].includes(shelf(agent).record.module);
      if (keeps) expect(accounts(agent)).toMatchObject({ deadLettered: 0, done: n === 0 ? 6 : 5 });
      if (keeps) expect(await a.rig.say(agent, "total")).toBe(agent === agents[0] ? "6" : "5");
    }
  });

  test("does not bring up agents that were on their way to memory", async () => {
    const agent = await b.rig.spawn("wait");
    moved(await b.handOver(agent, a));
    for (const acquired of [false, true]) {
      const { promise, resolve } = Promise.withResolvers<void>();
      rig.store.gate = promise;
      const before = rig.acquisitions;
      const coming = rejection(a.house.activate(agent));
      if (acquired) await eventually(() => rig.acquisitions > before).then(() => turn(3));
      a.house.fenceAll("its lease ran out");
      resolve();
      expect([(await coming).code, a.house.residentCount, a.presence]).toEqual(["AGENT_FENCED", 0, []]);
    }
  });

  test("fails the spawns that are under way, and counts none of them", async () => {
    const before = new Map(revisions.uses);
    const spawns = Array.from({ length: 5 }, () => rejection(a.rig.spawn("wait")));
    await turn(1);
    a.bury();
    a.house.fenceAll("its lease ran out");
    expect(new Set((await Promise.all(spawns)).map(({ code }) => code))).toEqual(new Set(["AGENT_FENCED"]));
    expect([a.house.count, a.house.residentCount, rig.store.agents.size, a.presence]).toEqual([0, 0, 0, []]);
    expect(new Map(revisions.uses)).toEqual(before);
  });

  test("and does not know it yet leaves an agent at its first write", async () => {
    const [written, updated, ended] = [await a.rig.spawn("wait"), await a.rig.spawn("none"), await a.rig.spawn("wait")];
    await a.rig.say(written, "add 1");
    a.bury();
    expect((await rejection(a.rig.say(written, "add 1"))).code).toBe("AGENT_FENCED");
    expect((await rejection(a.house.update(updated, { metadata: { x: "y" } }))).code).toBe("AGENT_FENCED");
    expect((await rejection(a.house.stop(ended, "enough"))).code).toBe("AGENT_FENCED");
    expect([a.house.residentCount, a.house.count]).toEqual([0, 0]);
    expect([await b.rig.say(written, "total"), await b.rig.say(ended, "total"), shelf(updated).record.metadata]).toEqual(["1", "0", {}]);
  });

  test("notes nothing of an agent that it set aside", async () => {
    const agent = await a.rig.spawn("none");
    await rig.give("host-a", [agent], "host-b");
    await fail(agent);
    await eventually(() => !isHere(a, agent));
    expect([shelf(agent).record.state, await b.rig.say(agent, "total")]).toEqual(["READY", "0"]);
  });
});

describe("the agents of a session", () => {
  test("are counted wherever they are, a moment later at the latest; a host counts its own", async () => {
    await a.rig.spawn("none");
    expect(await a.house.countOf(rig.sessionId)).toBe(1);
    await b.rig.spawn("none");
    expect(a.house.countOf(rig.sessionId)).toBe(1);
    clock.advance(1_001);
    expect(await a.house.countOf(rig.sessionId)).toBe(2);
    expect([a.house.count, b.house.count, await owned(a), await owned(b)]).toEqual([1, 1, 1, 1]);
  });
});
