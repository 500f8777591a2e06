/** Agents on real shards and a real store: what a message does, and what it does not do. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { Priority, SuggestionContextSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { Store } from "../../runtime/store/index.ts";
import { delivery, TestHouse, textMessage } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { FixedRevisions, fixtureRevision } from "../support/revisions.ts";
import { eventually } from "../support/turn.ts";

let mischief: Revision;
let forgetful: Revision;
let narrow: Revision;
let revisions: FixedRevisions;
let house: TestHouse;

beforeAll(async () => {
  mischief = await fixtureRevision("mischief");
  forgetful = await fixtureRevision("mischief", { name: "forgetful", durability: "none" });
  narrow = await fixtureRevision("mischief", { name: "narrow", limits: { mailboxDepth: 2, memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000 } });
  revisions = new FixedRevisions(mischief, forgetful, narrow);
  house = await TestHouse.open({ revisions });
}, 120_000);

afterAll(() => house.shut());

afterEach(() => {
  house.events.length = 0;
});

const eventTypes = (from: TestHouse = house) => from.events.map(({ type }) => type);

/** A store whose commits can be made to fail, or to wait. */
class Gate {
  failure: SirsiError | null = null;
  open: Promise<void> = Promise.resolve();
  readonly wrap = (store: Store): Store =>
    new Proxy(store, {
      get: (target, name) => {
        if (name === "commit") {
          return async (commit: Parameters<Store["commit"]>[0]) => {
            await this.open;
            if (this.failure !== null) throw this.failure;
            return await target.commit(commit);
          };
        }
        const found = target[name as keyof Store] as unknown;
        return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
      },
    });
}

