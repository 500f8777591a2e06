import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { readEmit } from "../../../runtime/agent/effects.ts";
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

  test("an event's payload stays when the batch it came in is used again", () => {
    const bytes = event({ payload: Uint8Array.of(7, 7, 7) });
    const effect = readEmit(bytes, null);
    bytes.fill(0);
    expect(effect?.kind === "event" && [...effect.payload]).toEqual([7, 7, 7]);
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
    ["nothing at all", emit(undefined)],
    ["bytes that are no GuestEmit", Uint8Array.of(0xff, 0xff)],
  ])("%s is refused", (_what, bytes) => {
    expect(refusal(bytes).code).toBe("GUEST_PROTOCOL");
  });
});
