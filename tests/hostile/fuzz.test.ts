/**
 * Thousands of broken modules and broken answers through the real host. Whatever they
 * are, each ends in a typed error or an answer; no call stays open, no shard dies, and
 * the neighbours answer. A failure prints its seed; SIRSI_FUZZ_SEED runs it again.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import { MessageSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { GuestEmitSchema, GuestRequestSchema, GuestResultSchema } from "../../runtime/contract/gen/sirsi/agent/v1/guest_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type ErrorCode, SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import { DEFAULT_GUEST_LIMITS } from "../../runtime/core/limits.ts";
import { type Admission, openAdmission } from "../../runtime/module/admission.ts";
import { admit } from "../../runtime/module/admit.ts";
import { inspect } from "../../runtime/module/inspect.ts";
import type { RestartConfig } from "../../runtime/agent/index.ts";
import { builtAgent } from "../support/built-agents.ts";
import { delivery, TestHouse } from "../support/house.ts";
import { mutateModule, type SplitModule, splitModule } from "../support/module-mutation.ts";
import { testPolicy } from "../support/module-policy.ts";
import { Mutator } from "../support/mutation.ts";
import { builtRevision, FixedRevisions, revisionOf } from "../support/revisions.ts";
import { answeringModule, type Script, scriptBytes, scriptedModule, type ScriptVerb } from "../support/scripted-guest.ts";
import { guestModule, HOSTILE_MODULES, waitingModule } from "../support/wat.ts";

const MODULES = 6_000;
/** Prepared and run, of those that are admitted: each takes the admission thread a while. */
const PREPARED_SMALL = 1_000;
const PREPARED_LARGE = 60;
const REPLIES = 6_000;
const AT_ONCE = 32;
const MEMORY_GROWTH_MAX_BYTES = 512 * 1024 * 1024;

/** Never gives an agent up: thousands of faults are its everyday here. */
const TIRELESS: RestartConfig = { maxRestarts: Number.MAX_SAFE_INTEGER, windowMs: 60_000, backoff: { firstMs: 0, maxMs: 0, factor: 1 } };
const POLICY = testPolicy({ defaultGrants: ["ask", "sleep"], limits: { ...DEFAULT_GUEST_LIMITS, fuelPerStep: 2_000_000, memoryMaxBytes: 2 * 1024 * 1024, stepTimeoutMs: 2_000 } });

/** What a guest can bring about, and nothing else: no INTERNAL, no SHARD_LOST. */
const OF_A_GUEST: ReadonlySet<ErrorCode> = new Set(["GUEST_TRAP", "GUEST_PROTOCOL", "GUEST_ERROR", "GUEST_LIMIT", "GUEST_FUEL_EXHAUSTED", "GUEST_MEMORY_EXHAUSTED", "DEADLINE_EXCEEDED", "MODULE_REJECTED", "CAPABILITY_DENIED"]);
const OF_A_FILE: ReadonlySet<ErrorCode> = new Set(["MODULE_REJECTED", "MODULE_TOO_LARGE"]);

let revisions: FixedRevisions;
let house: TestHouse;
let neighbour: string;
let asked = 0;

beforeAll(async () => {
  revisions = new FixedRevisions(await builtRevision("counter"));
  house = await TestHouse.open({ revisions, restart: TIRELESS });
  neighbour = await house.spawn("counter");
}, 120_000);

afterAll(async () => {
  await house.shut();
});

afterEach(async () => {
  await neighbourAnswers();
  expect(house.lost).toEqual([]);
  expect(house.pool.shards.map(({ pendingCalls }) => pendingCalls)).toEqual([0]);
  house.events.length = 0;
  house.logs.length = 0;
});

async function neighbourAnswers(): Promise<void> {
  const count = ++asked;
  expect(await house.say(neighbour, "increment")).toBe(String(count));
}

/** A mutator whose seed is told when the test fails. */
function seeded(): Mutator {
  const mutator = new Mutator();
  onTestFailed(() => {
    process.stderr.write(`\nrun it again with SIRSI_FUZZ_SEED=${mutator.seed}\n`);
  });
  return mutator;
}

/** Runs all jobs, some at a time. */
async function inTurn<T>(jobs: Iterable<T>, run: (job: T) => Promise<void>): Promise<void> {
  const queue = jobs[Symbol.iterator]();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = queue.next(); next.done !== true; next = queue.next()) await run(next.value);
    }),
  );
}

