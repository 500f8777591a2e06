import { describe, expect, test } from "vitest";
import { LoadedRevision } from "../../../runtime/sandbox/loaded-revision.ts";
import { DEFAULT_GUEST_LIMITS } from "../../../runtime/core/limits.ts";
import type { StepBudget, TakenState } from "../../../runtime/sandbox/outcomes.ts";
import { BUDGET, expectOutcome, NO_BYTES, played, type PlayedInstance, PlayedShard, thrownBy } from "../../support/instances.ts";
import { assemble, DONE, guestModule, HOSTILE_MODULES, REQUEST_IMPORT } from "../../support/wat.ts";

const PAGE = 65_536;

/** Answers each call with the state it holds: an i32 in memory at 8, and four globals of all types behind it. */
const COUNTING = guestModule(
  {},
  {
    fields: `(global $i (mut i32) (i32.const -1)) (global $l (mut i64) (i64.const -1)) (global $f (mut f32) (f32.const 0.5)) (global $d (mut f64) (f64.const -0.0))`,
    call: `(i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1)))
      (global.set $i (i32.add (global.get $i) (i32.const 2)))
      (global.set $l (i64.sub (global.get $l) (i64.const 3)))
      (global.set $f (f32.add (global.get $f) (f32.const 1.25)))
      (global.set $d (f64.sub (global.get $d) (f64.const 0.1)))
      (i32.store (i32.const 36) (global.get $i)) (i64.store (i32.const 40) (global.get $l))
      (f32.store (i32.const 48) (global.get $f)) (f64.store (i32.const 52) (global.get $d))
      (call $free (local.get $ptr))
      (i64.const 0x200000001c)`,
  },
);

/** Asks three times; after each answer adds its length to a local, which is the result's first byte in the end. */
const ASKING = guestModule(
  { requests: ["ask"] },
  {
    imports: REQUEST_IMPORT,
    call: `(loop $again
        (local.set $w (call $request (i32.const 16) (i32.const 2)))
        (local.set $a (i32.add (local.get $a) (i32.wrap_i64 (local.get $w))))
        (call $free (i32.wrap_i64 (i64.shr_u (local.get $w) (i64.const 32))))
        (local.set $b (i32.add (local.get $b) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $b) (i32.const 3))))
      (call $free (local.get $ptr))
      (i32.store8 (i32.const 32) (local.get $a))
      (i64.const 0x2000000001)`,
  },
);

const WITH_STATE: StepBudget = { ...BUDGET, state: "base" };

/** The state after one more step. */
function taken(instance: PlayedInstance, state: "base" | "difference"): TakenState {
  return expectOutcome(instance.step(NO_BYTES, { ...BUDGET, state }), "done").state!;
}

const EMIT_IMPORT = '(import "sirsi" "emit" (func $emit (param i32 i32)))';
const LOG_IMPORT = '(import "sirsi" "log" (func $log (param i32 i32 i32)))';

function failed(instance: PlayedInstance, call: Uint8Array = NO_BYTES, budget = BUDGET) {
  return expectOutcome(instance.step(call, budget), "failed").error;
}

