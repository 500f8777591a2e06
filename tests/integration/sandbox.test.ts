/** Shards as their pool sees them: threads that hold instances, and what becomes of calls when they end. */
import { afterEach, describe, expect, test } from "vitest";
import { ManualClock, systemClock } from "../../runtime/core/clock.ts";
import type { GuestLimits } from "../../runtime/core/limits.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { type GuestLogLine, lostError, ShardPool, type ShardStepOutcome, type StepBudget } from "../../runtime/sandbox/index.ts";
import { NO_BYTES, thrownBy } from "../support/instances.ts";
import { revisionOf } from "../support/revisions.ts";
import { killShard, watchShards } from "../support/shard-threads.ts";
import { DONE, guestModule, HOSTILE_MODULES, waitingModule } from "../support/wat.ts";

const BUDGET: StepBudget = { timeoutMs: 10_000, fuel: 1_000_000_000, state: "none", stateAtWait: false };

let pool: ShardPool;
const lines: GuestLogLine[] = [];
const lost: string[] = [];

function open(count = 1, clock = systemClock, stallMs = 60_000): ShardPool {
  watchShards();
  lines.length = 0;
  lost.length = 0;
  pool = new ShardPool({ clock, count, stallMs, onLog: (line) => lines.push(line), onShardLost: (index, why) => lost.push(`${index}: ${why}`) });
  return pool;
}

afterEach(() => pool.close());

/** Counts its steps in memory and answers the count as one byte. */
const COUNTING = guestModule({}, { call: `(i32.store (i32.const 32) (i32.add (i32.load (i32.const 32)) (i32.const 1))) (call $free (local.get $ptr)) (i64.const 0x2000000001)` });

/** Says that it runs, and does so without end. */
const ENDLESS = guestModule({}, { imports: '(import "sirsi" "log" (func $log (param i32 i32 i32)))', call: `(call $log (i32.const 3) (i32.const 0) (i32.const 0)) (loop $l (br $l)) ${DONE}` });
const ENOUGH: Partial<GuestLimits> = { fuelPerStep: 100_000_000_000 };

function started(revision: Revision, images: readonly Uint8Array[] | null = null, tag = "t") {
  return pool.open(revision, images, tag).handle;
}

/** The outcome in short: the result's first byte, the request's length, or the error's code. */
function short(outcome: ShardStepOutcome): string {
  switch (outcome.kind) {
    case "done":
      return `done ${outcome.result[0]}`;
    case "waiting":
      return `waiting ${outcome.request.length}`;
    case "failed":
      return outcome.error.code;
    case "lost":
      return outcome.culprit ? "lost as the culprit" : "lost";
  }
}

const hostile = (name: string, limits: Partial<GuestLimits> = {}) => revisionOf(HOSTILE_MODULES[name]!(), limits);

