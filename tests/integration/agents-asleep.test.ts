/** A house with little room: agents leave memory, and come back to whoever addresses them. */
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SuggestionContextSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { Store } from "../../runtime/store/store.ts";
import { delivery, type HouseOptions, TestHouse, textMessage } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { keptStore } from "../support/kept-store.ts";
import { builtRevision, FixedRevisions, fixtureRevision } from "../support/revisions.ts";
import { eventually, turn } from "../support/turn.ts";

let revisions: FixedRevisions;
let store: ReturnType<typeof keptStore>;
let house: TestHouse;
const ALL = ["ask", "sleep", "timers", "documents"];

beforeAll(async () => {
  const mischief = await fixtureRevision("mischief", { durability: "wait", requests: ALL }, {}, ALL);
  const deaf = await fixtureRevision("mischief", { name: "deaf", durability: "wait", requests: ALL, topics: [] }, {}, ALL);
  const fleeting = await fixtureRevision("mischief", { name: "fleeting", durability: "none" });
  const interval = await fixtureRevision("mischief", { name: "interval", durability: "interval", topics: [] });
  revisions = new FixedRevisions(mischief, deaf, fleeting, interval, await builtRevision("counter"));
}, 120_000);

beforeEach(() => {
  store = keptStore();
});
afterEach(() => house.shut());

async function open(options: Partial<HouseOptions> = {}): Promise<TestHouse> {
  house = await TestHouse.open({ revisions, store, maxResident: 2, ...options });
  return house;
}

/** Another host over what the last one left. */
async function again(options: Partial<HouseOptions> = {}): Promise<TestHouse> {
  const { sessionId } = house;
  return await open({ sessionId, ...options });
}

const residents = () => [...house.house.residents()].map(({ id }) => id);
const asleep = (agent: string) => eventually(() => !residents().includes(agent));
const spawn = (count: number, type = "deaf") => Promise.all(Array.from({ length: count }, () => house.spawn(type)));

async function lullToSleep(agent: string): Promise<void> {
  const others = await spawn(3);
  await asleep(agent);
  await Promise.all(others.map((other) => house.house.stop(other, "made only for their weight")));
}