describe("an instance", () => {
  test("answers a call, tells what it used, and is idle again", () => {
    const instance = played(COUNTING).open();
    const done = expectOutcome(instance.step(Uint8Array.of(1, 2, 3), BUDGET), "done");
    expect(done.result.length).toBe(28);
    expect(done.fuelUsed).toBeGreaterThan(0);
    expect(done.fuelUsed).toBeLessThan(20);
    expect(done).toMatchObject({ memoryBytes: PAGE, state: null, emits: [] });
    expect(instance.state).toBe("idle");
  });

  test("comes back from its base and differences with its memory and its globals of every type", () => {
    const { open } = played(COUNTING);
    const first = open();
    first.step(NO_BYTES, BUDGET);
    const images = (["base", "difference", "difference"] as const).map((state) => taken(first, state));
    expect(images.map(({ kind }) => kind)).toEqual(["base", "difference", "difference"]);
    const wanted = expectOutcome(first.step(NO_BYTES, BUDGET), "done").result;
    const second = open();
    second.restore(...images.map(({ image }) => image));
    expect(expectOutcome(second.step(NO_BYTES, BUDGET), "done").result).toEqual(wanted);
    expect(second.base()).toEqual(first.base());
  });

  test("gives a base when it is asked for a difference and there is nothing that it could follow", () => {
    expect(taken(played(COUNTING).open(), "difference").kind).toBe("base");
  });

  test("goes on with differences to what it was restored from", () => {
    const { open } = played(COUNTING);
    const first = open();
    const base = taken(first, "base").image;
    const second = open();
    second.restore(base);
    const { kind, image } = taken(second, "difference");
    expect(kind).toBe("difference");
    const third = open();
    third.restore(base, image);
    expect(third.base()).toEqual(second.base());
  });

  test("takes its state when it is asked to, and tells where it has been changed", () => {
    const { open } = played(COUNTING);
    const instance = open();
    instance.step(NO_BYTES, BUDGET);
    const other = open();
    other.restore(instance.base());
    expect(other.describe()).toEqual(instance.describe());
    expect(instance.describe()).toEqual({
      kind: "described",
      memoryBytes: PAGE,
      touched: [{ start: 0, length: 1024 }],
      globals: [
        { name: "g0", type: "i32", value: "4096" },
        { name: "g1", type: "i32", value: "0" },
        { name: "g2", type: "i32", value: "1" },
        { name: "g3", type: "i64", value: "-4" },
        { name: "g4", type: "f32", value: "1.75" },
        { name: "g5", type: "f64", value: "-0.1" },
      ],
      suspended: false,
    });
  });

  test("I3 is dead after a restore that failed, and says so when it is asked to run", () => {
    const { open } = played(COUNTING);
    const instance = open();
    expect(thrownBy(() => instance.restore(Uint8Array.of(1, 2, 3))).code).toBe("STORE_CORRUPT");
    expect(instance.state).toBe("dead");
    expect(failed(instance)).toMatchObject({ code: "INTERNAL", message: "an instance that is dead was asked to run" });
  });

  test("is not restored from another build's state", () => {
    const { image } = taken(played(COUNTING).open(), "base");
    const other = played(guestModule()).open();
    expect(thrownBy(() => other.restore(image)).message).toMatch(/holds 6 globals and the module has 2/);
  });

  test("is not restored where its module begins with another image", () => {
    const { image } = taken(played(guestModule()).open(), "base");
    const other = played(guestModule({}, { fields: '(data (i32.const 64) "x")' })).open();
    expect(thrownBy(() => other.restore(image))).toMatchObject({ code: "STORE_CORRUPT", message: expect.stringMatching(/begins with another image here/) as string });
  });

  test("is not restored from a chain with a link missing, and the error tells which", () => {
    const { open } = played(COUNTING);
    const instance = open();
    const images = (["base", "difference", "difference"] as const).map((state) => taken(instance, state).image);
    const error = thrownBy(() => open().restore(images[0]!, images[2]!));
    expect(error).toMatchObject({ code: "STORE_CORRUPT", details: { metadata: { image: "1", images: "2", kind: "difference" } } });
  });

  test("is not restored into less memory than its state needs", () => {
    const grows = guestModule({}, { call: `(drop (memory.grow (i32.const 3))) ${DONE}` });
    const { image } = taken(played(grows).open(), "base");
    const narrow = played(grows, { memoryMaxBytes: 2 * PAGE }).open();
    expect(thrownBy(() => narrow.restore(image)).code).toBe("GUEST_MEMORY_EXHAUSTED");
  });

  test("has as much memory when it is restored as it had grown to, step by step", () => {
    const { open } = played(guestModule({}, { call: `(drop (memory.grow (i32.const 3))) ${DONE}` }));
    const first = open();
    const images = [taken(first, "base").image, taken(first, "difference").image];
    const restored = open();
    restored.restore(...images);
    expect(restored.memoryBytes).toBe(7 * PAGE);
  });
});

