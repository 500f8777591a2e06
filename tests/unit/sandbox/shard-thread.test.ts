/** The inside of a shard, run in the test's own thread behind a port that the test holds. */
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Revision } from "../../../runtime/module/revision.ts";
import { FrameReader, FrameWriter } from "../../../runtime/sandbox/frames.ts";
import { readOutcome } from "../../../runtime/sandbox/outcome-frame.ts";
import type { Outcome, StepBudget } from "../../../runtime/sandbox/outcomes.ts";
import { CommandKind, COUNTERS, type FromShard, writeCommand, writeOpen, writeRun } from "../../../runtime/sandbox/shard-protocol.ts";
import { NO_BYTES } from "../../support/instances.ts";
import { revisionOf } from "../../support/revisions.ts";
import { DONE, guestModule, HOSTILE_MODULES, waitingModule } from "../../support/wat.ts";

const { port, counters, posted } = vi.hoisted(() => {
  const messages: unknown[] = [];
  const listeners: ((message: unknown) => void)[] = [];
  return {
    posted: messages,
    counters: new SharedArrayBuffer(64),
    port: { on: (_name: string, listen: (message: unknown) => void) => listeners.push(listen), postMessage: (message: unknown) => messages.push(message), send: (message: unknown) => listeners.forEach((listen) => listen(message)) },
  };
});
vi.mock("node:worker_threads", () => ({ parentPort: port, workerData: { counters } }));

const BUDGET: StepBudget = { timeoutMs: 10_000, fuel: 5_000_000, state: "none", stateAtWait: false };
let nextKey = 1;

beforeAll(async () => {
  await import("../../../runtime/sandbox/shard-thread.ts");
});

beforeEach(() => {
  posted.length = 0;
});

function provide(revision: Revision): number {
  const key = nextKey++;
  const { compiled, limits, preparation, globals, canWait, manifest } = revision;
  port.send({ kind: "revision", revision: { key, name: manifest.name, compiled, limits, preparation, globals, canWait } });
  return key;
}

type Command = (out: FrameWriter) => void;

/** Sends one batch and gives its answers by the ids of their calls. */
function batch(...commands: readonly Command[]): ReadonlyMap<number, Outcome> {
  const out = new FrameWriter();
  for (const command of commands) command(out);
  const { length } = out;
  port.send({ kind: "batch", buffer: out.take(), length });
  const answers = new Map<number, Outcome>();
  for (const message of posted as FromShard[]) {
    if (message.kind !== "batch") continue;
    const from = new FrameReader(message.buffer, message.length);
    while (!from.done) answers.set(from.u32(), readOutcome(from));
  }
  return answers;
}

const open = (callId: number, instanceId: number, revisionKey: number, ...images: readonly Uint8Array[]): Command => (out) => writeOpen(out, instanceId, callId, revisionKey, images);
const step = (callId: number, instanceId: number, budget = BUDGET): Command => (out) => writeRun(out, CommandKind.step, instanceId, callId, budget, NO_BYTES);
const resume = (callId: number, instanceId: number): Command => (out) => writeRun(out, CommandKind.resume, instanceId, callId, BUDGET, Uint8Array.of(1));
const other = (kind: CommandKind, callId: number, instanceId: number): Command => (out) => writeCommand(out, kind, instanceId, callId);

