/** Steps that wait: what is kept of them, and how they go on after the process has ended in the middle. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { create } from "@bufbuild/protobuf";
import { SirsiError } from "../../runtime/core/errors.ts";
import { armFault } from "../../runtime/core/fault-points.ts";
import type { Agent } from "../../runtime/agent/agent.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { AgentRig, type RigOptions } from "../support/agent-rig.ts";
import { rejection } from "../support/instances.ts";
import { fixtureRevision } from "../support/revisions.ts";
import { killShard, watchShards } from "../support/shard-threads.ts";
import { turn } from "../support/turn.ts";

const ALL = ["ask", "sleep", "timers", "documents"] as const;
const LIMITS = { memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000 };

const revisions = new Map<string, Revision>();

beforeAll(async () => {
  for (const durability of ["wait", "message"]) {
    revisions.set(durability, await fixtureRevision("mischief", { name: durability, durability, requests: [...ALL], limits: LIMITS }, {}, [...ALL]));
  }
}, 120_000);

function open(options: Partial<RigOptions> = {}): AgentRig {
  return new AgentRig({ revisions: [...revisions.values()], ...options });
}

afterEach(() => armFault(null));

const waits = (rig: AgentRig, agent: Pick<Agent, "id">) => rig.store.agents.get(agent.id)?.wait ?? null;
const causes = (rig: AgentRig, agent: Pick<Agent, "id">) => rig.store.agents.get(agent.id)?.commits.map(({ cause }) => cause);
const account = (rig: AgentRig, agent: Pick<Agent, "id">) => rig.store.agents.get(agent.id)?.account;

/** Begins a step whose reply the end of the process will take away. */
async function begun(rig: AgentRig, agent: Agent, messageId: string, content: string): Promise<void> {
  rig.sendAs(agent, messageId, content).catch(() => undefined);
  await rig.until(() => waits(rig, agent) !== null);
}

