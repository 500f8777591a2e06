import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ExchangeSchema, type Message, MessageSchema, type MessageType, SendMessageRequestSchema, SendMessageResponseSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { encodePlainExchange, plainMessageBytes } from "../../runtime/contract/exchange-codec.ts";
import { GuestCallSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { decodePlainResult, encodePlainMessageCall } from "../../runtime/contract/message-codec.ts";
import { decodePlainSend, encodePlainAnswer } from "../../runtime/contract/send-message-codec.ts";
import { arbitraryMessage } from "../support/arbitrary-message.ts";

const RUNS = { numRuns: 500 };
const ID = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";

/** Messages as clients and guests mostly send them. */
const plainMessage = fc
  .record({
    messageId: fc.constantFrom("", ID, "an id of one's own"),
    type: fc.integer({ min: 0, max: 6 }),
    content: fc.oneof(fc.string({ maxLength: 300 }), fc.string({ unit: "binary", maxLength: 300 }), fc.constant("x".repeat(20_000))),
    metadata: fc.dictionary(fc.string({ unit: "binary", maxLength: 20 }).filter((key) => key !== "__proto__"), fc.string({ unit: "binary", maxLength: 40 }), { maxKeys: 4, noNullPrototype: true }),
    timestamp: fc.option(fc.record({ seconds: fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }), nanos: fc.integer({ min: 0, max: 999_999_999 }) }).map((time) => create(TimestampSchema, time)), { nil: undefined }),
  })
  .map(({ timestamp, ...fields }) => create(MessageSchema, { ...fields, type: fields.type as MessageType, ...(timestamp === undefined ? {} : { timestamp }) }));

const plainAnswer = fc
  .record({ messageId: fc.constantFrom("", ID), response: fc.option(plainMessage, { nil: undefined }), took: fc.option(fc.double({ min: 0, noNaN: true }), { nil: undefined }), replayed: fc.boolean() })
  .map(({ messageId, response, took, replayed }) =>
    create(SendMessageResponseSchema, { messageId, replayed, ...(response === undefined ? {} : { response }), ...(took === undefined ? {} : { metrics: { processingTimeMs: took } }) }),
  );

/** Well-formed bytes, and the same with some of them changed. */
function bytesOf(schema: Parameters<typeof arbitraryMessage>[0], more: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const whole = fc.oneof(arbitraryMessage(schema).map((message) => toBinary(schema, message)), more);
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 });
  return fc.tuple(whole, edits, fc.nat({ max: 20 })).map(([bytes, changes, cut]) => {
    const changed = bytes.slice(0, bytes.length - (cut > 17 ? cut - 17 : 0));
    for (const [at, byte] of changes) if (changed.length > 0) changed[at % changed.length] = byte;
    return changed;
  });
}

describe("the codec that is written by hand, held to the generated one", () => {
  test("writes a guest call to the same bytes, or leaves it", () => {
    fc.assert(
      fc.property(fc.oneof(plainMessage, arbitraryMessage(MessageSchema)), (message) => {
        const written = encodePlainMessageCall(message as never);
        if (written === null) return;
        expect(Buffer.from(written)).toEqual(Buffer.from(toBinary(GuestCallSchema, create(GuestCallSchema, { call: { case: "message", value: { message: message as never } } }))));
      }),
      RUNS,
    );
  });

  test("writes an exchange, and a message by itself, to the same bytes, or leaves it", () => {
    const messages = fc.oneof(plainMessage, arbitraryMessage(MessageSchema)) as fc.Arbitrary<Message>;
    fc.assert(
      fc.property(messages, messages, fc.integer({ min: 0, max: 2 ** 34 }), fc.integer({ min: 0, max: 2 ** 43 }), (message, response, sequence, completedAt) => {
        const alone = plainMessageBytes(message);
        if (alone !== null) expect(Buffer.from(alone)).toEqual(Buffer.from(toBinary(MessageSchema, message)));
        const written = encodePlainExchange(sequence, message, response, completedAt);
        if (written === null) return;
        const exchange = create(ExchangeSchema, { sequence: BigInt(sequence), message, response, completedAt: timestampFromMs(completedAt) });
        expect(Buffer.from(written)).toEqual(Buffer.from(toBinary(ExchangeSchema, exchange)));
      }),
      RUNS,
    );
  });

  test("writes an answer to the same bytes, or leaves it", () => {
    fc.assert(
      fc.property(fc.oneof(plainAnswer, arbitraryMessage(SendMessageResponseSchema)), (answer) => {
        const written = encodePlainAnswer(answer as never);
        if (written !== null) expect(Buffer.from(written)).toEqual(Buffer.from(toBinary(SendMessageResponseSchema, answer as never)));
      }),
      RUNS,
    );
  });

  test("never leaves a plain message or answer", () => {
    fc.assert(
      fc.property(plainMessage, plainAnswer, (message, answer) => {
        expect(encodePlainMessageCall(message)).not.toBeNull();
        expect(plainMessageBytes(message)).not.toBeNull();
        expect(encodePlainExchange(1, message, message, 1_750_000_000_000)).not.toBeNull();
        expect(encodePlainAnswer(answer)).not.toBeNull();
        const request = create(SendMessageRequestSchema, { sessionId: ID, agentId: ID, message });
        expect(decodePlainSend(toBinary(SendMessageRequestSchema, request))).toEqual(request);
        const result = create(GuestResultSchema, { result: { case: "message", value: { response: message } } });
        expect(decodePlainResult(toBinary(GuestResultSchema, result))).toEqual(result.result);
      }),
      RUNS,
    );
  });

  test("reads a request as the generated codec does, malformed ones included, or leaves it", () => {
    const more = plainMessage.map((message) => toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId: ID, agentId: ID, message })));
    fc.assert(
      fc.property(bytesOf(SendMessageRequestSchema, more), (bytes) => {
        const read = decodePlainSend(bytes);
        if (read !== null) expect(read).toEqual(fromBinary(SendMessageRequestSchema, bytes));
      }),
      { numRuns: 3_000 },
    );
  });

  test("reads a guest's result as the generated codec does, malformed ones included, or leaves it", () => {
    const more = plainMessage.map((response) => toBinary(GuestResultSchema, create(GuestResultSchema, { result: { case: "message", value: { response } } })));
    fc.assert(
      fc.property(bytesOf(GuestResultSchema, more), (bytes) => {
        const read = decodePlainResult(bytes);
        if (read !== null) expect(read).toEqual(fromBinary(GuestResultSchema, bytes).result);
      }),
      { numRuns: 3_000 },
    );
  });
});
