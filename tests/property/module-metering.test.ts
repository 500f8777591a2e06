import * as fc from "fast-check";
import { expect, it } from "vitest";
import { PREPARED } from "../../runtime/contract/guest-abi.ts";
import { SHORT_TURN, TURNS_AT_ONCE, WORK_PER_FUEL } from "../../runtime/module/counting.ts";
import { inspect } from "../../runtime/module/inspect.ts";
import { prepare } from "../../runtime/module/prepare.ts";
import { FREE_WORK } from "../../runtime/module/work-bounds.ts";
import { guestModule } from "../support/wat.ts";

const MIB = 1024 * 1024;
const FUNCTIONS = 6;
const SLICE = 40;
const SLICES = 25;
/** Done by a guest that was not stopped: far more than its fuel can stand for. */
const RUNAWAY = 20_000_000;
/** `$work` counts itself and the three instructions around it; its check takes four more. */
const STEP = 8;

type Statement =
  | { readonly kind: "work"; readonly steps: number }
  | { readonly kind: "call"; readonly callee: number }
  | { readonly kind: "indirect"; readonly callee: number }
  | { readonly kind: "loop"; readonly turns: number; readonly body: readonly Statement[] };

const { statements } = fc.letrec<{ statement: Statement; statements: Statement[] }>((tie) => ({
  statement: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ kind: fc.constant("work" as const), steps: fc.integer({ min: 1, max: 50 }) }),
    fc.record({ kind: fc.constant("call" as const), callee: fc.nat(FUNCTIONS - 1) }),
    fc.record({ kind: fc.constant("indirect" as const), callee: fc.nat(FUNCTIONS - 1) }),
    fc.record({ kind: fc.constant("loop" as const), turns: fc.constantFrom(0, 1, 15, 40, 1_000_000), body: tie("statements") }),
  ),
  statements: fc.array(tie("statement"), { maxLength: 4 }),
}));

/** Work that is seen from outside. It traps when it has been done without end. */
const WORK = `(global.set $work (i32.add (global.get $work) (i32.const 1))) (if (i32.gt_u (global.get $work) (i32.const ${RUNAWAY})) (then (unreachable)))`;

function text(body: readonly Statement[], depth = 0): string {
  return body
    .map((statement) => {
      if (statement.kind === "work") return WORK.repeat(statement.steps);
      if (statement.kind === "call") return `(call $f${statement.callee})`;
      if (statement.kind === "indirect") return `(call_indirect (type $t) (i32.const ${statement.callee}))`;
      const left = `$left${depth}`;
      return `(local.set ${left} (i32.const ${statement.turns})) (loop $l${depth} ${WORK} ${text(statement.body, depth + 1)} (br_if $l${depth} (i32.gt_s (local.tee ${left} (i32.sub (local.get ${left}) (i32.const 1))) (i32.const 0))))`;
    })
    .join("\n");
}

const depthOf = (body: readonly Statement[]): number => Math.max(0, ...body.map((statement) => (statement.kind === "loop" ? 1 + depthOf(statement.body) : 0)));

function guestOf(functions: readonly (readonly Statement[])[]): Uint8Array {
  const code = functions.map((body, i) => `(func $f${i} (export "f${i}") ${Array.from({ length: depthOf(body) }, (_, depth) => `(local $left${depth} i32)`).join("")} ${WORK} ${text(body)})`);
  return guestModule({}, {
    fields: `(type $t (func)) (table ${FUNCTIONS} ${FUNCTIONS} funcref) (elem (i32.const 0) ${functions.map((_, i) => `$f${i}`).join(" ")})
      (global $work (mut i32) (i32.const 0)) (func (export "worked") (result i32) (global.get $work)) ${code.join("\n")}`,
  });
}

/** Runs function 0 until it returns, is stopped for want of fuel, or overflows its stack. */
function run(bytes: Uint8Array): { readonly worked: number; readonly paid: number; readonly end: "returned" | "stopped" } {
  let granted = 0;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(prepare(bytes, inspect(bytes, null, MIB), MIB).wasm), {
    [PREPARED.importModule]: {
      [PREPARED.refused]: () => undefined,
      [PREPARED.refill]: () => {
        granted += 1;
        if (granted > SLICES) throw new RangeError("out of fuel");
        return SLICE;
      },
    },
  });
  const call = (name: string) => (exports[name] as () => number)();
  let end: "returned" | "stopped" = "returned";
  try {
    call("f0");
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown;
    end = "stopped";
  }
  const left = (exports[PREPARED.fuel] as WebAssembly.Global<number>).value;
  return { worked: call("worked"), paid: Math.min(granted, SLICES) * SLICE - left, end };
}

it("whatever calls whatever, in whatever loops, each fuel stands for a bounded number of instructions", () => {
  const ends = { returned: 0, stopped: 0 };
  fc.assert(
    fc.property(fc.array(statements, { minLength: FUNCTIONS, maxLength: FUNCTIONS }), (functions) => {
      const { worked, paid, end } = run(guestOf(functions));
      ends[end] += 1;
      // An entry pays for its own region; turns that were added up and not paid come on top of it.
      const each = WORK_PER_FUEL + (TURNS_AT_ONCE - 1) * SHORT_TURN;
      expect(worked * STEP).toBeLessThanOrEqual(paid * each + FREE_WORK);
    }),
    { numRuns: 150 },
  );
  expect(ends.returned).toBeGreaterThan(15);
  expect(ends.stopped).toBeGreaterThan(15);
}, 120_000);