describe.each(["mischief", "forgetful"])("an agent of a module with durability %s", (type) => {
  test("keeps its state from one message to the next, apart from all others", async () => {
    const [one, other] = [await house.spawn(type), await house.spawn(type)];
    expect(await house.say(one, "add 5")).toBe("5");
    expect(await house.say(other, "add 1")).toBe("1");
    expect(await house.say(one, "add 2")).toBe("7");
  });

  test("A1 takes messages one at a time, in the order they came", async () => {
    const agent = await house.spawn(type);
    const answers = await Promise.all(Array.from({ length: 20 }, () => house.say(agent, "add 1; sleep 1; total")));
    expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `${i + 1}; slept; ${i + 1}`));
  });

  test("D2 answers a repeated message id with what it answered, and acts once", async () => {
    const agent = await house.spawn(type);
    const message = textMessage("add 5; emit counted");
    const running = [house.house.send(agent, delivery("", { message })), house.house.send(agent, delivery("", { message }))];
    const [first, during] = await Promise.all(running);
    const after = await house.house.send(agent, delivery("", { message }));
    expect([first, during, after].map((reply) => reply?.response.content)).toEqual(Array(3).fill("5; emitted"));
    expect([first, during, after].map((reply) => reply?.replayed)).toEqual([false, true, true]);
    expect(after.response.messageId).toBe(first?.response.messageId);
    expect(await house.say(agent, "total")).toBe("5");
    expect(eventTypes().filter((each) => each === "counted")).toEqual(["counted"]);
  });

  test("D2 refuses a message id that was used for another message, while it runs and afterwards", async () => {
    const agent = await house.spawn(type);
    const message = textMessage("add 5; sleep 20");
    const first = house.house.send(agent, delivery("", { message }));
    const other = { message: { ...message, content: "add 6" } };
    expect((await rejection(house.house.send(agent, delivery("", other)))).code).toBe("MESSAGE_ID_REUSED");
    await first;
    expect((await rejection(house.house.send(agent, delivery("", other)))).code).toBe("MESSAGE_ID_REUSED");
    expect(await house.say(agent, "total")).toBe("5");
  });

  test("a refusal of the guest's own is an answer: its state stands, and a repeat is refused alike", async () => {
    const agent = await house.spawn(type);
    const message = textMessage("add 5; fail out_of_cheese");
    const first = await rejection(house.house.send(agent, delivery("", { message })));
    const again = await rejection(house.house.send(agent, delivery("", { message })));
    for (const error of [first, again]) expect(error).toMatchObject({ code: "GUEST_ERROR", message: "told to fail", details: { metadata: { guest_code: "out_of_cheese" } } });
    expect(await house.say(agent, "total")).toBe("5");
    expect(await house.look(agent)).toMatchObject({ health: "healthy", counters: { messagesProcessed: 2, errorsEncountered: 1 } });
  });

  test("keeps its conversation, newest first, refusals too", async () => {
    const agent = await house.spawn(type);
    await house.say(agent, "say one");
    await rejection(house.say(agent, "fail no_two"));
    await house.say(agent, "say three");
    const kept = await house.house.exchanges(agent, Infinity, 10);
    expect(kept.map(({ sequence }) => sequence)).toEqual([3, 2, 1]);
    expect(Buffer.from(kept[1]!.body).toString()).toContain("GUEST_ERROR:no_two");
    expect((await house.house.exchanges(agent, 3, 1)).map(({ sequence }) => sequence)).toEqual([2]);
  });

  test("suggests, and says so", async () => {
    const agent = await house.spawn(type);
    await house.say(agent, "add 3");
    const suggestions = await house.house.suggest(agent, create(SuggestionContextSchema), 5, null, null);
    expect(suggestions.map(({ description }) => description)).toEqual(["The total is 3."]);
    expect(eventTypes()).toContain("SUGGESTION_GENERATED");
  });

  test("may wait while it suggests, and while it handles an event", async () => {
    const agent = await house.spawn(type);
    const suggestions = await house.house.suggest(agent, create(SuggestionContextSchema, { contextType: "sleep 1" }), 5, null, null);
    expect(suggestions.length).toBe(1);
    const sessionId = await house.addSession();
    const hearing = await house.spawn(type, { sessionId });
    const asking = await house.spawn(type, { sessionId });
    house.hearers.get(`${sessionId}/news`)?.(create(AgentEventSchema, { eventId: "e1", eventType: "rain", topic: "news", sourceAgentId: asking, attributes: { todo: `ask ${asking} add 2` } }));
    expect(await house.say(hearing, "heard")).toBe("rain");
    expect(await house.say(asking, "total")).toBe("2");
  });

  test("that refuses or fails an event is told so in the log alone, and goes on", async () => {
    const agent = await house.spawn(type);
    const hear = (eventType: string, todo: string) => house.hearers.get(`${house.sessionId}/news`)?.(create(AgentEventSchema, { eventId: eventType, eventType, topic: "news", attributes: { todo } }));
    hear("refused", "fail");
    hear("failed", "divide 0");
    hear("welcome", "");
    expect(await house.say(agent, "heard")).toBe("welcome");
    expect((await house.look(agent))?.restarts).toBe(1);
  });

  test("hears the topics its manifest names, but not itself", async () => {
    const sessionId = await house.addSession();
    const agent = await house.spawn(type, { sessionId });
    const hear = house.hearers.get(`${sessionId}/news`);
    hear?.(create(AgentEventSchema, { eventId: "e1", eventType: "rain", topic: "news", sourceAgentId: "somebody" }));
    hear?.(create(AgentEventSchema, { eventId: "e2", eventType: "echo", topic: "news", sourceAgentId: agent }));
    hear?.(create(AgentEventSchema, { eventId: "e3", eventType: "sun", topic: "news" }));
    expect(await house.say(agent, "heard")).toBe("rain,sun");
    await house.house.stop(agent, "done");
    expect(house.hearers.has(`${sessionId}/news`)).toBe(false);
  });
});

