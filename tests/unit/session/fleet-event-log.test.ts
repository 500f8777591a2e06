/** What a host of a fleet publishes and hands to its followers, with a stream that the test holds. */
import { fromBinary } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import type { HostEvent } from "../../../runtime/agent/agents.ts";
import type { EventStream, EventStreamState, StreamReader } from "../../../runtime/bus/index.ts";
import { AgentEventSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { silentLogger } from "../../../runtime/observe/logger.ts";
import { cloudEventHeaders } from "../../../runtime/session/cloud-event.ts";
import { EventChains, EventNumbers } from "../../../runtime/session/event-chain.ts";
import { FOLLOWER_BYTES_MAX } from "../../../runtime/session/event-follower.ts";
import { FleetEventLog } from "../../../runtime/session/index.ts";
import { codeOf } from "../../support/service-bench.ts";

const SESSION = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

class HeldStream implements EventStream {
  readonly appended: { readonly subject: string; readonly id: string; readonly data: Uint8Array }[] = [];
  readonly counts = { appended: 0, repeated: 0, lost: 0, waiting: 0 };
  state: EventStreamState = { kind: "open", name: "x", replicas: 1 };
  reader: StreamReader | null = null;
  closed = 0;

  append(subject: string, id: string, data: Uint8Array): void {
    this.appended.push({ subject, id, data });
  }

  read(_subject: string, _from: number, reader: StreamReader) {
    this.reader = reader;
    return { close: () => void this.closed++ };
  }

  /** Hands on what was appended last, or anything else. */
  hand(sequence: number, data = this.appended.at(-1)!.data): void {
    this.reader!.entry({ sequence, data });
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  forget(): void {}
  close(): void {}
}

let stream: HeldStream;
let log: FleetEventLog;
beforeEach(() => {
  stream = new HeldStream();
  const clock = new ManualClock();
  const bus = { publish: () => undefined, subscribe: () => ({ close: () => undefined, closed: false, drain: () => Promise.resolve() }) };
  log = new FleetEventLog({ bus, stream, prefix: "p", clock, eventsKept: 10, held: () => true, log: silentLogger, metrics: null });
});

const happen = (type: string, changes: Partial<HostEvent> = {}): HostEvent => ({ type, sessionId: SESSION, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes: {}, traceparent: "", ...changes });
const follow = (fromSequence = 1n, live = true) => log.follow(SESSION, { types: [], fromSequence, live, signal: null });

describe("a follower", () => {
  it("has the place in the stream as the sequence of an event", async () => {
    const following = follow();
    log.publish(happen("A"));
    expect(fromBinary(AgentEventSchema, stream.appended[0]!.data)).toMatchObject({ sequence: 0n, eventId: stream.appended[0]!.id });
    stream.hand(17);
    expect((await following.next()).value).toMatchObject({ sequence: 17n, eventType: "A" });
  });

  it("is told when an event of a log is missing, and not of a late one", async () => {
    const following = follow();
    log.publish(happen("A"));
    stream.hand(1);
    const late = happen("late");
    log.publish(late);
    const { data } = stream.appended.at(-1)!;
    log.publish(happen("C"));
    stream.hand(3);
    expect(await codeOf(following.next())).toBe("EVENTS_NOT_KEPT");
    expect(stream.closed).toBe(1);
    const onward = follow(3n);
    stream.hand(3);
    stream.hand(4, data);
    expect([(await onward.next()).value?.eventType, (await onward.next()).value?.eventType]).toEqual(["C", "late"]);
  });

  it("may have so many bytes waiting, and one event always", async () => {
    const value = new Uint8Array(FOLLOWER_BYTES_MAX / 2);
    const following = follow();
    for (const [at, type] of ["A", "B"].entries()) {
      log.publish(happen(type, { payload: { typeUrl: "x", value } }));
      stream.hand(at + 1);
    }
    expect(await codeOf(following.next())).toBe("OVERLOADED");
    const alone = follow();
    log.publish(happen("C", { payload: { typeUrl: "x", value: new Uint8Array(FOLLOWER_BYTES_MAX) } }));
    stream.hand(3);
    expect((await alone.next()).value?.eventType).toBe("C");
  });

  it("lets go of the stream once, however it ends", async () => {
    const [left, ended, failed] = [follow(), follow(), follow()];
    await left.return!();
    log.forget(SESSION);
    expect((await ended.next()).done).toBe(true);
    expect((await failed.next()).done).toBe(true);
    expect(stream.closed).toBe(3);
    follow();
    stream.reader!.failed(new SirsiError("BUS_UNAVAILABLE", "gone"));
    expect(stream.closed).toBe(4);
  });

  it("of a session that is over ends when it has caught up", async () => {
    const following = follow(1n, false);
    log.publish(happen("A"));
    stream.hand(1);
    stream.reader!.caughtUp!();
    expect([(await following.next()).value?.eventType, (await following.next()).done]).toEqual(["A", true]);
  });

  it("without a stream is refused what is past, with what to do about it", async () => {
    stream.state = { kind: "unusable", reason: "no JetStream; switch it on" };
    expect(() => follow(5n)).toThrow("switch it on");
    expect(await codeOf((async () => follow(5n))())).toBe("EVENTS_NOT_KEPT");
  });
});

it("the last event of a session is published once, under the id that every host gives it", () => {
  log.end(SESSION, happen("SESSION_ENDED"));
  log.end(SESSION, happen("SESSION_ENDED"));
  expect(stream.appended.map(({ subject, id }) => [subject, id])).toEqual([[`p.session.${SESSION}.events`, `${SESSION}.ended`]]);
});

describe("ids", () => {
  it("tell the event before in the same session", () => {
    const numbers = new EventNumbers("log");
    expect([numbers.next("a"), numbers.next("b"), numbers.next("a"), numbers.next("b")]).toEqual(["log.1.0", "log.2.0", "log.3.1", "log.4.2"]);
  });

  it("are followed for each log alone, from the first one seen; ids of another form say nothing", () => {
    const chains = new EventChains();
    expect(["l.7.3", "m.1.0", "l.9.7", "s.ended", "l.8.x", "m.4.2"].map((id) => chains.follows(id))).toEqual([true, true, true, true, true, false]);
    expect([chains.follows("l.12.x"), chains.follows("l.13.12")]).toEqual([true, true]);
  });
});

it("CloudEvents attributes hold any text, in visible ASCII", () => {
  const headers = cloudEventHeaders(happen('a b%"\u00e9\r\n', { traceparent: "00-1-2-03" }), "id", 0, "p");
  expect(headers).toEqual({ "ce-specversion": "1.0", "ce-id": "id", "ce-source": `/p/session/${SESSION}`, "ce-type": "a%20b%25%22%C3%A9%0D%0A", "ce-time": "1970-01-01T00:00:00.000Z", traceparent: "00-1-2-03" });
});