describe("a shard's thread", () => {
  test("opens, steps, resumes and closes, in the order of the batch", () => {
    const key = provide(revisionOf(waitingModule()));
    const answers = batch(open(1, 10, key), step(2, 10), resume(3, 10), other(CommandKind.close, 0, 10), step(4, 10));
    expect([...answers].map(([callId, { kind }]) => [callId, kind])).toEqual([[1, "opened"], [2, "waiting"], [3, "done"], [4, "failed"]]);
    expect(answers.get(4)).toMatchObject({ error: { code: "SHARD_LOST" } });
  });

  test("takes states, describes and restores, a wait on top included", () => {
    const key = provide(revisionOf(waitingModule()));
    const first = batch(open(1, 75, key), other(CommandKind.takeState, 2, 75), step(3, 75, { ...BUDGET, stateAtWait: true }), other(CommandKind.describe, 4, 75), other(CommandKind.takeState, 5, 75));
    const [base, wait] = [first.get(2), first.get(3)];
    expect(first.get(4)).toMatchObject({ kind: "described", suspended: true });
    expect(first.get(5)).toMatchObject({ kind: "failed", error: { code: "INTERNAL" } });
    const images = [base?.kind === "state" ? base.image : null, wait?.kind === "waiting" ? wait.state : null].map((image) => image!.slice());
    posted.length = 0;
    const second = batch(open(1, 76, key, ...images), resume(2, 76), other(CommandKind.describe, 3, 999), other(CommandKind.takeState, 4, 999));
    expect([1, 2, 3, 4].map((callId) => second.get(callId))).toMatchObject([{ kind: "opened", suspended: true }, { kind: "done" }, { error: { code: "SHARD_LOST" } }, { error: { code: "SHARD_LOST" } }]);
  });

  test("shows a sign of life for every command, and nobody running in between", () => {
    const view = new Int32Array(counters);
    const before = view[COUNTERS.heartbeat] ?? 0;
    batch(step(1, 999), step(2, 999));
    expect((view[COUNTERS.heartbeat] ?? 0) - before).toBeGreaterThanOrEqual(2);
    expect(view[COUNTERS.running]).toBe(0);
  });

  test("forgets an instance that died, and keeps its neighbours", () => {
    const [bad, good] = [provide(revisionOf(HOSTILE_MODULES["traps"]!())), provide(revisionOf(guestModule()))];
    const answers = batch(open(1, 20, bad), open(2, 21, good), step(3, 20), step(4, 20), step(5, 21));
    expect([3, 4, 5].map((callId) => answers.get(callId))).toMatchObject([{ error: { code: "GUEST_TRAP" } }, { error: { code: "SHARD_LOST" } }, { kind: "done" }]);
  });

  test("refuses what it cannot open, each with its own reason", () => {
    const deep = guestModule({}, { fields: "(func $start (call $start) (call $start)) (start $start)" });
    const keys = [provide(revisionOf(HOSTILE_MODULES["startTraps"]!())), provide(revisionOf(HOSTILE_MODULES["startLoops"]!(), { fuelPerStep: 50_000 })), provide(revisionOf(deep))];
    const answers = batch(open(1, 30, 12_345), ...keys.map((key, i) => open(2 + i, 31 + i, key)));
    expect([1, 2, 3, 4].map((callId) => answers.get(callId))).toMatchObject([{ error: { code: "INTERNAL" } }, { error: { code: "GUEST_TRAP" } }, { error: { code: "GUEST_FUEL_EXHAUSTED" } }, { error: { code: "GUEST_TRAP" } }]);
  });

  test("says that it has no room when the machine gives it no memory, and rejects what does not link", () => {
    const key = provide(revisionOf(guestModule()));
    const instantiate = vi.spyOn(WebAssembly, "Instance");
    try {
      instantiate.mockImplementationOnce(function fail() {
        throw new RangeError("could not allocate memory");
      });
      expect(batch(open(1, 40, key)).get(1)).toMatchObject({ error: { code: "OVERLOADED", details: { retryAfterMs: 1_000 } } });
      instantiate.mockImplementationOnce(function fail() {
        throw new WebAssembly.LinkError("import object field is not a Function");
      });
      expect(batch(open(2, 41, key)).get(2)).toMatchObject({ error: { code: "MODULE_REJECTED" } });
    } finally {
      instantiate.mockRestore();
    }
  });

  test("posts log lines with the instance's id, and fills random bytes of its own", () => {
    const talking = guestModule(
      {},
      {
        imports: '(import "sirsi" "log" (func $log (param i32 i32 i32))) (import "sirsi" "random" (func $random (param i32 i32))) (import "sirsi" "now" (func $now (result i64)))',
        fields: '(data (i32.const 48) "hello")',
        call: `(call $log (i32.const 1) (i32.const 48) (i32.const 5)) (call $random (i32.const 64) (i32.const 16)) (i64.store (i32.const 80) (call $now)) (i64.const 0x4000000018)`,
      },
    );
    const answers = batch(open(1, 50, provide(revisionOf(talking))), step(2, 50));
    expect(posted).toContainEqual({ kind: "log", instanceId: 50, level: 1, line: "hello" });
    const outcome = answers.get(2);
    const result = outcome?.kind === "done" ? Buffer.from(outcome.result) : Buffer.alloc(24);
    expect(result.subarray(0, 16).every((byte) => byte === 0)).toBe(false);
    expect(Number(result.readBigInt64LE(16))).toBeGreaterThan(1_700_000_000_000);
  });

  test("does not know a revision any more that it was told to forget", () => {
    const key = provide(revisionOf(guestModule({}, { call: DONE })));
    port.send({ kind: "forget_revision", key });
    expect(batch(open(1, 60, key)).get(1)).toMatchObject({ kind: "failed", error: { code: "INTERNAL" } });
  });

  test("answers a long batch in parts, so that nobody waits for the last", () => {
    const slow = guestModule({}, { call: `(loop $l (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $l (i32.lt_u (local.get $a) (i32.const 3000000)))) ${DONE}` });
    const key = provide(revisionOf(slow));
    const answers = batch(open(1, 70, key), ...Array.from({ length: 12 }, (_, i) => step(2 + i, 70)));
    expect([...answers.values()].every(({ kind }) => kind === "opened" || kind === "done")).toBe(true);
    expect((posted as FromShard[]).filter(({ kind }) => kind === "batch").length).toBeGreaterThan(1);
  });
});
