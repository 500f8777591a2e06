/** What a durable agent's steps leave in the store, and what becomes of it when the store or the process fails. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import { armFault } from "../../runtime/core/fault-points.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { AgentRig, type RigOptions } from "./../support/agent-rig.ts";
import { rejection } from "../support/instances.ts";
import { fixtureRevision } from "../support/revisions.ts";
import { turn } from "../support/turn.ts";

const ALL = ["ask", "sleep", "timers", "documents"] as const;
const LIMITS = { memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000, mailboxDepth: 20 };

const revisions = new Map<string, Revision>();

beforeAll(async () => {
  for (const durability of ["wait", "message", "interval", "none"]) {
    revisions.set(durability, await fixtureRevision("mischief", { name: durability, durability, requests: [...ALL], limits: LIMITS }, {}, [...ALL]));
  }
  revisions.set("ungranted", await fixtureRevision("mischief", { name: "ungranted", durability: "message", requests: [], limits: LIMITS }));
}, 120_000);

function open(options: Partial<RigOptions> = {}): AgentRig {
  return new AgentRig({ revisions: [...revisions.values()], ...options });
}

afterEach(() => armFault(null));

const FULL = new SirsiError("STORE_UNAVAILABLE", "the disk is full");

describe("the first commit of an agent", () => {
  test("creates it, with its state and all that its init emitted", async () => {
    await using rig = open();
    const agent = await rig.spawn("wait", { config: { parameters: { on_init: "timer t 1000 add 7" }, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] } });
    const shelf = rig.store.agents.get(agent.id);
    expect(shelf?.commits.map(({ cause, commitSequence, epoch, agent: record, state }) => [cause, commitSequence, epoch, record?.state, state?.kind])).toEqual([["init", 1, 1, "READY", "base"]]);
    expect([...(shelf?.timers.keys() ?? [])]).toEqual(["t"]);
    expect(rig.timers).toMatchObject([{ agentId: agent.id, changes: [{ kind: "set", timerId: "t" }], fired: null }]);
  });

  test("of one without durability does not exist: its record is all there is", async () => {
    await using rig = open();
    const agent = await rig.spawn("none");
    await rig.say(agent, "add 1");
    expect(rig.store.agents.get(agent.id)).toMatchObject({ commits: [], record: { state: "READY" } });
  });

  test("that fails leaves no agent, and one without durability whose init fails is taken back", async () => {
    await using rig = open();
    rig.store.failure = FULL;
    expect((await rejection(rig.spawn("wait"))).code).toBe("STORE_UNAVAILABLE");
    expect((await rejection(rig.spawn("none"))).code).toBe("STORE_UNAVAILABLE");
    rig.store.failure = null;
    const failing = { config: { parameters: { on_init: "fail" }, timeoutSeconds: 0, maxConcurrentOperations: 1, enableCaching: false, requiredCapabilities: [] } };
    expect((await rejection(rig.spawn("none", failing))).code).toBe("GUEST_ERROR");
    expect((await rejection(rig.spawn("wait", failing))).code).toBe("GUEST_ERROR");
    expect([...rig.store.agents.values()].map(({ record }) => record.state)).toEqual(["TERMINATED"]);
    expect(rig.pool.instances).toBe(0);
  });
});

test("an agent whose module kept nothing until now begins afresh, and is kept from then on", async () => {
  await using rig = open();
  const agent = await rig.spawn("none");
  await rig.say(agent, "add 5");
  await rig.crash();
  const shelf = rig.store.agents.get(agent.id)!;
  shelf.record = { ...shelf.record, digest: revisions.get("wait")!.digest };
  const again = await rig.wake(agent.id);
  expect(await rig.say(again, "add 1")).toBe("1");
  expect(shelf.commits.map(({ cause, state }) => [cause, state?.kind])).toEqual([["init", "base"], ["message", "difference"]]);
  await rig.crash();
  expect(await rig.say(await rig.wake(agent.id), "add 1")).toBe("2");
});

test("a state of another revision than the record's is not opened", async () => {
  await using rig = open();
  const { id } = await rig.spawn("message");
  await rig.crash();
  const shelf = rig.store.agents.get(id)!;
  shelf.record = { ...shelf.record, digest: revisions.get("wait")!.digest };
  const agent = await rig.wake(id);
  expect(await rejection(rig.say(agent, "total"))).toMatchObject({ code: "STORE_CORRUPT", message: expect.stringContaining("its record says") as string });
  expect(agent.phase.kind).toBe("quarantined");
});

describe("D1 a reply", () => {
  test("and an outgoing message wait for the commit that holds them", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    let release: () => void = () => undefined;
    rig.store.gate = new Promise((resolve) => {
      release = resolve;
    });
    let replied = false;
    const reply = rig.say(agent, "add 5; tell b hello; emit counted").then((answer) => {
      replied = true;
      return answer;
    });
    await rig.until(() => agent.ledger.commitSequence === 2);
    await turn(10);
    expect([replied, rig.committed]).toEqual([false, []]);
    release();
    expect(await reply).toBe("5; told; emitted");
    expect(rig.committed.map(({ kind, target, key }) => [kind, target, key.agentId, key.commitSequence, key.index])).toEqual([["message", "b", agent.id, 2, 0], ["event", "", agent.id, 2, 1]]);
  });

  test("is an error when the store takes no commit: the step's effects never existed, and the agent serves again from its last commit", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    await rig.say(agent, "add 1");
    rig.store.failure = FULL;
    expect((await rejection(rig.say(agent, "add 10; tell b hello; timer t 5 add"))).code).toBe("STORE_UNAVAILABLE");
    rig.store.failure = null;
    expect([rig.committed, rig.timers, rig.restarted]).toEqual([[], [], []]);
    expect(await rig.say(agent, "total")).toBe("1");
  });

  test("that was lost though its commit was written is found again, and what the step let go goes once", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    rig.store.failAfter = 1;
    expect((await rejection(rig.sendAs(agent, "m1", "add 10; tell b hello"))).code).toBe("STORE_UNAVAILABLE");
    expect(rig.committed).toEqual([]);
    expect(await rig.sendAs(agent, "m1", "add 10; tell b hello")).toMatchObject({ response: { content: "10; told" }, replayed: true });
    expect(await rig.say(agent, "total")).toBe("10");
    expect(rig.committed.map(({ target }) => target)).toEqual(["b"]);
  });

  test.each(["step.done", "commit.settled"] as const)("is not given when the fault point %s fails, and a repeat gets the truth", async (point) => {
    await using rig = open();
    const agent = await rig.spawn("message");
    armFault({ point, hit: 1, action: "fail" });
    expect((await rejection(rig.sendAs(agent, "m1", "add 10"))).code).toBe("STORE_UNAVAILABLE");
    armFault(null);
    expect((await rig.sendAs(agent, "m1", "add 10")).response.content).toBe("10");
    expect(await rig.say(agent, "total")).toBe("10");
  });
});

describe("D2 a message id", () => {
  test("has no second effect after its reply is gone: REPLY_FORGOTTEN, or MESSAGE_ID_REUSED for another message", async () => {
    await using rig = open({ exchangesKept: 2 });
    const agent = await rig.spawn("message");
    await rig.sendAs(agent, "m1", "add 10");
    for (let i = 0; i < 3; i++) await rig.say(agent, "add 1");
    expect((await rejection(rig.sendAs(agent, "m1", "add 10"))).code).toBe("REPLY_FORGOTTEN");
    expect((await rejection(rig.sendAs(agent, "m1", "add 11"))).code).toBe("MESSAGE_ID_REUSED");
    expect(await rig.say(agent, "total")).toBe("13");
    expect(agent.view().health).toBe("healthy");
  });

  test("is known after a restart, and the store is not asked for every new one for ever", async () => {
    await using rig = open({ exchangesKept: 3 });
    const { id } = await rig.spawn("message");
    const first = await rig.wake(id);
    await rig.sendAs(first, "m1", "add 10");
    await rig.crash();
    const agent = await rig.wake(id);
    expect(await rig.sendAs(agent, "m1", "add 10")).toMatchObject({ replayed: true, response: { content: "10" } });
    expect(agent.conversation.complete).toBe(false);
    for (let i = 0; i < 3; i++) await rig.say(agent, "add 1");
    expect(agent.conversation.complete).toBe(true);
    expect((await rejection(rig.sendAs(agent, "m1", "add 10"))).code).toBe("REPLY_FORGOTTEN");
    expect(await rig.say(agent, "total")).toBe("13");
  });

  test("whose answer was an error of the guest's own gets all of that error again", async () => {
    await using rig = open();
    const { id } = await rig.spawn("message");
    const first = await rejection(rig.sendAs(await rig.wake(id), "m1", "add 3; fail out_of_cheese later"));
    await rig.crash();
    const again = await rejection(rig.sendAs(await rig.wake(id), "m1", "add 3; fail out_of_cheese later"));
    expect(first.details).toMatchObject({ metadata: { guest_code: "out_of_cheese" }, retryAfterMs: 1_000 });
    expect([again.code, again.message, again.details]).toEqual([first.code, first.message, first.details]);
  });

  test("takes its sender's outbox entry, and the dead letter that it was, with its commit", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    const outboxKey = { agentId: "sender", commitSequence: 7, index: 2 };
    await rig.say(agent, "add 1", { outboxKey, deadLetterId: "letter" });
    expect(rig.store.agents.get(agent.id)?.commits.at(-1)).toMatchObject({ cause: "message", consumed: outboxKey, consumedDeadLetter: "letter" });
  });
});

describe("D5 an agent that another owner has taken over", () => {
  test("lets go of everything: the step's answer is AGENT_FENCED, and nothing of it shows", async () => {
    await using rig = open();
    const agent = await rig.spawn("message");
    await rig.store.claimAgent(agent.id);
    const [first, waiting] = [rejection(rig.say(agent, "add 1; tell b hello")), rejection(rig.say(agent, "add 1"))];
    expect([(await first).code, (await waiting).code]).toEqual(["AGENT_FENCED", "AGENT_FENCED"]);
    expect([rig.committed, rig.fenced, rig.pool.instances]).toEqual([[], [agent.id], 0]);
    expect((await rejection(rig.say(agent, "add 1"))).code).toBe("AGENT_FENCED");
    expect(rig.revisions.uses.get(agent.revision.digest)).toBe(0);
  });

  test("commits under its new epoch when it comes back", async () => {
    await using rig = open();
    const { id } = await rig.spawn("message");
    await rig.store.claimAgent(id);
    await rig.say(await rig.wake(id), "add 1");
    expect(rig.store.agents.get(id)?.commits.map(({ epoch }) => epoch)).toEqual([1, 2]);
  });
});

describe("D6 the states of an agent", () => {
  test("are a base, then differences, and a base again after so many", async () => {
    await using rig = open({ durability: { baseEvery: 4 } });
    const agent = await rig.spawn("message");
    for (let i = 0; i < 9; i++) await rig.say(agent, "add 1");
    const kinds = rig.store.agents.get(agent.id)?.states.map(({ image }) => image.kind);
    expect(kinds).toEqual(["base", "difference", "difference", "difference", "base", "difference", "difference", "difference", "base", "difference"]);
  });

  test("count on from the chain after a restart, and the chain opens to the same state", async () => {
    await using rig = open({ durability: { baseEvery: 4 } });
    const { id } = await rig.spawn("message");
    for (let life = 0; life < 4; life++) {
      const agent = await rig.wake(id);
      expect(await rig.say(agent, "add 1")).toBe(String(life * 2 + 1));
      expect(await rig.say(agent, "add 1")).toBe(String(life * 2 + 2));
      await rig.crash();
    }
    const kinds = rig.store.agents.get(id)?.states.map(({ image }) => image.kind[0]).join("");
    expect(kinds).toBe("bdddbdddb");
  });

  test("are a base again when the differences outweigh it", async () => {
    await using rig = open({ durability: { baseEvery: 1_000 } });
    const agent = await rig.spawn("message");
    for (let i = 0; i < 12; i++) await rig.say(agent, `put big ${"x".repeat(3_000)}`);
    const kinds = rig.store.agents.get(agent.id)?.states.map(({ image }) => image.kind) ?? [];
    expect(kinds.filter((kind) => kind === "base").length).toBeGreaterThan(1);
    expect(kinds.filter((kind) => kind === "difference").length).toBeGreaterThan(4);
  });

  test("that do not prove themselves set the agent aside: it is never begun afresh", async () => {
    await using rig = open();
    const { id } = await rig.spawn("message");
    await rig.say(await rig.wake(id), "add 5");
    await rig.crash();
    const [state] = rig.store.agents.get(id)?.states ?? [];
    state!.image.image[20]! ^= 1;
    const agent = await rig.wake(id);
    expect((await rejection(rig.say(agent, "total"))).code).toBe("STORE_CORRUPT");
    expect(agent.view()).toMatchObject({ record: { state: "ERROR" }, health: "unhealthy" });
  });
});