describe("an instance that waits", () => {
  test("gives its stack up and takes it up again, in a loop, with its locals", () => {
    const instance = played(ASKING).open();
    let outcome = instance.step(NO_BYTES, BUDGET);
    for (const length of [3, 5, 7]) {
      expect([...expectOutcome(outcome, "waiting").request]).toEqual([0x12, 0]);
      expect(instance.state).toBe("suspended");
      outcome = instance.resume(new Uint8Array(length), 1_000);
    }
    expect([...expectOutcome(outcome, "done").result]).toEqual([15]);
    expect(instance.state).toBe("idle");
  });

  test("takes no call while it waits, and no answer while it does not", () => {
    const instance = played(ASKING).open();
    expect(expectOutcome(instance.resume(NO_BYTES, 1), "failed").error.message).toBe("an instance that is idle was asked to run");
    instance.step(NO_BYTES, BUDGET);
    expect(failed(instance).message).toBe("an instance that is suspended was asked to run");
    expect(instance.state).toBe("suspended");
  });

  test("waits again in its next step, and after a restore", () => {
    const { open } = played(ASKING);
    const first = open();
    const run = (instance: PlayedInstance) => {
      let outcome = instance.step(NO_BYTES, WITH_STATE);
      while (outcome.kind === "waiting") outcome = instance.resume(Uint8Array.of(1), WITH_STATE);
      return expectOutcome(outcome, "done");
    };
    expect([...run(first).result]).toEqual([3]);
    const { state, result } = run(first);
    expect([...result]).toEqual([3]);
    const second = open();
    second.restore(state!.image);
    expect([...run(second).result]).toEqual([3]);
  });

  test("keeps no room for its stack when the step is over: restarts do not eat its memory", () => {
    const { open } = played(ASKING);
    let image: Uint8Array | null = null;
    const sizes: number[] = [];
    for (let life = 0; life < 4; life++) {
      const instance = open();
      if (image !== null) instance.restore(image);
      let outcome = instance.step(NO_BYTES, WITH_STATE);
      while (outcome.kind === "waiting") outcome = instance.resume(Uint8Array.of(1), WITH_STATE);
      const done = expectOutcome(outcome, "done");
      image = done.state!.image;
      sizes.push(done.memoryBytes);
    }
    expect(new Set(sizes)).toEqual(new Set([PAGE]));
  });

  test("may ask as often as its limit says in one step", () => {
    const instance = played(ASKING, { hostCallsPerStep: 2 }).open();
    instance.step(NO_BYTES, BUDGET);
    instance.resume(NO_BYTES, 1_000);
    expect(expectOutcome(instance.resume(NO_BYTES, 1_000), "failed").error).toMatchObject({ code: "GUEST_LIMIT" });
    const again = played(ASKING, { hostCallsPerStep: 3 }).open();
    for (let step = 0; step < 2; step++) {
      let outcome = again.step(NO_BYTES, BUDGET);
      while (outcome.kind === "waiting") outcome = again.resume(NO_BYTES, 1_000);
      expect(outcome.kind).toBe("done");
    }
  });

  test("hands over what it emitted before the wait with the wait, and the rest with the end", () => {
    const emits = guestModule({}, { imports: `${REQUEST_IMPORT} ${EMIT_IMPORT}`, call: `(call $emit (i32.const 16) (i32.const 1)) (drop (call $request (i32.const 16) (i32.const 2))) (call $emit (i32.const 16) (i32.const 2)) ${DONE}` });
    const instance = played(emits).open();
    expect(expectOutcome(instance.step(NO_BYTES, BUDGET), "waiting").emits).toEqual([Uint8Array.of(0x12)]);
    expect(expectOutcome(instance.resume(NO_BYTES, 1), "done").emits).toEqual([Uint8Array.of(0x12, 0)]);
  });

  test.each([
    ["its allocator, while the host makes room for the call", "alloc"],
    ["its allocator, while the host makes room for its stack", "second alloc"],
    ["its free", "free"],
  ])("may not do so inside %s", (_where, place) => {
    const ask = "(drop (call $request (i32.const 16) (i32.const 2)))";
    const module = guestModule(
      {},
      {
        imports: REQUEST_IMPORT,
        fields: "(global $n (mut i32) (i32.const 0))",
        alloc: `(func $alloc (export "sirsi_alloc") (param $len i32) (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (if (i32.eq (global.get $n) (i32.const ${place === "alloc" ? 1 : place === "second alloc" ? 2 : 9})) (then ${ask}))
          (i32.mul (global.get $n) (i32.const 4096)))`,
        free: `(func $free (export "sirsi_free") (param $ptr i32) ${place === "free" ? ask : ""})`,
        call: place === "second alloc" ? `${ask} ${DONE}` : DONE,
      },
    );
    const instance = played(module).open();
    expect(failed(instance)).toMatchObject({ code: "GUEST_PROTOCOL" });
    expect(instance.state).toBe("dead");
  });

  test("and scribbles over its own stack meanwhile ends in an error of its own", () => {
    const module = guestModule(
      {},
      {
        imports: REQUEST_IMPORT,
        fields: "(global $n (mut i32) (i32.const 0))",
        // The third room is for the answer: the second was for the stack.
        alloc: `(func $alloc (export "sirsi_alloc") (param $len i32) (result i32)
          (global.set $n (i32.add (global.get $n) (i32.const 1)))
          (if (i32.eq (global.get $n) (i32.const 3)) (then (memory.fill (i32.add (i32.const 8192) (i32.const 8)) (i32.const 0xff) (i32.const 64))))
          (i32.mul (global.get $n) (i32.const 4096)))`,
        memory: '(memory (export "memory") 4)',
        call: `(drop (call $request (i32.const 16) (i32.const 2))) ${DONE}`,
      },
    );
    const instance = played(module).open();
    expectOutcome(instance.step(NO_BYTES, BUDGET), "waiting");
    expect(["GUEST_PROTOCOL", "GUEST_TRAP"]).toContain(expectOutcome(instance.resume(NO_BYTES, 1_000), "failed").error.code);
    expect(instance.state).toBe("dead");
  });
});