describe("D1 A2 what a step does", () => {
  test("is seen by nobody before its commit is on disk: neither reply, event, nor message", async () => {
    const gate = new Gate();
    await using own = await TestHouse.open({ revisions, wrapStore: gate.wrap });
    const receiver = await own.spawn("forgetful");
    const agent = await own.spawn("mischief");
    let release = () => {};
    gate.open = new Promise((resolve) => (release = resolve));
    let answered = false;
    const reply = own.say(agent, `add 1; emit counted; tell ${receiver} add 7`).then((text) => {
      answered = true;
      return text;
    });
    // The other agent, on the same shard, was sent to later and is done: the step is, too, but for its commit.
    expect(await own.say(receiver, "say later; total")).toBe("later; 0");
    expect([answered, eventTypes(own).includes("counted")]).toEqual([false, false]);
    release();
    expect(await reply).toBe("1; emitted; told");
    expect(eventTypes(own)).toContain("counted");
    expect(await own.say(receiver, "total")).toBe("7");
  });

  test("never was when its commit failed: the caller is told, nothing is published, the state is as before", async () => {
    const gate = new Gate();
    await using own = await TestHouse.open({ revisions, wrapStore: gate.wrap });
    const agent = await own.spawn("mischief");
    await own.say(agent, "add 1");
    own.events.length = 0;
    const before = (await own.look(agent))?.counters;
    gate.failure = new SirsiError("STORE_UNAVAILABLE", "the disk is full");
    const message = textMessage("add 10; emit counted");
    expect((await rejection(own.house.send(agent, delivery("", { message })))).code).toBe("STORE_UNAVAILABLE");
    expect(eventTypes(own).filter((type) => type === "counted" || type === "MESSAGE_SENT")).toEqual([]);
    expect((await own.look(agent))?.counters).toMatchObject({ messagesProcessed: before?.messagesProcessed, errorsEncountered: 1 });
    gate.failure = null;
    expect(await own.say(agent, "total")).toBe("1");
    // Its id is free again: it took no effect.
    expect((await own.house.send(agent, delivery("", { message }))).response.content).toBe("11; emitted");
    expect(await own.look(agent)).toMatchObject({ record: { state: "READY" }, restarts: 0 });
  });

  test("a new agent whose first commit fails is not there", async () => {
    const gate = new Gate();
    await using own = await TestHouse.open({ revisions, wrapStore: gate.wrap });
    const uses = revisions.uses.get(mischief.digest);
    gate.failure = new SirsiError("STORE_UNAVAILABLE", "the disk is full");
    expect((await rejection(own.spawn("mischief"))).code).toBe("STORE_UNAVAILABLE");
    expect([own.house.count, own.pool.instances, revisions.uses.get(mischief.digest)]).toEqual([0, 0, uses]);
    gate.failure = null;
    expect(await own.say(await own.spawn("mischief"), "total")).toBe("0");
  });

  test("a preview goes out while it works, and leaves no trace", async () => {
    const agent = await house.spawn("mischief");
    const previews: string[] = [];
    await house.house.send(agent, delivery("preview half; sleep 1; preview most; say all", { onPartial: (content) => previews.push(content) }));
    expect(previews).toEqual(["half", "most"]);
    expect(eventTypes().filter((type) => !["AGENT_SPAWNED", "STATUS_CHANGED", "MESSAGE_RECEIVED", "MESSAGE_SENT"].includes(type))).toEqual([]);
  });

  test("an emitted event has its source, its topic and its attributes from the host", async () => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "emit stock.low shop");
    expect(house.events.find(({ type }) => type === "stock.low")).toMatchObject({ sessionId: house.sessionId, sourceAgentId: agent, topic: "shop" });
  });

  test("a message to nobody, or to another session's agent, is reported and does no harm", async () => {
    const agent = await house.spawn("mischief");
    const stranger = await house.spawn("forgetful");
    const other = await house.house.spawn(house.spec("forgetful", { sessionId: await house.addSession() }));
    await house.say(agent, `tell nobody hi; tell ${other.record.agentId} add 5; tell ${stranger} add 1`);
    expect(await house.say(stranger, "total")).toBe("1");
    expect(await house.say(other.record.agentId, "total")).toBe("0");
    const errors = () => house.events.filter(({ type }) => type === "ERROR_OCCURRED");
    await eventually(() => errors().length === 2);
    expect(errors().map(({ attributes, targetAgentId }) => [attributes["reason"], targetAgentId])).toEqual(expect.arrayContaining([["AGENT_NOT_FOUND", "nobody"], ["AGENT_NOT_FOUND", other.record.agentId]]));
  });

  test("emitting what breaks the contract fails the step as a whole", async () => {
    const agent = await house.spawn("mischief");
    expect((await rejection(house.say(agent, "add 5; emit fine; emit NOT_A_GUESTS_NAME"))).code).toBe("GUEST_PROTOCOL");
    expect((await rejection(house.say(agent, "add 5; emit NOT_A_GUESTS_NAME; sleep 1"))).code).toBe("GUEST_PROTOCOL");
    expect(eventTypes()).not.toContain("fine");
    expect(await house.say(agent, "total")).toBe("0");
  });
});