/** The code that something fails with; null when it does not. Anything but a SirsiError fails the test. */
async function codeOf(outcome: Promise<unknown>): Promise<ErrorCode | null> {
  try {
    await outcome;
    return null;
  } catch (thrown) {
    if (!(thrown instanceof SirsiError)) throw thrown;
    return thrown.code;
  }
}

describe("mutated modules", () => {
  let small: readonly SplitModule[];
  let large: readonly SplitModule[];
  let directory: string;
  let admission: Admission;

  beforeAll(async () => {
    small = [guestModule(), waitingModule(), scriptedModule(), answeringModule({ message: Uint8Array.of(0x1a, 0) }), ...Object.values(HOSTILE_MODULES).map((make) => make())].map(splitModule);
    large = await Promise.all(["echo", "counter", "relay"].map(async (name) => splitModule(readFileSync((await builtAgent(name)).file))));
    directory = mkdtempSync(join(tmpdir(), "sirsi-fuzz-"));
    admission = openAdmission({ policy: POLICY, cacheDir: directory, cacheMaxBytes: 1 << 26, moduleMaxBytes: 1 << 22, admitTimeoutMs: 20_000, clock: systemClock });
  }, 120_000);

  afterAll(async () => {
    await admission.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Null when it is refused as it should be. */
  function admitted(bytes: Uint8Array): Uint8Array | null {
    try {
      admit(inspect(bytes, null, 1 << 22), POLICY);
      return bytes;
    } catch (thrown) {
      if (!(thrown instanceof SirsiError)) throw thrown;
      expect(OF_A_FILE).toContain(thrown.code);
      return null;
    }
  }

  /** Through the admission thread, and when it lets it pass, on a shard: spawned, told something, ended. */
  async function live(bytes: Uint8Array): Promise<"rejected" | "ran"> {
    const outcome = await admission.admit(bytes, { sidecar: null, ungranted: "without" });
    if (outcome.kind !== "admitted") {
      expect(OF_A_FILE).toContain(outcome.error.code);
      return "rejected";
    }
    const { revision } = outcome;
    revisions.activate({ ...revision, manifest: { ...revision.manifest, name: `m${revision.digest}` } });
    const agent = house.spawn(`m${revision.digest}`);
    const failed = await codeOf(agent);
    if (failed !== null) {
      expect(OF_A_GUEST).toContain(failed);
      return "ran";
    }
    const agentId = await agent;
    const refused = await codeOf(house.say(agentId, "hello"));
    if (refused !== null) expect(OF_A_GUEST).toContain(refused);
    await house.house.stop(agentId, "seen enough");
    return "ran";
  }

  test(`${MODULES} of them are inspected and admitted or refused; those admitted are prepared, instantiated and called`, async () => {
    const mutator = seeded();
    const survivors: { readonly small: Uint8Array[]; readonly large: Uint8Array[] } = { small: [], large: [] };
    for (let i = 0; i < MODULES; i++) {
      const size = i % 4 === 0 ? "large" : "small";
      const from = size === "large" ? large : small;
      const survivor = admitted(mutateModule(mutator, mutator.pick(from), mutator.pick(mutator.below(2) === 0 ? small : large)));
      if (survivor !== null) survivors[size].push(survivor);
    }
    // A mutator that only makes scrap, or only sound modules, would test nothing.
    expect(survivors.small.length).toBeGreaterThan(PREPARED_SMALL);
    expect(survivors.large.length).toBeGreaterThan(PREPARED_LARGE);
    expect(survivors.small.length + survivors.large.length).toBeLessThan(MODULES - 500);

    const counts = { rejected: 0, ran: 0 };
    await inTurn([...survivors.small.slice(0, PREPARED_SMALL), ...survivors.large.slice(0, PREPARED_LARGE)], async (bytes) => {
      counts[await live(bytes)]++;
    });
    expect(counts.ran).toBeGreaterThan(20);
    expect(counts.rejected + counts.ran).toBe(PREPARED_SMALL + PREPARED_LARGE);
    expect(house.house.count).toBe(1);
  }, 180_000);
});

describe("mutated answers", () => {
  const VERBS: readonly ScriptVerb[] = ["answer", "answer", "emit", "request"];

  function wellFormed(mutator: Mutator, verb: ScriptVerb): Uint8Array {
    const message = create(MessageSchema, { messageId: "m", content: "ten green bottles", metadata: { key: "value", other: "ünïcödé" }, attachments: [{ name: "a", content: { case: "data", value: new Uint8Array(20) } }] });
    const error = { code: "not_found", message: "nothing here", details: { a: "b" } };
    switch (verb) {
      case "answer":
        return toBinary(
          GuestResultSchema,
          create(GuestResultSchema, {
            result: mutator.pick<MessageInitShape<typeof GuestResultSchema>["result"] & object>([
              { case: "message", value: { response: message, suggestions: [{ title: "do", action: { actionType: "message", command: "x" }, confidence: 0.5 }], metrics: { processingTimeMs: 1, performanceMetrics: { x: 2 } } } },
              { case: "message", value: { response: { content: "plain", metadata: { a: "b" } } } },
              { case: "error", value: error },
              { case: "done", value: {} },
              { case: "suggest", value: { suggestions: [{ title: "t" }] } },
            ]),
          }),
        );
      case "emit":
        return toBinary(
          GuestEmitSchema,
          create(GuestEmitSchema, {
            emit: mutator.pick<MessageInitShape<typeof GuestEmitSchema>["emit"] & object>([
              { case: "event", value: { eventType: "stock.low", topic: "shop.one", payload: new Uint8Array(9), attributes: { a: "b" } } },
              { case: "message", value: { agentId: neighbour, message: { content: "get", metadata: { a: "b" } } } },
              { case: "partial", value: { content: "half" } },
            ]),
          }),
        );
      case "request":
        return toBinary(
          GuestRequestSchema,
          create(GuestRequestSchema, {
            timeoutMs: mutator.below(3),
            request: mutator.pick<MessageInitShape<typeof GuestRequestSchema>["request"] & object>([
              { case: "ask", value: { agentId: neighbour, message: { content: "get" } } },
              { case: "sleep", value: { durationMs: BigInt(mutator.below(3)) } },
            ]),
          }),
        );
    }
  }

  function script(mutator: Mutator): Script {
    const verb = mutator.pick(VERBS);
    const sound = wellFormed(mutator, verb);
    const payload = mutator.below(10) === 0 ? sound : mutator.mutate(sound);
    return mutator.below(5) === 0 ? { verb, payload, lie: { pointer: mutator.u32(4_096), length: mutator.u32(payload.length) } } : { verb, payload };
  }

  // Commits make the durable ones slower by far.
  test.each([
    [REPLIES, "none"],
    [REPLIES / 4, "message"],
  ])("%i of them, to steps of agents with durability %s: each is an answer or an error of the guest's", async (replies, durability) => {
    const mutator = seeded();
    revisions.activate(revisionOf(scriptedModule({ name: `scripted-${durability}`, durability }), { fuelPerStep: 2_000_000, memoryMaxBytes: 2 * 1024 * 1024 }));
    const agents = await Promise.all(Array.from({ length: AT_ONCE }, () => house.spawn(`scripted-${durability}`)));
    const scripts = Array.from({ length: replies }, () => script(mutator));
    const before = process.memoryUsage().rss;
    const codes = new Map<string, number>();
    await inTurn(scripts.entries(), async ([i, told]) => {
      const message = create(MessageSchema, { messageId: newId(systemClock.now()), content: "do", attachments: [{ content: { case: "data", value: scriptBytes(told) } }] });
      const code = await codeOf(house.house.send(agents[i % AT_ONCE]!, delivery("", { message, deadline: systemClock.monotonic() + 1_500 })));
      if (code !== null) expect(OF_A_GUEST).toContain(code);
      codes.set(code ?? "ok", (codes.get(code ?? "ok") ?? 0) + 1);
      if (i % 200 === 0) await neighbourAnswers();
    });
    expect([...codes.values()].reduce((sum, count) => sum + count, 0)).toBe(scripts.length);
    for (const code of ["ok", "GUEST_PROTOCOL", "GUEST_ERROR"]) expect(codes.get(code)).toBeGreaterThan(scripts.length / 500);
    expect(process.memoryUsage().rss - before).toBeLessThan(MEMORY_GROWTH_MAX_BYTES);
    await Promise.all(agents.map((agent) => house.house.stop(agent, "done")));
    expect([house.house.count, house.pool.instances]).toEqual([1, 1]);
  }, 120_000);
});
