import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { applyCheckpoint, encodeCheckpoint, pristineImage, readCheckpoint } from "../../../runtime/sandbox/checkpoint.ts";

const PAGE = 65_536;
type Bytes = Uint8Array<ArrayBuffer>;

/** A memory as a restored instance would have it: the pristine image, grown, with the checkpoint applied. */
function restored(pristine: Bytes, image: Uint8Array): { memory: Bytes; globals: readonly bigint[] } {
  const header = readCheckpoint(image, pristineImage(pristine));
  const memory = new Uint8Array(header.memoryBytes);
  memory.set(pristine.subarray(0, header.memoryBytes));
  applyCheckpoint(image, header, memory);
  return { memory, globals: header.globals };
}

function refusal(run: () => unknown): SirsiError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof SirsiError) return thrown;
    throw thrown;
  }
  throw new SirsiError("INTERNAL", "nothing was refused");
}

/** Puts a right checksum under bytes that a test has changed. */
function resealed(image: Bytes): Bytes {
  const sealed = Buffer.from(image);
  sealed.writeUInt32LE(crc32(sealed.subarray(0, -4)), sealed.length - 4);
  return new Uint8Array(sealed);
}

/** A little-endian u32 put at `at`. */
function withU32(image: Bytes, at: number, value: number): Bytes {
  const changed = Buffer.from(image);
  changed.writeUInt32LE(value, at);
  return resealed(new Uint8Array(changed));
}

/** Sparse writes over a memory: what guests do to theirs. */
const writes = fc.array(fc.record({ at: fc.nat({ max: 3 * PAGE - 1 }), bytes: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 30 });

function written(memory: Bytes, edits: readonly { at: number; bytes: Uint8Array }[]): Bytes {
  for (const { at, bytes } of edits) memory.set(bytes.subarray(0, Math.max(0, memory.length - at)), Math.min(at, memory.length));
  return memory;
}

describe("a checkpoint", () => {
  test("of an untouched memory holds nothing but its header, its globals and its checksum", () => {
    const memory = new Uint8Array(PAGE).fill(7);
    const image = encodeCheckpoint(pristineImage(memory), memory, [1n, 2n]);
    expect(image.length).toBe(16 + 2 * 8 + 4);
    expect(restored(memory, image)).toEqual({ memory, globals: [1n, 2n] });
  });

  test("gives back any memory and any globals, grown or not", () => {
    fc.assert(
      fc.property(writes, writes, fc.integer({ min: 1, max: 2 }), fc.nat({ max: 1 }), fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 5 }), (before, after, pages, grown, globals) => {
        const pristine = written(new Uint8Array(pages * PAGE), before);
        const memory = new Uint8Array((pages + grown) * PAGE);
        memory.set(pristine);
        written(memory, after);
        const image = encodeCheckpoint(pristineImage(pristine), memory, globals);
        const back = restored(pristine, image);
        expect(Buffer.compare(back.memory, memory)).toBe(0);
        expect(back.globals).toEqual(globals);
      }),
      { numRuns: 200 },
    );
  });

  test("gives back a memory in which every byte differs, at the edges of blocks too", () => {
    const pristine = new Uint8Array(PAGE);
    const memory = Uint8Array.from({ length: PAGE }, (_, i) => (i % 251) + 1);
    expect(restored(pristine, encodeCheckpoint(pristineImage(pristine), memory, [])).memory).toEqual(memory);
  });

  test("keeps signs: a negative global comes back as the same 64 bits", () => {
    const memory = new Uint8Array(PAGE);
    const image = encodeCheckpoint(pristineImage(memory), memory, [-1n, BigInt.asIntN(64, 1n << 63n)]);
    expect(restored(memory, image).globals).toEqual([2n ** 64n - 1n, 2n ** 63n]);
  });

  test("does not change when the shard takes the next one", () => {
    const memory = new Uint8Array(PAGE);
    const pristine = pristineImage(memory);
    memory[5] = 1;
    const first = encodeCheckpoint(pristine, memory, []);
    const kept = first.slice();
    memory.fill(9);
    encodeCheckpoint(pristine, memory, [3n]);
    expect(first).toEqual(kept);
  });

  test("carries a few changed bytes in a few bytes, and joins near ones to one run", () => {
    const pristine = new Uint8Array(4 * PAGE);
    const memory = pristine.slice();
    for (const at of [10, 14, 18, 100_000]) memory[at] = 1;
    const image = encodeCheckpoint(pristineImage(pristine), memory, []);
    // Two runs: 9 bytes from 10 on, 1 byte at 100,000.
    expect(image.length).toBe(16 + (1 + 1 + 9) + (3 + 1 + 1) + 4);
  });
});

describe("a checkpoint that is not as it was written", () => {
  const pristine = new Uint8Array(PAGE);
  const memory = pristine.slice();
  memory.set([1, 2, 3, 4, 5], 1_000);
  memory.set([6, 7], 40_000);
  const image = encodeCheckpoint(pristineImage(pristine), memory, [42n]);

  test("is refused whichever single byte was changed, and however", () => {
    for (let at = 0; at < image.length; at++) {
      for (const change of [1, 0x80, 0xff]) {
        const broken = image.slice();
        broken[at] = (broken[at] ?? 0) ^ change;
        expect(refusal(() => restored(pristine, broken)).code).toBe("STORE_CORRUPT");
      }
    }
  });

  test("is refused wherever it was cut off", () => {
    for (let length = 0; length < image.length; length++) {
      expect(refusal(() => restored(pristine, image.slice(0, length))).code).toBe("STORE_CORRUPT");
    }
  });

  test("is refused for an instance that begins with another image", () => {
    const other = pristine.slice();
    other[0] = 1;
    const error = refusal(() => readCheckpoint(image, pristineImage(other)));
    expect(error.code).toBe("STORE_CORRUPT");
    expect(error.message).toContain("begins with a different image");
  });

  test("is refused when it claims more globals than it holds", () => {
    expect(refusal(() => restored(pristine, withU32(image, 12, 1_000_000))).message).toContain("globals are cut off");
  });

  test("is refused when a run lies outside of the memory it claims", () => {
    expect(refusal(() => restored(pristine, withU32(image, 4, 1_002))).message).toContain("outside memory");
  });

  test.each([
    ["ends inside a run's bytes", [0, 10, 1], "outside memory"],
    ["ends inside a length", [0, 0x80], "a run is cut off"],
    ["has a length without end", [0x80, 0x80, 0x80, 0x80, 0x80, 0x80], "no length"],
  ])("is refused when it %s", (_what, runs, words) => {
    const bare = encodeCheckpoint(pristineImage(pristine), pristine, []);
    const forged = resealed(Uint8Array.from([...bare.slice(0, -4), ...runs, 0, 0, 0, 0]));
    expect(refusal(() => restored(pristine, forged)).message).toContain(words);
  });
});
