/** One agent's move from revision to revision: nothing lost, nothing half moved. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { AgentRecord, Store } from "../../runtime/store/index.ts";
import { TestHouse } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { FixedRevisions, fixtureRevision } from "../support/revisions.ts";

let v1: Revision;
let v2: Revision;
let fresh1: Revision;
let fresh2: Revision;
let loose1: Revision;
let loose2: Revision;
let meagre1: Revision;
let stay2: Revision;
let reset2: Revision;
let revisions: FixedRevisions;
let house: TestHouse;

beforeAll(async () => {
  v1 = await fixtureRevision("mischief");
  v2 = await fixtureRevision("mischief", { version: "2.0.0", topics: ["weather"] });
  stay2 = await fixtureRevision("mischief", { version: "2.1.0", onSwap: "keep" });
  reset2 = await fixtureRevision("mischief", { version: "2.2.0", onSwap: "reset" });
  fresh1 = await fixtureRevision("mischief", { name: "fresh", onSwap: "reset" });
  fresh2 = await fixtureRevision("mischief", { name: "fresh", version: "2.0.0", onSwap: "reset" });
  loose1 = await fixtureRevision("mischief", { name: "loose", durability: "none" });
  loose2 = await fixtureRevision("mischief", { name: "loose", version: "2.0.0", durability: "none" });
  meagre1 = await fixtureRevision("mischief", { name: "loose", version: "1.1.0", durability: "none", limits: { memoryMaxBytes: 4_194_304, stateMaxBytes: 3 } });
  revisions = new FixedRevisions();
}, 120_000);

/** Every test begins with the first revisions active. */
async function open(wrapStore?: (store: Store) => Store): Promise<TestHouse> {
  for (const revision of [v2, stay2, reset2, fresh2, loose2, v1, fresh1, loose1]) revisions.activate(revision);
  house = await TestHouse.open({ revisions, ...(wrapStore === undefined ? {} : { wrapStore }) });
  return house;
}

afterEach(() => house.shut());
afterAll(() => expect([...revisions.uses.values()].every((count) => count >= 0)).toBe(true));

const on = (todo: Record<string, string>) => ({ config: { ...house.spec("").config, parameters: todo } });
/** Of an agent in memory. */
const digestOf = (agent: string) => (house.house.recordOf(agent) as AgentRecord).digest;

describe("a swap by migrate", () => {
  test("S2 moves an agent with its state, in the store too, and releases the old revision", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    const before = revisions.uses.get(v1.digest) ?? 0;
    expect(await house.swap("mischief", v2)).toEqual({ moved: 1, kept: 0, failed: 0, failureReason: "" });
    expect([digestOf(agent), await house.say(agent, "add 1")]).toEqual([v2.digest, "6"]);
    expect((await house.store.getAgent(agent))?.record).toMatchObject({ digest: v2.digest, state: "READY" });
    expect((revisions.uses.get(v1.digest) ?? 0) - before).toBe(-1);
    expect(house.pool.instances).toBe(1);
    expect(house.events.find(({ type }) => type === "AGENT_SWAPPED")).toMatchObject({ sourceAgentId: agent, attributes: { from: v1.digest, to: v2.digest, version: "2.0.0" } });
  });

  test("S2 is there after a restart: the agent is served by the new revision alone", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    await house.swap("mischief", v2);
    await house.shut(true);
    house = await TestHouse.open({ revisions: new FixedRevisions(v2), dataDir: house.dataDir });
    expect((await house.house.restore()).restored).toBe(1);
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["6", v2.digest]);
  });

  test("S1 loses, doubles and reorders nothing under traffic, there and back and there again", async () => {
    await open();
    const agents = await Promise.all(Array.from({ length: 6 }, () => house.spawn("mischief")));
    const traffic = { on: true };
    const counts = agents.map(async (agent) => {
      let sent = 0;
      while (traffic.on) {
        // Five in the mailbox at a time: a swap finds some waiting.
        const answers = await Promise.all(Array.from({ length: 5 }, () => house.say(agent, "add 1; sleep 0")));
        expect(answers).toEqual(Array.from({ length: 5 }, () => `${++sent}; slept`));
      }
      return sent;
    });
    for (const revision of [v2, v1, v2]) expect(await house.swap("mischief", revision)).toMatchObject({ moved: 6, failed: 0 });
    traffic.on = false;
    const sent = await Promise.all(counts);
    expect(await Promise.all(agents.map((agent) => house.say(agent, "total")))).toEqual(sent.map(String));
    expect(agents.map(digestOf)).toEqual(agents.map(() => v2.digest));
    expect(house.pool.instances).toBe(6);
  });

  test("S3 lets a step in hand end on the revision it began on, and goes before what waits", async () => {
    await open();
    const agent = await house.spawn("mischief");
    const inHand = house.say(agent, "add 1; sleep 30").then((text) => [text, digestOf(agent)]);
    const behind = house.say(agent, "add 1").then((text) => [text, digestOf(agent)]);
    const swapped = house.swap("mischief", v2);
    expect(await inHand).toEqual(["1; slept", v1.digest]);
    expect(await behind).toEqual(["2", v2.digest]);
    expect(await swapped).toMatchObject({ moved: 1 });
  });

  test("has the agent hear its new revision's topics, and the old ones no more", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.swap("mischief", v2);
    expect([...house.hearers.keys()]).toEqual([`${house.sessionId}/weather`]);
    house.hearers.get(`${house.sessionId}/weather`)?.(create(AgentEventSchema, { eventId: "e1", eventType: "rain", topic: "weather" }));
    expect(await house.say(agent, "heard")).toBe("rain");
  });

  test("moves an agent that has no instance now, and one that waits to be started again", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    for (let i = 0; i < 2; i++) await rejection(house.say(agent, "divide 0"));
    expect((await house.look(agent))?.record.state).toBe("ERROR");
    expect(await house.swap("mischief", v2)).toMatchObject({ moved: 1 });
    expect(await house.say(agent, "total")).toBe("5");
  });
});

