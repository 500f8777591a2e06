import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Message, MessageSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { GuestCallSchema, GuestEmitSchema, GuestRequestSchema, GuestResponseSchema, GuestResultSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { decodeGuestEmit, decodeGuestRequest, decodeGuestResult, decodeMessageCall, encodeGuestCall, encodeGuestFailure, encodeGuestResponse, encodeMessageCall } from "../../../runtime/contract/guest-codec.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { arbitraryMessage } from "../../support/arbitrary-message.ts";
import { thrownBy } from "../../support/instances.ts";

const message = arbitraryMessage(MessageSchema) as fc.Arbitrary<Message>;
const context = fc.dictionary(fc.string().filter((key) => key !== "__proto__"), fc.string(), { maxKeys: 3, noNullPrototype: true });

function generic(held: Message, values: Record<string, string>, sourceAgentId: string): Uint8Array {
  return toBinary(GuestCallSchema, create(GuestCallSchema, { call: { case: "message", value: { message: held, context: values, sourceAgentId } } }));
}

describe("a message for a guest", () => {
  test("is encoded to the bytes that the generic encoding makes", () => {
    fc.assert(
      fc.property(message, context, fc.constantFrom("", "agent-1"), (held, values, source) => {
        expect(Buffer.compare(encodeMessageCall(held, values, source), generic(held, values, source))).toBe(0);
        expect(Buffer.compare(encodeMessageCall(held, {}, ""), generic(held, {}, ""))).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test.each([0, 1, 123, 124, 125, 126, 127, 128, 129, 16_378, 16_379, 16_380, 16_381, 16_384, 2_097_150])("of %i characters has its lengths right, where they take a byte more as well", (length) => {
    const held = create(MessageSchema, { content: "x".repeat(length) });
    const bytes = encodeMessageCall(held, {}, "");
    expect(Buffer.compare(bytes, generic(held, {}, ""))).toBe(0);
    expect(decodeMessageCall(bytes).content.length).toBe(length);
  });

  test("is read back from the call that was kept of it", () => {
    fc.assert(
      fc.property(message, (held) => {
        expect(toBinary(MessageSchema, decodeMessageCall(encodeMessageCall(held, {}, "")))).toEqual(toBinary(MessageSchema, held));
      }),
      { numRuns: 100 },
    );
  });

  test("cannot be read from a call of another kind: that is a fault of the host", () => {
    const other = encodeGuestCall({ case: "health", value: { $typeName: "sirsi.agent.v1.HealthCall" } });
    expect(thrownBy(() => decodeMessageCall(other)).code).toBe("INTERNAL");
  });
});

describe("what a guest sends", () => {
  const result = arbitraryMessage(GuestResultSchema);
  const request = arbitraryMessage(GuestRequestSchema);
  const emit = arbitraryMessage(GuestEmitSchema);

  test("is decoded to what was encoded", () => {
    fc.assert(
      fc.property(result, request, emit, (aResult, aRequest, anEmit) => {
        const bytes = toBinary(GuestResultSchema, aResult as never);
        const again = fromBinary(GuestResultSchema, bytes).result;
        if (again.case !== undefined) expect(decodeGuestResult(bytes)).toEqual(again);
        const requestBytes = toBinary(GuestRequestSchema, aRequest as never);
        expect(toBinary(GuestRequestSchema, decodeGuestRequest(requestBytes))).toEqual(requestBytes);
        const emitBytes = toBinary(GuestEmitSchema, anEmit as never);
        expect(decodeGuestEmit(emitBytes)).toEqual(fromBinary(GuestEmitSchema, emitBytes).emit);
      }),
      { numRuns: 100 },
    );
  });

  test("is decoded or refused as GUEST_PROTOCOL, whatever its bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const decode of [decodeGuestResult, decodeGuestRequest, decodeGuestEmit]) {
          try {
            decode(bytes);
          } catch (thrown) {
            expect(thrown instanceof SirsiError && thrown.code).toBe("GUEST_PROTOCOL");
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("names the message that was wanted when it is malformed", () => {
    expect(thrownBy(() => decodeGuestRequest(Uint8Array.of(0xff))).message).toContain("sirsi.agent.v1.GuestRequest");
  });

  test("as a result must be one of its cases", () => {
    expect(thrownBy(() => decodeGuestResult(new Uint8Array(0))).message).toContain("empty result");
  });
});

describe("what a guest is answered", () => {
  test("is its response", () => {
    const bytes = encodeGuestResponse({ case: "sleep", value: {} });
    expect(fromBinary(GuestResponseSchema, bytes).response.case).toBe("sleep");
  });

  test("is an error value when the host refused, with the host's code in the guest's form and its facts", () => {
    const bytes = encodeGuestFailure(new SirsiError("MAILBOX_FULL", "try later", { metadata: { depth: "9" } }));
    expect(fromBinary(GuestResponseSchema, bytes).response).toMatchObject({ case: "error", value: { code: "mailbox_full", message: "try later", retryable: true, details: { depth: "9" } } });
  });

  test("is the other guest's own code when another guest refused", () => {
    const bytes = encodeGuestFailure(new SirsiError("GUEST_ERROR", "no", { metadata: { guest_code: "not_found" } }));
    expect(fromBinary(GuestResponseSchema, bytes).response).toMatchObject({ case: "error", value: { code: "not_found", retryable: false } });
  });
});