describe("an instance on a shard", () => {
  test("may be sent a step before it is there; steps are done in order", async () => {
    open();
    const handle = started(revisionOf(COUNTING));
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => handle.step(NO_BYTES, BUDGET)));
    expect(outcomes.map(short)).toEqual(["done 1", "done 2", "done 3", "done 4", "done 5"]);
  });

  test("moves to another by its base and its differences", async () => {
    open(2);
    const revision = revisionOf(COUNTING);
    const first = started(revision);
    const images: Uint8Array[] = [];
    for (const state of ["base", "difference", "difference"] as const) {
      const outcome = await first.step(NO_BYTES, { ...BUDGET, state });
      if (outcome.kind === "done") images.push(outcome.state!.image.slice());
    }
    const second = pool.open(revision, images, "t");
    expect([first.shardIndex, second.handle.shardIndex]).toEqual([0, 1]);
    expect(await second.opened).toEqual({ kind: "opened", memoryBytes: 65_536, suspended: false });
    expect(short(await second.handle.step(NO_BYTES, BUDGET))).toBe("done 4");
  });

  test("D4 goes on with a suspended step in another instance, from the state at its wait", async () => {
    open(2);
    const revision = revisionOf(waitingModule());
    const first = started(revision);
    await first.step(NO_BYTES, BUDGET);
    await first.resume(Uint8Array.of(1), { ...BUDGET, state: "base" });
    const taken = await first.takeState();
    const base = taken.kind === "state" ? taken.image.slice() : null;
    const waiting = await first.step(NO_BYTES, { ...BUDGET, stateAtWait: true });
    const wait = waiting.kind === "waiting" ? waiting.state!.slice() : null;
    const second = pool.open(revision, [base!, wait!], "t");
    expect(await second.opened).toMatchObject({ kind: "opened", suspended: true });
    expect(await second.handle.describe()).toMatchObject({ kind: "described", suspended: true, globals: [{ name: "g0" }, { name: "g1" }, { name: "g2", type: "i64", value: "2" }] });
    expect(short(await second.handle.resume(Uint8Array.of(1), BUDGET))).toBe("done 18");
  });

  test("is not opened from no images, nor from a wait under another preparation", async () => {
    open();
    const revision = revisionOf(waitingModule());
    expect(thrownBy(() => pool.open(revision, [], "t")).code).toBe("STORE_CORRUPT");
    const first = started(revision);
    const taken = await first.takeState();
    const base = taken.kind === "state" ? taken.image.slice() : NO_BYTES;
    const waiting = await first.step(NO_BYTES, { ...BUDGET, stateAtWait: true });
    const wait = waiting.kind === "waiting" ? waiting.state!.slice() : NO_BYTES;
    const later: Revision = { ...revision, preparation: "another" };
    expect(await pool.open(later, [base, wait], "t").opened).toMatchObject({ kind: "failed", error: { code: "STORE_CORRUPT", details: { metadata: { kind: "wait", image: "1" } } } });
    expect(await pool.open(later, [base], "t").opened).toMatchObject({ kind: "opened", suspended: false });
  });

  test("gets a corrupt checkpoint refused, and its steps with it", async () => {
    open();
    const { handle, opened } = pool.open(revisionOf(COUNTING), [Uint8Array.of(1, 2, 3)], "t");
    const step = handle.step(NO_BYTES, BUDGET);
    expect(await opened).toMatchObject({ kind: "failed", error: { code: "STORE_CORRUPT" } });
    expect(short(await step)).toBe("SHARD_LOST");
  });

  test("waits without holding its shard, and is resumed", async () => {
    open();
    const [waiting, other] = [started(revisionOf(waitingModule())), started(revisionOf(COUNTING))];
    const outcome = await waiting.step(NO_BYTES, BUDGET);
    expect(short(outcome)).toBe("waiting 2");
    expect(short(await other.step(NO_BYTES, BUDGET))).toBe("done 1");
    expect(short(await waiting.resume(Uint8Array.of(1), BUDGET))).toBe("done 18");
  });

  test("that failed is gone: what is sent to it afterwards is told so", async () => {
    open();
    const handle = started(hostile("traps"));
    expect([await handle.step(NO_BYTES, BUDGET), await handle.step(NO_BYTES, BUDGET), await handle.resume(NO_BYTES, BUDGET)].map(short)).toEqual(["GUEST_TRAP", "SHARD_LOST", "SHARD_LOST"]);
  });

  test("that was closed takes no more, and closing twice counts once", async () => {
    open();
    const handle = started(revisionOf(COUNTING));
    await handle.step(NO_BYTES, BUDGET);
    expect([handle.alive, pool.instances, pool.shards[0]?.instances]).toEqual([true, 1, 1]);
    handle.close();
    handle.close();
    expect([handle.alive, pool.instances, pool.shards[0]?.instances]).toEqual([false, 0, 0]);
    expect([await handle.step(NO_BYTES, BUDGET), await handle.resume(NO_BYTES, BUDGET)].map(short)).toEqual(["lost", "lost"]);
    expect([(await handle.takeState()).kind, (await handle.describe()).kind]).toEqual(["lost", "lost"]);
  });

  test("is placed where the fewest are", () => {
    open(3);
    const revision = revisionOf(COUNTING);
    const handles = Array.from({ length: 7 }, () => started(revision));
    expect(handles.map(({ shardIndex }) => shardIndex)).toEqual([0, 1, 2, 0, 1, 2, 0]);
    handles[1]?.close();
    handles[4]?.close();
    expect(started(revision).shardIndex).toBe(1);
  });

  test("keeps running on a revision that was forgotten, and a later one gets it anew", async () => {
    open();
    const revision = revisionOf(COUNTING);
    const handle = started(revision);
    await handle.step(NO_BYTES, BUDGET);
    pool.forget(revision);
    pool.forget(revisionOf(guestModule()));
    expect(short(await handle.step(NO_BYTES, BUDGET))).toBe("done 2");
    expect(short(await started(revision).step(NO_BYTES, BUDGET))).toBe("done 1");
  });

  test("logs under the tag it was opened with", async () => {
    open();
    const logging = guestModule({}, { imports: '(import "sirsi" "log" (func $log (param i32 i32 i32)))', fields: '(data (i32.const 48) "hello")', call: `(call $log (i32.const 3) (i32.const 48) (i32.const 5)) ${DONE}` });
    await started(revisionOf(logging), null, "agent-7").step(NO_BYTES, BUDGET);
    expect(lines).toEqual([{ tag: "agent-7", level: 3, line: "hello" }]);
  });
});