describe("D4 a step that waits", () => {
  test("is committed at the wait, before its request is made", async () => {
    await using rig = open();
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    let release: () => void = () => undefined;
    rig.store.gate = new Promise((resolve) => {
      release = resolve;
    });
    const reply = rig.say(asker, `add 5; emit counted; ask ${asked.id} add 1`);
    await rig.until(() => asker.ledger.commitSequence === 2);
    await turn(10);
    expect(rig.asked).toEqual([]);
    release();
    expect(await reply).toBe("5; emitted; 1");
    expect(causes(rig, asker)).toEqual(["init", "wait", "message"]);
    expect(rig.committed.length).toBe(1);
    expect(waits(rig, asker)).toBeNull();
    expect(account(rig, asker)).toEqual({ received: 1, done: 1, deadLettered: 0 });
  });

  test("goes on there after the process ended: what it did before is done once, and its emits come with its end", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    await rig.say(agent, "add 1");
    await begun(rig, agent, "m1", "add 10; emit before; timer t 50 add 1; sleep 5000; add 100; emit after");
    expect(account(rig, agent)).toEqual({ received: 2, done: 1, deadLettered: 0 });
    await rig.crash();
    expect([rig.committed, rig.timers]).toEqual([[], []]);

    const again = await rig.wake(agent.id);
    const joined = rig.sendAs(again, "m1", "add 10; emit before; timer t 50 add 1; sleep 5000; add 100; emit after");
    expect(again.view().activeOperations).toBe(1);
    await rig.until(() => again.slot.live !== null);
    rig.manual.advance(5_000);
    expect(await joined).toMatchObject({ response: { content: "11; emitted; set; slept; 111; emitted" }, replayed: true });
    expect(rig.committed.map(({ kind, key }) => [kind, key.index])).toEqual([["event", 0], ["event", 1]]);
    expect(rig.timers.length).toBe(1);
    expect(await rig.say(again, "total")).toBe("111");
    expect(account(rig, agent)).toEqual({ received: 3, done: 3, deadLettered: 0 });
  });

  test("goes on at its latest wait, and what it asked before is not asked again", async () => {
    await using rig = open();
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    const content = `ask ${asked.id} add 5; add 1; sleep 1000; ask ${asked.id} add 5; get a`;
    rig.sendAs(asker, "m1", content).catch(() => undefined);
    await rig.until(() => rig.store.agents.get(asker.id)?.commits.filter(({ cause }) => cause === "wait").length === 2);
    await rig.crash();
    await rig.wake(asked.id);
    const again = await rig.wake(asker.id);
    const joined = rig.sendAs(again, "m1", content);
    await rig.until(() => again.slot.live !== null);
    await rig.asleep();
    rig.manual.advance(1_000);
    expect((await joined).response.content).toBe("5; 1; slept; 10; none");
    expect(rig.asked.map(({ key }) => key)).toEqual(["m1.1", "m1.3"]);
    expect(causes(rig, asker)).toEqual(["init", "wait", "wait", "wait", "message"]);
  });

  test("whose message came from an outbox takes the entry when it ends, not when it waits", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    const outboxKey = { agentId: "sender", commitSequence: 4, index: 1 };
    rig.sendAs(agent, "m1", "sleep 1000; add 1", { outboxKey, deadLetterId: "letter", sourceAgentId: "sender", context: { a: "b" } }).catch(() => undefined);
    await rig.until(() => waits(rig, agent) !== null);
    expect(rig.store.agents.get(agent.id)?.commits.at(-1)).toMatchObject({ cause: "wait", causeId: "m1", consumed: null, consumedDeadLetter: null });
    await rig.crash();
    const again = await rig.wake(agent.id);
    await rig.until(() => again.slot.live !== null);
    await rig.asleep();
    rig.manual.advance(1_000);
    await rig.until(() => again.restful);
    expect(rig.store.agents.get(agent.id)?.commits.at(-1)).toMatchObject({ cause: "message", consumed: outboxKey, consumedDeadLetter: "letter" });
  });

  test("sleeps to its original end, not anew", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    await begun(rig, agent, "m1", "sleep 5000; add 1");
    rig.manual.advance(4_000);
    await rig.crash();
    const again = await rig.wake(agent.id);
    const joined = rig.sendAs(again, "m1", "sleep 5000; add 1");
    await rig.until(() => again.slot.live !== null);
    await rig.asleep();
    rig.manual.advance(999);
    await turn(20);
    expect(again.view().activeOperations).toBe(1);
    rig.manual.advance(1);
    expect((await joined).response.content).toBe("slept; 1");
  });

  test("whose sleep ended while the host was down goes on at once, with its last words' time", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    await begun(rig, agent, "m1", "sleep 5000; add 1");
    await rig.crash();
    rig.manual.advance(3_600_000);
    const again = await rig.wake(agent.id);
    expect((await rig.sendAs(again, "m1", "sleep 5000; add 1")).response.content).toBe("slept; 1");
  });

  test("asks again under the same key, and the asked agent acts once", async () => {
    await using rig = open();
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    rig.sendAs(asker, "m1", `add 1; ask ${asked.id} add 5; add 1`).catch(() => undefined);
    await rig.until(() => (rig.store.agents.get(asked.id)?.exchanges.length ?? 0) > 0);
    await rig.crash();
    await rig.wake(asked.id);
    const again = await rig.wake(asker.id);
    expect((await rig.sendAs(again, "m1", `add 1; ask ${asked.id} add 5; add 1`)).response.content).toBe("1; 5; 2");
    expect(new Set(rig.asked.map(({ key }) => key))).toEqual(new Set(["m1.1"]));
    expect(rig.asked.length).toBeGreaterThanOrEqual(1);
    expect(await rig.say(await rig.wake(asked.id), "total")).toBe("5");
  });

  test("is answered DEADLINE_EXCEEDED when its time was over meanwhile, and may end in order", async () => {
    await using rig = open();
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    rig.say(asked, "sleep 20000").catch(() => undefined);
    await begun(rig, asker, "m1", `ask ${asked.id} add 5; add 1`);
    await rig.crash();
    rig.manual.advance(60_000);
    const again = await rig.wake(asker.id);
    expect((await rig.sendAs(again, "m1", `ask ${asked.id} add 5; add 1`)).response.content).toBe("deadline_exceeded; 1");
  });

  test("in a request that may not be made twice gets INTERRUPTED, which the guest can handle", async () => {
    await using rig = open({ wrapCapabilities: (given) => ({ ...given, traitsOf: () => ({ repeatable: false, reading: false }) }) });
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    await begun(rig, asker, "m1", `add 5; ask ${asked.id} sleep 9000; add 1`);
    await rig.until(() => rig.asked.length === 1);
    await rig.crash();
    const again = await rig.wake(asker.id);
    expect((await rig.sendAs(again, "m1", `add 5; ask ${asked.id} sleep 9000; add 1`)).response.content).toBe("5; interrupted; 6");
    expect(rig.asked.length).toBe(1);
  });

  test("that was an event's or a timer's goes on as well", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    agent.hear(create(AgentEventSchema, { eventId: "e1", eventType: "price.changed", attributes: { todo: "sleep 1000" } }));
    await rig.until(() => waits(rig, agent) !== null);
    await rig.crash();
    const second = await rig.wake(agent.id);
    await rig.until(() => second.slot.live !== null);
    rig.manual.advance(1_000);
    await rig.until(() => second.restful);
    expect(await rig.say(second, "heard")).toBe("price.changed");

    const timer = { agentId: agent.id, timerId: "t", dueAt: 5, payload: Buffer.from("sleep 1000; add 3") };
    second.fire(timer).catch(() => undefined);
    await rig.until(() => waits(rig, agent) !== null);
    await rig.crash();
    const third = await rig.wake(agent.id);
    const fired = third.fire(timer);
    await rig.until(() => third.slot.live !== null);
    rig.manual.advance(1_000);
    await fired;
    expect(await rig.say(third, "total; heard")).toBe("3; price.changed,timer:t");
    expect(rig.store.agents.get(agent.id)?.commits.filter(({ cause }) => cause === "timer").map(({ firedTimer }) => firedTimer)).toEqual([{ timerId: "t", dueAt: 5 }]);
  });

  test.each(["wait.committed", "wait.resumed"] as const)("fails as a whole when the fault point %s does, and its message can be sent again", async (point) => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    if (point === "wait.resumed") {
      await begun(rig, agent, "m1", "add 1; sleep 10; add 1");
      await rig.crash();
    }
    armFault({ point, hit: 1, action: "fail" });
    const again = await rig.wake(agent.id);
    const failing = rejection(rig.sendAs(again, "m1", "add 1; sleep 10; add 1"));
    if (point === "wait.resumed") {
      await rig.asleep();
      rig.manual.advance(20);
    }
    expect((await failing).code).toBe("STORE_UNAVAILABLE");
    armFault(null);
    expect(waits(rig, again)).toBeNull();
    expect(await rig.say(again, "total")).toBe("0");
    expect(account(rig, again)).toEqual({ received: 1, done: 1, deadLettered: 0 });
  });
});

