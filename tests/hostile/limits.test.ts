/** Every limit of a guest, each with a guest that goes over it. */
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { GUEST_LIMITS, type GuestLimitName, type GuestLimits } from "../../runtime/core/limits.ts";
import type { ErrorCode } from "../../runtime/core/errors.ts";
import { delivery, TestHouse } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { builtRevision, FixedRevisions, revisionOf } from "../support/revisions.ts";
import { revised } from "../support/revised.ts";
import { answeringModule } from "../support/scripted-guest.ts";
import { DONE, guestModule, HOSTILE_MODULES, REQUEST_IMPORT } from "../support/wat.ts";

let revisions: FixedRevisions;
let house: TestHouse;
let neighbour: string;

beforeAll(async () => {
  revisions = new FixedRevisions(await builtRevision("echo"));
  house = await TestHouse.open({ revisions });
  neighbour = await house.spawn("echo");
}, 120_000);

afterAll(() => house.shut());

afterEach(async () => {
  expect(await house.say(neighbour, "still there?")).toBe("still there?");
  expect(house.lost).toEqual([]);
});

const result = (shape: Parameters<typeof create<typeof GuestResultSchema>>[1]) => toBinary(GuestResultSchema, create(GuestResultSchema, shape));
const EMPTY_MESSAGE = result({ result: { case: "message", value: {} } });

/** Does something once for a message and answers; other calls are answered with Done. */
function busy(imports: string, body: string): Uint8Array {
  return guestModule({ name: "busy", requests: ["sleep"] }, { imports, fields: '(data (i32.const 32) "\\1a\\00")', call: `(if (i32.ne (i32.load8_u (local.get $ptr)) (i32.const 0x12)) (then (return ${DONE}))) ${body} (i64.const 0x2000000002)` });
}

const EMIT = busy('(import "sirsi" "emit" (func $emit (param i32 i32)))', "(loop $l (call $emit (i32.const 4096) (i32.const 0)) (br $l))");
const EMIT_MUCH = busy('(import "sirsi" "emit" (func $emit (param i32 i32)))', "(call $emit (i32.const 4096) (i32.const 2000))");
const LOGGING = busy('(import "sirsi" "log" (func $log (param i32 i32 i32)))', "(loop $l (call $log (i32.const 2) (i32.const 4096) (i32.const 100)) (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $l (i32.lt_u (local.get $a) (i32.const 50))))");
/** GuestRequest{sleep{}} for ever. */
const ASKING = busy(REQUEST_IMPORT, "(i32.store16 (i32.const 40) (i32.const 0x0012)) (loop $l (call $free (i32.wrap_i64 (i64.shr_u (call $request (i32.const 40) (i32.const 2)) (i64.const 32)))) (br $l))");

async function spawned(bytes: Uint8Array, limits: Partial<GuestLimits>): Promise<string> {
  const revision = revisionOf(bytes, limits);
  revisions.activate(revision);
  return await house.spawn(revision.manifest.name);
}

async function errorOfMessage(bytes: Uint8Array, limits: Partial<GuestLimits>): Promise<ErrorCode> {
  return (await rejection(house.say(await spawned(bytes, limits), "go"))).code;
}

async function errorOfSpawn(bytes: Uint8Array, limits: Partial<GuestLimits>): Promise<ErrorCode> {
  const revision = revisionOf(bytes, limits);
  revisions.activate(revision);
  return (await rejection(house.spawn(revision.manifest.name))).code;
}

async function linesLogged(limits: Partial<GuestLimits>): Promise<readonly string[]> {
  const agent = await spawned(LOGGING, limits);
  await house.say(agent, "go");
  return house.logs.filter(({ tag, level }) => tag === agent && level === 2).map(({ line }) => line);
}

/** What going over each limit comes to: the error's code, or "dropped". */
const OVER: Readonly<Record<GuestLimitName, () => Promise<string>>> = {
  memoryMaxBytes: () => errorOfSpawn(HOSTILE_MODULES["memoryHungry"]!({ name: "hungry" }), { memoryMaxBytes: 2 * 1024 * 1024 }),
  fuelPerStep: () => errorOfSpawn(HOSTILE_MODULES["infiniteLoop"]!({ name: "endless" }), { fuelPerStep: 10_000 }),
  stepTimeoutMs: () => errorOfMessage(busy("", "(loop $l (br $l))"), { stepTimeoutMs: 100, fuelPerStep: 100_000_000_000 }),
  mailboxDepth: async () => {
    const agent = await spawned(answeringModule({ message: EMPTY_MESSAGE }), { mailboxDepth: 3 });
    const sent = await Promise.allSettled(Array.from({ length: 9 }, () => house.house.send(agent, delivery("go"))));
    const refused = sent.flatMap((outcome) => (outcome.status === "rejected" ? [(outcome.reason as { code: string }).code] : []));
    expect(refused.length).toBe(5);
    return refused[0]!;
  },
  outboxBytes: () => errorOfMessage(EMIT_MUCH, { outboxBytes: 1_999 }),
  outboxCount: () => errorOfMessage(EMIT, { outboxCount: 5 }),
  hostCallsPerStep: () => errorOfMessage(ASKING, { hostCallsPerStep: 7 }),
  resultMaxBytes: () => errorOfMessage(answeringModule({ message: result({ result: { case: "message", value: { response: { content: "x".repeat(2_000) } } } }) }), { resultMaxBytes: 1_024 }),
  stateMaxBytes: async () => {
    const bytes = answeringModule({ save: result({ result: { case: "save", value: { schema: 1, state: new Uint8Array(1_001) } } }) }, { name: "keeper", onSwap: "migrate" });
    await spawned(bytes, { stateMaxBytes: 1_000 });
    const report = await house.swap("keeper", revisionOf(revised(bytes, { version: "2.0.0" })));
    expect(report).toMatchObject({ failed: 1, failureReason: expect.stringContaining("more than the 1000 it may have (state_max_bytes)") as string });
    return "GUEST_LIMIT";
  },
  logLinesPerSecond: async () => {
    const lines = await linesLogged({ logLinesPerSecond: 10 });
    // Twice as many when the second ends among them.
    return lines.length >= 10 && lines.length <= 20 ? "dropped" : `${lines.length} lines`;
  },
  logLineBytes: async () => ((await linesLogged({ logLineBytes: 64 })).every(({ length }) => length === 64) ? "dropped" : "whole"),
};

describe("a guest that goes over", () => {
  test.each(Object.entries(OVER))("%s gets the error of the table", async (name, goOver) => {
    expect(await goOver()).toBe(GUEST_LIMITS[name as GuestLimitName].error);
  });
});
