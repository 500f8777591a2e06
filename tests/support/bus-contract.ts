/** What every Bus keeps, as tests. An implementation's own test file calls `busContract`. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ManualClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import type { SirsiError } from "../../runtime/core/errors.ts";
import type { Bus, BusMessage } from "../../runtime/bus/bus.ts";

export interface BusUnderTest {
  /** Connected, with nobody else on it. */
  readonly bus: Bus;
  /** The bus's own clock. */
  readonly clock: ManualClock;
  /** What `onError` has heard. */
  readonly reported: { readonly error: SirsiError; readonly subject: string }[];
  dispose(): Promise<void>;
}

type Get = () => BusUnderTest;

export function busContract(name: string, open: () => Promise<BusUnderTest>): void {
  describe(name, () => {
    let test: BusUnderTest;
    beforeEach(async () => {
      test = await open();
    });
    afterEach(() => test.dispose());
    const get: Get = () => test;

    describe("publishing", () => publishContract(get));
    describe("patterns", () => patternContract(get));
    describe("queues", () => queueContract(get));
    describe("requests", () => requestContract(get));
    describe("requests that end otherwise", () => failedRequestContract(get));
    describe("handlers that fail", () => faultContract(get));
    describe("the end of a subscription", () => subscriptionEndContract(get));
    describe("the end of the bus", () => busEndContract(get));
    describe("refusals", () => refusalContract(get));
  });
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function text(message: BusMessage): string {
  return new TextDecoder().decode(message.data);
}

/** Subscribes and notes what comes. */
function listen(bus: Bus, pattern: string, queue?: string): string[] {
  const heard: string[] = [];
  bus.subscribe(pattern, (message) => void heard.push(`${message.subject}=${text(message)}`), queue === undefined ? {} : { queue });
  return heard;
}

function publishContract(get: Get): void {
  it("delivers to every subscriber of the subject, later and not within the call", async () => {
    const { bus } = get();
    const [one, two, other] = [listen(bus, "a.b"), listen(bus, "a.b"), listen(bus, "a.c")];
    bus.publish("a.b", bytes("hello"));
    expect(one).toEqual([]);
    await bus.flush();
    expect([one, two, other]).toEqual([["a.b=hello"], ["a.b=hello"], []]);
  });

  it("delivers to a subscriber in the order of publication", async () => {
    const { bus } = get();
    const heard = listen(bus, "n.*");
    for (let n = 0; n < 2_000; n++) bus.publish(`n.${n % 7}`, bytes(String(n)));
    await bus.flush();
    expect(heard.map((line) => Number(line.split("=")[1]))).toEqual(Array.from({ length: 2_000 }, (_, n) => n));
  });

  it("starts the next handler while an earlier one still waits", async () => {
    const { bus } = get();
    const [gate, seen] = [new Deferred<void>(), [] as string[]];
    bus.subscribe("a", async (message) => {
      seen.push(text(message));
      await gate.promise;
    });
    for (const word of ["one", "two"]) bus.publish("a", bytes(word));
    await bus.flush();
    expect(seen).toEqual(["one", "two"]);
    gate.resolve();
  });

  it("carries headers, the reply subject and empty data, and has none of them when none were given", async () => {
    const { bus } = get();
    const seen: BusMessage[] = [];
    bus.subscribe("a", (message) => void seen.push(message));
    bus.publish("a", new Uint8Array(0), { headers: { traceparent: "00-aa-bb-01", "X-Empty": "" }, reply: "b.c" });
    bus.publish("a", bytes("x"));
    await bus.flush();
    expect(seen).toMatchObject([
      { subject: "a", headers: { traceparent: "00-aa-bb-01", "X-Empty": "" }, reply: "b.c" },
      { subject: "a", headers: {}, reply: null },
    ]);
    expect(seen[0]!.data).toHaveLength(0);
  });

  it("knows, when it tells at all, whether anybody would get a message", () => {
    const { bus } = get();
    if (bus.hasSubscribers === undefined) return;
    const exact = bus.subscribe("a.b", () => {});
    expect([bus.hasSubscribers("a.b"), bus.hasSubscribers("a.c")]).toEqual([true, false]);
    const wild = bus.subscribe("a.*", () => {});
    expect([bus.hasSubscribers("a.c"), bus.hasSubscribers("b.c")]).toEqual([true, false]);
    exact.close();
    wild.close();
    expect([bus.hasSubscribers("a.b"), bus.hasSubscribers("a.c")]).toEqual([false, false]);
  });

  it("is not changed by what happens to the publisher's buffer and headers once the call was made", async () => {
    const { bus } = get();
    const seen: BusMessage[] = [];
    bus.subscribe("a", (message) => void seen.push(message));
    const [data, headers] = [bytes("before"), { key: "before" }];
    bus.publish("a", data, { headers });
    data.fill(0);
    headers.key = "after";
    await bus.flush();
    expect(text(seen[0]!)).toBe("before");
    expect(seen[0]!.headers).toEqual({ key: "before" });
  });

  it("drops what nobody listens to, and a response that nobody asked for", async () => {
    const { bus, reported } = get();
    bus.publish("nobody.here", bytes("x"));
    bus.subscribe("a", (message) => message.respond(bytes("unasked")));
    bus.publish("a", bytes("x"));
    await bus.flush();
    expect(reported).toEqual([]);
  });

  it("lets a handler publish, to its own subject too", async () => {
    const { bus } = get();
    const done = new Deferred<number>();
    let count = 0;
    bus.subscribe("loop", (message) => {
      count += 1;
      if (count === 10) done.resolve(count);
      else bus.publish("loop", message.data);
    });
    bus.publish("loop", bytes("x"));
    expect(await done.promise).toBe(10);
  });
}

function patternContract(get: Get): void {
  it("takes * for one token and a last > for one or more", async () => {
    const { bus } = get();
    const heard = Object.fromEntries(["a.*", "a.>", "*.b", "a.*.c", ">", "a.b", "*"].map((pattern) => [pattern, listen(bus, pattern)]));
    for (const subject of ["a", "a.b", "a.b.c", "c.b"]) bus.publish(subject, bytes(""));
    await bus.flush();
    const subjects = Object.fromEntries(Object.entries(heard).map(([pattern, lines]) => [pattern, lines.map((line) => line.slice(0, -1))]));
    expect(subjects).toEqual({
      "a.*": ["a.b"],
      "a.>": ["a.b", "a.b.c"],
      "*.b": ["a.b", "c.b"],
      "a.*.c": ["a.b.c"],
      ">": ["a", "a.b", "a.b.c", "c.b"],
      "a.b": ["a.b"],
      "*": ["a"],
    });
  });

  it("tells upper from lower case", async () => {
    const { bus } = get();
    const heard = listen(bus, "Agent.one");
    bus.publish("agent.one", bytes("x"));
    await bus.flush();
    expect(heard).toEqual([]);
  });
}

function queueContract(get: Get): void {
  it("gives each message to one member, all of them used, and to those outside the queue besides", async () => {
    const { bus } = get();
    const members = [listen(bus, "work.*", "team"), listen(bus, "work.*", "team"), listen(bus, "work.*", "team")];
    const [rivals, outsider] = [listen(bus, "work.*", "other"), listen(bus, "work.>")];
    for (let n = 0; n < 300; n++) bus.publish(`work.${n % 2}`, bytes(String(n)));
    await bus.flush();
    expect(members.flat()).toHaveLength(300);
    expect(new Set(members.flat()).size).toBe(300);
    for (const member of members) expect(member.length).toBeGreaterThan(30);
    expect(rivals).toHaveLength(300);
    expect(outsider).toHaveLength(300);
  });

  it("counts members of different patterns as one queue", async () => {
    const { bus } = get();
    const [exact, wide] = [listen(bus, "work.one", "team"), listen(bus, "work.*", "team")];
    for (let n = 0; n < 100; n++) bus.publish("work.one", bytes(String(n)));
    await bus.flush();
    expect(exact.length + wide.length).toBe(100);
    expect(Math.min(exact.length, wide.length)).toBeGreaterThan(10);
  });

  it("goes on with the members that are left", async () => {
    const { bus } = get();
    const stays = listen(bus, "work", "team");
    const leaves = bus.subscribe("work", () => undefined, { queue: "team" });
    leaves.close();
    for (let n = 0; n < 10; n++) bus.publish("work", bytes(String(n)));
    await bus.flush();
    expect(stays).toHaveLength(10);
  });
}

function requestContract(get: Get): void {
  it("brings back the answer with its headers", async () => {
    const { bus } = get();
    bus.subscribe("double", (message) => message.respond(bytes(text(message).repeat(2)), { "X-Of": message.headers["X-Id"] ?? "" }));
    const answer = await bus.request("double", bytes("ab"), { timeoutMs: 1_000, headers: { "X-Id": "7" } });
    expect(text(answer)).toBe("abab");
    expect(answer.headers).toEqual({ "X-Of": "7" });
  });

  it("keeps many requests under way apart", async () => {
    const { bus } = get();
    const held: BusMessage[] = [];
    bus.subscribe("echo", (message) => {
      held.push(message);
      if (held.length === 100) for (const one of held.toReversed()) one.respond(one.data);
    });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => bus.request("echo", bytes(String(n)), { timeoutMs: 1_000 })));
    expect(answers.map(text)).toEqual(Array.from({ length: 100 }, (_, n) => String(n)));
  });

  it("takes the first answer of several", async () => {
    const { bus, reported } = get();
    bus.subscribe("ask", (message) => {
      message.respond(bytes("first"));
      message.respond(bytes("second"));
    });
    expect(text(await bus.request("ask", bytes(""), { timeoutMs: 1_000 }))).toBe("first");
    await bus.flush();
    expect(reported).toEqual([]);
  });

  it("lets a handler ask in its turn", async () => {
    const { bus } = get();
    bus.subscribe("inner", (message) => message.respond(bytes(`<${text(message)}>`)));
    bus.subscribe("outer", async (message) => message.respond((await bus.request("inner", message.data, { timeoutMs: 1_000 })).data));
    expect(text(await bus.request("outer", bytes("x"), { timeoutMs: 1_000 }))).toBe("<x>");
  });

  it("uses an inbox that others can see and answer", async () => {
    const { bus } = get();
    const heard = listen(bus, "_INBOX.>");
    bus.subscribe("ask", (message) => bus.publish(message.reply!, bytes("by hand")));
    expect(text(await bus.request("ask", bytes(""), { timeoutMs: 1_000 }))).toBe("by hand");
    await bus.flush();
    expect(heard).toHaveLength(1);
  });
}

