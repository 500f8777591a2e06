import { fromBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import type { HostEvent } from "../../../runtime/agent/agents.ts";
import { openMemoryBus } from "../../../runtime/bus/memory/index.ts";
import { AgentEventSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import type { AgentEvent } from "../../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { openMetrics } from "../../../runtime/observe/metrics.ts";
import { silentLogger } from "../../../runtime/observe/logger.ts";
import { EventLog } from "../../../runtime/session/index.ts";
import type { EventLogDeps } from "../../../runtime/session/index.ts";
import { FOLLOWER_BUFFER } from "../../../runtime/session/event-follower.ts";
import { codeOf, refusal } from "../../support/service-bench.ts";

const SESSION = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";
const OTHER = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c22";

let clock: ManualClock;
let log: EventLog;

function open(changes: Partial<EventLogDeps> = {}): EventLog {
  const bus = { publish: () => {}, hasSubscribers: () => false };
  return new EventLog({ bus, prefix: "test", clock, eventsKept: 5, log: silentLogger, metrics: null, ...changes });
}

function happen(type: string, changes: Partial<HostEvent> = {}): HostEvent {
  return { type, sessionId: SESSION, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes: {}, traceparent: "", ...changes };
}

function follow(fromSequence = 0n, types: string[] = [], signal: AbortSignal | null = null): AsyncIterableIterator<AgentEvent> {
  return log.follow(SESSION, { types, fromSequence, live: true, signal });
}

async function take(following: AsyncIterator<AgentEvent>, count: number): Promise<AgentEvent[]> {
  const taken: AgentEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await following.next();
    if (done === true) break;
    taken.push(value);
  }
  return taken;
}

const types = (events: readonly AgentEvent[]) => events.map(({ eventType }) => eventType);

beforeEach(() => {
  clock = new ManualClock();
  log = open();
});

describe("numbering", () => {
  it("gives each event an id, a time and a sequence that rises within its session", async () => {
    const following = follow();
    log.publish(happen("A", { sourceAgentId: "s", targetAgentId: "t", attributes: { k: "v" }, traceparent: "00-a-b-01", payload: { typeUrl: "type.googleapis.com/x.Y", value: Uint8Array.of(1, 2) } }));
    clock.advance(7);
    log.publish(happen("other", { sessionId: OTHER }));
    log.publish(happen("B"));
    const [a, b] = await take(following, 2);
    expect(a).toMatchObject({ eventType: "A", sourceAgentId: "s", targetAgentId: "t", attributes: { k: "v" }, traceparent: "00-a-b-01", sessionId: SESSION });
    expect(a!.payload).toMatchObject({ typeUrl: "type.googleapis.com/x.Y", value: Uint8Array.of(1, 2) });
    expect(b!.sequence).toBe(a!.sequence + 1n);
    expect(timestampMs(b!.time!) - timestampMs(a!.time!)).toBe(7);
    expect(new Set([a!.eventId, b!.eventId, ""]).size).toBe(3);
  });

  it("goes on above all earlier sequences after a restart", async () => {
    const before = follow();
    for (let n = 0; n < 1_000; n++) log.publish(happen("A"));
    const last = (await take(before, 1_000)).at(-1)!;
    clock.advance(1);
    log = open();
    const after = follow();
    log.publish(happen("B"));
    const [first] = await take(after, 1);
    expect(first!.sequence > last.sequence).toBe(true);
  });

  it("tells every follower the same id of an event", async () => {
    const [one, two] = [follow(), follow()];
    log.publish(happen("A"));
    const [[a], [b]] = [await take(one, 1), await take(two, 1)];
    expect(a!.eventId).toBe(b!.eventId);
  });
});

describe("following", () => {
  it("live only: sees what happens from the call on, read or not", async () => {
    log.publish(happen("before"));
    const following = follow();
    log.publish(happen("after"));
    expect(types(await take(following, 1))).toEqual(["after"]);
  });

  it("from a sequence: kept ones first, then live ones, with no gap and no repeat", async () => {
    log.begin(SESSION);
    for (const type of ["A", "B", "C"]) log.publish(happen(type));
    const following = follow(1n);
    log.publish(happen("D"));
    const first = await take(following, 2);
    log.publish(happen("E"));
    const rest = await take(following, 3);
    expect(types([...first, ...rest])).toEqual(["A", "B", "C", "D", "E"]);
    const again = follow(first[1]!.sequence);
    expect(types(await take(again, 4))).toEqual(["B", "C", "D", "E"]);
  });

  it("from a sequence that is yet to come: waits for it", async () => {
    log.begin(SESSION);
    log.publish(happen("A"));
    const [a] = await take(follow(1n), 1);
    const following = follow(a!.sequence + 2n);
    for (const type of ["B", "C", "D"]) log.publish(happen(type));
    expect(types(await take(following, 2))).toEqual(["C", "D"]);
  });

  it("only the types that are asked for, kept and live", async () => {
    log.begin(SESSION);
    for (const type of ["A", "B", "A"]) log.publish(happen(type));
    const following = follow(1n, ["A", "C"]);
    for (const type of ["B", "C"]) log.publish(happen(type));
    expect(types(await take(following, 3))).toEqual(["A", "A", "C"]);
  });

  it("refuses a sequence that the ring has let go, and names the oldest that can be had", async () => {
    log.begin(SESSION);
    for (let n = 0; n < 6; n++) log.publish(happen(`E${n}`));
    const error = await refusal((async () => follow(1n))());
    expect(error.code).toBe("EVENTS_NOT_KEPT");
    const oldest = BigInt(error.details.metadata!["oldest_sequence"]!);
    expect(types(await take(follow(oldest), 5))).toEqual(["E1", "E2", "E3", "E4", "E5"]);
    expect(await codeOf((async () => follow(oldest - 1n))())).toBe("EVENTS_NOT_KEPT");
  });

  it("refuses a sequence of before a restart: what was between is lost", async () => {
    expect(await codeOf((async () => follow(1n))())).toBe("EVENTS_NOT_KEPT");
  });

  it("keeps nothing when it may keep nothing, and still serves live followers", async () => {
    log = open({ eventsKept: 0 });
    log.begin(SESSION);
    log.publish(happen("A"));
    expect(await codeOf((async () => follow(1n))())).toBe("EVENTS_NOT_KEPT");
    const following = follow();
    log.publish(happen("B"));
    expect(types(await take(following, 1))).toEqual(["B"]);
    expect(log.keptBytes).toBe(0);
  });

  it("ends a follower that reads too slowly, tells it where to go on, and leaves the others be", async () => {
    const [slow, quick] = [follow(), follow()];
    for (let n = 0; n < FOLLOWER_BUFFER; n++) log.publish(happen("A"));
    const read = await take(quick, FOLLOWER_BUFFER);
    log.publish(happen("B"));
    const error = await refusal(slow.next());
    expect(error.code).toBe("OVERLOADED");
    expect(error.details.metadata).toEqual({ next_sequence: read[0]!.sequence.toString() });
    expect(await codeOf(slow.next())).toBe("OVERLOADED");
    expect(types(await take(quick, 1))).toEqual(["B"]);
  });

  it("gives a reader of kept events the whole buffer for live ones", async () => {
    log.begin(SESSION);
    for (let n = 0; n < 5; n++) log.publish(happen("kept"));
    const following = follow(1n);
    for (let n = 0; n < FOLLOWER_BUFFER; n++) log.publish(happen("live"));
    expect(await take(following, FOLLOWER_BUFFER + 5)).toHaveLength(FOLLOWER_BUFFER + 5);
  });

  it("ends with the session, after what was still to be read", async () => {
    const [busy, idle] = [follow(), follow()];
    const waiting = idle.next();
    log.publish(happen("A"));
    await waiting;
    const last = idle.next();
    log.end(SESSION, happen("SESSION_ENDED"));
    log.end(SESSION, happen("SESSION_ENDED"));
    expect(types(await take(busy, 10))).toEqual(["A", "SESSION_ENDED"]);
    expect((await last).value).toMatchObject({ eventType: "SESSION_ENDED" });
    expect((await idle.next()).done).toBe(true);
    expect(await follow().next()).toEqual({ done: true, value: undefined });
  });

  it("of a session that is over: what is kept, then the end", async () => {
    log.begin(SESSION);
    log.publish(happen("A"));
    const following = log.follow(SESSION, { types: [], fromSequence: 1n, live: false, signal: null });
    expect(types(await take(following, 10))).toEqual(["A"]);
  });

  it("is cancelled by its signal, before and while it waits", async () => {
    const controller = new AbortController();
    const waiting = follow(0n, [], controller.signal);
    const next = waiting.next();
    controller.abort();
    expect(await codeOf(next)).toBe("CANCELLED");
    expect(await codeOf(follow(0n, [], controller.signal).next())).toBe("CANCELLED");
  });

  it("stops when its reader leaves", async () => {
    const following = follow();
    log.publish(happen("A"));
    for await (const event of following) {
      expect(event.eventType).toBe("A");
      break;
    }
    log.publish(happen("B"));
    expect((await following.next()).done).toBe(true);
  });

  it("refuses two readings at once", async () => {
    const following = follow();
    const first = following.next();
    expect(await codeOf(following.next())).toBe("INTERNAL");
    log.close();
    expect((await first).done).toBe(true);
  });

  it("ends when the session is removed", async () => {
    const next = follow().next();
    log.forget(SESSION);
    log.forget(SESSION);
    expect((await next).done).toBe(true);
  });
});

describe("room", () => {
  it("counts what it keeps and lets it go with the session", () => {
    log.publish(happen("A", { payload: { typeUrl: "x", value: new Uint8Array(1_000) } }));
    expect(log.keptBytes).toBeGreaterThan(1_000);
    for (let n = 0; n < 5; n++) log.publish(happen("B"));
    expect(log.keptBytes).toBeLessThan(5 * 1_000);
    log.forget(SESSION);
    expect(log.keptBytes).toBe(0);
  });

  it("does not keep the whole of a buffer that a payload is a part of", async () => {
    const batch = new Uint8Array(1_000_000).fill(7);
    const following = follow();
    log.publish(happen("A", { payload: { typeUrl: "x", value: batch.subarray(10, 20) } }));
    batch.fill(0);
    const [event] = await take(following, 1);
    expect(event!.payload!.value).toEqual(new Uint8Array(10).fill(7));
    expect(event!.payload!.value.buffer.byteLength).toBe(10);
  });

  it("lets the stillest sessions give way when all of them together keep too much", async () => {
    log = open({ eventsKept: 100, keptBytesMax: 100_000 });
    for (const sessionId of [SESSION, OTHER]) log.begin(sessionId);
    for (let n = 0; n < 30; n++) log.publish(happen("old"));
    clock.advance(1);
    for (let n = 0; n < 12; n++) {
      log.publish(happen("new", { sessionId: OTHER, payload: { typeUrl: "x", value: new Uint8Array(8_000) } }));
      expect(log.keptBytes).toBeLessThanOrEqual(100_000);
    }
    expect(await codeOf((async () => follow(1n))())).toBe("EVENTS_NOT_KEPT");
    const other = log.follow(OTHER, { types: [], fromSequence: 1n, live: true, signal: null });
    expect(types(await take(other, 12))).toHaveLength(12);
    for (let n = 0; n < 13; n++) log.publish(happen("flood", { payload: { typeUrl: "x", value: new Uint8Array(8_000) } }));
    expect(log.keptBytes).toBeLessThanOrEqual(100_000);
    const following = follow();
    log.publish(happen("and again"));
    expect(types(await take(following, 1))).toEqual(["and again"]);
  });
});

describe("the bus", () => {
  it("gets the events of a session on its subject, and a guest's topic on the topic's own", async () => {
    const bus = openMemoryBus({ clock, onError: (error) => expect(error).toBeUndefined() });
    log = open({ bus });
    const heard: string[] = [];
    bus.subscribe("test.session.*.>", ({ subject, data }) => void heard.push(`${subject} ${fromBinary(AgentEventSchema, data).eventType}`));
    log.publish(happen("A"));
    log.publish(happen("found", { topic: "inventory.aws" }));
    log.publish(happen("sly", { topic: "inventory.>" }));
    await bus.flush();
    expect(heard).toEqual([
      `test.session.${SESSION}.events A`,
      `test.session.${SESSION}.events found`,
      `test.session.${SESSION}.topic.inventory.aws found`,
      `test.session.${SESSION}.events sly`,
    ]);
    await bus.close();
  });

  it("costs nothing while nobody listens", () => {
    const published: string[] = [];
    const bus = { publish: (subject: string) => void published.push(subject), hasSubscribers: (subject: string) => subject.endsWith("topic.t") };
    log = open({ bus });
    log.publish(happen("A"));
    log.publish(happen("b", { topic: "t" }));
    expect(published).toEqual([`test.session.${SESSION}.topic.t`]);
  });

  it("that fails is told once for each spell, and never harms the publisher or its followers", async () => {
    let broken = true;
    const warnings: string[] = [];
    const publish = () => {
      if (broken) throw new SirsiError("BUS_UNAVAILABLE", "closed");
    };
    log = open({ bus: { publish }, log: { ...silentLogger, warn: (_fields: unknown, message?: string) => void warnings.push(message ?? "") } });
    const following = follow();
    for (let n = 0; n < 3; n++) log.publish(happen("A"));
    broken = false;
    log.publish(happen("A"));
    broken = true;
    log.publish(happen("A"));
    expect(warnings).toHaveLength(2);
    expect(await take(following, 5)).toHaveLength(5);
  });
});

it("counts events by type, whatever guests call theirs", async () => {
  const metrics = openMetrics({ processMetrics: false });
  log = open({ metrics });
  log.publish(happen("AGENT_SPAWNED"));
  log.publish(happen("found.it"));
  const text = await metrics.text();
  expect(text).toContain('sirsi_events_total{type="AGENT_SPAWNED"} 1');
  expect(text).toContain('sirsi_events_total{type="guest"} 1');
});
