import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { encodeUnplacedEvent } from "../../runtime/contract/event-codec.ts";
import { AgentEventSchema } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";

const ID = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";
const text = fc.oneof(fc.constantFrom("", ID, "AGENT_SPAWNED"), fc.string({ maxLength: 200 }), fc.string({ unit: "binary", maxLength: 100 }));

const event = fc.record({
  eventType: text,
  sourceAgentId: text,
  targetAgentId: text,
  payload: fc.option(fc.record({ typeUrl: text, value: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(40_000).fill(7))) })),
  eventId: text,
  sessionId: text,
  at: fc.integer({ min: 0, max: 4_294_967_295_999 }),
  topic: text,
  traceparent: text,
  attributes: fc.dictionary(text.filter((key) => key !== "__proto__"), text, { maxKeys: 4, noNullPrototype: true }),
});

it("an event is written as the generated codec writes it", () => {
  fc.assert(
    fc.property(event, ({ payload, at, ...fields }) => {
      const generated = create(AgentEventSchema, { ...fields, time: timestampFromMs(at), ...(payload === null ? {} : { payload }) });
      const written = encodeUnplacedEvent({ ...fields, payload, at });
      expect(Buffer.from(written).equals(toBinary(AgentEventSchema, generated))).toBe(true);
      expect(fromBinary(AgentEventSchema, written).eventId).toBe(fields.eventId);
    }),
    { numRuns: 500 },
  );
});

it("what was written stays as it is when the next one is", () => {
  const one = { eventType: "A", sourceAgentId: "", targetAgentId: "", payload: null, eventId: "1", sessionId: ID, at: 0, topic: "", traceparent: "", attributes: {} };
  const first = encodeUnplacedEvent(one);
  const copy = first.slice();
  encodeUnplacedEvent({ ...one, eventType: "B", eventId: "2" });
  expect(first).toEqual(copy);
});