describe("an agent that left memory", () => {
  test("comes back with its state for each message, however many share the room", async () => {
    await open();
    const agents = await spawn(12);
    for (let round = 1; round <= 5; round++) {
      const answers = await Promise.all(agents.map((agent) => house.say(agent, "add 1")));
      expect(answers).toEqual(agents.map(() => String(round)));
    }
    await eventually(() => residents().length <= 2);
    expect(house.pool.instances).toBeLessThanOrEqual(2);
    expect(house.house.count).toBe(12);
  });

  test("R1 comes back once for a crowd that wants it at once, and takes each message once", async () => {
    await open();
    const agent = await house.spawn("deaf");
    await lullToSleep(agent);
    const answers = await Promise.all(Array.from({ length: 50 }, () => house.say(agent, "add 1")));
    expect(answers.map(Number).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
  });

  test("stays while its store is asked about a message, however much others need the room", async () => {
    const wrapStore = (under: Store): Store =>
      new Proxy(under, {
        get(target, name) {
          const found = (target[name as keyof Store] as (...args: unknown[]) => Promise<unknown>).bind(target);
          return async (...args: unknown[]) => {
            const answer = await found(...args);
            if (name === "findExchange") await turn(20);
            return answer;
          };
        },
      });
    await open({ wrapStore, maxResident: 1 });
    const agents = await spawn(8);
    for (let round = 1; round <= 3; round++) {
      expect(await Promise.all(agents.map((agent) => house.say(agent, "add 1")))).toEqual(agents.map(() => String(round)));
      await eventually(() => residents().length <= 1);
    }
  });

  test("D2 knows the messages that it has had", async () => {
    await open();
    const agent = await house.spawn("deaf");
    const message = textMessage("add 5");
    await house.house.send(agent, delivery("", { message }));
    await lullToSleep(agent);
    const repeat = await house.house.send(agent, delivery("", { message }));
    expect([repeat.response.content, repeat.replayed, await house.say(agent, "total")]).toEqual(["5", true, "5"]);
  });

  test("is shown, listed, counted and read as it is, and nobody wakes it for that", async () => {
    await open({ maxResident: 1 });
    const agent = await house.spawn("deaf", { metadata: { team: "a" } });
    await house.say(agent, "add 5");
    await lullToSleep(agent);
    expect(await house.look(agent)).toMatchObject({
      record: { agentId: agent, state: "READY", metadata: { team: "a" } },
      manifest: { name: "deaf" },
      counters: { messagesProcessed: 1 },
      health: "healthy",
      memoryBytes: 0,
      idle: true,
    });
    expect((await house.house.recordOf(agent))?.metadata).toEqual({ team: "a" });
    expect(await house.agents()).toEqual([agent]);
    expect([await house.house.countOf(house.sessionId), house.house.count]).toEqual([1, 1]);
    expect((await house.house.exchanges(agent, Infinity, 10)).map(({ sequence }) => sequence)).toEqual([1]);
    expect(residents()).not.toContain(agent);
  });

  test("is changed, asked for suggestions and ended like any other", async () => {
    await open();
    const agent = await house.spawn("deaf");
    await house.say(agent, "add 5");
    await lullToSleep(agent);
    expect((await house.house.update(agent, { metadata: { note: "b" } })).record.metadata).toEqual({ note: "b" });
    await lullToSleep(agent);
    const [suggestion] = await house.house.suggest(agent, create(SuggestionContextSchema), 1, null, null);
    expect(suggestion?.description).toContain("5");
    await lullToSleep(agent);
    await house.house.stop(agent, "enough");
    await house.house.stop(agent, "enough");
    expect(residents()).not.toContain(agent);
    expect((await store.getAgent(agent))?.record).toMatchObject({ state: "TERMINATED", statusMessage: "enough", metadata: { note: "b" } });
    expect(house.events.filter(({ type, sourceAgentId }) => type === "AGENT_STOPPED" && sourceAgentId === agent)).toHaveLength(1);
    expect((await house.look(agent))?.record.state).toBe("TERMINATED");
    expect(await rejection(house.say(agent, "total"))).toMatchObject({ code: "AGENT_TERMINATED", message: expect.stringContaining("enough") as string });
    expect([house.house.count, await house.house.countOf(house.sessionId), await house.agents()]).toEqual([0, 0, []]);
  });

  test("stays in memory when it keeps nothing in the store", async () => {
    await open();
    const [fleeting] = await spawn(1, "fleeting");
    await house.say(fleeting!, "add 5");
    await spawn(6);
    await eventually(() => residents().length === 3);
    expect(await house.say(fleeting!, "total")).toBe("5");
  });

  test("of level interval takes with it what was answered before", async () => {
    await open({ durability: { intervalMs: 3_600_000 } });
    const [agent] = await spawn(1, "interval");
    await house.say(agent!, "add 5");
    await lullToSleep(agent!);
    expect(await house.say(agent!, "total")).toBe("5");
  });

  test("goes when it was idle for long", async () => {
    const clock = new ManualClock();
    await open({ clock, maxResident: 100, idleAfterMs: 10_000 });
    const [first, second] = await spawn(2);
    for (let n = 0; n < 9; n++) clock.advance(1_000);
    await house.say(second!, "add 1");
    for (let n = 0; n < 4; n++) clock.advance(1_000);
    await asleep(first!);
    expect(residents()).toEqual([second]);
  });

  test("is woken by another that asks it, and by an event that it hears", async () => {
    await open();
    const [asker, asked, hearer] = [await house.spawn("deaf"), await house.spawn("deaf"), await house.spawn("mischief")];
    await house.say(asked, "add 5");
    await lullToSleep(asked);
    await asleep(hearer);
    house.hearers.get(`${house.sessionId}/news`)!(create(AgentEventSchema, { eventId: "e1", eventType: "rain", topic: "news", sourceAgentId: asked }));
    expect(await house.say(asker, `ask ${asked} add 2`)).toBe("7");
    expect(await house.say(hearer, "heard")).toBe("rain");
  });
});

describe("what agents have for each other", () => {
  test("D3 reaches those that sleep, in order, once, and leaves no entry behind", async () => {
    await open();
    const [sender, receiver] = await spawn(2);
    await lullToSleep(receiver!);
    for (let n = 0; n < 10; n++) await house.say(sender!, `tell ${receiver!} add 1; tell ${receiver!} add 100`);
    await eventually(() => store.outbox.size === 0);
    expect(await house.say(receiver!, "total")).toBe("1010");
    const exchanges = await house.house.exchanges(receiver!, Infinity, 100);
    expect(exchanges).toHaveLength(21);
  });

  test("D3 is delivered after a crash that came between the commit and the delivery", async () => {
    await open();
    const [sender, receiver] = await spawn(2);
    const said = house.say(sender!, `tell ${receiver!} add 1; tell ${receiver!} add 10`);
    await said;
    const left = store.outbox.size;
    await house.crash();
    await again();
    await eventually(() => store.outbox.size === 0);
    expect(left).toBeGreaterThanOrEqual(0);
    expect(await house.say(receiver!, "total")).toBe("11");
  });

  test("becomes a dead letter when there is nobody to take it, and the sender's session hears of it", async () => {
    await open();
    const [sender, other] = await spawn(2);
    const foreign = await house.spawn("deaf", { sessionId: await house.addSession() });
    await house.house.stop(other!, "gone");
    await house.say(sender!, `tell ${other!} hello; tell ${foreign} hello`);
    await eventually(() => store.deadLetters.size === 2);
    const lines = [...store.deadLetters.values()].map(({ agentId, reason, sourceAgentId }) => `${agentId} ${reason} ${sourceAgentId}`);
    expect(new Set(lines)).toEqual(new Set([`${other!} AGENT_TERMINATED ${sender!}`, `${foreign} AGENT_NOT_FOUND ${sender!}`]));
    expect(house.events.filter(({ type, attributes }) => type === "ERROR_OCCURRED" && "dead_letter_id" in attributes)).toHaveLength(2);
    expect(store.outbox.size).toBe(0);
  });

  test("is settled for a receiver that commits nothing, whatever its step came to", async () => {
    await open();
    const sender = await house.spawn("deaf");
    const fleeting = await house.spawn("fleeting");
    await house.say(sender, `tell ${fleeting} add 3; tell ${fleeting} abort now; tell ${fleeting} add 4`);
    await eventually(() => store.outbox.size === 0);
    expect(await house.say(fleeting, "total")).toBe("4");
  });

  test("is sent at once by one that keeps no outbox, and what cannot be delivered is told", async () => {
    await open();
    const [sender] = await spawn(1, "fleeting");
    const receiver = await house.spawn("deaf");
    await lullToSleep(receiver);
    await house.say(sender!, `tell ${receiver} add 3; tell nobody hello; emit it.rained`);
    await eventually(() => house.events.some(({ type, targetAgentId }) => type === "ERROR_OCCURRED" && targetAgentId === "nobody"));
    await eventually(async () => (await house.say(receiver, "total")) === "3");
    expect([store.outbox.size, house.events.filter(({ type }) => type === "it.rained").length]).toEqual([0, 1]);
  });

  test("events go out after their commit and are settled", async () => {
    await open();
    const sender = await house.spawn("deaf");
    await house.say(sender, "emit it.rained news");
    await eventually(() => store.outbox.size === 0);
    expect(house.events.filter(({ type }) => type === "it.rained")).toMatchObject([{ sourceAgentId: sender, topic: "news" }]);
  });

  test("timers wake those that sleep, once, also after a restart that came first", async () => {
    await open();
    const [agent, later] = await spawn(2);
    await house.say(agent!, "timer soon 30 add 1");
    await house.say(later!, "timer late 300 add 1");
    await lullToSleep(agent!);
    await eventually(() => store.agents.get(agent!)!.timers.size === 0);
    expect(await house.say(agent!, "heard; total")).toBe("timer:soon; 1");
    await house.crash();
    await again();
    await eventually(() => store.agents.get(later!)!.timers.size === 0);
    expect(await house.say(later!, "heard; total")).toBe("timer:late; 1");
  });
});

describe("a host that starts", () => {
  test("has in memory only those with work in hand, and goes on with their waits (D4)", async () => {
    await open({ maxResident: 100 });
    const agents = await spawn(20);
    const waiting = agents.slice(0, 5).map((agent) => rejection(house.say(agent, "add 1; sleep 300; add 1")));
    await eventually(() => [...store.agents.values()].filter(({ wait }) => wait !== null).length === 5);
    await house.crash();
    await Promise.all(waiting);
    await again({ maxResident: 100 });
    const report = await house.house.restore();
    expect(report.restored).toBe(20);
    expect(await report.awake).toEqual({ resumed: 5, unreachable: [] });
    expect(residents().toSorted()).toEqual(agents.slice(0, 5).toSorted());
    await eventually(() => [...store.agents.values()].every(({ wait }) => wait === null));
    expect(await Promise.all(agents.map((agent) => house.say(agent, "total")))).toEqual([...Array<string>(5).fill("2"), ...Array<string>(15).fill("0")]);
  });

  test("has those hear their topics that sleep", async () => {
    await open();
    const hearer = await house.spawn("mischief");
    await house.crash();
    await again();
    await (await house.house.restore()).awake;
    expect(residents()).toEqual([]);
    house.hearers.get(`${house.sessionId}/news`)!(create(AgentEventSchema, { eventId: "e1", eventType: "rain", topic: "news" }));
    expect(await house.say(hearer, "heard")).toBe("rain");
  });

  test("ends what was cut off in its spawn, and counts it no more", async () => {
    await open();
    const agent = await house.spawn("deaf");
    const { record } = (await store.getAgent(agent))!;
    await store.putAgent({ ...record, agentId: record.agentId.replace(/.$/, (last) => (last === "0" ? "1" : "0")), state: "INITIALIZING" });
    await house.crash();
    await again();
    await (await house.house.restore()).awake;
    expect([house.house.count, await house.agents()]).toEqual([1, [agent]]);
  });

  test("S6 keeps those whose revision cannot be had, shows why, and has them again when it can", async () => {
    await open();
    const agent = await house.spawn("deaf");
    await house.say(agent, "add 5");
    await house.crash();
    await again({ revisions: new FixedRevisions(await builtRevision("counter")) });
    const { unreachable } = await (await house.house.restore()).awake;
    expect(unreachable).toMatchObject([{ module: "deaf", agents: 1, reason: expect.stringContaining("no revision") as string }]);
    expect(await rejection(house.say(agent, "total"))).toMatchObject({ code: "MODULE_NOT_FOUND", message: expect.stringContaining("Its state is kept") as string });
    expect(await house.look(agent)).toMatchObject({ health: "unhealthy", record: { state: "ERROR", statusMessage: expect.stringContaining("no revision") as string } });
    expect(await house.agents()).toEqual([agent]);
    await house.crash();
    await again();
    expect(await house.say(agent, "total")).toBe("5");
  });

  test("counts a fork that was put into its store by others", async () => {
    await open();
    const agent = await house.spawn("deaf");
    await house.house.countOf(house.sessionId);
    const { record } = (await store.getAgent(agent))!;
    const fork = record.agentId.replace(/.$/, (last) => (last === "0" ? "1" : "0"));
    await house.house.adopt(house.sessionId, async () => {
      await store.putAgent({ ...record, agentId: fork });
      return fork;
    });
    expect([house.house.count, await house.house.countOf(house.sessionId)]).toEqual([2, 2]);
  });
});

describe("supervision", () => {
  test("rest_for_one: the children spawned after one that failed are restarted too, those before it are not", async () => {
    const parents = await fixtureRevision("mischief", { name: "strict", supervision: "rest_for_one", topics: [] });
    await open({ revisions: new FixedRevisions(parents, revisions.resolve("interval")), maxResident: 100 });
    const parent = await house.spawn("strict");
    const children: string[] = [];
    for (let n = 0; n < 3; n++) children.push(await house.spawn("strict", { parentAgentId: parent }));
    await Promise.all(children.map((child) => house.say(child, "add 1")));
    const instances = () => children.map((child) => [...house.house.residents()].find(({ id }) => id === child)!.residentBytes > 0);
    await rejection(house.say(children[1]!, "abort now"));
    await eventually(() => !instances()[2]);
    expect(instances()).toEqual([true, false, false]);
    expect(await Promise.all(children.map((child) => house.say(child, "total")))).toEqual(["1", "1", "1"]);
  });

  test("a module whose agents end by a fault has them end for good", async () => {
    const once = await fixtureRevision("mischief", { name: "once", restart: "temporary", topics: [] });
    await open({ revisions: new FixedRevisions(once) });
    const agent = await house.spawn("once");
    await rejection(house.say(agent, "abort now"));
    await eventually(() => house.house.count === 0);
    expect((await store.getAgent(agent))?.record.state).toBe("TERMINATED");
  });

  test("residents are asked for their health now and then, and what they say shows", async () => {
    await open({ healthIntervalMs: 20, maxResident: 100 });
    const [well, unwell] = await spawn(2);
    await house.say(well!, "add 1");
    await house.say(unwell!, "health tired");
    await eventually(async () => (await house.look(unwell!))?.health === "degraded");
    expect((await house.look(unwell!))?.record.statusMessage).toContain("tired");
    expect((await house.look(well!))?.health).toBe("healthy");
  });
});

describe("a host that stops", () => {
  test("does not wait for an agent whose wait is on disk, and has it go on after the next start", async () => {
    await open({ maxResident: 100 });
    const [agent, busy] = await spawn(2);
    const cut = rejection(house.say(agent!, "add 1; sleep 2000; add 1"));
    await eventually(() => store.agents.get(agent!)!.wait !== null);
    const done = house.say(busy!, "add 1; sleep 50; add 1");
    await house.house.drain(60_000);
    expect(store.agents.get(agent!)!.wait).not.toBeNull();
    expect(await done).toBe("1; slept; 2");
    expect((await rejection(house.say(busy!, "total"))).code).toBe("SHUTTING_DOWN");
    await house.shut(true);
    expect((await cut).code).toBe("SHUTTING_DOWN");
    await again();
    await eventually(() => store.agents.get(agent!)!.wait === null);
    expect(await house.say(agent!, "total")).toBe("2");
  });

  test("lets agents deliver to each other while it drains", async () => {
    await open({ maxResident: 100 });
    const [asker, asked] = await spawn(2);
    const reply = house.say(asker!, `sleep 50; ask ${asked!} add 3; tell ${asked!} add 4`);
    const drained = house.house.drain(10_000);
    expect(await reply).toBe("slept; 3; told");
    await drained;
    await house.shut(true);
    await again();
    await eventually(() => store.outbox.size === 0);
    expect(await house.say(asked!, "total")).toBe("7");
  });

  test("commits what agents of level interval had only answered", async () => {
    await open({ durability: { intervalMs: 3_600_000 } });
    const [agent] = await spawn(1, "interval");
    await house.say(agent!, "add 5");
    await house.shut(true);
    await again();
    expect(await house.say(agent!, "total")).toBe("5");
  });
});