describe("S4 a swap that fails leaves the old revision with its state", () => {
  const FAILURES: readonly (readonly [string, Record<string, string>, RegExp])[] = [
    ["save traps", { on_save: "divide 0" }, /save\(\) on revision 1\.0\.0 failed: .*divide by zero/],
    ["save never ends", { on_save: "spin" }, /save\(\) on revision 1\.0\.0 failed: .*fuel/],
    ["load refuses", { on_load: "fail" }, /revision 2\.0\.0 did not take over: on_load was told to fail/],
    ["load traps", { on_load: "abort not my state" }, /did not take over: .*not my state/],
    ["load never ends", { on_load: "spin" }, /did not take over: .*fuel/],
  ];

  test.each(FAILURES)("when %s", async (_what, parameters, words) => {
    await open();
    const agent = await house.spawn("mischief", on(parameters));
    await house.say(agent, "add 5");
    const report = await house.swap("mischief", v2);
    expect(report).toMatchObject({ moved: 0, kept: 0, failed: 1 });
    expect(report.failureReason).toMatch(words);
    expect([digestOf(agent), await house.say(agent, "add 1")]).toEqual([v1.digest, "6"]);
    expect((await house.store.getAgent(agent))?.record.digest).toBe(v1.digest);
    expect(house.pool.instances).toBe(1);
    expect((await house.look(agent))?.restarts).toBe(0);
  });

  test.each([
    ["load fails", () => loose1, { on_load: "fail" }, /told to fail/],
    ["what save gave is too large", () => meagre1, {}, /state_max_bytes/],
  ])("when %s and the agent has no durability: its state was only in its instance, and is there still", async (_what, from, parameters, words) => {
    await open();
    revisions.activate(from());
    const agent = await house.spawn("loose", on(parameters));
    await house.say(agent, "add 50000");
    const report = await house.swap("loose", loose2);
    expect([report.failed, report.failureReason]).toEqual([1, expect.stringMatching(words)]);
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["50001", from().digest]);
  });

  test.each(["mischief", "fresh"])("when the commit fails, for %s; and the next messages and the next swap are served", async (type) => {
    let failing = false;
    const wrap = (store: Store): Store =>
      new Proxy(store, {
        get(target, name) {
          if (name === "commit" && failing) return () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the disk is full"));
          const found = target[name as keyof Store] as unknown;
          return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
        },
      });
    await open(wrap);
    const [from, to] = type === "mischief" ? [v1, v2] : [fresh1, fresh2];
    const agent = await house.spawn(type);
    await house.say(agent, "add 5");
    failing = true;
    expect(await house.swap(type, to)).toMatchObject({ failed: 1, failureReason: expect.stringContaining("disk is full") as string });
    failing = false;
    expect([await house.say(agent, "add 1"), await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["6", "7", from.digest]);
    expect(await house.swap(type, to)).toMatchObject({ moved: 1 });
    expect(await house.say(agent, "total")).toBe(type === "mischief" ? "7" : "0");
  });

  /** The next commit takes effect and is answered with an error while `lost.on`; after it, as many reads as `lost.reads` says fail. */
  function lossy(lost: { on: boolean; reads: number }): (store: Store) => Store {
    const unanswered = () => new SirsiError("STORE_UNAVAILABLE", "the connection was lost");
    return (store) =>
      new Proxy(store, {
        get(target, name) {
          const found = target[name as keyof Store] as unknown;
          if (name === "commit" && lost.on) return async (commit: Parameters<Store["commit"]>[0]) => void (await target.commit(commit), lost.on = false, await Promise.reject(unanswered()));
          if (name === "getAgent" && lost.reads > 0 && !lost.on) return () => (lost.reads--, Promise.reject(unanswered()));
          return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
        },
      });
  }

  test("S2 not when only the answer to its commit was lost: the store is asked, and the agent serves on the new revision", async () => {
    const lost = { on: false, reads: 0 };
    await open(lossy(lost));
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    lost.on = true;
    expect(await house.swap("mischief", v2)).toMatchObject({ moved: 1, failed: 0 });
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["6", v2.digest]);
    await house.house.stop(agent, "enough");
    expect((await house.store.getAgent(agent))?.record).toMatchObject({ state: "TERMINATED", digest: v2.digest });
  });

  test("S2 when nobody can tell whether its commit is there, the agent comes back from the store, on the revision that it has there", async () => {
    const lost = { on: false, reads: 0 };
    await open(lossy(lost));
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    Object.assign(lost, { on: true, reads: 1 });
    expect(await house.swap("mischief", v2)).toMatchObject({ failed: 1, failureReason: expect.stringContaining("connection was lost") as string });
    expect(house.house.residentCount).toBe(0);
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["6", v2.digest]);
    expect((await house.store.auditAgent(agent))?.findings).toEqual([]);
    expect(house.pool.instances).toBe(1);
  });

  test("for one agent, and the others of the module are moved", async () => {
    await open();
    const good = await Promise.all(Array.from({ length: 20 }, () => house.spawn("mischief")));
    const bad = await house.spawn("mischief", on({ on_load: "fail" }));
    expect(await house.swap("mischief", v2)).toMatchObject({ moved: 20, failed: 1 });
    expect(new Set(good.map(digestOf))).toEqual(new Set([v2.digest]));
    expect(digestOf(bad)).toBe(v1.digest);
    expect(Object.fromEntries(await house.house.countByDigest("mischief"))).toEqual({ [v1.digest]: 1, [v2.digest]: 20 });
  });
});