describe("a wait that cannot be opened", () => {
  async function waiting(rig: AgentRig): Promise<string> {
    const agent = await rig.spawn("wait");
    await rig.say(agent, "add 1");
    await begun(rig, agent, "m1", "add 10; sleep 1000; add 100");
    await rig.crash();
    return agent.id;
  }

  async function redone(rig: AgentRig, id: string): Promise<void> {
    const again = await rig.wake(id);
    const reply = rig.sendAs(again, "m1", "add 10; sleep 1000; add 100");
    await rig.until(() => again.slot.live !== null && waits(rig, again) !== null);
    await rig.until(() => rig.store.agents.get(id)?.commits.at(-1)?.cause === "wait" && (rig.store.agents.get(id)?.commits.length ?? 0) > 3);
    await rig.asleep();
    rig.manual.advance(1_000);
    expect((await reply).response.content).toBe("11; slept; 111");
    expect(await rig.say(again, "total")).toBe("111");
    expect(account(rig, again)).toMatchObject({ received: 3, done: 3 });
  }

  test("because its image is damaged is rolled back to rest, and its work is done again", async () => {
    await using rig = open();
    const id = await waiting(rig);
    const image = rig.store.agents.get(id)!.states.at(-1)!.image.image;
    image[image.length >> 1]! ^= 1;
    await redone(rig, id);
  });

  test("because its preparation is gone is rolled back to rest, and its work is done again", async () => {
    await using rig = open();
    const id = await waiting(rig);
    const before = revisions.get("wait")!;
    rig.revisions.activate({ ...before, preparation: "another" });
    await redone(rig, id);
  });

  test("because its record is no record is taken back, and the agent serves", async () => {
    await using rig = open();
    const id = await waiting(rig);
    const shelf = rig.store.agents.get(id)!;
    shelf.wait = { ...shelf.wait!, body: Uint8Array.of(0xff) };
    const again = await rig.wake(id);
    expect(await rig.say(again, "total")).toBe("1");
    expect(causes(rig, again)).toEqual(["init", "message", "wait", "given_up", "message"]);
  });

  test("because another part of its state is damaged sets the agent aside, with its wait", async () => {
    await using rig = open();
    const id = await waiting(rig);
    rig.store.agents.get(id)!.states[1]!.image.image[30]! ^= 1;
    const again = await rig.wake(id);
    await rig.until(() => again.phase.kind === "quarantined");
    expect(again.phase).toMatchObject({ kind: "quarantined" });
  });
});