describe("a mailbox", () => {
  test("that is full refuses at once, says when to try again, and takes the next when there is room", async () => {
    const agent = await house.spawn("narrow");
    const taken = [house.say(agent, "sleep 20"), house.say(agent, "add 1"), house.say(agent, "add 1")];
    const error = await rejection(house.say(agent, "add 100"));
    expect(error).toMatchObject({ code: "MAILBOX_FULL", details: { retryAfterMs: 100 } });
    expect((await rejection(house.house.suggest(agent, create(SuggestionContextSchema), 1, null, null))).code).toBe("MAILBOX_FULL");
    expect(await house.look(agent)).toMatchObject({ mailboxDepth: 2, activeOperations: 1 });
    await Promise.all(taken);
    expect(await house.say(agent, "total")).toBe("2");
  });

  test("drops an event that it has no room for, and says so only in the log", async () => {
    const agent = await house.spawn("narrow");
    const taken = [house.say(agent, "sleep 20"), house.say(agent, "add 1"), house.say(agent, "add 1")];
    house.hearers.get(`${house.sessionId}/news`)?.(create(AgentEventSchema, { eventId: "e9", eventType: "late", topic: "news" }));
    await Promise.all(taken);
    expect(await house.say(agent, "heard")).toBe("");
  });

  test("gives the more important message first", async () => {
    const agent = await house.spawn("forgetful");
    const order: string[] = [];
    const say = (name: string, priority: Priority) => house.say(agent, `say ${name}`, { priority }).then((text) => order.push(text));
    const first = house.say(agent, "sleep 20");
    await Promise.all([say("low", Priority.LOW), say("normal", Priority.NORMAL), say("high", Priority.HIGH), say("critical", Priority.CRITICAL), say("unspecified", Priority.UNSPECIFIED), first]);
    expect(order).toEqual(["critical", "high", "normal", "unspecified", "low"]);
  });
});

describe("a deadline", () => {
  const soon = (ms: number) => house.clock.monotonic() + ms;

  test("that passes while the message waits in the mailbox: it never begins", async () => {
    const agent = await house.spawn("mischief");
    const first = house.say(agent, "sleep 60");
    const late = rejection(house.say(agent, "add 5", { deadline: soon(10) }));
    await first;
    expect((await late).code).toBe("DEADLINE_EXCEEDED");
    expect(await house.say(agent, "total")).toBe("0");
  });

  test("that passes while the agent computes: the step is stopped without effect, and is no fault of the guest's", async () => {
    const patient = await fixtureRevision("mischief", { name: "patient", limits: { memoryMaxBytes: 4_194_304, fuelPerStep: 100_000_000_000 } });
    revisions.activate(patient);
    const agent = await house.spawn("patient");
    expect((await rejection(house.say(agent, "add 5; spin", { deadline: soon(50) }))).code).toBe("DEADLINE_EXCEEDED");
    expect(await house.say(agent, "total")).toBe("0");
    expect(await house.look(agent)).toMatchObject({ restarts: 0, health: "healthy" });
  });

  test("that a wait would outlast is told to the guest at once, which may still answer", async () => {
    const agent = await house.spawn("mischief");
    expect(await house.say(agent, "add 1; sleep 3600000; total", { deadline: soon(5_000) })).toBe("1; deadline_exceeded; 1");
  });

  test("is the module's own when the caller sets none", async () => {
    const hasty = await fixtureRevision("mischief", { name: "hasty", limits: { memoryMaxBytes: 4_194_304, stepTimeoutMs: 1_000 } });
    revisions.activate(hasty);
    const agent = await house.spawn("hasty");
    expect(await house.say(agent, "sleep 1001")).toBe("deadline_exceeded");
    expect(await house.say(agent, "sleep 1")).toBe("slept");
  });
});

describe("a caller that goes away", () => {
  test("while its message waits in the mailbox: it never begins", async () => {
    const agent = await house.spawn("mischief");
    const caller = new AbortController();
    const first = house.say(agent, "sleep 20");
    const gone = rejection(house.say(agent, "add 5", { signal: caller.signal }));
    caller.abort();
    await first;
    expect((await gone).code).toBe("CANCELLED");
    expect(await house.say(agent, "total")).toBe("0");
  });

  test("while the agent waits for it: the step is given up without effect", async () => {
    const agent = await house.spawn("mischief");
    const caller = new AbortController();
    const waiting = new Promise<void>((resolve) => {
      const gone = rejection(house.say(agent, "add 5; preview now; sleep 20000", { signal: caller.signal, onPartial: () => resolve() }));
      void gone.then((error) => expect(error.code).toBe("CANCELLED"));
    });
    await waiting;
    caller.abort();
    expect(await house.say(agent, "total")).toBe("0");
    expect(await house.look(agent)).toMatchObject({ restarts: 0, record: { state: "READY" } });
  });
});