describe("other ways to swap", () => {
  test("keep: an agent that is there stays on its revision, a new one gets the new", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    expect(await house.swap("mischief", stay2)).toEqual({ moved: 0, kept: 1, failed: 0, failureReason: "" });
    expect([await house.say(agent, "total"), digestOf(agent)]).toEqual(["5", v1.digest]);
    revisions.activate(stay2);
    expect(digestOf(await house.spawn("mischief"))).toBe(stay2.digest);
  });

  test("reset: it begins afresh on the new revision, in the store too", async () => {
    await open();
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 5");
    expect(await house.swap("mischief", reset2)).toMatchObject({ moved: 1 });
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["1", reset2.digest]);
    await rejection(house.say(agent, "divide 0"));
    expect(await house.say(agent, "total")).toBe("1");
  });

  test("without durability the state crosses by save and load", async () => {
    await open();
    const agent = await house.spawn("loose");
    await house.say(agent, "add 5");
    expect(await house.swap("loose", loose2)).toMatchObject({ moved: 1 });
    expect([await house.say(agent, "add 1"), digestOf(agent)]).toEqual(["6", loose2.digest]);
    expect((await house.store.getAgent(agent))?.record.digest).toBe(loose2.digest);
  });

  test("twice to the same revision moves once; one that is set aside or ended is kept", async () => {
    await open();
    const agent = await house.spawn("mischief");
    const [first, second] = await Promise.all([house.swap("mischief", v2), house.swap("mischief", v2)]);
    expect([first, second]).toMatchObject([{ moved: 1 }, { kept: 1 }]);
    for (let i = 0; i < 6; i++) await rejection(house.say(agent, "divide 0"));
    expect((await house.look(agent))?.health).toBe("unhealthy");
    expect(await house.swap("mischief", v1)).toMatchObject({ kept: 1 });
  });
});

