/** The events of a fleet's sessions, on a NATS server with JetStream. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { fromBinary } from "@bufbuild/protobuf";
import type { BusMessage } from "../../runtime/bus/index.ts";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { FOLLOWER_BUFFER } from "../../runtime/session/event-follower.ts";
import { STREAM, PREFIX, expectRising, follow, happening, kept, newSession, openEventHost, sequences, take, types } from "../support/fleet-events.ts";
import { NatsRig, bytes } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";
import { codeOf, refusal } from "../support/service-bench.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server[Symbol.asyncDispose]());

let rig: NatsRig;
let session: string;
beforeEach(() => {
  rig = new NatsRig();
  session = newSession();
});
afterEach(() => rig[Symbol.asyncDispose]());

const open = (changes: Parameters<typeof openEventHost>[2] = {}) => openEventHost(rig, server.url, changes);

describe("an event", () => {
  it("is one message with CloudEvents attributes, under an id that every reader sees", async () => {
    const host = await open();
    const heard: BusMessage[] = [];
    host.bus.subscribe(`${PREFIX}.session.${session}.events`, (message) => void heard.push(message));
    const following = follow(host, session);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    host.events.publish(happening(session, "found.it \u00e9", { sourceAgentId: "a-1", targetAgentId: "a-2", traceparent, attributes: { k: "v" }, payload: { typeUrl: "x/Y", value: Uint8Array.of(1, 2) } }));
    const [event] = await take(following, 1);
    expect(event).toMatchObject({ eventType: "found.it \u00e9", sourceAgentId: "a-1", targetAgentId: "a-2", sessionId: session, traceparent, attributes: { k: "v" }, payload: { typeUrl: "x/Y", value: Uint8Array.of(1, 2) } });
    expect(event!.sequence).toBeGreaterThan(0n);
    await vi.waitFor(() => expect(heard).toHaveLength(1));
    const [message] = heard;
    expect(message!.headers).toMatchObject({
      "ce-specversion": "1.0",
      "ce-id": event!.eventId,
      "ce-type": "found.it%20%C3%A9",
      "ce-source": `/${PREFIX}/session/${session}/agent/a-1`,
      "ce-time": new Date(Number(event!.time!.seconds) * 1_000 + event!.time!.nanos / 1e6).toISOString(),
      traceparent,
      "Nats-Msg-Id": event!.eventId,
    });
    expect(fromBinary(AgentEventSchema, message!.data)).toMatchObject({ eventId: event!.eventId, eventType: event!.eventType });
  });

  it("of a guest's topic goes to the topic's own subject too", async () => {
    const host = await open();
    const heard: string[] = [];
    host.bus.subscribe(`${PREFIX}.session.*.topic.>`, ({ subject, data }) => void heard.push(`${subject} ${fromBinary(AgentEventSchema, data).eventType}`));
    host.events.publish(happening(session, "found", { topic: "inventory.aws" }));
    host.events.publish(happening(session, "sly", { topic: "inventory.>" }));
    await host.bus.flush();
    expect(heard).toEqual([`${PREFIX}.session.${session}.topic.inventory.aws found`]);
  });

  it("of a host that may not speak for its agents is not published (D5)", async () => {
    let held = true;
    const [host, other] = [await open({ held: () => held }), await open()];
    const heard: string[] = [];
    other.bus.subscribe(`${PREFIX}.session.${session}.>`, ({ data }) => void heard.push(fromBinary(AgentEventSchema, data).eventType));
    await other.bus.flush();
    host.events.publish(happening(session, "before", { topic: "t" }));
    held = false;
    host.events.publish(happening(session, "during", { topic: "t" }));
    host.events.end(session, happening(session, "SESSION_ENDED"));
    held = true;
    host.events.publish(happening(session, "after", { topic: "t" }));
    await vi.waitFor(() => expect(heard.toSorted()).toEqual(["after", "after", "before", "before"]));
  });
});

describe("following", () => {
  it("on any host gets what happens on all of them, in one rising sequence that is the same everywhere", async () => {
    const [one, two, three] = [await open(), await open(), await open()];
    one.events.publish(happening(session, "SESSION_CREATED"));
    const followings = [one, two, three].map((host) => follow(host, session, 1n));
    for (const following of followings) await take(following, 1);
    for (let n = 0; n < 200; n++) for (const [at, host] of [one, two].entries()) host.events.publish(happening(session, `from_${at}`, { attributes: { n: String(n) } }));
    const [a, b, c] = await Promise.all(followings.map((following) => take(following, 400)));
    expectRising(a!);
    expect(sequences(b!)).toEqual(sequences(a!));
    expect(c!.map(({ eventId }) => eventId)).toEqual(a!.map(({ eventId }) => eventId));
    for (const at of ["from_0", "from_1"]) expect(a!.filter(({ eventType }) => eventType === at).map(({ attributes }) => Number(attributes["n"]))).toEqual(Array.from({ length: 200 }, (_, n) => n));
  });

  it("live only: sees what happens from the call on, and nothing of other sessions", async () => {
    const host = await open();
    host.events.publish(happening(session, "before"));
    await kept(host);
    const following = follow(host, session);
    host.events.publish(happening(newSession(), "elsewhere"));
    host.events.publish(happening(session, "after"));
    expect(types(await take(following, 1))).toEqual(["after"]);
  });

  it("from a sequence, on another host: what is kept, then what comes", async () => {
    const [one, two] = [await open(), await open()];
    for (const type of ["SESSION_CREATED", "B", "C", "D"]) one.events.publish(happening(session, type));
    const all = await take(follow(two, session, 1n), 4);
    expect(types(all)).toEqual(["SESSION_CREATED", "B", "C", "D"]);
    const following = follow(two, session, all[2]!.sequence);
    const first = await take(following, 2);
    one.events.publish(happening(session, "E"));
    expect(types([...first, ...(await take(following, 1))])).toEqual(["C", "D", "E"]);
    const onward = follow(one, session, all[3]!.sequence + 1n, { types: ["F"] });
    for (const type of ["F", "G"]) one.events.publish(happening(session, type));
    expect(types(await take(onward, 1))).toEqual(["F"]);
  });

  it("ends with the session's last event, of which there is one, whatever types are asked for", async () => {
    const [one, two] = [await open(), await open()];
    one.events.publish(happening(session, "SESSION_CREATED"));
    await kept(one);
    const [all, some] = [follow(two, session, 1n), follow(two, session, 1n, { types: ["A"] })];
    one.events.publish(happening(session, "A"));
    expect(types(await take(all, 2))).toEqual(["SESSION_CREATED", "A"]);
    expect(types(await take(some, 1))).toEqual(["A"]);
    for (const host of [one, one, two]) host.events.end(session, happening(session, "SESSION_ENDED"));
    expect(types(await take(all, 10))).toEqual(["SESSION_ENDED"]);
    expect(await take(some, 10)).toEqual([]);
    await kept(one, two);
    expect(types(await take(follow(two, session, 1n, { live: false }), 10))).toEqual(["SESSION_CREATED", "A", "SESSION_ENDED"]);
  });

  it("of a session that is over: what is kept, and the end; nothing when only new ones are asked for, or when it ended elsewhere", async () => {
    const [one, two] = [await open(), await open()];
    for (const type of ["SESSION_CREATED", "B"]) one.events.publish(happening(session, type));
    expect(types(await take(follow(two, session, 1n, { live: false }), 10))).toEqual(["SESSION_CREATED", "B"]);
    expect(await take(follow(two, session, 0n, { live: false }), 10)).toEqual([]);
    one.events.end(session, happening(session, "SESSION_ENDED"));
    await kept(one);
    expect(await take(follow(two, session), 10)).toEqual([]);
    expect(await take(follow(two, newSession(), 0n, { live: false }), 10)).toEqual([]);
  });

  it("is cancelled by its signal and ends with its host", async () => {
    const host = await open();
    const controller = new AbortController();
    const [cancelled, closed] = [follow(host, session, 0n, { signal: controller.signal }).next(), follow(host, session).next()];
    controller.abort();
    expect(await codeOf(cancelled)).toBe("CANCELLED");
    expect(await codeOf(follow(host, session, 0n, { signal: controller.signal }).next())).toBe("CANCELLED");
    host.events.close();
    expect((await closed).done).toBe(true);
  });

  it("leaves what cannot be an event alone", async () => {
    const host = await open();
    const following = follow(host, session);
    host.bus.publish(`${PREFIX}.session.${session}.events`, bytes("\u0001 no event"));
    host.events.publish(happening(session, "A"));
    expect(types(await take(following, 1))).toEqual(["A"]);
  });
});

describe("what is kept", () => {
  it("is bounded for each session, and what is gone is refused with the oldest that can be had", async () => {
    const fresh = await startNats();
    try {
      const [host, other] = [await openEventHost(rig, fresh.url, { eventsKept: 5 }), await openEventHost(rig, fresh.url, { eventsKept: 5 })];
      host.events.publish(happening(session, "SESSION_CREATED"));
      const [created] = await take(follow(other, session, 1n), 1);
      for (let n = 1; n <= 6; n++) host.events.publish(happening(session, `E${n}`));
      const quiet = newSession();
      host.events.publish(happening(quiet, "SESSION_CREATED"));
      await kept(host);
      const error = await refusal(follow(other, session, created!.sequence).next());
      expect(error.code).toBe("EVENTS_NOT_KEPT");
      const oldest = BigInt(error.details.metadata!["oldest_sequence"]!);
      expect(types(await take(follow(other, session, oldest), 5))).toEqual(["E2", "E3", "E4", "E5", "E6"]);
      expect(types(await take(follow(other, quiet, 1n), 1))).toEqual(["SESSION_CREATED"]);
    } finally {
      await fresh.stop();
    }
  });

  it("is not waited for when the sequence is of another stream, or of a host alone", async () => {
    const host = await open();
    host.events.publish(happening(session, "A"));
    await kept(host);
    expect(await codeOf(follow(host, session, 1_000_000n).next())).toBe("EVENTS_NOT_KEPT");
    expect(await codeOf(follow(host, session, BigInt(Date.now()) << 20n).next())).toBe("EVENTS_NOT_KEPT");
  });

  it("goes with a session that is removed", async () => {
    const host = await open();
    for (const type of ["SESSION_CREATED", "B"]) host.events.publish(happening(session, type));
    await kept(host);
    host.events.forget(session);
    const left = async () => {
      const { data } = await host.bus.request(`$JS.API.STREAM.INFO.${STREAM}`, bytes(JSON.stringify({ subjects_filter: `${PREFIX}.session.${session}.events` })), { timeoutMs: 5_000 });
      return (JSON.parse(new TextDecoder().decode(data)) as { state: { subjects?: object } }).state.subjects;
    };
    await vi.waitFor(async () => expect(await left()).toBeUndefined(), { timeout: 5_000, interval: 10 });
  });

  it("overruns a follower that does not read, which is told where to go on, and no other", async () => {
    const fresh = await startNats();
    try {
      // The stream has more room than the follower.
      await openEventHost(rig, fresh.url, { eventsKept: 100_000 });
      const host = await openEventHost(rig, fresh.url, { eventsKept: 1 });
      const [slow, quick] = [follow(host, session), follow(host, session)];
      // A few more than it has room for: asking whether it has failed reads one each time.
      const count = 1 + FOLLOWER_BUFFER + 100;
      const reading = take(quick, count);
      for (let n = 0; n < count; n++) host.events.publish(happening(session, "A"));
      const read = await reading;
      expectRising(read);
      const error = await vi.waitFor(() => refusal(slow.next()));
      expect(error.code).toBe("OVERLOADED");
      const next = BigInt(error.details.metadata!["next_sequence"]!);
      const rest = sequences(read).filter((sequence) => sequence >= next);
      expect(rest.length).toBeGreaterThan(FOLLOWER_BUFFER);
      expect(sequences(await take(follow(host, session, next), rest.length))).toEqual(rest);
    } finally {
      await fresh.stop();
    }
  });

  it("tells a follower when the stream let go of something before it was read", async () => {
    const fresh = await startNats();
    try {
      const host = await openEventHost(rig, fresh.url, { eventsKept: 2 });
      host.events.publish(happening(session, "A"));
      await kept(host);
      const following = follow(host, session);
      const seen: string[] = [];
      const reading = (async () => {
        for await (const { attributes } of following) seen.push(attributes["n"] ?? "");
      })();
      // One by one until the follower listens, then more at once than the stream keeps.
      await vi.waitFor(() => {
        host.events.publish(happening(session, "A", { attributes: { n: "x" } }));
        expect(seen).not.toEqual([]);
      });
      for (let n = 0; n < 10_000; n++) host.events.publish(happening(session, "A", { attributes: { n: String(n) } }));
      const error = await refusal(reading);
      expect(error.code).toBe("EVENTS_NOT_KEPT");
      const numbered = seen.filter((n) => n !== "x").map(Number);
      expect(numbered).toEqual(numbered.map((_, at) => at));
      expect(BigInt(error.details.metadata!["oldest_sequence"]!)).toBeGreaterThan(0n);
    } finally {
      await fresh.stop();
    }
  });
});
