import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Conversation, exchangeBody, messageHash, openKept } from "../../../runtime/agent/conversation.ts";
import { ExchangeRing, idHash, type RingExchange } from "../../../runtime/agent/exchange-ring.ts";
import { guestError } from "../../../runtime/agent/guest-error.ts";
import { readExchangeEnd, replay, requireSameMessage } from "../../../runtime/agent/replay.ts";
import type { Reply } from "../../../runtime/agent/index.ts";
import { type Message, MessageSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { GuestResultSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { encodeMessageCall } from "../../../runtime/contract/guest-codec.ts";
import { RpcCode, SirsiError } from "../../../runtime/core/errors.ts";
import { thrownBy } from "../../support/instances.ts";

const NEVER = new Promise<Reply>(() => undefined);

function message(messageId: string, content = "hi"): Message {
  return create(MessageSchema, { messageId, content });
}

function result(shape: MessageInitShape<typeof GuestResultSchema>["result"]): Uint8Array {
  return toBinary(GuestResultSchema, create(GuestResultSchema, shape === undefined ? {} : { result: shape }));
}

/** An exchange of an agent without durability, from its beginning to its end. */
function keep(conversation: Conversation, messageId: string, content = "hi"): void {
  const told = message(messageId, content);
  conversation.begin(told, NEVER);
  conversation.sequence++;
  conversation.settleKept(messageId, encodeMessageCall(told, {}, ""), result({ case: "message", value: { response: { content: `re ${content}` } } }), 1_000);
}

function store(conversation: Conversation, messageId: string): void {
  conversation.begin(message(messageId), NEVER);
  conversation.settleStored(messageId);
}

describe("D2 a conversation knows a message id", () => {
  test("while its step runs, and forgets it when the step came to nothing", () => {
    const conversation = new Conversation(10, 0);
    expect(conversation.find("m")).toBeUndefined();
    conversation.begin(message("m"), NEVER);
    expect(conversation.find("m")).toMatchObject({ kind: "running", reply: NEVER });
    conversation.forget("m");
    expect(conversation.find("m")).toBeUndefined();
  });

  test("as long as its exchange is among the last so many that the store keeps, however many wait", () => {
    const conversation = new Conversation(4, 0);
    for (let i = 0; i < 20; i++) conversation.begin(message(`waiting-${i}`), NEVER);
    for (let i = 0; i < 6; i++) store(conversation, `m${i}`);
    expect([0, 1, 2, 3, 4, 5].map((i) => conversation.find(`m${i}`)?.kind)).toEqual([undefined, undefined, "stored", "stored", "stored", "stored"]);
    expect(conversation.find("waiting-0")?.kind).toBe("running");
  });

  test("as long as its exchange is kept here, and can say what was answered", () => {
    const conversation = new Conversation(3, 0);
    for (let i = 0; i < 5; i++) keep(conversation, `m${i}`, `text ${i}`);
    expect([0, 1, 2, 3, 4].map((i) => conversation.find(`m${i}`)?.kind)).toEqual([undefined, undefined, "kept", "kept", "kept"]);
    const known = conversation.find("m3");
    const opened = known?.kind === "kept" ? openKept(known.exchange) : null;
    expect(opened?.message.content).toBe("text 3");
    expect(opened?.end).toMatchObject({ kind: "reply", response: { content: "re text 3", messageId: "m3:reply" } });
  });

  test("of a restored agent only from the store, until as many new ones have come as are kept", () => {
    expect(new Conversation(10, 0)).toMatchObject({ complete: true, whole: true });
    const restored = new Conversation(3, 7);
    for (let i = 0; i < 3; i++) {
      expect(restored.complete).toBe(false);
      restored.sequence++;
      store(restored, `m${i}`);
    }
    expect(restored).toMatchObject({ complete: true, whole: false });
    restored.reset(9);
    expect([restored.sequence, restored.complete, restored.find("m1")]).toEqual([9, false, undefined]);
  });
});

describe("a conversation's list", () => {
  test("goes newest first, below a sequence, up to a limit", () => {
    const conversation = new Conversation(10, 0);
    for (let i = 1; i <= 5; i++) keep(conversation, `m${i}`);
    expect(conversation.list(Infinity, 10).map(({ sequence }) => sequence)).toEqual([5, 4, 3, 2, 1]);
    expect(conversation.list(4, 2).map(({ sequence }) => sequence)).toEqual([3, 2]);
    expect(conversation.list(1, 10)).toEqual([]);
  });

  test("keeps the record, without attachments that are large", () => {
    const told = create(MessageSchema, {
      messageId: "m",
      attachments: [
        { name: "big", sizeBytes: 70_000n, content: { case: "data", value: new Uint8Array(70_000) } },
        { name: "small", content: { case: "data", value: Uint8Array.of(1) } },
      ],
    });
    const body = exchangeBody(1, told, { kind: "refusal", error: new SirsiError("GUEST_PROTOCOL", "no") }, 1_000);
    expect(body.length).toBeLessThan(1_000);
    expect(Buffer.from(body).includes("big")).toBe(true);
    expect(told.attachments[0]?.content.case).toBe("data");
  });
});

test("a slice of what the ring hands out stays as it is while the ring moves on", () => {
  const ring = new ExchangeRing(4, 4096);
  const exchange = { sequence: 1, completedAt: 1, call: Uint8Array.of(1, 2, 3), result: Uint8Array.of(4) };
  ring.push(7, exchange.sequence, exchange.completedAt, exchange.call, exchange.result);
  const [kept] = ring.list(Infinity, 1).map(({ call }) => call.slice());
  for (let sequence = 2; sequence < 2_000; sequence++) ring.push(sequence, sequence, exchange.completedAt, new Uint8Array(100).fill(9), exchange.result);
  expect([...kept!]).toEqual([1, 2, 3]);
});

test("the kept exchanges' ring does what a plain list would, within its two bounds", () => {
  const exchange = fc.record({ call: fc.uint8Array({ maxLength: 60 }), result: fc.uint8Array({ maxLength: 60 }) });
  fc.assert(
    fc.property(fc.array(exchange, { maxLength: 120, size: "max" }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 400 }), (exchanges, countMax, bytesMax) => {
      const ring = new ExchangeRing(countMax, bytesMax);
      const naive: { id: string; sequence: number; call: Uint8Array; result: Uint8Array; completedAt: number }[] = [];
      const bytes = () => naive.reduce((sum, { call, result: answer }) => sum + call.length + answer.length, 0);
      for (const [i, { call, result: answer }] of exchanges.entries()) {
        while (naive.length > 0 && (naive.length >= countMax || bytes() + call.length + answer.length > bytesMax)) {
          naive.shift();
        }
        naive.push({ id: `m${i}`, sequence: i, call, result: answer, completedAt: i });
        ring.push(idHash(`m${i}`), i, i, call, answer);
        expect(ring.size).toBe(naive.length);
      }
      const plain = ({ sequence, completedAt, call, result: answer }: RingExchange) => ({ sequence, completedAt, call: [...call], result: [...answer] });
      expect(ring.list(Infinity, 1_000).map(plain)).toEqual(naive.toReversed().map(plain));
      for (let i = 0; i < exchanges.length; i++) {
        const kept = naive.find(({ id }) => id === `m${i}`);
        expect([...ring.find(idHash(`m${i}`))].map(plain)).toEqual(kept === undefined ? [] : [plain(kept)]);
      }
    }),
    { numRuns: 100 },
  );
});

describe("a message's identity", () => {
  test("is its content and not the time it claims, so a repeat may be stamped anew", () => {
    const first = create(MessageSchema, { messageId: "m", content: "x", timestamp: timestampFromMs(1) });
    const again = create(MessageSchema, { messageId: "m", content: "x", timestamp: timestampFromMs(2) });
    expect(messageHash(first)).toBe(messageHash(again));
    expect(messageHash(first)).not.toBe(messageHash(create(MessageSchema, { messageId: "m", content: "y" })));
  });

  test("does not depend on the order in which a client writes its metadata: maps have none", () => {
    const one = create(MessageSchema, { messageId: "m", metadata: { a: "1", b: "2", c: "3" } });
    const other = create(MessageSchema, { messageId: "m", metadata: { c: "3", a: "1", b: "2" } });
    expect(messageHash(one)).toBe(messageHash(other));
    expect(messageHash(one)).not.toBe(messageHash(create(MessageSchema, { messageId: "m", metadata: { a: "1", b: "3", c: "2" } })));
    expect(Object.keys(other.metadata)).toEqual(["c", "a", "b"]);
  });

  test("is required of a repeat", () => {
    const hash = messageHash(message("m"));
    requireSameMessage(message("m"), hash);
    expect(thrownBy(() => requireSameMessage(message("m", "other"), hash)).code).toBe("MESSAGE_ID_REUSED");
  });
});

describe("a recorded end", () => {
  const told = message("m");

  test("that was a reply is the reply again, marked as replayed", () => {
    const body = exchangeBody(3, told, { kind: "reply", response: message("m:reply", "yes"), suggestions: [] }, 5);
    expect(replay("m", readExchangeEnd(body))).toMatchObject({ messageId: "m", replayed: true, response: { content: "yes" } });
  });

  test("that was the guest's own refusal is that refusal again, with its status", () => {
    const body = exchangeBody(3, told, { kind: "refusal", error: guestError("not_found", "no such thing", {}, false) }, 5);
    const error = thrownBy(() => replay("m", readExchangeEnd(body)));
    expect(error).toMatchObject({ code: "GUEST_ERROR", message: "no such thing", rpcCode: RpcCode.NOT_FOUND, details: { metadata: { guest_code: "not_found" } } });
  });

  test("that was an error of the host is that error again; one of a later version is INTERNAL", () => {
    const known = exchangeBody(3, told, { kind: "refusal", error: new SirsiError("GUEST_TRAP", "it trapped") }, 5);
    expect(readExchangeEnd(known)).toMatchObject({ kind: "refusal", error: { code: "GUEST_TRAP", message: "it trapped" } });
    const later = exchangeBody(3, told, { kind: "refusal", error: new SirsiError("NOT_YET" as "INTERNAL", "?") }, 5);
    expect(readExchangeEnd(later)).toMatchObject({ kind: "refusal", error: { code: "INTERNAL" } });
  });
});

describe("a guest's own error", () => {
  test("has the status of its code, and FAILED_PRECONDITION when its code has none", () => {
    expect(guestError("invalid_argument", "x", {}, false).rpcCode).toBe(RpcCode.INVALID_ARGUMENT);
    expect(guestError("out_of_cheese", "x", {}, false)).toMatchObject({ rpcCode: RpcCode.FAILED_PRECONDITION, details: { metadata: { guest_code: "out_of_cheese" } } });
  });

  test.each([["", "unknown"], ["Not A Code", "unknown"], ["a".repeat(65), "unknown"], ["toString", "unknown"], ["constructor", "constructor"]])("with the code %j travels as %s", (code, safe) => {
    expect(guestError(code, "", {}, false)).toMatchObject({ message: `the agent answered ${safe}`, rpcCode: RpcCode.FAILED_PRECONDITION, details: { metadata: { guest_code: safe } } });
  });

  test("keeps its details, its own code before a detail of that name, and a bounded message", () => {
    const error = guestError("busy", "x".repeat(10_000), { guest_code: "lie", row: "7" }, true);
    expect(error.message.length).toBe(4_096);
    expect(error.details).toMatchObject({ metadata: { guest_code: "busy", row: "7" }, retryAfterMs: 1_000 });
  });
});
