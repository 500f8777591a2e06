import * as fc from "fast-check";
import { expect, it } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import { admit } from "../../runtime/module/admit.ts";
import { inspect } from "../../runtime/module/inspect.ts";
import { testPolicy } from "../support/module-policy.ts";
import { HOSTILE_MODULES, REFUSED_MODULES, waitingModule } from "../support/wat.ts";

const MAX_BYTES = 1 << 20;
const SEEDS = [waitingModule(), ...Object.values(HOSTILE_MODULES).map((build) => build()), ...Object.values(REFUSED_MODULES).map(({ bytes }) => bytes())].filter((bytes) => bytes.length > 0);
const policy = testPolicy();

type Change = { readonly at: number; readonly kind: "flip" | "set" | "insert" | "remove" | "cut"; readonly byte: number };
const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom("flip", "set", "insert", "remove", "cut"),
  byte: fc.oneof(fc.constantFrom(0, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 })),
});

function mutate(seed: Uint8Array, changes: readonly Change[]): Uint8Array {
  let bytes = [...seed];
  for (const { at, kind, byte } of changes) {
    const place = at % (bytes.length + 1);
    if (kind === "flip") bytes[place] = (bytes[place] ?? 0) ^ (1 << byte % 8);
    else if (kind === "set") bytes[place] = byte;
    else if (kind === "insert") bytes.splice(place, 0, byte);
    else if (kind === "remove") bytes.splice(place, 1);
    else if (byte < 32) bytes = bytes.slice(0, place);
  }
  return Uint8Array.from(bytes);
}

/** "taken", or the code it was refused with; anything but a SirsiError fails the test. */
function verdict(bytes: Uint8Array): string {
  try {
    admit(inspect(bytes, null, MAX_BYTES), policy);
    return "taken";
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SirsiError);
    return (thrown as SirsiError).code;
  }
}

it("a mutated module is taken or refused with a reason, and nothing else happens", () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(fc.constantFrom(...SEEDS), fc.array(change, { minLength: 1, maxLength: 6 }), (seed, changes) => {
      const found = verdict(mutate(seed, changes));
      seen.set(found, (seen.get(found) ?? 0) + 1);
      return found === "taken" || found === "MODULE_REJECTED";
    }),
    { numRuns: 6_000 },
  );
  expect(seen.get("taken")).toBeGreaterThan(0);
  expect(seen.get("MODULE_REJECTED")).toBeGreaterThan(seen.get("taken")!);
});

it("random bytes after a right preamble are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => verdict(Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, ...tail])) === "MODULE_REJECTED"),
    { numRuns: 3_000 },
  );
});
