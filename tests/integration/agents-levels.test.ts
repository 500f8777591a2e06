/** Effects of a step beyond its reply, and what each level of durability keeps of an agent. */
import { beforeAll, describe, expect, test } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { AgentRig, type RigOptions } from "../support/agent-rig.ts";
import { rejection } from "../support/instances.ts";
import { fixtureRevision } from "../support/revisions.ts";

const ALL = ["ask", "sleep", "timers", "documents"] as const;
const LIMITS = { memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000 };

const revisions: Revision[] = [];

beforeAll(async () => {
  const made = (name: string, changes: object, grants: readonly string[] = ALL) => fixtureRevision("mischief", { name, durability: name, requests: [...grants], limits: LIMITS, ...changes }, {}, grants);
  for (const durability of ["wait", "message", "interval", "none"]) revisions.push(await made(durability, {}));
  revisions.push(await made("ungranted", { durability: "message" }, ["ask", "sleep"]));
}, 120_000);

const open = (options: Partial<RigOptions> = {}) => new AgentRig({ revisions, ...options });
const timersOf = (rig: AgentRig, { id }: { readonly id: string }) => [...(rig.store.agents.get(id)?.timers.values() ?? [])].map(({ timerId, dueAt }) => [timerId, dueAt - rig.clock.now()]);

describe("D3 timers", () => {
  test("are set and cancelled with the step, in order, and count from its end", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    await rig.say(agent, "timer a 100 add 1; timer b 100 add 2; timer a 300 add 3; cancel b; timer c 5 add 9");
    expect(timersOf(rig, agent)).toEqual([["a", 300], ["c", 5]]);
    expect((await rejection(rig.say(agent, "cancel a; divide 0"))).code).toBe("GUEST_TRAP");
    expect(timersOf(rig, agent)).toEqual([["a", 300], ["c", 5]]);
    await rig.say(agent, "cancel a; cancel unknown");
    expect(timersOf(rig, agent)).toEqual([["c", 5]]);
    expect(rig.timers.map(({ changes }) => changes.map(({ kind, timerId }) => `${kind} ${timerId}`))).toEqual([["set a", "set b", "set a", "cancel b", "set c"], ["cancel a", "cancel unknown"]]);
  });

  test("fire as a step of their own, whose commit takes the timer; one that was set anew meanwhile stays", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    await rig.say(agent, "timer t 50 add 7");
    const [timer] = rig.store.agents.get(agent.id)!.timers.values();
    rig.manual.advance(50);
    // Fired twice at once, it fires once.
    await Promise.all([agent.fire(timer!), agent.fire(timer!)]);
    expect(await rig.say(agent, "total; heard")).toBe("7; timer:t");
    expect(timersOf(rig, agent)).toEqual([]);
    expect(rig.timers.at(-1)).toEqual({ agentId: agent.id, changes: [], fired: { timerId: "t", dueAt: timer!.dueAt } });

    await rig.say(agent, "timer again 10 add 1");
    const [second] = rig.store.agents.get(agent.id)!.timers.values();
    await agent.fire({ ...second!, payload: Buffer.from("timer again 500 add 1") });
    expect(timersOf(rig, agent)).toEqual([["again", 500]]);
  });

  test("that wait in the mailbox when a step cancels them do not fire any more", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    await rig.say(agent, "timer t 0 add 7; timer u 0 add 1");
    const timers = [...rig.store.agents.get(agent.id)!.timers.values()];
    const cancelling = rig.say(agent, "cancel t");
    await Promise.all([cancelling, ...timers.map((timer) => agent.fire(timer))]);
    expect(await rig.say(agent, "total; heard")).toBe("1; timer:u");
  });

  test("and documents need a grant, and a module that commits", async () => {
    await using rig = open();
    const [ungranted, none] = [await rig.spawn("ungranted"), await rig.spawn("none")];
    for (const command of ["timer t 5 add 1", "cancel t", "put a b", "remove a"]) {
      expect((await rejection(rig.say(ungranted, command))).code).toBe("CAPABILITY_DENIED");
      expect(await rejection(rig.say(none, command))).toMatchObject({ code: "GUEST_PROTOCOL", message: expect.stringContaining('durability "none"') as string });
    }
    expect(await rig.say(ungranted, "get a; keys")).toBe("capability_denied; capability_denied");
    expect(await rig.say(none, "get a")).toBe("none");
    expect((await rejection(rig.say(none, "put a/ b"))).message).toContain("slashes");
  });
});

