import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { FrameReader, FrameWriter } from "../../../runtime/sandbox/frames.ts";
import { type Answer, type Command, readAnswer, readCommand, writeAnswer, writeCommand } from "../../../runtime/sandbox/shard-protocol.ts";

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

describe("commands and answers", () => {
  const command: fc.Arbitrary<Command> = fc.oneof(
    fc.record({ kind: fc.constant("open" as const), callId: count, instanceId: count, revisionKey: count, image: fc.option(bytes) }),
    fc.record({ kind: fc.constant("step" as const), callId: count, instanceId: count, budget: fc.record({ timeoutMs: count, fuel: fc.nat({ max: 2 ** 47 }), checkpoint: fc.boolean() }), call: bytes }),
    fc.record({ kind: fc.constant("resume" as const), callId: count, instanceId: count, timeoutMs: count, response: bytes }),
    fc.record({ kind: fc.constant("close" as const), instanceId: count }),
  );
  const use = { emits: fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 4 }), fuelUsed: count, memoryBytes: count };
  const outcome: fc.Arbitrary<Answer["outcome"]> = fc.oneof(
    fc.record({ kind: fc.constant("opened" as const), memoryBytes: count }),
    fc.record({ kind: fc.constant("done" as const), result: bytes, checkpoint: fc.option(bytes), ...use }),
    fc.record({ kind: fc.constant("waiting" as const), request: bytes, ...use }),
    fc.string().map((message) => ({ kind: "failed" as const, fuelUsed: 3, error: new SirsiError("GUEST_TRAP", message, { metadata: { trap: "x" }, retryAfterMs: 5 }).toPlain() })),
  );

  test("cross between threads unchanged, many to a batch", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 5 }), (commands) => {
        const from = reader((out) => {
          for (const each of commands) writeCommand(out, each);
        });
        const read: Command[] = [];
        while (!from.done) read.push(readCommand(from));
        expect(plain(read)).toEqual(plain(commands));
      }),
      { numRuns: 60 },
    );
    fc.assert(
      fc.property(fc.array(fc.record({ callId: count, outcome }), { maxLength: 5 }), (answers) => {
        const from = reader((out) => {
          for (const each of answers) writeAnswer(out, each.callId, each.outcome);
        });
        const read: Answer[] = [];
        while (!from.done) read.push(readAnswer(from));
        expect(plain(read)).toEqual(plain(answers));
      }),
      { numRuns: 60 },
    );
  });
});