describe("D4 the state at a wait", () => {
  const AT_WAIT: StepBudget = { ...BUDGET, state: "difference", stateAtWait: true };
  const answered = Uint8Array.of(1);

  test("is there when it is asked for and there is a state at rest that it can follow", () => {
    const instance = played(ASKING).open();
    expect(expectOutcome(instance.step(NO_BYTES, AT_WAIT), "waiting").state).toBeNull();
    for (let i = 0; i < 2; i++) instance.resume(answered, AT_WAIT);
    expectOutcome(instance.resume(answered, AT_WAIT), "done");
    expect(expectOutcome(instance.step(NO_BYTES, BUDGET), "waiting").state).toBeNull();
    expect(expectOutcome(instance.resume(answered, AT_WAIT), "waiting").state).not.toBeNull();
  });

  test("brings the step back with its limits: what was used before counts", () => {
    const { open } = played(ASKING, { hostCallsPerStep: 2 });
    const first = open();
    const base = first.base();
    const waiting = expectOutcome(first.step(NO_BYTES, AT_WAIT), "waiting");
    expect(waiting.fuelLeft).toBe(BUDGET.fuel - waiting.fuelUsed);
    const second = open();
    second.restore(base, waiting.state!);
    const again = expectOutcome(second.resume(answered, { ...AT_WAIT, fuel: waiting.fuelLeft }), "waiting");
    expect(again.fuelUsed).toBeGreaterThanOrEqual(waiting.fuelUsed);
    const third = open();
    third.restore(base, again.state!);
    expect(expectOutcome(third.resume(answered, AT_WAIT), "failed").error.message).toContain("host_calls_per_step");
  });

  test("brings it back with what it has emitted counted, too", () => {
    const module = guestModule({}, { imports: `${REQUEST_IMPORT} ${EMIT_IMPORT}`, call: `(call $emit (i32.const 16) (i32.const 2)) (drop (call $request (i32.const 16) (i32.const 2))) (call $emit (i32.const 16) (i32.const 2)) ${DONE}` });
    for (const [limits, words] of [[{ outboxCount: 1 }, "outbox_count"], [{ outboxBytes: 3 }, "outbox_bytes"]] as const) {
      const { open } = played(module, limits);
      const first = open();
      const base = first.base();
      const second = open();
      second.restore(base, expectOutcome(first.step(NO_BYTES, AT_WAIT), "waiting").state!);
      expect(expectOutcome(second.resume(answered, AT_WAIT), "failed").error.message).toContain(words);
    }
  });

  test("leaves nothing to the step after it: the difference at its end is to the state before it", () => {
    const { open } = played(ASKING);
    const first = open();
    const base = first.base();
    let outcome = first.step(NO_BYTES, AT_WAIT);
    while (outcome.kind === "waiting") outcome = first.resume(answered, AT_WAIT);
    const second = open();
    second.restore(base, expectOutcome(outcome, "done").state!.image);
    expect(second.state).toBe("idle");
    expect(second.base()).toEqual(first.base());
  });

  test("is no state at rest: none is given, and it waits on", () => {
    const instance = played(ASKING).open();
    instance.step(NO_BYTES, AT_WAIT);
    expect(() => instance.base()).toThrow(/an instance that is suspended was asked to run/);
    expect(instance.describe().suspended).toBe(true);
    expect(instance.state).toBe("suspended");
  });
});

