import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { FrameReader, FrameWriter } from "../../../runtime/sandbox/frames.ts";
import { GuestMemory, pack, packedLength, packedPointer } from "../../../runtime/sandbox/guest-memory.ts";

const PAGE = 65_536;

function memory(maximum = 4): { raw: WebAssembly.Memory; guest: GuestMemory } {
  const raw = new WebAssembly.Memory({ initial: 1, maximum });
  return { raw, guest: new GuestMemory(raw) };
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

/** The run that a batch gets of the range. */
function run(guest: GuestMemory, pointer: number, length: number, maxBytes: number, what: string): Uint8Array {
  const out = new FrameWriter();
  guest.writeRun(out, pointer, length, maxBytes, what);
  const written = out.length;
  return new FrameReader(out.take(), written).bytes();
}

/** i32 values as WebAssembly hands them over: signed. */
const i32 = fc.oneof(fc.integer(), fc.constantFrom(0, -1, -16, PAGE, PAGE - 1, 2 ** 31 - 1, -(2 ** 31)));

describe("a pointer and a length that a guest gave", () => {
  test("are either a range inside its memory within the limit, or GUEST_PROTOCOL", () => {
    const { guest } = memory();
    fc.assert(
      fc.property(i32, i32, fc.nat({ max: 2 * PAGE }), (pointer, length, max) => {
        const at = pointer >>> 0;
        const size = length >>> 0;
        const allowed = size <= max && at + size <= PAGE;
        for (const read of [() => run(guest, pointer, length, max, "a result"), () => guest.view(pointer, length, max, "a result")]) {
          if (allowed) expect(read().length).toBe(size);
          else expect(refusal(read).code).toBe("GUEST_PROTOCOL");
        }
      }),
      { numRuns: 500 },
    );
  });

  test("that lie are told what, where and how much", () => {
    const { guest } = memory();
    expect(refusal(() => run(guest, PAGE - 1, 2, 100, "a result")).message).toBe("the guest gave a result at 65535 of 2 bytes, outside its 65536 bytes of memory");
    expect(refusal(() => run(guest, 0, -1, 100, "a request")).message).toBe("the guest gave a request of 4294967295 bytes, more than the 100 it may have");
  });

  test("are checked for writing too, and room at address 0 is none", () => {
    const { guest } = memory();
    expect(refusal(() => guest.write(-16, new Uint8Array(32), "room")).code).toBe("GUEST_PROTOCOL");
    expect(refusal(() => guest.write(0, new Uint8Array(1), "room")).message).toContain("at address 0");
    expect(refusal(() => guest.requireRange(PAGE - 16, 32, "room")).code).toBe("GUEST_PROTOCOL");
    expect(refusal(() => guest.writeU32(PAGE - 3, 1, "room")).code).toBe("GUEST_PROTOCOL");
    guest.write(8, Uint8Array.of(1, 2), "room");
    guest.writeU32(12, 0x01020304, "room");
    expect([...run(guest, 8, 8, 8, "x")]).toEqual([1, 2, 0, 0, 4, 3, 2, 1]);
  });

  test("copied bytes stay when the guest writes again; a view shows what it writes", () => {
    const { raw, guest } = memory();
    const copy = run(guest, 0, 4, 4, "x");
    const view = guest.view(0, 4, 4, "x");
    new Uint8Array(raw.buffer)[0] = 9;
    expect(copy[0]).toBe(0);
    expect(view[0]).toBe(9);
  });
});

describe("memory that has grown under the host", () => {
  test("is seen whole: the old view is let go", () => {
    const { raw, guest } = memory();
    expect(guest.byteLength).toBe(PAGE);
    raw.grow(1);
    new Uint8Array(raw.buffer)[PAGE + 1] = 5;
    expect(guest.byteLength).toBe(2 * PAGE);
    expect(guest.buffer.length).toBe(2 * PAGE);
    expect(run(guest, PAGE + 1, 1, 1, "x")[0]).toBe(5);
  });

  test("grows to what a checkpoint needs, never shrinks, and says when it may not", () => {
    const { guest } = memory(2);
    guest.growTo(1);
    expect(guest.byteLength).toBe(PAGE);
    guest.growTo(PAGE + 1);
    expect(guest.byteLength).toBe(2 * PAGE);
    expect(refusal(() => guest.growTo(2 * PAGE + 1)).code).toBe("GUEST_MEMORY_EXHAUSTED");
  });
});

describe("text that a guest gave", () => {
  function holding(text: Uint8Array): GuestMemory {
    const { raw, guest } = memory();
    new Uint8Array(raw.buffer).set(text, 16);
    return guest;
  }

  test("must be UTF-8 where the host relies on it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (text) => {
        let wanted: string | null = null;
        try {
          wanted = new TextDecoder("utf-8", { fatal: true }).decode(text);
        } catch {
          // Not UTF-8.
        }
        const read = () => holding(text).text(16, text.length, 100, "a name");
        if (wanted === null) expect(refusal(read).message).toContain("that is not UTF-8");
        else expect(read()).toBe(wanted);
      }),
      { numRuns: 300 },
    );
  });

  test("that lies about where it is, is refused as such and not as bad UTF-8", () => {
    expect(refusal(() => memory().guest.text(PAGE, 4, 100, "a name")).message).toContain("outside");
  });

  test("of a log line is cut at the limit and mended, and never refused for its length", () => {
    const guest = holding(new TextEncoder().encode("hello"));
    expect(guest.looseText(16, 5, 3)).toBe("hel");
    expect(guest.looseText(16, -1, 5)).toBe("hello");
    expect(holding(Uint8Array.of(0x68, 0xff, 0x69)).looseText(16, 3, 10)).toBe("h\ufffdi");
    expect(refusal(() => guest.looseText(-4, 10, 100)).code).toBe("GUEST_PROTOCOL");
  });

  test("of an AssemblyScript abort is read when it is there, and is empty when the pointer is no string", () => {
    const { raw, guest } = memory();
    const text = Buffer.from("no such key", "utf16le");
    new DataView(raw.buffer).setUint32(100 - 4, text.length, true);
    new Uint8Array(raw.buffer).set(text, 100);
    expect(guest.assemblyScriptString(100, 2_048)).toBe("no such key");
    expect(guest.assemblyScriptString(100, 5)).toBe("no");
    expect(guest.assemblyScriptString(0, 100)).toBe("");
    expect(guest.assemblyScriptString(-1, 100)).toBe("");
    new DataView(raw.buffer).setUint32(PAGE - 8, 0xffff_ffff, true);
    expect(guest.assemblyScriptString(PAGE - 4, 100).length).toBe(2);
  });

  test("of an abort is bounded and readable wherever the pointer points", () => {
    const { raw, guest } = memory();
    crypto.getRandomValues(new Uint8Array(raw.buffer));
    fc.assert(
      fc.property(i32, (pointer) => {
        expect(guest.assemblyScriptString(pointer, 64).length).toBeLessThanOrEqual(32);
      }),
    );
  });
});

test("pointer and length survive being packed, the highest too", () => {
  fc.assert(
    fc.property(i32, i32, (pointer, length) => {
      const packed = pack(pointer, length);
      expect([packedPointer(packed), packedLength(packed)]).toEqual([pointer >>> 0, length >>> 0]);
    }),
  );
  expect([packedPointer(-1n), packedLength(-1n)]).toEqual([0xffff_ffff, 0xffff_ffff]);
  expect([packedPointer(0x12_0000_0003n), packedLength(0x12_0000_0003n)]).toEqual([0x12, 3]);
});