describe("the house", () => {
  test("G1 counts an agent from the moment it is asked for: the limit holds for a crowd", async () => {
    await using own = await TestHouse.open({ revisions, maxAgents: 3 });
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => own.spawn("forgetful")));
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBe(3);
    for (const outcome of outcomes) if (outcome.status === "rejected") expect((outcome.reason as SirsiError).code).toBe("AGENT_LIMIT_REACHED");
    await own.house.stop((await own.agents())[0]!, "room");
    expect((await own.house.spawn(own.spec("forgetful"))).record.state).toBe("READY");
  });

  test("refuses an unknown module, an unknown agent and an ended one by name", async () => {
    expect((await rejection(house.spawn("nothing"))).code).toBe("AGENT_TYPE_NOT_FOUND");
    expect((await rejection(house.say("0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11", "hi"))).code).toBe("AGENT_NOT_FOUND");
    const agent = await house.spawn("forgetful");
    await house.house.stop(agent, "it is late");
    expect((await rejection(house.say(agent, "hi")))).toMatchObject({ code: "AGENT_TERMINATED", message: expect.stringContaining("it is late") as string });
    expect((await rejection(house.house.update(agent, {}))).code).toBe("AGENT_TERMINATED");
    expect((await house.look(agent))?.record.state).toBe("TERMINATED");
    expect((await house.house.recordOf(agent))?.agentId).toBe(agent);
    expect(await house.house.recordOf("0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11")).toBeNull();
    expect([...house.house.residents()].some(({ id }) => id === agent)).toBe(false);
    expect(await house.look("0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11")).toBeNull();
  });

  test("leaves no agent of a spawn whose init refused, trapped or never ended", async () => {
    const before = [house.house.count, house.pool.instances];
    const config = (on_init: string) => ({ config: { ...house.spec("").config, parameters: { on_init } } });
    expect(await rejection(house.spawn("mischief", config("fail")))).toMatchObject({ code: "GUEST_ERROR", details: { metadata: { guest_code: "not_now" } } });
    expect((await rejection(house.spawn("mischief", config("abort at once")))).message).toContain("at once");
    expect((await rejection(house.spawn("mischief", config("spin")))).code).toBe("GUEST_FUEL_EXHAUSTED");
    expect([house.house.count, house.pool.instances]).toEqual(before);
  });

  test("shows of an agent what it did, what it holds and how fast it is", async () => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 1");
    const view = await house.look(agent);
    expect(view).toMatchObject({ health: "healthy", mailboxDepth: 0, activeOperations: 0, idle: false, counters: { messagesProcessed: 1, operationsCompleted: 1, errorsEncountered: 0 } });
    expect(view?.memoryBytes).toBeGreaterThan(0);
    expect(view?.latency.maxMs).toBeGreaterThan(0);
  });

  test("updates what may be changed of an agent, in the store too", async () => {
    const agent = await house.spawn("mischief");
    const view = await house.house.update(agent, { metadata: { owner: "me" } });
    expect(view.record).toMatchObject({ metadata: { owner: "me" }, state: "READY" });
    expect((await house.store.getAgent(agent))?.record).toMatchObject({ metadata: { owner: "me" }, state: "READY" });
  });

  test("drains: what is in hand and what it leads to is finished, new work is refused", async () => {
    await using own = await TestHouse.open({ revisions });
    const [agent, other] = [await own.spawn("mischief"), await own.spawn("mischief")];
    const inHand = own.say(agent, `add 1; sleep 20; ask ${other} add 2; tell ${other} add 3`);
    const queued = own.say(agent, "add 10");
    const drained = own.house.drain(10_000);
    expect((await rejection(own.say(agent, "add 100"))).code).toBe("SHUTTING_DOWN");
    expect((await rejection(own.spawn("mischief"))).code).toBe("SHUTTING_DOWN");
    expect((await rejection(own.house.suggest(agent, create(SuggestionContextSchema), 1, null, null))).code).toBe("SHUTTING_DOWN");
    await drained;
    expect([await inHand, await queued]).toEqual(["1; slept; 2; told", "11"]);
  });

  test("drains no longer than it is given, and settles the rest when it closes", async () => {
    const own = await TestHouse.open({ revisions });
    const agent = await own.spawn("mischief");
    const calls = [own.say(agent, "add 1; sleep 20000"), own.say(agent, "add 1")].map(rejection);
    await own.house.drain(10);
    await own.shut();
    expect((await Promise.all(calls)).map(({ code }) => code)).toEqual(["SHUTTING_DOWN", "SHUTTING_DOWN"]);
  });
});