describe("a guest that is given back", () => {
  /** One agent's whole life on the guest; then what the next agent finds, and whether it has the same guest. */
  function after(bytes: Uint8Array, live: (first: PlayedInstance) => void) {
    const { open } = played(bytes);
    const first = open();
    live(first);
    first.instance.retire();
    const second = open();
    return { second, again: second.instance.memory === first.instance.memory, fresh: played(bytes).open() };
  }

  test("serves the next agent as a new one would: memory, globals and fuel are as at the beginning", () => {
    const { second, again, fresh } = after(COUNTING, (first) => {
      for (let n = 0; n < 3; n++) expectOutcome(first.step(Uint8Array.of(7, 7, 7), BUDGET), "done");
    });
    expect(again).toBe(true);
    expect(second.describe()).toEqual(fresh.describe());
    expect(second.describe().touched).toEqual([]);
    expect(second.base()).toEqual(fresh.base());
    for (let n = 0; n < 2; n++) expect(second.step(NO_BYTES, WITH_STATE)).toEqual(fresh.step(NO_BYTES, WITH_STATE));
  });

  test("in the middle of a wait begins afresh all the same", () => {
    const { second, again, fresh } = after(ASKING, (first) => void expectOutcome(first.step(NO_BYTES, BUDGET), "waiting"));
    expect(again).toBe(true);
    const life = (instance: PlayedInstance) => [instance.step(NO_BYTES, BUDGET), instance.resume(Uint8Array.of(1, 2), 1_000), instance.resume(NO_BYTES, 1_000), instance.resume(Uint8Array.of(3), 1_000), instance.base()];
    expect(life(second)).toEqual(life(fresh));
  });

  test("is restored like a new one", () => {
    const model = played(COUNTING).open();
    const base = taken(model, "base");
    const { second, again } = after(COUNTING, (first) => void first.step(NO_BYTES, BUDGET));
    second.restore(base.image);
    expect(again).toBe(true);
    expect(second.step(NO_BYTES, WITH_STATE)).toEqual(model.step(NO_BYTES, WITH_STATE));
  });

  test.each([
    ["it trapped", guestModule({}, { call: "(unreachable)" })],
    ["its memory grew", guestModule({}, { call: `(drop (memory.grow (i32.const 1))) ${DONE}` })],
    ["it changes what no state holds", guestModule({ durability: "none" }, { fields: "(table 2 2 funcref)", call: `(table.set (i32.const 1) (ref.null func)) ${DONE}` })],
  ])("is not kept when %s", (_, bytes) => {
    expect(after(bytes, (first) => void first.step(NO_BYTES, BUDGET)).again).toBe(false);
  });
});

