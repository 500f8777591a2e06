/** Houses on hosts that share a store: agents come from other hosts, go to them, and address each other across them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
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

/** Until it is set aside. */
async function fail(agent: string): Promise<void> {
  for (let n = 0; n <= RESTART.maxRestarts; n++) await rejection(a.rig.say(agent, `abort ${n}`));
}

/** Says something with a sleep in it, and gives what was said when that has begun. */
async function asleep(saying: () => Promise<string>): Promise<{ readonly said: Promise<string> }> {
  const before = clock.pending;
  const said = saying();
  await eventually(() => clock.pending > before);
  return { said };
}

/** A `give` that the test ends. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let began = false;
  const give = () => {
    began = true;
    return promise;
  };
  return { give, end: resolve, begun: () => eventually(() => began) };
}

describe("an agent that another host has", () => {
  test("is not brought to memory: whoever addresses it is told whose it is, and not that it does not exist", async () => {
    const agent = await a.rig.spawn("wait");
    const ways = [() => b.rig.say(agent, "total"), () => b.house.update(agent, { metadata: { x: "y" } }), () => b.house.stop(agent, "enough"), () => b.house.activate(agent), () => b.house.sendEntry(agent, "", delivery("total"))];
    for (const way of ways) {
      expect(await rejection(way())).toMatchObject({ code: "AGENT_FENCED", retryable: true, details: { metadata: { owner: "host-a" } } });
    }
    expect([b.house.residentCount, b.presence, shelf(agent).record.state]).toEqual([0, [], "READY"]);
    expect((await b.rig.look(agent))?.record.agentId).toBe(agent);
    expect(await a.rig.say(agent, "add 1")).toBe("1");
  });

  test("and is gone everywhere is not found", async () => {
    expect((await rejection(b.rig.say("nobody", "total"))).code).toBe("AGENT_NOT_FOUND");
  });

  test("is asked and told of by agents here as one of this host is, each message once", async () => {
    const [asker, asked] = [await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    expect(await a.rig.say(asker, `ask ${asked} add 5; tell ${asked} add 10; tell ${asked} add 100`)).toBe("5; told; told");
    await eventually(() => rig.store.outbox.size === 0);
    expect([await b.rig.say(asked, "total"), accounts(asked).done]).toEqual(["115", 4]);
    expect(a.sent).toContain(asked);
  });

  test("is reached without a look at the store when it is known to be elsewhere", async () => {
    const [asker, asked] = [await a.rig.spawn("wait"), await b.rig.spawn("none")];
    a.heard.add(asked);
    rig.acquire = () => Promise.reject(new SirsiError("INTERNAL", "nobody is to ask"));
    expect(await a.rig.say(asker, `ask ${asked} add 5; tell ${asked} add 10`)).toBe("5; told");
    await eventually(() => rig.store.outbox.size === 0);
    expect(await b.rig.say(asked, "total")).toBe("15");
  });

  test("and commits nothing has dealt with a message that ended it, once", async () => {
    const [teller, fleeting] = [await a.rig.spawn("wait"), await b.rig.spawn("none")];
    await a.rig.say(teller, `tell ${fleeting} abort no; tell ${fleeting} add 1`);
    await eventually(() => rig.store.outbox.size === 0);
    expect([await b.rig.say(fleeting, "total"), rig.store.deadLetters.size]).toEqual(["1", 0]);
  });

  test("of another session is nobody to those who ask and tell", async () => {
    const other = await b.rig.addSession();
    const [asker, stranger] = [await a.rig.spawn("wait"), await b.rig.spawn("wait", { sessionId: other })];
    expect(await a.rig.say(asker, `ask ${stranger} add 5; tell ${stranger} add 5`)).toBe("agent_not_found; told");
    await eventually(() => rig.store.deadLetters.size === 1);
    expect(await b.rig.say(stranger, "total")).toBe("0");
  });

  test("shares the fate of its siblings", async () => {
    const parent = await a.rig.spawn("parent");
    const first = await a.rig.spawn("none", { parentAgentId: parent });
    const [later, here] = [await b.rig.spawn("none", { parentAgentId: parent }), await a.rig.spawn("none", { parentAgentId: parent })];
    for (const agent of [later, here]) await say(agent, "add 5");
    expect((await rejection(a.rig.say(first, "abort no"))).code).toBe("GUEST_TRAP");
    await eventually(() => a.restarts.length > 0);
    expect([a.restarts, await say(later, "total"), await say(here, "total")]).toEqual([[later], "0", "0"]);
  });
});

describe("G2 a circle of agents that ask each other", () => {
  test("is refused over two hosts", async () => {
    const [one, two] = [await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    expect(await a.rig.say(one, `ask ${two} ask ${one} add 1`)).toBe("ask_cycle");
  });

  test("is refused over three, and when one of them had asked long before", async () => {
    const c = await rig.host("host-c");
    const [one, two, three, four] = [await a.rig.spawn("wait"), await b.rig.spawn("wait"), await c.rig.spawn("wait"), await b.rig.spawn("wait")];
    expect(await a.rig.say(one, `ask ${two} ask ${three} ask ${four} ask ${one} add 1`)).toBe("ask_cycle");
    // The question of two waits in the mailbox of three, whose own question closes the circle.
    const before = clock.pending;
    const busy = c.rig.say(three, `sleep 1000; ask ${four} ask ${two} add 1`);
    await eventually(() => clock.pending > before && shelf(three).wait !== null);
    const asked = b.rig.say(two, `ask ${three} add 1`);
    await eventually(() => [...c.house.residents()].some(({ id, waiting }) => id === three && waiting === 1));
    clock.advance(1_000);
    expect([await busy, await asked]).toEqual(["slept; ask_cycle", "1"]);
  });

  test("is refused to both when they ask each other in the same moment", async () => {
    const [one, two] = [await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    // Both are in their waits before either question is on its way.
    const { promise, resolve } = Promise.withResolvers<void>();
    const route = rig.route.bind(rig);
    rig.route = async (agentId, from, act) => {
      await promise;
      return await route(agentId, from, act);
    };
    const answers = [a.rig.say(one, `ask ${two} add 1`), b.rig.say(two, `ask ${one} add 1`)];
    await eventually(() => a.sent.includes(two) && b.sent.includes(one));
    resolve();
    expect(await Promise.all(answers)).toEqual(["ask_cycle", "ask_cycle"]);
  });

  test("leaves nothing behind: they may ask each other in turn", async () => {
    const [one, two] = [await a.rig.spawn("wait"), await b.rig.spawn("wait")];
    for (let round = 1; round <= 3; round++) {
      expect(await a.rig.say(one, `ask ${two} add 1`)).toBe(String(round));
      expect(await b.rig.say(two, `ask ${one} add 1`)).toBe(String(round));
    }
  });
});

describe("an agent that is handed over", () => {
  test("at rest leaves with its state, and the other host has it at once", async () => {
    const agent = await a.rig.spawn("wait");
    await a.rig.say(agent, "add 5");
    const outcome = moved(await a.handOver(agent, b));
    expect(outcome).toMatchObject({ hadWork: false, stateless: false });
    expect([isHere(a, agent), a.house.count, a.presence]).toEqual([false, 0, [`came ${agent}`, `left ${agent}`]]);
    expect(await rejection(a.rig.say(agent, "total"))).toMatchObject({ code: "AGENT_FENCED", details: { metadata: { owner: "host-b" } } });
    await b.house.bring(agent);
    expect([await b.rig.say(agent, "total"), b.presence]).toEqual(["5", [`came ${agent}`]]);
    await eventually(() => b.house.count === 1);
  });

  test("in the middle of a wait goes on there, and its caller, who sends again, gets the one reply", async () => {
    const [agent, asked] = [await a.rig.spawn("wait"), await a.rig.spawn("wait")];
    const content = `add 10; tell ${asked} add 1; sleep 5000; add 100`;
    const first = rejection(a.sendAs(agent, "m1", content));
    await waits(agent);
    expect(moved(await a.handOver(agent, b)).hadWork).toBe(true);
    expect(await first).toMatchObject({ code: "AGENT_FENCED", retryable: true, message: expect.stringContaining("under the same id") as string });
    await b.house.bring(agent);
    const again = b.sendAs(agent, "m1", content);
    await eventually(() => clock.pending > 0 && b.house.has(agent));
    await eventually(() => {
      clock.advance(1_000);
      return shelf(agent).wait === null;
    });
    expect((await again).response.content).toBe("10; told; slept; 110");
    await eventually(() => rig.store.outbox.size === 0);
    expect([await a.rig.say(asked, "total"), accounts(agent)]).toEqual(["1", { received: 1, done: 1, deadLettered: 0 }]);
  });

  test("that computes ends its step first; what waits for it is refused unread and has effect once, there", async () => {
    // A level that commits no waits: to those outside, this step computes.
    const agent = await a.rig.spawn("message");
    const inHand = await asleep(() => a.rig.say(agent, "add 1; sleep 1000; add 1"));
    const mailbox = Array.from({ length: 20 }, (_, n) => ({ id: `m${n}`, refused: rejection(a.sendAs(agent, `m${n}`, "add 1")) }));
    await turn();
    const going = a.handOver(agent, b);
    await turn();
    clock.advance(1_000);
    expect([await inHand.said, moved(await going).hadWork]).toEqual(["1; slept; 2", true]);
    for (const { refused } of mailbox) expect(await refused).toMatchObject({ code: "AGENT_FENCED", message: expect.stringContaining("no effect") as string });
    await Promise.all(mailbox.map(({ id }) => b.sendAs(agent, id, "add 1")));
    expect(await b.rig.say(agent, "total")).toBe("22");
    expect(accounts(agent).received).toBe(22);
  });

  test("and computes for too long stays, with all that waits for it", async () => {
    const agent = await a.rig.spawn("message");
    const inHand = await asleep(() => a.rig.say(agent, "sleep 5000; add 1"));
    const waiting = a.rig.say(agent, "add 1");
    const going = a.handOver(agent, b, 1_000);
    await turn();
    clock.advance(1_000);
    expect(await going).toMatchObject({ kind: "stayed", reason: expect.stringContaining("1000 ms") as string });
    clock.advance(4_000);
    expect([await inHand.said, await waiting, a.presence]).toEqual(["slept; 1", "2", [`came ${agent}`]]);
    expect(moved(await a.handOver(agent, b)).kind).toBe("moved");
  });

  test("and could not be given goes on here with everything that waits for it", async () => {
    const agent = await a.rig.spawn("wait");
    await a.rig.say(agent, "add 1");
    for (const failing of [() => Promise.resolve(false), () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "no"))]) {
      const { give, begun, end } = gate();
      const going = a.house.handOver(agent, async () => (await give()) && (await failing()));
      await begun();
      const waiting = Array.from({ length: 5 }, () => a.rig.say(agent, "add 1"));
      end(true);
      expect((await going).kind).toBe("stayed");
      await Promise.all(waiting);
    }
    expect([await a.rig.say(agent, "total"), a.presence, a.house.count]).toEqual(["11", [`came ${agent}`], 1]);
  });

  test("in a wait and could not be given goes on with its step, with the answer that came meanwhile", async () => {
    const agent = await a.rig.spawn("wait");
    const reply = a.rig.say(agent, "add 1; sleep 1000; add 1");
    await waits(agent);
    const { give, begun, end } = gate();
    const going = a.house.handOver(agent, give);
    await begun();
    const commits = shelf(agent).commits.length;
    clock.advance(1_000);
    await turn(20);
    expect([shelf(agent).commits.length, a.house.has(agent)]).toEqual([commits, true]);
    end(false);
    expect([(await going).kind, await reply]).toEqual(["stayed", "1; slept; 2"]);
  });

  test("is moved when its giving took effect though it seemed to fail", async () => {
    const agent = await a.rig.spawn("none");
    const outcome = await a.house.handOver(agent, async () => {
      await rig.give("host-a", [agent], "host-b");
      throw new SirsiError("STORE_UNAVAILABLE", "the answer was lost");
    });
    expect([outcome.kind, isHere(a, agent), a.house.count]).toEqual(["moved", false, 0]);
  });

  test("and was not this host's any more leaves memory here", async () => {
    const agent = await a.rig.spawn("none");
    await rig.give("host-a", [agent], "host-b");
    expect((await a.handOver(agent, b)).kind).toBe("stayed");
    expect([isHere(a, agent), a.house.count, a.presence.at(-1)]).toEqual([false, 0, `left ${agent}`]);
  });

  test("and keeps nothing in the store begins afresh elsewhere, and is told of as such", async () => {
    const agent = await a.rig.spawn("none");
    await a.rig.say(agent, "add 5");
    expect(moved(await a.handOver(agent, b))).toMatchObject({ stateless: true });
    expect(await b.rig.say(agent, "total")).toBe("0");
  });

  test("takes along what it had answered for and not saved", async () => {
    const agent = await a.rig.spawn("interval");
    await a.rig.say(agent, "add 5");
    const commits = shelf(agent).commits.length;
    moved(await a.handOver(agent, b));
    expect([shelf(agent).commits.length, await b.rig.say(agent, "total")]).toEqual([commits + 1, "5"]);
  });

  test("asleep is given away without being woken", async () => {
    const agent = await a.rig.spawn("wait");
    await a.rig.say(agent, "timer t 60000 add 1");
    await a.rig.shut(true);
    rig.hosts.delete("host-a");
    const again = await rig.host("host-a");
    const outcome = moved(await again.handOver(agent, b));
    expect([outcome.hadWork, again.presence, await b.rig.say(agent, "total")]).toEqual([true, [], "0"]);
  });

  test("that was set aside stays so there", async () => {
    const agent = await a.rig.spawn("wait");
    await fail(agent);
    await eventually(() => shelf(agent).record.state === "ERROR");
    moved(await a.handOver(agent, b));
    await b.house.bring(agent);
    expect((await b.rig.look(agent))?.record.state).toBe("ERROR");
    await b.house.release(agent);
    expect(await b.rig.say(agent, "add 1")).toBe("1");
  });

  test("F3 has what it left in the outbox delivered before what it says there", async () => {
    const [teller, hearer] = [await a.rig.spawn("wait"), await rig.host("host-c").then((c) => c.rig.spawn("wait"))];
    const c = rig.hosts.get("host-c")!;
    // Nobody gets through to the receiver for now.
    c.deaf = true;
    await a.rig.say(teller, `tell ${hearer} say first; tell ${hearer} say second`);
    await eventually(() => a.sent.includes(hearer));
    expect(moved(await a.handOver(teller, b)).hadWork).toBe(true);
    const told = b.rig.say(teller, `tell ${hearer} say third`);
    await told;
    c.deaf = false;
    await eventually(() => {
      clock.advance(100);
      return rig.store.outbox.size === 0;
    });
    const heard = shelf(hearer).exchanges.map(({ messageId }) => messageId);
    expect([heard.length, new Set(heard).size]).toEqual([3, 3]);
    expect(heard).toEqual(heard.toSorted());
  });

  test("while it is being made stays", async () => {
    const spawning = a.rig.spawn("wait", { agentId: "made-slowly" });
    expect(await a.handOver("made-slowly", b)).toMatchObject({ kind: "stayed", reason: expect.stringContaining("being made") as string });
    expect(await a.rig.say(await spawning, "add 1")).toBe("1");
  });

  test("and stopped meanwhile is stopped where it is by then", async () => {
    const agent = await a.rig.spawn("wait");
    const { give, begun, end } = gate();
    const going = a.house.handOver(agent, async () => (await rig.give("host-a", [agent], "host-b")).length > 0 && (await give()));
    await begun();
    const stopped = rejection(a.house.stop(agent, "enough"));
    await turn(5);
    end(true);
    expect([(await stopped).code, (await going).kind, isHere(a, agent), a.house.count]).toEqual(["AGENT_FENCED", "moved", false, 0]);
    await b.house.stop(agent, "enough");
    expect(shelf(agent).record.state).toBe("TERMINATED");
  });
});
