import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { readEmit, StepEffects } from "../../../runtime/agent/effects.ts";
import { GuestEmitSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";

function emit(shape: MessageInitShape<typeof GuestEmitSchema>["emit"]): Uint8Array {
  return toBinary(GuestEmitSchema, create(GuestEmitSchema, shape === undefined ? {} : { emit: shape }));
}

function event(fields: { eventType?: string; topic?: string; attributes?: Record<string, string>; payload?: Uint8Array }): Uint8Array {
  return emit({ case: "event", value: { eventType: "stock.low", ...fields } });
}

function refusal(bytes: Uint8Array): SirsiError {
  try {
    readEmit(bytes, null);
  } catch (thrown) {
    if (thrown instanceof SirsiError) return thrown;
    throw thrown;
  }
  throw new SirsiError("INTERNAL", "nothing was refused");
}

describe("what a guest emits", () => {
  test("an event is an effect with its topic, payload and attributes", () => {
    expect(readEmit(event({ topic: "shop.orders-1", payload: Uint8Array.of(1, 2), attributes: { a: "b" } }), null)).toEqual({
      kind: "event",
      eventType: "stock.low",
      topic: "shop.orders-1",
      payload: Uint8Array.of(1, 2),
      attributes: { a: "b" },
    });
  });

  test("a message is an effect with its receiver", () => {
    expect(readEmit(emit({ case: "message", value: { agentId: "a1", message: { content: "hi" } } }), null)).toMatchObject({ kind: "message", agentId: "a1", message: { content: "hi" } });
  });

  test("a preview goes out at once and is no effect", () => {
    const previews: string[] = [];
    const preview = emit({ case: "partial", value: { content: "half" } });
    expect(readEmit(preview, (content) => previews.push(content))).toBeNull();
    expect(readEmit(preview, null)).toBeNull();
    expect(previews).toEqual(["half"]);
  });

  test.each([
    ["one of the host's own events", event({ eventType: "AGENT_STOPPED" })],
    ["an event without a type", event({ eventType: "" })],
    ["an event with an empty word in its type", event({ eventType: "a..b" })],
    ["an event with a type that is too long", event({ eventType: "a".repeat(129) })],
    ["an event on every topic", event({ topic: "orders.>" })],
    ["an event on a wildcard", event({ topic: "orders.*" })],
    ["an event on a topic with an empty word", event({ topic: ".orders" })],
    ["an event on a topic that is too long", event({ topic: "a".repeat(129) })],
    ["an event with too many attributes", event({ attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ""])) })],
    ["a message to nobody", emit({ case: "message", value: { message: { content: "hi" } } })],
    ["a message without content", emit({ case: "message", value: { agentId: "a1" } })],
    ["a timer without an id", emit({ case: "timer", value: { delayMs: 5n } })],
    ["a timer with a space in its id", emit({ case: "timer", value: { timerId: "a b" } })],
    ["a timer with an id that is too long", emit({ case: "timer", value: { timerId: "a".repeat(129) } })],
    ["a timer in the past", emit({ case: "timer", value: { timerId: "t", delayMs: -1n } })],
    ["a timer in a hundred years", emit({ case: "timer", value: { timerId: "t", delayMs: 3_155_760_000_000n } })],
    ["a timer with a payload that is too large", emit({ case: "timer", value: { timerId: "t", payload: new Uint8Array(65_537) } })],
    ["a cancelled timer without an id", emit({ case: "cancelTimer", value: {} })],
    ["a document without a key", emit({ case: "document", value: { content: Uint8Array.of(1) } })],
    ["a document with an empty word in its key", emit({ case: "document", value: { key: "a//b" } })],
    ["a document with a key that is too long", emit({ case: "document", value: { key: "a".repeat(513) } })],
    ["a removed document with a space in its key", emit({ case: "deleteDocument", value: { key: "a b" } })],
    ["nothing at all", emit(undefined)],
    ["bytes that are no GuestEmit", Uint8Array.of(0xff, 0xff)],
  ])("%s is refused", (_what, bytes) => {
    expect(refusal(bytes).code).toBe("GUEST_PROTOCOL");
  });
});

describe("the effects of a step", () => {
  const timer = (timerId: string, delayMs: bigint) => emit({ case: "timer", value: { timerId, delayMs, payload: Uint8Array.of(1) } });
  const ALLOWED = { grants: ["timers", "documents"], durable: true } as const;

  test("are the outbox, timers and documents of its commit, each in order", () => {
    const effects = new StepEffects();
    const told = emit({ case: "message", value: { agentId: "a1", message: { content: "hi" } } });
    const first = [event({ topic: "news" }), timer("t", 50n), emit({ case: "document", value: { key: "a/b", content: Uint8Array.of(1) } })];
    effects.add(first, ALLOWED, null);
    effects.add([told, emit({ case: "cancelTimer", value: { timerId: "t" } }), emit({ case: "document", value: { key: "a/b", content: Uint8Array.of(2) } }), emit({ case: "deleteDocument", value: { key: "c" } })], ALLOWED, null);
    expect(effects.outbox(7)).toEqual([
      { kind: "event", target: "news", body: first[0], createdAt: 7 },
      { kind: "message", target: "a1", body: told, createdAt: 7 },
    ]);
    expect(effects.timers(1_000)).toEqual([{ kind: "set", timerId: "t", dueAt: 1_050, payload: Uint8Array.of(1) }, { kind: "cancel", timerId: "t" }]);
    expect(effects.documents()).toEqual([{ key: "a/b", bytes: Uint8Array.of(2) }, { key: "c", bytes: null }]);
    expect(effects.outgoing().map(({ kind }) => kind)).toEqual(["event", "message"]);
    expect([effects.size, effects.emits.length, effects.writes?.size]).toEqual([7, 7, 2]);
  });

  test("stay when the batch that they came in is used again, and previews are none of them", () => {
    const effects = new StepEffects();
    const previews: string[] = [];
    const bytes = event({ payload: Uint8Array.of(7, 7, 7) });
    effects.add([bytes, emit({ case: "partial", value: { content: "half" } })], ALLOWED, (content) => previews.push(content));
    bytes.fill(0);
    const [effect] = effects.outgoing();
    expect(effect?.kind === "event" && [...effect.payload]).toEqual([7, 7, 7]);
    expect([effects.emits.length, previews]).toEqual([1, ["half"]]);
  });

  test.each([
    ["timers", [timer("t", 1n), emit({ case: "cancelTimer", value: { timerId: "t" } })]],
    ["documents", [emit({ case: "document", value: { key: "a" } }), emit({ case: "deleteDocument", value: { key: "a" } })]],
  ])("need the grant of %s, and a module that commits", (capability, emits) => {
    const thrown = (grants: readonly ("timers" | "documents")[], durable: boolean, each: Uint8Array) => {
      try {
        new StepEffects().add([each], { grants, durable }, null);
        return null;
      } catch (error) {
        return SirsiError.from(error);
      }
    };
    for (const each of emits) {
      expect(thrown([], true, each)).toMatchObject({ code: "CAPABILITY_DENIED", details: { metadata: { capability } } });
      expect(thrown(["timers", "documents"], false, each)).toMatchObject({ code: "GUEST_PROTOCOL", message: expect.stringContaining('durability "none"') as string });
      expect(thrown(["timers", "documents"], true, each)).toBeNull();
    }
  });
});