describe("I1 guest code", () => {
  test("stops when its fuel is used up, wherever it loops", () => {
    const instance = played(HOSTILE_MODULES["infiniteLoop"]!()).open();
    const outcome = expectOutcome(instance.step(NO_BYTES, { ...BUDGET, fuel: 2_500_000 }), "failed");
    expect(outcome.error.code).toBe("GUEST_FUEL_EXHAUSTED");
    expect(outcome.fuelUsed).toBe(2_500_000);
  });

  test("stops when the deadline passes, and shows signs of life until then", () => {
    const { shard, open } = played(HOSTILE_MODULES["infiniteLoop"]!());
    const instance = open();
    shard.tickMs = 30;
    expect(failed(instance, NO_BYTES, { ...BUDGET, timeoutMs: 100, fuel: 1e12 }).code).toBe("DEADLINE_EXCEEDED");
    expect(shard.heartbeats).toBeGreaterThan(1);
    expect(shard.heartbeats).toBeLessThan(6);
  });

  test("pays for random bytes by their length: a flood of them is stopped as a loop is", () => {
    const flood = guestModule({}, { imports: '(import "sirsi" "random" (func $random (param i32 i32)))', memory: '(memory (export "memory") 2)', call: `(loop $l (call $random (i32.const 0) (i32.const 65536)) (br $l)) ${DONE}` });
    const { shard, open } = played(flood);
    const instance = open();
    let filled = 0;
    shard.random = (into) => {
      filled += into.length;
    };
    expect(failed(instance).code).toBe("GUEST_FUEL_EXHAUSTED");
    expect(filled).toBeLessThan(64 * 1024 * 1024);
  });

  test("is told a trap, an overflowed stack and exhausted memory apart", () => {
    expect(failed(played(HOSTILE_MODULES["traps"]!()).open()).code).toBe("GUEST_TRAP");
    expect(failed(played(HOSTILE_MODULES["deepRecursion"]!()).open(), NO_BYTES, { ...BUDGET, fuel: 1e9 })).toMatchObject({ code: "GUEST_TRAP", details: { metadata: { trap: "stack_overflow" } } });
    expect(failed(played(HOSTILE_MODULES["memoryHungry"]!(), { memoryMaxBytes: 64 * PAGE }).open()).code).toBe("GUEST_MEMORY_EXHAUSTED");
  });

  test("I2 is contained whatever it lies about, with one typed error", () => {
    expect(failed(played(HOSTILE_MODULES["allocLies"]!()).open(), new Uint8Array(32))).toMatchObject({ code: "GUEST_PROTOCOL" });
    expect(failed(played(HOSTILE_MODULES["allocFails"]!()).open(), new Uint8Array(32))).toMatchObject({ code: "GUEST_MEMORY_EXHAUSTED" });
    expect(failed(played(HOSTILE_MODULES["allocTraps"]!()).open(), new Uint8Array(32))).toMatchObject({ code: "GUEST_TRAP" });
    expect(failed(played(HOSTILE_MODULES["pointerLies"]!()).open())).toMatchObject({ code: "GUEST_PROTOCOL" });
    expect(failed(played(HOSTILE_MODULES["lengthLies"]!()).open())).toMatchObject({ code: "GUEST_PROTOCOL" });
  });
});