test("D3 documents are written with the step or not at all, and read by all of the session", async () => {
  await using rig = open();
  const [writer, reader] = [await rig.spawn("wait"), await rig.spawn("none")];
  await rig.say(writer, "put plan/a one; put plan/b two; put plan/a three");
  expect(await rig.say(reader, "get plan/a; get plan/b; keys plan/")).toBe("1:three; 1:two; plan/a,plan/b");
  await rejection(rig.say(writer, "put plan/a four; remove plan/b; divide 0"));
  expect(await rig.say(reader, "get plan/a; get plan/b")).toBe("1:three; 1:two");
  await rig.say(writer, "put plan/a five; remove plan/b");
  expect(await rig.say(reader, "get plan/a; get plan/b; keys")).toBe("2:five; none; plan/a");
});

describe("an agent without durability", () => {
  test("lets go at once what it emits, and knows repeats as long as it lives", async () => {
    await using rig = open();
    const agent = await rig.spawn("none", { config: { parameters: { on_init: "tell b born" }, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] } });
    expect(rig.let).toMatchObject([{ kind: "message", agentId: "b", message: { content: "born" } }]);
    await rig.sendAs(agent, "m1", "add 5; tell b hello; emit counted");
    expect(await rig.sendAs(agent, "m1", "add 5; tell b hello; emit counted")).toMatchObject({ replayed: true });
    expect(rig.let.length).toBe(2);
    expect(rig.events.some(({ type }) => type === "counted")).toBe(true);
    expect(rig.committed).toEqual([]);
    // Its init happens again; what that emits has been emitted.
    await rejection(rig.say(agent, "divide 0"));
    expect(await rig.say(agent, "total")).toBe("0");
    expect(rig.let.length).toBe(2);
  });
});

