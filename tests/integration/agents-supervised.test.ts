/** What becomes of agents whose guests fail: dead letters, restart modes, quarantine, restarts from outside, questions for their health. */
import { beforeAll, describe, expect, test } from "vitest";
import { fromBinary } from "@bufbuild/protobuf";
import { MessageCallSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { RestartConfig } from "../../runtime/agent/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { AgentRig, type RigOptions } from "../support/agent-rig.ts";
import { rejection } from "../support/instances.ts";
import { fixtureRevision } from "../support/revisions.ts";
import { turn } from "../support/turn.ts";

const ALL = ["ask", "sleep", "timers", "documents"] as const;
const LIMITS = { memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000 };
const STRICT: RestartConfig = { maxRestarts: 0, windowMs: 60_000, backoff: { firstMs: 0, maxMs: 0, factor: 1 } };

const revisions: Revision[] = [];

beforeAll(async () => {
  const made = (name: string, changes: object) => fixtureRevision("mischief", { name, durability: "wait", requests: [...ALL], limits: LIMITS, ...changes }, {}, [...ALL]);
  revisions.push(await made("permanent", {}), await made("transient", { restart: "transient" }), await made("temporary", { restart: "temporary" }), await made("none", { durability: "none" }));
}, 120_000);

const open = (options: Partial<RigOptions> = {}) => new AgentRig({ revisions, ...options });

describe("a message that ends its agent", () => {
  test.each(["permanent", "none"])("twice becomes a dead letter, and its caller is told (%s)", async (name) => {
    await using rig = open();
    const agent = await rig.spawn(name);
    await rig.say(agent, "add 1");
    const outboxKey = { agentId: "sender", commitSequence: 3, index: 0 };
    const send = () => rejection(rig.sendAs(agent, "m1", "add 10; divide 0", { sourceAgentId: "sender", outboxKey }));
    expect((await send()).code).toBe("GUEST_TRAP");
    expect(rig.store.deadLetters.size).toBe(0);
    const error = await send();
    const [letter] = rig.store.deadLetters.values();
    expect(error).toMatchObject({ code: "DEAD_LETTERED", message: expect.stringContaining("divide by zero") as string, details: { metadata: { dead_letter_id: letter?.deadLetterId, reason: "GUEST_TRAP" } } });
    expect(letter).toMatchObject({ agentId: agent.id, sessionId: rig.sessionId, sourceAgentId: "sender", messageId: "m1", reason: "GUEST_TRAP", attempts: 2 });
    expect(fromBinary(MessageCallSchema, letter!.body)).toMatchObject({ message: { messageId: "m1", content: "add 10; divide 0" }, sourceAgentId: "sender" });
    expect(rig.store.agents.get(agent.id)?.commits.at(-1)).toMatchObject({ cause: "dead_letter", causeId: "m1", consumed: outboxKey, exchange: null });
    expect(rig.store.agents.get(agent.id)?.account).toMatchObject({ deadLettered: 1 });
    expect(await rig.say(agent, "total")).toBe(name === "none" ? "0" : "1");
  });

  test("after a wait is counted, and the letter ends the wait", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    for (const code of ["GUEST_TRAP", "DEAD_LETTERED"]) {
      const failing = rejection(rig.sendAs(agent, "m1", "sleep 10; divide 0"));
      await rig.until(() => (rig.store.agents.get(agent.id)?.wait ?? null) !== null);
      await rig.asleep();
      rig.manual.advance(10);
      expect((await failing).code).toBe(code);
    }
    expect(rig.store.agents.get(agent.id)).toMatchObject({ wait: null, account: { received: 1, done: 0, deadLettered: 1 } });
  });

  test("and cannot be set aside gets its own error, and is tried again", async () => {
    await using rig = open();
    const agent = await rig.spawn("none");
    await rejection(rig.sendAs(agent, "m1", "divide 0"));
    rig.store.failure = new SirsiError("STORE_UNAVAILABLE", "full");
    expect((await rejection(rig.sendAs(agent, "m1", "divide 0"))).code).toBe("GUEST_TRAP");
    rig.store.failure = null;
    expect((await rejection(rig.sendAs(agent, "m1", "divide 0"))).code).toBe("DEAD_LETTERED");
  });

  test("is not blamed for a deadline, and not for an agent's mood of long ago", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    await rejection(rig.sendAs(agent, "m0", "divide 0"));
    for (let i = 1; i <= 64; i++) await rejection(rig.sendAs(agent, `m${i}`, "divide 0"));
    // Forgotten by now: it counts anew.
    expect((await rejection(rig.sendAs(agent, "m0", "divide 0"))).code).toBe("GUEST_TRAP");
    expect(rig.store.deadLetters.size).toBe(0);
  });
});

