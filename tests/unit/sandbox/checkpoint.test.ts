import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { SirsiError } from "../../../runtime/core/errors.ts";
import { ImagedMemory, PREPARATION_CRC, SUSPENDED } from "../../support/imaged-memory.ts";
import { thrownBy } from "../../support/instances.ts";

const PAGE = 65_536;
const HEAD = 17;
const FOLLOWS = 4;
const WAIT = 28;
const TRAILER = 4;
type Bytes = Uint8Array<ArrayBuffer>;

const held = (globals = 0, pages = 1) => new ImagedMemory(new Uint8Array(pages * PAGE).fill(7), globals);

/** Puts a right checksum under bytes that a test has changed. */
function resealed(image: Bytes): Bytes {
  const sealed = Buffer.from(image);
  sealed.writeUInt32LE(crc32(sealed.subarray(0, -TRAILER)), sealed.length - TRAILER);
  return new Uint8Array(sealed);
}

/** A little-endian u32 put at `at`. */
function withU32(image: Bytes, at: number, value: number): Bytes {
  const changed = Buffer.from(image);
  changed.writeUInt32LE(value, at);
  return resealed(new Uint8Array(changed));
}

function refusal(like: ImagedMemory, ...images: readonly Uint8Array[]): SirsiError {
  const fresh = like.fresh();
  const before = fresh.bytes.slice();
  const error = thrownBy(() => fresh.state.restore(images));
  expect(error.code).toBe("STORE_CORRUPT");
  expect(Buffer.compare(fresh.bytes, before)).toBe(0);
  expect(fresh.globals.every((bits) => bits === 0n)).toBe(true);
  return error;
}

describe("an image", () => {
  test("of an untouched memory holds nothing but its head, its globals and its checksum", () => {
    const memory = held(2);
    expect([memory.base().length, memory.difference().length, memory.wait().length]).toEqual([HEAD + 16 + TRAILER, HEAD + FOLLOWS + 16 + TRAILER, HEAD + FOLLOWS + WAIT + 16 + TRAILER]);
  });

  test("gives back a memory in which every byte differs, at the edges of blocks too", () => {
    const memory = held();
    memory.bytes.set(Uint8Array.from({ length: PAGE }, (_, i) => 8 + (i % 247)));
    const fresh = memory.fresh();
    fresh.state.restore([memory.base()]);
    expect(Buffer.compare(fresh.bytes, memory.bytes)).toBe(0);
  });

  test("keeps signs: a negative global comes back as the same 64 bits", () => {
    const memory = held(2);
    memory.globals.splice(0, 2, -1n, BigInt.asIntN(64, 1n << 63n));
    const fresh = memory.fresh();
    fresh.state.restore([memory.base()]);
    expect(fresh.globals).toEqual([2n ** 64n - 1n, 2n ** 63n]);
  });

  test("carries a few changed bytes in a few bytes, and joins near ones to one run", () => {
    const memory = held(0, 4);
    memory.base();
    for (const at of [10, 14, 18, 100_000]) memory.bytes[at] = 1;
    // Two runs: 9 bytes from 10 on, 1 byte at 100,000.
    expect(memory.difference().length).toBe(HEAD + FOLLOWS + (1 + 1 + 9) + (3 + 1 + 1) + TRAILER);
    expect(memory.difference().length).toBe(HEAD + FOLLOWS + TRAILER);
  });

  test("holds only what has changed since the one before, and is small again when that is undone", () => {
    const memory = held();
    memory.bytes.fill(1, 2_000, 30_000);
    expect(memory.base().length).toBeGreaterThan(28_000);
    memory.bytes.fill(7, 2_000, 30_000);
    expect(memory.difference().length).toBeGreaterThan(28_000);
    expect([memory.difference().length, memory.base().length]).toEqual([HEAD + FOLLOWS + TRAILER, HEAD + TRAILER]);
  });

  test("of a wait follows the last state at rest, however many waits there were", () => {
    const memory = held(1);
    memory.bytes[5] = 1;
    const base = memory.base();
    memory.bytes[6] = 2;
    memory.globals[0] = 9n;
    memory.wait();
    memory.bytes[5_000] = 3;
    const wait = memory.wait();
    const fresh = memory.fresh();
    expect(fresh.state.restore([base, wait])).toEqual(SUSPENDED);
    expect([fresh.bytes[5], fresh.bytes[6], fresh.bytes[5_000], fresh.globals[0]]).toEqual([1, 2, 3, 9n]);
    // And the step that went on from it is a difference to the base again.
    const done = memory.fresh();
    done.state.restore([base, fresh.difference()]);
    expect(Buffer.compare(done.bytes, memory.bytes)).toBe(0);
  });

  test("of grown memory grows it: what is new is compared with zeros", () => {
    const memory = held();
    const base = memory.base();
    memory.grow(2);
    memory.bytes[2 * PAGE] = 4;
    const grown = memory.difference();
    expect(grown.length).toBeLessThan(HEAD + FOLLOWS + TRAILER + 10);
    memory.bytes[2 * PAGE] = 0;
    const fresh = memory.fresh();
    fresh.state.restore([base, grown, memory.difference()]);
    expect(Buffer.compare(fresh.bytes, memory.bytes)).toBe(0);
    expect(memory.base().length).toBe(HEAD + TRAILER);
  });
});