describe("what a guest calls", () => {
  function calling(imports: string, call: string, limits = {}) {
    return played(guestModule({}, { imports, call: `${call} ${DONE}` }), limits);
  }

  test.each([
    ["more messages than it may", { outboxCount: 2 }, "outbox_count"],
    ["more bytes than it may", { outboxBytes: 5 }, "outbox_bytes"],
  ])("emit: %s ends the step", (_what, limits, words) => {
    const emit = "(call $emit (i32.const 16) (i32.const 2))";
    const error = failed(calling(EMIT_IMPORT, emit.repeat(3), limits).open());
    expect(error.code).toBe("GUEST_LIMIT");
    expect(error.message).toContain(words);
    expect(expectOutcome(calling(EMIT_IMPORT, emit.repeat(2), limits).open().step(NO_BYTES, BUDGET), "done").emits.length).toBe(2);
  });

  test.each(["alloc", "free"])("emit: not from %s, where it could come after the answer", (place) => {
    const emit = "(call $emit (i32.const 16) (i32.const 2))";
    const parts = { imports: EMIT_IMPORT, alloc: `(func $alloc (export "sirsi_alloc") (param i32) (result i32) ${place === "alloc" ? emit : ""} (i32.const 4096))`, free: `(func $free (export "sirsi_free") (param i32) ${place === "free" ? emit : ""})` };
    expect(failed(played(guestModule({}, parts)).open()).message).toContain("emitted from its allocator");
  });

  test("emit and request: a lying pointer or length ends the step before anything is allocated", () => {
    expect(failed(calling(EMIT_IMPORT, "(call $emit (i32.const -4) (i32.const 8))").open()).code).toBe("GUEST_PROTOCOL");
    expect(failed(calling(EMIT_IMPORT, "(call $emit (i32.const 0) (i32.const -1))").open()).code).toBe("GUEST_LIMIT");
    expect(failed(calling(REQUEST_IMPORT, "(drop (call $request (i32.const 0) (i32.const -1)))").open()).code).toBe("GUEST_PROTOCOL");
  });

  test("log: lines are cut, levels kept in range, and a flood is dropped and counted", () => {
    const { shard, open } = calling(LOG_IMPORT, `(loop $l (call $log (i32.const 9) (i32.const 16) (i32.const 100)) (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $l (i32.lt_u (local.get $a) (i32.const 10))))`, { logLinesPerSecond: 3, logLineBytes: 64 });
    shard.timeMs = 5_000;
    const instance = open();
    instance.step(NO_BYTES, BUDGET);
    expect(shard.lines.map(({ level, line }) => [level, line.length])).toEqual([[4, 64], [4, 64], [4, 64]]);
    shard.timeMs = 6_000;
    instance.step(NO_BYTES, BUDGET);
    expect(shard.lines.slice(3).map(({ level, line }) => (level === 3 ? line : level))).toEqual(["7 log lines of the second before were dropped: over log_lines_per_second", 4, 4, 4]);
  });

  test("log: a level below the lowest is the lowest, and a lying pointer ends the step", () => {
    const { shard, open } = calling(LOG_IMPORT, "(call $log (i32.const -5) (i32.const 16) (i32.const 1))");
    open().step(NO_BYTES, BUDGET);
    expect(shard.lines[0]?.level).toBe(0);
    expect(failed(calling(LOG_IMPORT, "(call $log (i32.const 1) (i32.const -2) (i32.const 9))").open()).code).toBe("GUEST_PROTOCOL");
  });

  test("now and random: come from the host", () => {
    const imports = '(import "sirsi" "now" (func $now (result i64))) (import "sirsi" "random" (func $random (param i32 i32)))';
    const { open } = played(guestModule({}, { imports, call: "(i64.store (i32.const 32) (call $now)) (call $random (i32.const 40) (i32.const 2)) (i64.const 0x200000000a)" }));
    const { result } = expectOutcome(open().step(NO_BYTES, BUDGET), "done");
    expect(new DataView(result.slice().buffer).getBigInt64(0, true)).toBe(1_750_000_000_000n);
    expect(result.slice(8)).toEqual(Uint8Array.of(0xa5, 0xa5));
    expect(failed(calling('(import "sirsi" "random" (func $random (param i32 i32)))', "(call $random (i32.const 0) (i32.const 65537))").open()).code).toBe("GUEST_PROTOCOL");
  });

  test("abort: its message and its place reach the error; without text it is still an abort", () => {
    const utf16 = (text: string) => [...Buffer.from(text, "utf16le")].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
    const module = guestModule(
      {},
      {
        imports: '(import "env" "abort" (func $abort (param i32 i32 i32 i32)))',
        fields: `(data (i32.const 96) "\\0c\\00\\00\\00${utf16("no key")}") (data (i32.const 128) "\\08\\00\\00\\00${utf16("a.ts")}")`,
        call: `(if (local.get $len) (then (call $abort (i32.const 100) (i32.const 132) (i32.const 7) (i32.const 3))) (else (call $abort (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))) ${DONE}`,
      },
    );
    expect(failed(played(module).open(), new Uint8Array(1)).message).toContain("the agent aborted: no key at a.ts:7:3");
    expect(failed(played(module).open()).message).toContain("the agent aborted: abort");
  });
});