test("a timer that ends its agent twice is dropped, and whoever fired it need not come again", async () => {
  await using rig = open();
  const agent = await rig.spawn("permanent");
  await rig.say(agent, "timer t 5 divide 0");
  const timer = { agentId: agent.id, timerId: "t", dueAt: rig.clock.now() + 5, payload: Buffer.from("divide 0") };
  expect((await rejection(agent.fire(timer))).code).toBe("GUEST_TRAP");
  expect(rig.store.agents.get(agent.id)?.timers.size).toBe(1);
  await agent.fire(timer);
  expect(rig.store.agents.get(agent.id)?.timers.size).toBe(0);
  expect(rig.timers.at(-1)).toMatchObject({ agentId: agent.id, fired: { timerId: "t" } });
});

describe("an agent whose module says restart", () => {
  test.each([
    ["permanent", "abort no", true],
    ["permanent", "divide 0", true],
    ["transient", "divide 0", true],
    ["transient", "abort no", false],
    ["temporary", "divide 0", false],
  ] as const)("%s, after %s", async (name, command, restarts) => {
    await using rig = open();
    const agent = await rig.spawn(name);
    await rig.say(agent, "add 1");
    const [fault, waiting] = [rejection(rig.say(agent, command)), rig.say(agent, "total").catch((thrown: unknown) => SirsiError.from(thrown).code)];
    expect((await fault).code).toBe("GUEST_TRAP");
    if (restarts) {
      expect(await waiting).toBe("1");
      expect([rig.restarted, rig.finished]).toEqual([[agent.id], []]);
    } else {
      expect(rig.finished).toMatchObject([{ id: agent.id }]);
      expect(agent.phase.kind).toBe("terminated");
      await agent.stop("as its restart policy says");
      expect(await waiting).toBe("AGENT_TERMINATED");
      expect(rig.store.agents.get(agent.id)?.record).toMatchObject({ state: "TERMINATED" });
    }
  });
});

describe("an agent that was set aside", () => {
  test("keeps what comes until it is released; then it is as its last commit left it, and its faults are forgotten", async () => {
    await using rig = open({ restart: STRICT });
    const agent = await rig.spawn("permanent");
    await rig.say(agent, "add 5");
    await rejection(rig.say(agent, "add 1; divide 0"));
    expect(agent.phase.kind).toBe("quarantined");
    const waiting = rig.say(agent, "add 1");
    expect(agent.restful).toBe(false);
    await agent.release();
    expect(await waiting).toBe("6");
    expect(agent.view()).toMatchObject({ health: "healthy", record: { state: "READY", statusMessage: "" } });
    await agent.release();
    // One more fault is the first again, and the limit is none.
    await rejection(rig.say(agent, "divide 0"));
    expect(agent.phase.kind).toBe("quarantined");
  });

  test("lets go of what waits when its deadline passes, with the reason", async () => {
    await using rig = open({ restart: STRICT });
    const agent = await rig.spawn("permanent");
    await rejection(rig.say(agent, "abort beyond repair"));
    const [soon, later] = [rejection(rig.say(agent, "add 1", { deadline: rig.clock.monotonic() + 100 })), rig.say(agent, "add 1", { deadline: rig.clock.monotonic() + 10_000 })];
    rig.manual.advance(200);
    expect(await soon).toMatchObject({ code: "AGENT_QUARANTINED", message: expect.stringContaining("beyond repair") as string });
    await agent.release();
    expect(await later).toBe("1");
  });

  test("may leave memory when nothing waits, and comes back set aside", async () => {
    await using rig = open({ restart: STRICT });
    const agent = await rig.spawn("permanent");
    await rejection(rig.say(agent, "divide 0"));
    expect(await agent.leave()).toBe(true);
    const again = await rig.wake(agent.id);
    expect(again.phase).toMatchObject({ kind: "quarantined", reason: expect.stringContaining("divide by zero") as string });
  });

  test("is neither swapped nor restarted", async () => {
    await using rig = open({ restart: STRICT });
    const agent = await rig.spawn("permanent");
    await rejection(rig.say(agent, "divide 0"));
    await agent.restart("a sibling failed");
    expect(await agent.swap(revisions[1]!, "swap")).toMatchObject({ kind: "kept", reason: expect.stringContaining("quarantined") as string });
  });
});