describe("what is not as it was written", () => {
  const memory = held(1);
  memory.globals[0] = 42n;
  memory.bytes.set([1, 2, 3, 4, 5], 1_000);
  memory.bytes.set([6, 9], 40_000);
  const base = memory.base();
  memory.bytes[50] = 1;
  const first = memory.difference();
  memory.bytes[60_000] = 2;
  const second = memory.difference();
  memory.bytes[61_000] = 3;
  const wait = memory.wait();
  const chain = [base, first, second, wait];

  test("opens when nothing is changed", () => {
    const fresh = memory.fresh();
    fresh.state.restore(chain);
    expect(Buffer.compare(fresh.bytes, memory.bytes)).toBe(0);
  });

  test("is refused whichever single byte of whichever image was changed, and however; nothing of it is applied", () => {
    for (const [place, image] of chain.entries()) {
      for (let at = 0; at < image.length; at++) {
        for (const change of [1, 0x80, 0xff]) {
          const broken = image.slice();
          broken[at] = (broken[at] ?? 0) ^ change;
          expect(refusal(memory, ...chain.with(place, broken)).details.metadata).toMatchObject({ image: String(place), images: "4" });
        }
      }
    }
  });

  test("is refused wherever it was cut off", () => {
    for (let length = 0; length < wait.length; length++) refusal(memory, base, first, second, wait.slice(0, length));
  });

  test.each<[string, readonly Bytes[], RegExp, string]>([
    ["lacks its base", [first, second], /begins with a difference/, "0"],
    ["is a wait alone", [wait], /begins with a wait/, "0"],
    ["lacks a difference", [base, second], /does not follow/, "1"],
    ["has one twice", [base, first, first], /does not follow/, "2"],
    ["is out of order", [base, second, first], /does not follow/, "1"],
    ["has two bases", [base, base], /a base comes after/, "1"],
    ["goes on after a wait", [base, first, second, wait, wait], /a wait comes before its end/, "3"],
    ["has a wait that follows an older state", [base, first, wait], /does not follow/, "2"],
  ])("is refused as a chain when it %s", (_what, images, words, place) => {
    const error = refusal(memory, ...images);
    expect(error.message).toMatch(words);
    expect(error.details.metadata?.["image"]).toBe(place);
  });

  test("is refused when it has no images", () => {
    expect(refusal(memory).message).toContain("has no images");
  });

  test("tells that it was the wait: what is before it is proven", () => {
    expect(refusal(memory, base, first, second, wait.slice(0, -9)).details.metadata).toEqual({ image: "3", images: "4", kind: "wait" });
  });

  test("is refused for an instance that begins with another image, and for one with other globals", () => {
    const other = new ImagedMemory(new Uint8Array(PAGE), 1);
    expect(refusal(other, base).message).toContain("begins with another image here");
    expect(refusal(held(2), base).message).toMatch(/holds 1 globals and the module has 2/);
  });

  test("is refused for a wait under another preparation", () => {
    const later = memory.wait({ ...SUSPENDED, preparationCrc: PREPARATION_CRC + 1 });
    expect(refusal(memory, base, first, second, later).message).toContain("another version of the preparer");
  });

  test.each<[string, Bytes, RegExp]>([
    ["claims more globals than it holds", withU32(base, 13, 1_000_000), /head is cut off/],
    ["claims memory that is no whole pages", withU32(base, 5, PAGE - 1), /whole number of pages/],
    ["claims less memory than the module begins with", withU32(base, 5, 0), /outside memory/],
    ["is of an unknown kind", resealed(base.with(4, 9)), /unknown kind/],
    ["is of another version", withU32(base, 0, 0x31504353), /this version/],
  ])("is refused when it %s", (_what, image, words) => {
    expect(refusal(memory, image).message).toMatch(words);
  });

  test("is refused when its memory became smaller", () => {
    const grown = memory.fresh();
    grown.grow(1);
    const whole = grown.base();
    const smaller = withU32(grown.difference(), 5, PAGE);
    expect(refusal(memory, whole, smaller).message).toContain("become smaller");
    expect(refusal(memory, withU32(memory.fresh().base(), 5, 0)).message).toContain("less memory than its module begins with");
  });

  test.each([
    ["ends inside a run's bytes", [0, 10, 1], "outside memory"],
    ["ends inside a length", [0, 0x80], "a run is cut off"],
    ["has a length without end", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80], "no length"],
  ])("is refused when it %s", (_what, runs, words) => {
    const bare = memory.fresh().base();
    const forged = resealed(Uint8Array.from([...bare.slice(0, -TRAILER), ...runs, 0, 0, 0, 0]));
    expect(refusal(memory, forged).message).toContain(words);
  });
});