describe("a start function", () => {
  const starting = (body: string, imports = "") => guestModule({}, { imports, fields: `(func $start ${body}) (start $start)` });

  test.each([
    ["log", LOG_IMPORT, "(call $log (i32.const 0) (i32.const 0) (i32.const 0))"],
    ["emit", EMIT_IMPORT, "(call $emit (i32.const 0) (i32.const 0))"],
    ["now", '(import "sirsi" "now" (func $now (result i64)))', "(drop (call $now))"],
    ["random", '(import "sirsi" "random" (func $random (param i32 i32)))', "(call $random (i32.const 0) (i32.const 1))"],
    ["request", REQUEST_IMPORT, "(drop (call $request (i32.const 0) (i32.const 0)))"],
  ])("may not call %s: all agents begin from one image", (name, imports, body) => {
    const { open } = played(starting(body, imports));
    // The second one, too, when another instance has been the current one.
    for (let i = 0; i < 2; i++) expect(thrownBy(open)).toMatchObject({ code: "GUEST_PROTOCOL", message: expect.stringContaining(`called ${name} from its start function`) as string });
  });

  test("that aborts is told as an abort, with its place in the source", () => {
    const { open } = played(starting("(call $abort (i32.const 0) (i32.const 0) (i32.const 12) (i32.const 5))", '(import "env" "abort" (func $abort (param i32 i32 i32 i32)))'));
    expect(thrownBy(open)).toMatchObject({ code: "GUEST_TRAP", message: expect.stringContaining("12:5") as string });
  });

  test("is metered, and under a deadline", () => {
    const { shard, open } = played(HOSTILE_MODULES["startLoops"]!(), { fuelPerStep: 3_000_000 });
    expect(thrownBy(open)).toMatchObject({ code: "GUEST_FUEL_EXHAUSTED" });
    shard.tickMs = 40_000;
    expect(thrownBy(open)).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("that traps leaves no instance", () => {
    expect(played(HOSTILE_MODULES["startTraps"]!()).open).toThrow(WebAssembly.RuntimeError);
  });
});

describe("a module that was never admitted", () => {
  const raw = (text: string) => new LoadedRevision({ key: 1, name: "raw", compiled: new WebAssembly.Module(assemble(text)), limits: DEFAULT_GUEST_LIMITS, preparation: "none", globals: [], canWait: false, capturable: true }, new PlayedShard());
  const link = (text: string) => () => raw(text).link();

  test("is refused when it lacks its memory or a function", () => {
    expect(thrownBy(link("(module)")).message).toContain("exports no memory");
    expect(thrownBy(link('(module (memory (export "memory") 1) (func (export "sirsi_abi") (result i32) (i32.const 1)))')).message).toContain("does not export the function sirsi_call");
  });

  test("is refused for its code's ABI, by the second look as by the first", () => {
    const { open } = played(HOSTILE_MODULES["abiLies"]!());
    for (let i = 0; i < 2; i++) expect(thrownBy(open)).toMatchObject({ code: "MODULE_REJECTED", message: expect.stringContaining("is of ABI 7") as string });
    expect(thrownBy(link('(module (memory (export "memory") 1))')).message).toContain("of ABI none");
  });

  test("has no pristine image before its first instance", () => {
    expect(thrownBy(() => raw("(module)").pristine).code).toBe("INTERNAL");
  });
});
