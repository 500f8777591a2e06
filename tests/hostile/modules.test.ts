/** Bad module files and bad modules: each gets one clear, typed error, and the neighbours never notice. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../runtime/core/clock.ts";
import type { ErrorCode } from "../../runtime/core/errors.ts";
import type { GuestLimits } from "../../runtime/core/limits.ts";
import { type Admission, openAdmission } from "../../runtime/module/admission.ts";
import { TestHouse } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { testPolicy } from "../support/module-policy.ts";
import { builtRevision, FixedRevisions, revisionOf } from "../support/revisions.ts";
import { guestModule, HOSTILE_MODULES, type ManifestFields, oversizedModule, REFUSED_MODULES, truncatedModule } from "../support/wat.ts";

const MODULE_MAX_BYTES = 1024 * 1024;

let directory: string;
let admission: Admission;
let revisions: FixedRevisions;
let house: TestHouse;
let neighbour: string;
let asked = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "sirsi-hostile-"));
  admission = openAdmission({ policy: testPolicy(), cacheDir: directory, cacheMaxBytes: 1 << 24, moduleMaxBytes: MODULE_MAX_BYTES, admitTimeoutMs: 30_000, clock: systemClock });
  revisions = new FixedRevisions(await builtRevision("counter"));
  house = await TestHouse.open({ revisions });
  neighbour = await house.spawn("counter");
}, 120_000);

afterAll(async () => {
  await admission.close();
  await house.shut();
  rmSync(directory, { recursive: true, force: true });
});

/** One shard has them all; no call may be left on it. */
afterEach(async () => {
  await neighbourAnswers();
  expect(house.lost).toEqual([]);
  expect(house.pool.shards.map(({ pendingCalls }) => pendingCalls)).toEqual([0]);
});

async function neighbourAnswers(): Promise<void> {
  expect(await house.say(neighbour, "increment")).toBe(String(++asked));
}

/** What `bad` comes to while the neighbour answers before, during and after. */
async function amongNeighbours<T>(bad: () => Promise<T>): Promise<T> {
  await neighbourAnswers();
  const [outcome] = await Promise.all([bad(), neighbourAnswers(), neighbourAnswers()]);
  await neighbourAnswers();
  return outcome;
}

/** Bytes that look random, alike in every run. */
function noise(length: number): Uint8Array {
  let state = 42;
  return Uint8Array.from({ length }, () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 16);
}

const FILES: readonly (readonly [string, () => Uint8Array, ErrorCode, RegExp])[] = [
  ...Object.entries(REFUSED_MODULES).map(([name, { bytes, reason }]) => [name, bytes, "MODULE_REJECTED" as const, reason] as const),
  ["truncated", truncatedModule, "MODULE_REJECTED", /./],
  ["random bytes", () => noise(10_000), "MODULE_REJECTED", /does not start as WebAssembly/],
  ["random bytes behind a preamble", () => Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, ...noise(10_000)]), "MODULE_REJECTED", /./],
  ["huge", () => oversizedModule(MODULE_MAX_BYTES), "MODULE_TOO_LARGE", /modules\.max_bytes/],
  ["a section longer than the file", () => Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]), "MODULE_REJECTED", /./],
  ["a manifest that is no JSON", () => guestModule("{name:" as unknown as ManifestFields), "MODULE_REJECTED", /./],
];

describe("a module file", () => {
  test.each(FILES)("%s is refused with its reason", async (_what, bytes, code, reason) => {
    const outcome = await amongNeighbours(() => admission.admit(bytes(), { sidecar: null, ungranted: "pending" }));
    expect(outcome.kind).toBe("rejected");
    if (outcome.kind !== "rejected") return;
    expect(outcome.error.code).toBe(code);
    expect(outcome.error.message).toMatch(reason);
  });
});

/** What each hostile guest gets, at its very first call. */
const GUESTS: Readonly<Record<keyof typeof HOSTILE_MODULES, readonly [ErrorCode, RegExp]>> = {
  startTraps: ["GUEST_TRAP", /start function trapped/],
  startLoops: ["GUEST_FUEL_EXHAUSTED", /start function/],
  traps: ["GUEST_TRAP", /unreachable/],
  infiniteLoop: ["GUEST_FUEL_EXHAUSTED", /fuel/],
  memoryHungry: ["GUEST_MEMORY_EXHAUSTED", /memory/],
  bulkFill: ["GUEST_FUEL_EXHAUSTED", /fuel/],
  deepRecursion: ["GUEST_TRAP", /stack overflowed/],
  allocLies: ["GUEST_PROTOCOL", /room for a call/],
  allocFails: ["GUEST_MEMORY_EXHAUSTED", /no room for a call/],
  allocTraps: ["GUEST_TRAP", /unreachable/],
  pointerLies: ["GUEST_PROTOCOL", /outside its 65536 bytes/],
  lengthLies: ["GUEST_PROTOCOL", /more than the/],
  malformedResult: ["GUEST_PROTOCOL", /GuestResult/],
  abiLies: ["MODULE_REJECTED", /ABI 7/],
};

const LIMITS: Partial<GuestLimits> = { fuelPerStep: 100_000_000 };

describe("a guest", () => {
  test("of every hostile kind is known here", () => {
    expect(Object.keys(GUESTS).toSorted()).toEqual(Object.keys(HOSTILE_MODULES).toSorted());
  });

  test.each(Object.entries(GUESTS))("that %s gets one typed error, and leaves no agent and no instance", async (name, [code, words]) => {
    revisions.activate(revisionOf(HOSTILE_MODULES[name]!({ name: name.toLowerCase() }), LIMITS));
    const error = await amongNeighbours(() => rejection(house.spawn(name.toLowerCase())));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(words);
    expect([house.house.count, house.pool.instances]).toEqual([1, 1]);
  });

  test("that computes without end is stopped at its deadline, however much fuel it has", async () => {
    revisions.activate(revisionOf(HOSTILE_MODULES["infiniteLoop"]!({ name: "endless" }), { fuelPerStep: 100_000_000_000 }));
    const error = await amongNeighbours(() => rejection(house.spawn("endless", { deadline: systemClock.monotonic() + 150 })));
    expect(error.code).toBe("DEADLINE_EXCEEDED");
  });

  test("that starts more of itself than the host has room for is refused, one by one", async () => {
    const hungry = guestModule({ name: "hungry" }, { memory: '(memory (export "memory") 1000)' });
    revisions.activate(revisionOf(hungry, { memoryMaxBytes: 512 * 1024 * 1024 }));
    await using own = await TestHouse.open({ revisions, maxAgents: 5 });
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => own.spawn("hungry")));
    expect(outcomes.filter(({ status }) => status === "fulfilled").length).toBe(5);
  });
});
