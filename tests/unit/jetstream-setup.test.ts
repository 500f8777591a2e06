/** How the stream is found or made, by what JetStream answers. */
import { describe, expect, it } from "vitest";
import { coversPattern } from "../../runtime/bus/index.ts";
import type { BusMessage } from "../../runtime/bus/index.ts";
import { JetStreamApi } from "../../runtime/bus/nats/jetstream-api.ts";
import { isNearlyFull, keepsFrom } from "../../runtime/bus/nats/jetstream-kept.ts";
import { setUpStream, type StreamPlan } from "../../runtime/bus/nats/jetstream-setup.ts";
import { codeOf } from "../support/service-bench.ts";

const PLAN: StreamPlan = { name: "x", subjects: "p.*.events", maxPerSubject: 10, maxAgeMs: 1_000, maxBytes: 1_000, duplicateMs: 1_000, clustered: false };
const FOUND = { created: "now", config: { name: "x", subjects: ["p.>"], retention: "limits", max_msgs_per_subject: -1, num_replicas: 1, duplicate_window: 2e9 } };
const fault = (code: number, description = "no") => ({ error: { code: 500, err_code: code, description } });

/** Answers by verb, in turn; what is asked is in `asked`. */
function api(answers: Readonly<Record<string, readonly object[]>>) {
  const asked: { verb: string; body: Record<string, unknown> }[] = [];
  const left = new Map(Object.entries(answers).map(([verb, list]) => [verb, [...list]]));
  const request = (subject: string, data: Uint8Array) => {
    const verb = subject.split(".").slice(2, 4).join(".");
    asked.push({ verb, body: JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown> });
    const answer = left.get(verb)?.shift() ?? fault(10_003);
    return Promise.resolve({ data: new TextEncoder().encode(JSON.stringify(answer)) } as unknown as BusMessage);
  };
  return { asked, api: new JetStreamApi({ request }) };
}

describe("setting up", () => {
  it("takes the stream that is there as it is", async () => {
    const { api: js, asked } = api({ "STREAM.INFO": [FOUND] });
    expect(await setUpStream(js, PLAN)).toEqual({ kind: "found", name: "x", created: "now", replicas: 1, maxPerSubject: Infinity, duplicateMs: 2_000 });
    expect(asked).toHaveLength(1);
  });

  it("wants three copies in a cluster, and takes one where there are too few servers", async () => {
    const three = api({ "STREAM.INFO": [fault(10_059)], "STREAM.CREATE": [FOUND] });
    await setUpStream(three.api, { ...PLAN, clustered: true });
    const few = api({ "STREAM.INFO": [fault(10_059)], "STREAM.CREATE": [fault(10_005), FOUND] });
    await setUpStream(few.api, { ...PLAN, clustered: true });
    const copies = ({ asked }: typeof few) => asked.filter(({ verb }) => verb === "STREAM.CREATE").map(({ body }) => body["num_replicas"]);
    expect([copies(three), copies(few)]).toEqual([[3], [3, 1]]);
  });

  it("takes what another host made at the same time", async () => {
    const { api: js } = api({ "STREAM.INFO": [fault(10_059), FOUND], "STREAM.CREATE": [fault(10_058)] });
    expect(await setUpStream(js, PLAN)).toMatchObject({ kind: "found" });
  });

  it("says which streams stand in the way", async () => {
    const { api: js } = api({ "STREAM.INFO": [fault(10_059)], "STREAM.CREATE": [fault(10_065)], "STREAM.NAMES": [{ streams: ["a", "b"] }] });
    expect(await setUpStream(js, PLAN)).toMatchObject({ kind: "unusable", reason: expect.stringContaining("a, b") as string });
  });

  it("leaves what may pass to be tried again", async () => {
    expect(await codeOf(setUpStream(api({ "STREAM.INFO": [fault(10_008)] }).api, PLAN))).toBe("BUS_UNAVAILABLE");
    expect(await codeOf(setUpStream(api({ "STREAM.INFO": [fault(10_059)], "STREAM.CREATE": [fault(10_008)] }).api, PLAN))).toBe("BUS_UNAVAILABLE");
  });
});

it.each([
  ["p.>", "p.*.events", true],
  ["p.*.events", "p.*.events", true],
  ["*.*.events", "p.*.events", true],
  [">", "p.>", true],
  ["p.a.events", "p.*.events", false],
  ["p.*", "p.>", false],
  ["p.*.events.>", "p.*.events", false],
  ["p.*", "p.*.events", false],
])("%s covers %s: %s", (wide, narrow, covers) => {
  expect(coversPattern(wide, narrow)).toBe(covers);
});

it.each([
  ["the next one to come", 11, { first: 1, last: 10, count: 3 }, "yes"],
  ["one that nobody can have seen", 12, { first: 1, last: 10, count: 3 }, "ahead"],
  ["the first one of an empty stream", 1, { first: 1, last: 0, count: 0 }, "yes"],
  ["one that is there", 4, { first: 1, last: 10, count: 3 }, "yes"],
  ["one of a full subject", 4, { first: 1, last: 10, count: 5 }, "look"],
  ["one before the head of the stream", 4, { first: 5, last: 10, count: 3 }, "look"],
  ["one of a subject of which all has gone", 4, { first: 5, last: 10, count: 0 }, "look"],
])("whether all is kept from %s on", (_what, from, look, verdict) => {
  expect(keepsFrom(from, { ...look, maxPerSubject: 5 })).toBe(verdict);
});

it("a subject without a limit is never nearly full", () => {
  expect([3, 4].map((count) => isNearlyFull({ first: 1, last: 9, count, maxPerSubject: 5 }))).toEqual([false, true]);
  expect(isNearlyFull({ first: 1, last: 9, count: 1e9, maxPerSubject: Infinity })).toBe(false);
});