describe("an agent of level interval", () => {
  const states = (rig: AgentRig, { id }: { readonly id: string }) => rig.store.agents.get(id)?.states.length;

  test("is answered at once, and committed an interval later: exchanges, then the state", async () => {
    await using rig = open();
    const agent = await rig.spawn("interval");
    for (const id of ["m1", "m2", "m3"]) await rig.sendAs(agent, id, "add 1");
    expect([states(rig, agent), agent.ledger.unsaved]).toEqual([1, 3]);
    rig.manual.advance(1_000);
    await rig.until(() => agent.ledger.unsaved === 0);
    expect(rig.store.agents.get(agent.id)?.commits.map(({ cause, exchange, state }) => [cause, exchange?.messageId, state?.kind])).toEqual([["init", undefined, "base"], ["message", "m1", undefined], ["message", "m2", undefined], ["compaction", "m3", "base"]]);
    await rig.crash();
    const again = await rig.wake(agent.id);
    expect(await rig.say(again, "total")).toBe("3");
    expect(await rig.sendAs(again, "m2", "add 1")).toMatchObject({ replayed: true, response: { content: "2" } });
  });

  test("loses what was not committed when the process ends, ids and all: a repeat takes effect", async () => {
    await using rig = open();
    const agent = await rig.spawn("interval");
    await rig.sendAs(agent, "m1", "add 1");
    rig.manual.advance(1_000);
    await rig.until(() => agent.ledger.unsaved === 0);
    await rig.sendAs(agent, "m2", "add 10");
    await rig.crash();
    const again = await rig.wake(agent.id);
    expect(await rig.sendAs(again, "m2", "add 10")).toMatchObject({ replayed: false, response: { content: "11" } });
  });

  test("loses it to a fault as well", async () => {
    await using rig = open();
    const agent = await rig.spawn("interval");
    await rig.sendAs(agent, "m1", "add 1");
    await rejection(rig.say(agent, "divide 0"));
    expect(agent.ledger.unsaved).toBe(0);
    expect(await rig.sendAs(agent, "m1", "add 1")).toMatchObject({ replayed: false, response: { content: "1" } });
  });

  test("is committed before the answer when the step shows elsewhere, with all that came before it", async () => {
    await using rig = open();
    const agent = await rig.spawn("interval");
    await rig.sendAs(agent, "m1", "add 1");
    await rig.sendAs(agent, "m2", "add 1; tell b hello; timer t 5 add 1");
    expect([agent.ledger.unsaved, states(rig, agent)]).toEqual([0, 2]);
    expect(rig.committed.map(({ target, key }) => [target, key.commitSequence])).toEqual([["b", 3]]);
    await rig.sendAs(agent, "m3", "add 1", { outboxKey: { agentId: "s", commitSequence: 1, index: 0 } });
    expect([agent.ledger.unsaved, states(rig, agent)]).toEqual([0, 3]);
    expect(await rig.sendAs(agent, "m2", "add 1; tell b hello; timer t 5 add 1")).toMatchObject({ replayed: true });
  });

  test("does not wait for its interval when much has come, and is committed when it leaves memory or the host closes", async () => {
    await using rig = open();
    const [leaving, closing] = [await rig.spawn("interval"), await rig.spawn("interval")];
    for (let i = 0; i < 40; i++) await rig.say(leaving, "add 1");
    await rig.until(() => leaving.restful);
    expect(leaving.ledger.unsaved).toBeLessThan(40);
    await rig.say(leaving, "add 1");
    expect(await leaving.leave()).toBe(true);
    await rig.say(closing, "add 1");
    await closing.close();
    await rig.crash();
    expect(await rig.say(await rig.wake(leaving.id), "total")).toBe("41");
    expect(await rig.say(await rig.wake(closing.id), "total")).toBe("1");
  });

  test("keeps what the store would not take, and has it take it later", async () => {
    await using rig = open();
    const agent = await rig.spawn("interval");
    await rig.say(agent, "add 1");
    rig.store.failure = new SirsiError("STORE_UNAVAILABLE", "full");
    rig.manual.advance(1_000);
    await rig.until(() => agent.restful);
    expect(await agent.leave()).toBe(false);
    expect(await rejection(rig.say(agent, "add 1; tell b hello"))).toMatchObject({ code: "STORE_UNAVAILABLE" });
    rig.store.failure = null;
    // The step that could not be committed took the instance with it, and what only it held.
    expect(await rig.say(agent, "total")).toBe("0");
    await rig.say(agent, "add 1");
    rig.store.failAfter = 1;
    rig.manual.advance(1_000);
    await rig.until(() => rig.store.failAfter === 0 && agent.restful);
    rig.manual.advance(1_000);
    await rig.until(() => agent.ledger.unsaved === 0);
    await rig.crash();
    expect(await rig.say(await rig.wake(agent.id), "total")).toBe("1");
  });
});

describe("an agent that leaves memory", () => {
  test("lets go of its instance and its revision, and comes back as it was", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    await rig.say(agent, "add 5");
    expect(agent.residentBytes).toBeGreaterThan(0);
    expect(await agent.leave()).toBe(true);
    expect([rig.pool.instances, agent.residentBytes, rig.revisions.uses.get(agent.revision.digest)]).toEqual([0, 0, 0]);
    expect((await rejection(rig.say(agent, "total"))).code).toBe("AGENT_FENCED");
    expect(await rig.say(await rig.wake(agent.id), "total")).toBe("5");
  });

  test("stays when it has work in hand", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait");
    const reply = rig.say(agent, "add 5");
    expect([agent.restful, await agent.leave()]).toEqual([false, false]);
    expect(await reply).toBe("5");
    await rig.until(() => agent.restful);
  });
});