describe("a start function", () => {
  test.each([
    ["that traps", HOSTILE_MODULES["startTraps"]!(), "GUEST_TRAP"],
    ["that never ends", HOSTILE_MODULES["startLoops"]!(), "GUEST_FUEL_EXHAUSTED"],
    ["that calls itself without end", guestModule({}, { fields: "(func $start (call $start) (call $start)) (start $start)" }), "GUEST_TRAP"],
    ["that calls the host", guestModule({}, { imports: '(import "sirsi" "now" (func $now (result i64)))', fields: "(func $start (drop (call $now))) (start $start)" }), "GUEST_PROTOCOL"],
  ])("%s leaves no instance, and the shard serves on", async (_what, bytes, code) => {
    open();
    const neighbour = started(revisionOf(COUNTING));
    const { handle, opened } = pool.open(revisionOf(bytes, { fuelPerStep: 50_000_000 }), null, "t");
    expect(await opened).toMatchObject({ kind: "failed", error: { code } });
    expect(short(await handle.step(NO_BYTES, BUDGET))).toBe("SHARD_LOST");
    expect(short(await neighbour.step(NO_BYTES, BUDGET))).toBe("done 1");
  });
});

describe("H1 H3 a shard that ends", () => {
  test("settles what was sent and what is sent later as lost, and is replaced", async () => {
    open();
    const handles = Array.from({ length: 3 }, () => started(revisionOf(COUNTING)));
    await handles[0]?.step(NO_BYTES, BUDGET);
    const calls = handles.map((handle) => handle.step(NO_BYTES, BUDGET));
    const unopened = pool.open(revisionOf(COUNTING), null, "t");
    await killShard(0);
    expect((await Promise.all(calls)).every(({ kind }) => kind === "lost" || kind === "done")).toBe(true);
    expect(["lost", "opened"]).toContain((await unopened.opened).kind);
    expect(lost).toEqual(["0: its thread exited with code 1"]);
    expect(handles.map(({ alive }) => alive)).toEqual([false, false, false]);
    expect(short(await handles[0]!.step(NO_BYTES, BUDGET))).toBe("lost");
    expect(short(await started(revisionOf(COUNTING)).step(NO_BYTES, BUDGET))).toBe("done 1");
  });

  test("with the pool settles what is in hand as lost; the pool opens nothing any more", async () => {
    open(2);
    const handles = [started(revisionOf(ENDLESS, ENOUGH)), started(revisionOf(waitingModule()))];
    await handles[1]?.step(NO_BYTES, BUDGET);
    const calls = [handles[0]?.step(NO_BYTES, { ...BUDGET, fuel: 1e11 }), handles[1]?.resume(NO_BYTES, BUDGET)].map((call) => call!);
    while (lines.length === 0) await new Promise(setImmediate);
    // Nobody is blamed for the host's own decision, not even the guest that runs.
    await pool.close();
    expect((await Promise.all(calls)).map(short)[0]).toBe("lost");
    expect(thrownBy(() => pool.open(revisionOf(COUNTING), null, "t")).code).toBe("SHUTTING_DOWN");
    expect(lost).toEqual([]);
  });

  test("H2 for a stall blames the instance that ran, and no other", async () => {
    const clock = new ManualClock();
    open(1, clock, 1_000);
    const [culprit, waiting, behind] = [started(revisionOf(ENDLESS, ENOUGH)), started(revisionOf(waitingModule())), started(revisionOf(COUNTING))];
    await waiting.step(NO_BYTES, BUDGET);
    const calls = [culprit.step(NO_BYTES, { ...BUDGET, fuel: 1e11 }), waiting.resume(NO_BYTES, BUDGET), behind.step(NO_BYTES, BUDGET)];
    // A log line leaves the shard at once: it is in the step, and stays there.
    while (lines.length === 0) await new Promise(setImmediate);
    while (lost.length === 0) clock.advance(5_000);
    expect((await Promise.all(calls)).map(short)).toEqual(["lost as the culprit", "lost", "lost"]);
  });
});

test("a lost call is an error that says whose fault it was", () => {
  expect(lostError({ kind: "lost", culprit: true, why: "it hung" })).toMatchObject({ code: "GUEST_TRAP", retryable: false });
  expect(lostError({ kind: "lost", culprit: false, why: "it hung" })).toMatchObject({ code: "SHARD_LOST", retryable: true });
});