function failedRequestContract(get: Get): void {
  const answerless = { timeoutMs: 500 };

  it("ends at once with BUS_NO_RESPONDERS when nobody listens", async () => {
    const { bus } = get();
    listen(bus, "else.where");
    await expect(bus.request("ask", bytes(""), answerless)).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS", message: expect.stringContaining("ask") });
  });

  it("ends with DEADLINE_EXCEEDED when no answer comes in time, not before, and drops a late one", async () => {
    const { bus, clock, reported } = get();
    const asked = new Deferred<BusMessage>();
    bus.subscribe("ask", (message) => void asked.resolve(message));
    let over = false;
    const request = bus.request("ask", bytes(""), answerless).finally(() => (over = true));
    const message = await asked.promise;
    clock.advance(499);
    await bus.flush();
    expect(over).toBe(false);
    clock.advance(1);
    await expect(request).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    message.respond(bytes("late"));
    await bus.flush();
    expect(reported).toEqual([]);
  });

  it("ends with CANCELLED on its signal, before or during", async () => {
    const { bus } = get();
    const heard = listen(bus, "ask");
    const during = new AbortController();
    const request = bus.request("ask", bytes(""), { ...answerless, signal: during.signal });
    during.abort();
    await expect(request).rejects.toMatchObject({ code: "CANCELLED" });
    await bus.flush();
    const before = heard.length;
    await expect(bus.request("ask", bytes(""), { ...answerless, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELLED" });
    await bus.flush();
    expect(heard).toHaveLength(before);
  });

  it("is not disturbed by a signal or a deadline that comes after the answer", async () => {
    const { bus, clock } = get();
    const later = new AbortController();
    bus.subscribe("ask", (message) => message.respond(bytes("here")));
    const answer = await bus.request("ask", bytes(""), { ...answerless, signal: later.signal });
    later.abort();
    clock.advance(10_000);
    expect(text(answer)).toBe("here");
  });
}

function faultContract(get: Get): void {
  it("are reported, and neither the publisher nor the neighbours notice", async () => {
    const { bus, reported } = get();
    bus.subscribe("a", () => {
      throw new TypeError("thrown");
    });
    bus.subscribe("a", async () => {
      throw new RangeError("rejected");
    });
    const heard = listen(bus, "a");
    bus.publish("a", bytes("1"));
    bus.publish("a", bytes("2"));
    await bus.flush();
    await Promise.resolve();
    expect(heard).toEqual(["a=1", "a=2"]);
    expect(reported.map(({ error, subject }) => `${subject}: ${error.message}`).toSorted()).toEqual(["a: rejected", "a: rejected", "a: thrown", "a: thrown"]);
  });
}

function subscriptionEndContract(get: Get): void {
  it("close stops at once, also what is on its way, and may be repeated", async () => {
    const { bus } = get();
    const heard: string[] = [];
    const subscription = bus.subscribe("a", (message) => void heard.push(text(message)));
    expect(subscription.closed).toBe(false);
    bus.publish("a", bytes("on its way"));
    subscription.close();
    subscription.close();
    bus.publish("a", bytes("too late"));
    await bus.flush();
    expect(heard).toEqual([]);
    expect(subscription.closed).toBe(true);
    await subscription.drain();
  });

  it("drain takes nothing new and waits for what is in hand", async () => {
    const { bus } = get();
    const [gate, heard] = [new Deferred<void>(), [] as string[]];
    const subscription = bus.subscribe("a", async (message) => {
      heard.push(text(message));
      await gate.promise;
    });
    bus.publish("a", bytes("in hand"));
    await bus.flush();
    let drained = false;
    const draining = subscription.drain().then(() => (drained = true));
    bus.publish("a", bytes("new"));
    await bus.flush();
    expect([heard, drained, subscription.closed]).toEqual([["in hand"], false, false]);
    gate.resolve();
    await draining;
    expect(subscription.closed).toBe(true);
  });

  it("drain of an idle one ends it, and close ends a draining one", async () => {
    const { bus } = get();
    const idle = bus.subscribe("a", () => undefined);
    await idle.drain();
    expect(idle.closed).toBe(true);
    const stuck = bus.subscribe("b", () => new Promise<void>(() => undefined));
    bus.publish("b", bytes(""));
    await bus.flush();
    const draining = stuck.drain();
    stuck.close();
    await draining;
    expect(stuck.closed).toBe(true);
  });

  it("comes by itself after max messages", async () => {
    const { bus } = get();
    const heard: string[] = [];
    const subscription = bus.subscribe("a", (message) => void heard.push(text(message)), { max: 2 });
    for (const word of ["one", "two", "three"]) bus.publish("a", bytes(word));
    await bus.flush();
    expect(heard).toEqual(["one", "two"]);
    expect(subscription.closed).toBe(true);
    await expect(bus.request("a", bytes(""), { timeoutMs: 10 })).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
  });
}

function busEndContract(get: Get): void {
  it("close ends subscriptions and requests, refuses what comes later, and may be repeated", async () => {
    const { bus, reported } = get();
    const asked = new Deferred<BusMessage>();
    const subscription = bus.subscribe("ask", (message) => void asked.resolve(message));
    expect(bus.status).toBe("connected");
    const request = bus.request("ask", bytes(""), { timeoutMs: 1_000 });
    const message = await asked.promise;
    const closing = bus.close();
    await expect(request).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
    await closing;
    await bus.close();
    await bus.drain();
    expect(bus.status).toBe("closed");
    expect(subscription.closed).toBe(true);
    message.respond(bytes("too late"));
    expect(reported).toEqual([]);
    const refusal = expect.objectContaining({ code: "BUS_UNAVAILABLE" });
    expect(() => bus.publish("a", bytes(""))).toThrow(refusal);
    expect(() => bus.subscribe("a", () => undefined)).toThrow(refusal);
    await expect(bus.request("a", bytes(""), { timeoutMs: 1 })).rejects.toEqual(refusal);
    await expect(bus.flush()).rejects.toEqual(refusal);
  });

  it("drain finishes what is in hand, answers included, and then closes", async () => {
    const { bus } = get();
    const [asked, gate] = [new Deferred<void>(), new Deferred<void>()];
    bus.subscribe("ask", async (message) => {
      asked.resolve();
      await gate.promise;
      message.respond(bytes("still answered"));
    });
    const request = bus.request("ask", bytes(""), { timeoutMs: 1_000 });
    await asked.promise;
    const draining = bus.drain();
    expect(bus.status).toBe("draining");
    expect(() => bus.subscribe("a", () => undefined)).toThrow(expect.objectContaining({ code: "BUS_UNAVAILABLE" }));
    await expect(bus.request("ask", bytes(""), { timeoutMs: 1_000 })).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
    gate.resolve();
    expect(text(await request)).toBe("still answered");
    await Promise.all([draining, bus.drain()]);
    expect(bus.status).toBe("closed");
  });

  it("drain delivers what was published before it, and ends a flush that was asked for", async () => {
    const { bus } = get();
    const heard = listen(bus, "a");
    bus.publish("a", bytes("last"));
    const flushed = bus.flush();
    await bus.drain();
    await flushed;
    expect(heard).toEqual(["a=last"]);
  });

  it("close cuts a drain short", async () => {
    const { bus } = get();
    bus.subscribe("a", () => new Promise<void>(() => undefined));
    bus.publish("a", bytes(""));
    await bus.flush();
    const draining = bus.drain();
    await bus.close();
    await draining;
    expect(bus.status).toBe("closed");
  });
}

function refusalContract(get: Get): void {
  const refusal = expect.objectContaining({ code: "INVALID_ARGUMENT" });

  it.each(["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nPUB b 0", "a\u0000", "*", "a.*", "a.>", ">", "a*", "x".repeat(1_025)])(
    "does not publish to %j", async (subject) => {
      const { bus } = get();
      listen(bus, ">");
      expect(() => bus.publish(subject, bytes(""))).toThrow(refusal);
      expect(() => bus.publish("fine", bytes(""), { reply: subject })).toThrow(refusal);
      await expect(bus.request(subject, bytes(""), { timeoutMs: 1 })).rejects.toEqual(refusal);
    });

  it.each(["", "a..b", "a b", ">.a", "a.>.b", "a*", "a.b>", "a.**"])("does not subscribe to %j", (pattern) => {
    expect(() => get().bus.subscribe(pattern, () => undefined)).toThrow(refusal);
  });

  it("takes no header that would break out of its line", async () => {
    const { bus } = get();
    for (const headers of [{ "a b": "" }, { "a:b": "" }, { "": "" }, { ü: "" }, { a: "x\r\nb: y" }, { a: "x\n" }]) {
      expect(() => bus.publish("a", bytes(""), { headers })).toThrow(refusal);
      await expect(bus.request("a", bytes(""), { timeoutMs: 1, headers })).rejects.toEqual(refusal);
    }
  });

  it("takes no option out of range", async () => {
    const { bus } = get();
    for (const max of [0, -1, 1.5, Number.NaN]) expect(() => bus.subscribe("a", () => undefined, { max })).toThrow(refusal);
    for (const queue of ["", "a b"]) expect(() => bus.subscribe("a", () => undefined, { queue })).toThrow(refusal);
    for (const timeoutMs of [-1, Number.NaN, Infinity]) {
      await expect(bus.request("a", bytes(""), { timeoutMs })).rejects.toEqual(refusal);
    }
  });
}
