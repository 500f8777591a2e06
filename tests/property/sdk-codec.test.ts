import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { GuestCallSchema, GuestEmitSchema, GuestRequestSchema, GuestResponseSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { GuestCall } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { arbitraryMessage } from "../support/arbitrary-message.ts";
import { BUILD_TIMEOUT_MS, builtFixture } from "../support/built-agents.ts";
import { Guest } from "../support/guest.ts";

const ROOTS: readonly DescMessage[] = [GuestCallSchema, GuestResultSchema, GuestRequestSchema, GuestResponseSchema, GuestEmitSchema];

let mirror: Guest;

beforeAll(async () => {
  mirror = new Guest((await builtFixture("codec-mirror")).module);
  mirror.init();
}, BUILD_TIMEOUT_MS);

/** The guest's encoding of what it decoded, or null when it called the bytes malformed. */
function mirrored(desc: DescMessage, bytes: Uint8Array): Uint8Array | null {
  const result = mirror.call({ case: "task", value: { name: desc.name, input: bytes } });
  if (result.case === "task") return result.value.output;
  expect(result.case === "error" && result.value.code).toBe("malformed");
  return null;
}

/** Bytes with a few of them changed, cut off or doubled. */
function mutated(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edit = fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.constantFrom("set", "cut", "insert"));
  return fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) => {
    let all = [...bytes];
    for (const [at, byte, kind] of edits) {
      const place = at % (all.length + 1);
      if (kind === "set") all[place] = byte;
      else if (kind === "cut") all = all.slice(0, place);
      else all.splice(place, 0, byte);
    }
    return Uint8Array.from(all);
  });
}

describe.each(ROOTS.map((desc) => [desc.name, desc] as const))("%s", (_name, desc) => {
  test("what the host encodes, the guest decodes and encodes to the same message", () => {
    fc.assert(
      fc.property(arbitraryMessage(desc), (message) => {
        const bytes = toBinary(desc, message);
        const output = mirrored(desc, bytes);
        expect(output).not.toBeNull();
        // Compared as the host's own bytes: a message that holds NaN does not equal itself.
        expect(toBinary(desc, fromBinary(desc, output!))).toEqual(bytes);
      }),
      { numRuns: 300 },
    );
  });

  test("mutated bytes are decoded or called malformed, and never trap", () => {
    const cases = arbitraryMessage(desc).chain((message) => mutated(toBinary(desc, message)));
    fc.assert(
      fc.property(cases, (bytes) => {
        const output = mirrored(desc, bytes);
        if (output !== null) expect(mirrored(desc, output)).toEqual(output);
      }),
      { numRuns: 600 },
    );
  });
});

test("mutated calls get a result, and the next good call is served", () => {
  const bytes = arbitraryMessage(GuestCallSchema).chain((message) => mutated(toBinary(GuestCallSchema, message as GuestCall)));
  fc.assert(
    fc.property(bytes, (call) => {
      expect(fromBinary(GuestResultSchema, mirror.callRaw(call)).result.case).toBeDefined();
    }),
    { numRuns: 2_000 },
  );
  expect(mirror.health().status).toBe(1);
});

test("fields nobody knows are skipped, groups included", () => {
  const known = Uint8Array.of(0x3a, 0); // health
  const unknown = [0xa0, 0x06, 5, 0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 0x06, 1, 2, 3, 4, 0xa2, 0x06, 2, 9, 9, 0xa3, 0x06, 0x08, 1, 0xa4, 0x06];
  expect(mirrored(GuestCallSchema, Uint8Array.from([...unknown, ...known]))).toEqual(known);
});

test.each([
  ["a varint without end", [0x80, 0x80]],
  ["a varint of eleven bytes", [0x78, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
  ["field number 0", [0x02, 0]],
  ["a length beyond the end", [0x12, 5, 1]],
  ["a length near 2^64", [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
  ["a wire type that does not exist", [0x0e]],
  ["groups nested a hundred deep", Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 0xa3 : 0x06))],
  ["a string that is not UTF-8", [0x0a, 4, 0x0a, 2, 0xc0, 0x80]],
  ["a string with a surrogate", [0x0a, 5, 0x0a, 3, 0xed, 0xa0, 0x80]],
])("%s is malformed", (_name, bytes) => {
  expect(mirrored(GuestCallSchema, Uint8Array.from(bytes))).toBeNull();
});