describe("a restart from outside", () => {
  test("takes an agent back to its last commit, between two messages", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    await rig.say(agent, "add 5");
    const before = agent.slot.live;
    await Promise.all([rig.say(agent, "add 1"), agent.restart("a sibling failed"), rig.say(agent, "add 1")]);
    expect(before?.alive).toBe(false);
    expect(await rig.say(agent, "total")).toBe("7");
    expect(rig.restarted).toEqual([]);
  });

  test("has one without durability begin afresh", async () => {
    await using rig = open();
    const agent = await rig.spawn("none");
    await rig.say(agent, "add 5");
    await agent.restart("a sibling failed");
    expect(await rig.say(agent, "total")).toBe("0");
  });
});

describe("an agent that is asked for its health", () => {
  test("shows what it answered, and commits nothing for it", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    await agent.examine();
    expect(agent.view().health).toBe("healthy");
    await rig.say(agent, "health tired");
    const { commitSequence } = agent.ledger;
    const { operationsCompleted } = agent.view().counters;
    await agent.examine();
    expect(agent.view()).toMatchObject({ health: "degraded", record: { statusMessage: "tired" }, counters: { operationsCompleted } });
    expect(agent.ledger.commitSequence).toBe(commitSequence);
    expect(await rig.say(agent, "health; total")).toBe("noted; 0");
    await agent.examine();
    expect(agent.view().health).toBe("healthy");
  });

  test("and does not answer in time is unhealthy; and failing at it is a fault like another", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    await rig.say(agent, "health spin");
    await agent.examine();
    expect(agent.view()).toMatchObject({ health: "unhealthy", restarts: 1 });
    await rig.say(agent, "health abort");
    await agent.examine();
    expect(agent.view()).toMatchObject({ health: "degraded", restarts: 2 });
  });

  test("is not disturbed at work, nor woken for it", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    const working = rig.say(agent, "add 1");
    await agent.examine();
    expect(await working).toBe("1");
    expect(await agent.leave()).toBe(true);
    const again = await rig.wake(agent.id);
    await again.examine();
    expect(again.slot.live).toBeNull();
  });
});

describe("A3 an agent that is stopped", () => {
  test("lets its step end by itself, and tells its guest", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    const [working, waiting] = [rig.say(agent, "add 1"), rejection(rig.say(agent, "add 1"))];
    await agent.stop("deleted");
    expect([await working, (await waiting).code]).toEqual(["1", "AGENT_TERMINATED"]);
    expect(rig.pool.instances).toBe(0);
    expect(rig.events.filter(({ type }) => type === "AGENT_STOPPED").length).toBe(1);
    await agent.stop("deleted again");
    expect(rig.events.filter(({ type }) => type === "AGENT_STOPPED").length).toBe(1);
  });

  test("has a step that does not end given up after a grace, and its wait forgotten", async () => {
    await using rig = open();
    const agent = await rig.spawn("permanent");
    const working = rejection(rig.say(agent, "add 1; sleep 20000; add 1"));
    await rig.until(() => (rig.store.agents.get(agent.id)?.wait ?? null) !== null);
    await rig.asleep();
    const stopped = agent.stop("deleted");
    await rig.asleep(2);
    rig.manual.advance(2_000);
    await stopped;
    expect((await working).code).toBe("AGENT_TERMINATED");
    expect(rig.store.agents.get(agent.id)).toMatchObject({ wait: null, record: { state: "TERMINATED" } });
    expect(rig.pool.instances).toBe(0);
    // Its sleep ends for nobody.
    rig.manual.advance(20_000);
    await turn(20);
    expect(rig.store.agents.get(agent.id)?.commits.at(-1)?.cause).toBe("wait");
  });
});