describe("a step that fails after a wait", () => {
  test("goes back to rest, and the store knows before its caller does", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    await rig.say(agent, "add 1");
    const failing = rejection(rig.say(agent, "add 10; sleep 10; divide 0"));
    await rig.until(() => waits(rig, agent) !== null);
    await rig.asleep();
    rig.manual.advance(10);
    expect((await failing).code).toBe("GUEST_TRAP");
    expect(waits(rig, agent)).toBeNull();
    expect(causes(rig, agent)).toEqual(["init", "message", "wait", "given_up"]);
    expect(account(rig, agent)).toEqual({ received: 1, done: 1, deadLettered: 0 });
    await rig.crash();
    expect(await rig.say(await rig.wake(agent.id), "total")).toBe("1");
  });

  test("because its wait could not be committed has made no request", async () => {
    await using rig = open();
    const [asker, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
    rig.store.failure = new SirsiError("STORE_UNAVAILABLE", "full");
    expect((await rejection(rig.say(asker, `ask ${asked.id} add 1`))).code).toBe("STORE_UNAVAILABLE");
    rig.store.failure = null;
    expect(rig.asked).toEqual([]);
    expect(await rig.say(asker, "total")).toBe("0");
  });
});

describe("a step that waits when", () => {
  test("its shard dies goes on in another instance", async () => {
    watchShards();
    await using rig = open();
    const agent = await rig.spawn("wait");
    const reply = rig.say(agent, "add 5; sleep 1000; add 1");
    await rig.until(() => waits(rig, agent) !== null);
    await rig.asleep();
    await killShard(0);
    rig.manual.advance(1_000);
    expect(await reply).toBe("5; slept; 6");
    expect(await rig.say(agent, "total")).toBe("6");
  });

  test("the host closes is told that it goes on, and it does", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    const reply = rejection(rig.sendAs(agent, "m1", "add 5; sleep 1000; add 1"));
    await rig.until(() => waits(rig, agent) !== null);
    expect(agent.resumable).toBe(true);
    await agent.close();
    expect(await reply).toMatchObject({ code: "SHUTTING_DOWN", message: expect.stringContaining("goes on when it is back") as string });
    await rig.crash();
    const again = await rig.wake(agent.id);
    const joined = rig.sendAs(again, "m1", "add 5; sleep 1000; add 1");
    await rig.until(() => again.slot.live !== null);
    await rig.asleep();
    rig.manual.advance(1_000);
    expect((await joined).response.content).toBe("5; slept; 6");
  });

  test("its caller goes away is given up, and the store forgets it", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    const caller = new AbortController();
    const gone = rejection(rig.say(agent, "add 5; sleep 1000", { signal: caller.signal }));
    await rig.until(() => waits(rig, agent) !== null);
    await rig.asleep();
    caller.abort();
    expect((await gone).code).toBe("CANCELLED");
    expect(waits(rig, agent)).toBeNull();
    expect(await rig.say(agent, "total")).toBe("0");
  });
});

test("a module of durability \"message\" commits no waits: a crash in one rolls the step back", async () => {
  await using rig = open();
  const agent = await rig.spawn("message");
  rig.sendAs(agent, "m1", "add 5; sleep 1000; add 1").catch(() => undefined);
  await rig.until(() => agent.view().activeOperations === 1);
  await rig.say(await rig.spawn("message"), "total");
  await rig.crash();
  expect(causes(rig, agent)).toEqual(["init"]);
  expect(await rig.say(await rig.wake(agent.id), "total")).toBe("0");
});

test("reading a document is no place to commit at, and an ask after it is", async () => {
  await using rig = open();
  const [agent, asked] = [await rig.spawn("wait"), await rig.spawn("wait")];
  expect(await rig.say(agent, `get a; put a one; get a; keys; ask ${asked.id} say hi; get a`)).toBe("none; put; 0:one; a; hi; 0:one");
  expect(causes(rig, agent)).toEqual(["init", "wait", "message"]);
  expect(await rig.say(agent, "get a; remove a; get a; keys")).toBe("1:one; removed; none; ");
});
