import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { FrameReader, FrameWriter } from "../../../runtime/sandbox/frames.ts";
import { beginState, beginStep, readOutcome, sealStep, StateMark, writeDescribed, writeFailed, writeOpened } from "../../../runtime/sandbox/outcome-frame.ts";
import type { Outcome, StepBudget } from "../../../runtime/sandbox/outcomes.ts";
import { CommandKind, readBudget, readOpen, writeCommand, writeOpen, writeRun } from "../../../runtime/sandbox/shard-protocol.ts";

function reader(fill: (out: FrameWriter) => void): FrameReader {
  const out = new FrameWriter();
  fill(out);
  const { length } = out;
  return new FrameReader(out.take(), length);
}

/** Buffers and arrays of bytes alike as plain arrays, for comparing. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, held: unknown) => (held instanceof Uint8Array ? Array.from(held) : held)), (_key, held: unknown) =>
    typeof held === "object" && held !== null && "type" in held && held.type === "Buffer" && "data" in held ? held.data : held,
  );
}

const bytes = fc.uint8Array({ maxLength: 40_000 });
const count = fc.nat();

describe("frames", () => {
  test("hand out views of the batch whose slices are copies of their own", () => {
    const view = reader((out) => out.bytes(Uint8Array.of(1, 2, 3))).bytes();
    const kept = view.slice();
    view.fill(9);
    expect([...kept]).toEqual([1, 2, 3]);
    expect(kept.buffer.byteLength).toBe(3);
  });

  test("give back what was written, in order, however large", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.record({ u8: fc.nat({ max: 255 }) }), fc.record({ number: fc.double({ noNaN: true }) }), fc.record({ bytes })), { maxLength: 12 }), (parts) => {
        const from = reader((out) => {
          for (const part of parts) {
            if ("u8" in part) out.u8(part.u8);
            else if ("number" in part) out.number(part.number);
            else out.bytes(part.bytes);
          }
        });
        for (const part of parts) {
          if ("u8" in part) expect(from.u8()).toBe(part.u8);
          else if ("number" in part) expect(from.number()).toBe(part.number);
          else expect(Buffer.compare(from.bytes(), part.bytes)).toBe(0);
        }
        expect(from.done).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test("of one batch are untouched by the next", () => {
    const out = new FrameWriter();
    out.bytes(Uint8Array.of(1, 2, 3));
    const { length } = out;
    const first = out.take();
    expect(out.length).toBe(0);
    out.bytes(Uint8Array.of(9, 9, 9));
    expect([...new FrameReader(first, length).bytes()]).toEqual([1, 2, 3]);
  });

  test.each([
    ["a byte", (from: FrameReader) => from.u8()],
    ["a number", (from: FrameReader) => from.number()],
    ["a count", (from: FrameReader) => from.u32()],
    ["a length", (from: FrameReader) => from.bytes()],
  ])("that are cut off inside %s are a fault of the host", (_what, read) => {
    const from = new FrameReader(new ArrayBuffer(0), 0);
    expect(() => read(from)).toThrow(SirsiError);
    expect(() => read(from)).toThrow(/cut off/);
  });

  test("that promise more bytes than there are, are a fault of the host", () => {
    const out = new FrameWriter();
    out.bytes(new Uint8Array(100));
    const whole = out.take();
    expect(() => new FrameReader(whole, 50).bytes()).toThrow(/cut off/);
  });
});

describe("a batch that is written", () => {
  test("may take back its last frame, fill in numbers later, and hold runs of any length", () => {
    const from = reader((out) => {
      out.u8(1);
      const back = out.length;
      out.bytes(new Uint8Array(50_000));
      out.rewind(back);
      const numbers = out.reserve(13);
      const run = out.openRun();
      out.append(Buffer.from("hello"), 1, 4);
      out.closeRun(run);
      out.putU8(numbers, 7);
      out.putU32(numbers + 1, 0xffff_ffff);
      out.putNumber(numbers + 5, -0.5);
    });
    expect([from.u8(), from.u8(), from.u32(), from.number(), Buffer.from(from.bytes()).toString(), from.done]).toEqual([1, 7, 0xffff_ffff, -0.5, "ell", true]);
  });

  test("is no larger for having followed a huge one", () => {
    const out = new FrameWriter();
    out.bytes(new Uint8Array(10_000_000));
    out.take();
    const sizes = Array.from({ length: 8 }, () => {
      out.u8(1);
      return out.take().byteLength;
    });
    expect(sizes[0]).toBeLessThanOrEqual(256 * 1024);
    expect(sizes.at(-1)).toBe(16 * 1024);
  });
});

describe("commands and answers", () => {
  const wish = fc.constantFrom("none" as const, "difference" as const, "base" as const);
  const budgets: fc.Arbitrary<StepBudget> = fc.record({ timeoutMs: count, fuel: fc.nat({ max: 2 ** 47 }), state: wish, stateAtWait: fc.boolean() });

  test("cross between threads unchanged, many to a batch", () => {
    fc.assert(
      fc.property(fc.array(fc.record({ instanceId: count, callId: count, budget: budgets, call: bytes, images: fc.array(bytes, { maxLength: 4 }) }), { maxLength: 4 }), (commands) => {
        const from = reader((out) => {
          for (const { instanceId, callId, budget, call, images } of commands) {
            writeRun(out, CommandKind.resume, instanceId, callId, budget, call);
            writeOpen(out, instanceId, callId, 5, images);
            writeCommand(out, CommandKind.describe, instanceId, callId);
          }
        });
        for (const { instanceId, callId, budget, call, images } of commands) {
          expect([from.u8(), from.u32(), from.u32(), readBudget(from)]).toEqual([CommandKind.resume, instanceId, callId, budget]);
          expect(Buffer.compare(from.bytes(), call)).toBe(0);
          expect([from.u8(), from.u32(), from.u32()]).toEqual([CommandKind.open, instanceId, callId]);
          expect(plain(readOpen(from))).toEqual(plain({ revisionKey: 5, images }));
          expect([from.u8(), from.u32(), from.u32()]).toEqual([CommandKind.describe, instanceId, callId]);
        }
        expect(from.done).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  const step = { fuelUsed: count, memoryBytes: count, emits: fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 4 }) };
  const state = fc.option(fc.record({ kind: fc.constantFrom("base" as const, "difference" as const), image: bytes }));
  const outcome: fc.Arbitrary<Outcome> = fc.oneof(
    fc.record({ kind: fc.constant("opened" as const), memoryBytes: count, suspended: fc.boolean() }),
    fc.record({ kind: fc.constant("done" as const), result: bytes, state, ...step }),
    fc.record({ kind: fc.constant("waiting" as const), request: bytes, state: fc.option(bytes), fuelLeft: count, ...step }),
    fc.record({ kind: fc.constant("state" as const), image: bytes }),
    fc.record({ kind: fc.constant("described" as const), memoryBytes: count, suspended: fc.boolean(), touched: fc.array(fc.record({ start: count, length: count })), globals: fc.constant([{ name: "g0", type: "i64", value: "-1" }]) }),
    fc.string().map((message) => ({ kind: "failed" as const, fuelUsed: 3, error: new SirsiError("GUEST_TRAP", message, { metadata: { trap: "x" }, retryAfterMs: 5 }).toPlain() })),
  );

  /** As a shard does it: what a step made first, its numbers last. */
  function write(out: FrameWriter, made: Outcome): void {
    switch (made.kind) {
      case "opened":
        return writeOpened(out, made.memoryBytes, made.suspended);
      case "failed":
        return writeFailed(out, made.error, made.fuelUsed);
      case "described":
        return writeDescribed(out, { memoryBytes: made.memoryBytes, touched: made.touched, globals: made.globals, suspended: made.suspended });
      case "state":
        beginState(out);
        return out.bytes(made.image);
      default:
    }
    const frame = beginStep(out);
    for (const emit of made.emits) out.bytes(emit);
    out.bytes(made.kind === "done" ? made.result : made.request);
    const taken = made.kind === "done" ? made.state : made.state === null ? null : { kind: "wait" as const, image: made.state };
    out.u8(StateMark[taken?.kind ?? "none"]);
    if (taken !== null) out.bytes(taken.image);
    sealStep(out, frame, made.kind, { fuelUsed: made.fuelUsed, fuelLeft: made.kind === "waiting" ? made.fuelLeft : 0, memoryBytes: made.memoryBytes, emits: made.emits.length });
  }

  test("outcomes are read as they were written, many to a batch", () => {
    fc.assert(
      fc.property(fc.array(outcome, { maxLength: 5 }), (outcomes) => {
        const from = reader((out) => {
          for (const each of outcomes) write(out, each);
        });
        const read = outcomes.map(() => readOutcome(from));
        expect(plain(read)).toEqual(plain(outcomes));
        expect(from.done).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});