describe("an end", () => {
  test("in the middle of a swap: the agent is ended, in the store too, and no instance is left", async () => {
    await open();
    const agent = await house.spawn("mischief", on({ on_save: "sleep 20" }));
    const swapped = house.swap("mischief", v2);
    await house.say(await house.spawn("mischief"), "total");
    await house.house.stop(agent, "enough");
    expect(await swapped).toMatchObject({ moved: 0, failed: 1 });
    expect((await house.store.getAgent(agent))?.record).toMatchObject({ state: "TERMINATED", statusMessage: "enough" });
    expect(house.pool.instances).toBe(1);
  });

  test("while a swap's commit is on its way: the agent is ended all the same, on whichever revision", async () => {
    let answer = () => {};
    const held = { commits: false };
    const onItsWay = new Promise<void>((resolve) => (answer = resolve));
    const wrap = (store: Store): Store =>
      new Proxy(store, {
        get(target, name) {
          const found = target[name as keyof Store] as unknown;
          if (name === "commit" && held.commits) {
            return async (commit: Parameters<Store["commit"]>[0]) => {
              await target.commit(commit);
              await onItsWay;
            };
          }
          return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
        },
      });
    await open(wrap);
    const agent = await house.spawn("mischief");
    held.commits = true;
    const swapped = house.swap("mischief", v2);
    while ((await house.store.getAgent(agent))?.record.digest !== v2.digest) await new Promise(setImmediate);
    await house.house.stop(agent, "enough");
    answer();
    expect(await swapped).toMatchObject({ failed: 1 });
    expect((await house.store.getAgent(agent))?.record.state).toBe("TERMINATED");
    expect(house.pool.instances).toBe(0);
  });

  test("in the middle of a spawn: the spawn is refused, and no agent and no instance is left", async () => {
    await open();
    const uses = revisions.uses.get(v1.digest);
    const spawned = rejection(house.spawn("mischief", on({ on_init: "sleep 20" })));
    const [coming] = await house.agents();
    await house.house.stop(coming!, "never mind");
    expect((await spawned).code).toBe("AGENT_TERMINATED");
    expect([house.house.count, house.pool.instances, revisions.uses.get(v1.digest)]).toEqual([0, 0, uses]);
    expect(house.events.some(({ type }) => type === "AGENT_SPAWNED")).toBe(false);
  });

  test("A3 refuses what waits and lets the step in hand finish", async () => {
    await open();
    const agent = await house.spawn("mischief");
    const inHand = house.say(agent, "add 1; sleep 20; total");
    const waiting = [house.say(agent, "add 1"), house.say(agent, "add 1")].map(rejection);
    await house.house.stop(agent, "enough");
    expect((await Promise.all(waiting)).map(({ code }) => code)).toEqual(["AGENT_TERMINATED", "AGENT_TERMINATED"]);
    expect(await inHand).toBe("1; slept; 1");
    expect(house.events.at(-1)).toMatchObject({ type: "AGENT_STOPPED", attributes: { reason: "enough" } });
  });

  test("A3 cuts the step in hand off when its grace is over", async () => {
    await open();
    const agent = await house.spawn("mischief");
    const inHand = rejection(house.say(agent, "add 1; sleep 25000"));
    await house.house.stop(agent, "enough");
    expect((await inHand).code).toBe("AGENT_TERMINATED");
    expect([house.house.count, house.pool.instances]).toEqual([0, 0]);
  });

  test("that the store could not note is noted by the next try, and only once told", async () => {
    let failing = true;
    const wrap = (store: Store): Store =>
      new Proxy(store, {
        get(target, name) {
          const found = target[name as keyof Store] as unknown;
          if (name === "putAgent" && failing) return (record: { state: string }) => (record.state === "TERMINATED" ? Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the disk is full")) : target.putAgent(record as never));
          return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
        },
      });
    await open(wrap);
    const agent = await house.spawn("mischief");
    expect((await rejection(house.house.stop(agent, "enough"))).code).toBe("STORE_UNAVAILABLE");
    expect((await rejection(house.say(agent, "total"))).code).toBe("AGENT_TERMINATED");
    failing = false;
    await house.house.stop(agent, "again");
    await house.house.stop(agent, "and again");
    expect((await house.store.getAgent(agent))?.record).toMatchObject({ state: "TERMINATED", statusMessage: "enough" });
    expect(house.events.filter(({ type }) => type === "AGENT_STOPPED").length).toBe(1);
  });
});
