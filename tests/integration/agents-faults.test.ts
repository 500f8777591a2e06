/** What happens when a guest fails, a shard dies, a host restarts: contained, told, and brought back. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { SuggestionContextSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { RestartConfig } from "../../runtime/agent/index.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { Store } from "../../runtime/store/index.ts";
import { delivery, TestHouse, textMessage } from "../support/house.ts";
import { rejection } from "../support/instances.ts";
import { builtRevision, FixedRevisions, fixtureRevision, revisionOf } from "../support/revisions.ts";
import { revised } from "../support/revised.ts";
import { answeringModule } from "../support/scripted-guest.ts";
import { killShard, watchShards } from "../support/shard-threads.ts";

/** Starts again at once, and never gives up. */
const TIRELESS: RestartConfig = { maxRestarts: Number.MAX_SAFE_INTEGER, windowMs: 60_000, backoff: { firstMs: 0, maxMs: 0, factor: 1 } };

let mischief: Revision;
let revisions: FixedRevisions;
let house: TestHouse;

beforeAll(async () => {
  mischief = await fixtureRevision("mischief");
  const forgetful = await fixtureRevision("mischief", { name: "forgetful", durability: "none" });
  const patient = await fixtureRevision("mischief", { name: "patient", limits: { memoryMaxBytes: 4_194_304, fuelPerStep: 100_000_000_000 } });
  revisions = new FixedRevisions(mischief, forgetful, patient, await builtRevision("counter"));
  house = await TestHouse.open({ revisions, restart: TIRELESS });
}, 120_000);

afterAll(() => house.shut());

afterEach(() => {
  house.events.length = 0;
  house.logs.length = 0;
});

describe("A4 a step that fails", () => {
  const FAULTS: readonly (readonly [string, string, string, RegExp])[] = [
    ["an abort", "abort no such key", "GUEST_TRAP", /the agent aborted: no such key at assembly\/index\.ts:\d+:\d+/],
    ["a trap", "divide 0", "GUEST_TRAP", /divide by zero/],
    ["a recursion without end", "recurse", "GUEST_TRAP", /stack overflowed/],
    ["a loop without end", "spin", "GUEST_FUEL_EXHAUSTED", /all of the 50000000 fuel/],
    ["memory in small steps", "hoard 1000", "GUEST_MEMORY_EXHAUSTED", /more than the 4194304 bytes/],
    ["memory at one stroke", "grab 100000000", "GUEST_MEMORY_EXHAUSTED", /more than the 4194304 bytes/],
    ["a negative length", "grab -1", "GUEST_TRAP", /Invalid length/],
  ];

  test.each(FAULTS)("%s: told to the caller, without effect, and the next message is served from the last commit", async (_what, command, code, words) => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 7");
    const error = await rejection(house.say(agent, `add 100; emit counted; ${command}`));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(words);
    expect(await house.say(agent, "total")).toBe("7");
    expect(house.events.some(({ type }) => type === "counted")).toBe(false);
    expect(house.events.find(({ type }) => type === "ERROR_OCCURRED")).toMatchObject({ sourceAgentId: agent, attributes: { reason: code, message: error.message } });
    expect(await house.look(agent)).toMatchObject({ restarts: 1, health: "degraded", record: { statusMessage: error.message } });
  });

  test("of an agent without durability: it begins afresh", async () => {
    const agent = await house.spawn("forgetful");
    await house.say(agent, "add 7");
    expect((await rejection(house.say(agent, "divide 0"))).code).toBe("GUEST_TRAP");
    expect(await house.say(agent, "total")).toBe("0");
  });

  test("takes none of its neighbours with it: they answer before, during and after", async () => {
    const [bad, good] = [await house.spawn("mischief"), await house.spawn("mischief")];
    const failures = FAULTS.map(([, command]) => rejection(house.say(bad, command)));
    const answers = Array.from({ length: 30 }, () => house.say(good, "add 1"));
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 30 }, (_, i) => String(i + 1)));
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual(FAULTS.map(([, , code]) => code));
    expect(await house.say(good, "add 1")).toBe("31");
    expect(house.pool.shards.every(({ pendingCalls }) => pendingCalls === 0)).toBe(true);
  });

  test("because the message is larger than its memory is the sender's doing: told, not counted, and served on", async () => {
    const agent = await house.spawn("mischief");
    for (const chars of [5_000_000, 3_500_000]) {
      expect(await rejection(house.say(agent, `say ${"x".repeat(chars)}`))).toMatchObject({ code: "PAYLOAD_TOO_LARGE", message: expect.stringContaining("4194304") as string });
    }
    expect(await house.say(agent, "add 1")).toBe("1");
    expect(await house.look(agent)).toMatchObject({ restarts: 0, health: "healthy" });
  });

  test("after a wait takes back what it did before the wait", async () => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "add 1");
    expect((await rejection(house.say(agent, "add 10; emit counted; sleep 1; divide 0"))).code).toBe("GUEST_TRAP");
    expect(await house.say(agent, "total")).toBe("1");
    expect(house.events.some(({ type }) => type === "counted")).toBe(false);
  });
});

describe("a guest's log", () => {
  test("reaches the host with the agent's id and its level", async () => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "log 2");
    expect(house.logs).toEqual([{ tag: agent, level: 2, line: "line 0" }, { tag: agent, level: 2, line: "line 1" }]);
  });

  test("is cut to its rate: a flood is dropped", async () => {
    const agent = await house.spawn("mischief");
    await house.say(agent, "log 5000");
    const lines = house.logs.filter(({ tag }) => tag === agent);
    // Two seconds, when the flood met the end of one.
    expect(lines.length).toBeGreaterThanOrEqual(100);
    expect(lines.length).toBeLessThanOrEqual(201);
  });
});

describe("an agent that fails too often", () => {
  const STRICT: RestartConfig = { maxRestarts: 2, windowMs: 60_000, backoff: { firstMs: 20, maxMs: 20, factor: 1 } };

  test("waits before it is started again, and serves then", async () => {
    await using own = await TestHouse.open({ revisions, restart: STRICT });
    const agent = await own.spawn("mischief");
    const [first, second, third] = [rejection(own.say(agent, "divide 0")), rejection(own.say(agent, "divide 0")), own.say(agent, "add 1")];
    expect([(await first).code, (await second).code]).toEqual(["GUEST_TRAP", "GUEST_TRAP"]);
    expect(await own.look(agent)).toMatchObject({ record: { state: "ERROR" }, health: "degraded", restarts: 2 });
    expect(await third).toBe("1");
    expect((await own.look(agent))?.record.state).toBe("READY");
    expect(own.events.filter(({ type }) => type === "STATUS_CHANGED").map(({ attributes }) => [attributes["from"], attributes["to"]])).toEqual([["INITIALIZING", "READY"], ["BUSY", "ERROR"], ["ERROR", "READY"]]);
  });

  test("A3 is set aside with its mailbox: what waits there does so until its deadline, also after a restart of the host", async () => {
    const own = await TestHouse.open({ revisions, restart: { ...STRICT, maxRestarts: 0 } });
    const agent = await own.spawn("mischief");
    const soon = () => ({ deadline: own.clock.monotonic() + 50 });
    const [fault, waiting] = [rejection(own.say(agent, "abort beyond repair")), rejection(own.say(agent, "add 1", { deadline: own.clock.monotonic() + 300 }))];
    expect((await fault).message).toContain("beyond repair");
    expect((await own.look(agent))?.mailboxDepth).toBe(1);
    expect(await waiting).toMatchObject({ code: "AGENT_QUARANTINED", message: expect.stringContaining("beyond repair") as string });
    expect((await rejection(own.say(agent, "add 1", soon()))).code).toBe("AGENT_QUARANTINED");
    await own.shut(true);

    await using again = await TestHouse.open({ revisions, dataDir: own.dataDir });
    expect((await rejection(again.say(agent, "total", { deadline: again.clock.monotonic() + 50 }))).message).toContain("beyond repair");
    expect(await again.look(agent)).toMatchObject({ health: "unhealthy", record: { state: "ERROR" } });
  });

  test("works again when it is released, and takes what has waited", async () => {
    await using own = await TestHouse.open({ revisions, restart: { ...STRICT, maxRestarts: 0 } });
    const agent = await own.spawn("mischief");
    await own.say(agent, "add 1");
    await rejection(own.say(agent, "divide 0"));
    const waiting = [own.say(agent, "add 1"), own.say(agent, "add 1")];
    await own.house.release(agent);
    expect(await Promise.all(waiting)).toEqual(["2", "3"]);
    expect(await own.look(agent)).toMatchObject({ health: "healthy", record: { state: "READY", statusMessage: "" } });
    expect((await own.store.getAgent(agent))?.record.state).toBe("READY");
  });

  test("takes no more than its mailbox holds while it is set aside, and keeps no drain waiting", async () => {
    await using own = await TestHouse.open({ revisions: new FixedRevisions(await fixtureRevision("mischief", { name: "narrow", limits: { mailboxDepth: 2, memoryMaxBytes: 4_194_304, fuelPerStep: 50_000_000 } })), restart: { ...STRICT, maxRestarts: 0 } });
    const agent = await own.spawn("narrow");
    await rejection(own.say(agent, "divide 0"));
    const caller = new AbortController();
    const waiting = [rejection(own.say(agent, "add 1")), rejection(own.say(agent, "add 1", { signal: caller.signal }))];
    expect((await rejection(own.say(agent, "add 1"))).code).toBe("MAILBOX_FULL");
    // One whose caller has gone makes room.
    caller.abort();
    const last = rejection(own.say(agent, "add 1"));
    expect((await waiting[1])?.code).toBe("CANCELLED");
    await own.house.drain(60_000);
    await own.house.close();
    expect([(await waiting[0])?.code, (await last).code]).toEqual(["SHUTTING_DOWN", "SHUTTING_DOWN"]);
  });

  test("stays set aside when its metadata is changed and the host restarts", async () => {
    const own = await TestHouse.open({ revisions, restart: { ...STRICT, maxRestarts: 0 } });
    const agent = await own.spawn("mischief");
    await rejection(own.say(agent, "divide 0"));
    await own.house.update(agent, { metadata: { note: "look at this" } });
    await own.shut(true);
    await using again = await TestHouse.open({ revisions, dataDir: own.dataDir });
    expect((await rejection(again.say(agent, "total", { deadline: again.clock.monotonic() + 50 }))).code).toBe("AGENT_QUARANTINED");
    expect((await again.look(agent))?.record.metadata).toEqual({ note: "look at this" });
  });

  test("may still be deleted", async () => {
    await using own = await TestHouse.open({ revisions, restart: { ...STRICT, maxRestarts: 0 } });
    const agent = await own.spawn("mischief");
    await rejection(own.say(agent, "divide 0"));
    await own.house.stop(agent, "useless");
    expect([own.house.count, own.pool.instances]).toEqual([0, 0]);
  });
});

test("a checkpoint that was altered on disk is refused, and the agent is set aside, not begun afresh", async () => {
  let altered = false;
  const wrapStore = (store: Store): Store =>
    new Proxy(store, {
      get(target, name) {
        const found = target[name as keyof Store] as unknown;
        if (name === "getState" && altered) {
          return async (agentId: string) => {
            const chain = await target.getState(agentId, null);
            const base = chain!.base.slice();
            base[20] = (base[20] ?? 0) ^ 1;
            return { ...chain, base };
          };
        }
        return typeof found === "function" ? (found as (...args: unknown[]) => unknown).bind(target) : found;
      },
    });
  await using own = await TestHouse.open({ revisions, wrapStore, restart: TIRELESS });
  const agent = await own.spawn("mischief");
  await own.say(agent, "add 5");
  altered = true;
  await rejection(own.say(agent, "divide 0"));
  expect(await rejection(own.say(agent, "total"))).toMatchObject({ code: "STORE_CORRUPT", message: expect.stringContaining("checksum") as string });
  expect(await own.look(agent)).toMatchObject({ health: "unhealthy", record: { state: "ERROR", statusMessage: expect.stringContaining("checksum") as string } });
});

describe("a host that restarts", () => {
  test("D3 has every agent as it was last answered for, and answers a repeat as before", async () => {
    const own = await TestHouse.open({ revisions });
    const [counter, agent] = [await own.spawn("counter"), await own.spawn("mischief")];
    await own.say(counter, "add 5");
    const [counted, refused] = [textMessage("increment"), textMessage("add 3; fail out_of_cheese")];
    expect((await own.house.send(counter, delivery("", { message: counted }))).response.content).toBe("6");
    await rejection(own.house.send(agent, delivery("", { message: refused })));
    await own.shut(true);

    await using again = await TestHouse.open({ revisions, dataDir: own.dataDir });
    expect((await again.house.restore()).restored).toBe(2);
    const repeat = await again.house.send(counter, delivery("", { message: counted }));
    expect([repeat.response.content, repeat.replayed]).toEqual(["6", true]);
    expect((await rejection(again.house.send(counter, delivery("", { message: { ...counted, content: "reset" } })))).code).toBe("MESSAGE_ID_REUSED");
    expect(await rejection(again.house.send(agent, delivery("", { message: refused })))).toMatchObject({ code: "GUEST_ERROR", details: { metadata: { guest_code: "out_of_cheese" } } });
    expect([await again.say(counter, "get"), await again.say(agent, "total")]).toEqual(["6", "3"]);
    expect((await again.house.exchanges(counter, Infinity, 10)).map(({ sequence }) => sequence)).toEqual([3, 2, 1]);
    expect((await again.look(counter))?.counters.messagesProcessed).toBe(3);
  });

  test("D2 acts once on a message that comes twice at once, before the store was asked", async () => {
    const own = await TestHouse.open({ revisions });
    const counter = await own.spawn("counter");
    await own.say(counter, "add 5");
    await own.shut(true);
    await using again = await TestHouse.open({ revisions, dataDir: own.dataDir });
    await again.house.restore();
    const message = textMessage("increment");
    const replies = await Promise.all([1, 2, 3].map(() => again.house.send(counter, delivery("", { message }))));
    expect(replies.map(({ response }) => response.content)).toEqual(["6", "6", "6"]);
    expect(replies.filter(({ replayed }) => !replayed).length).toBe(1);
    expect(await again.say(counter, "get")).toBe("6");
  });

  test("knows nothing of an agent that was stopped, and keeps one whose revision is gone out of reach", async () => {
    const own = await TestHouse.open({ revisions });
    const [gone, kept] = [await own.spawn("counter"), await own.spawn("mischief")];
    await own.house.stop(gone, "done");
    await own.shut(true);
    await using again = await TestHouse.open({ revisions: new FixedRevisions(await builtRevision("counter")), dataDir: own.dataDir });
    expect(again.house.count).toBe(1);
    expect((await rejection(again.say(kept, "total"))).message).toContain("no revision");
    expect((await rejection(again.say(gone, "get"))).code).toBe("AGENT_TERMINATED");
    expect((await again.store.getAgent(kept))?.record.state).toBe("READY");
  });

  test("opens a state at rest under another preparation of the same bytes", async () => {
    const own = await TestHouse.open({ revisions });
    const agent = await own.spawn("counter");
    await own.say(agent, "add 5");
    await own.shut(true);
    const other: Revision = { ...(await builtRevision("counter")), preparation: "another" };
    await using again = await TestHouse.open({ revisions: new FixedRevisions(other), dataDir: own.dataDir, restart: TIRELESS });
    expect(await again.say(agent, "increment")).toBe("6");
  });
});

describe("a guest that breaks the contract", () => {
  test.each([
    ["answers a message as if it were an event", answeringModule({}), /answered a message with done/],
    ["answers init with a reply", answeringModule({ init: Uint8Array.of(0x1a, 0) }, { name: "hasty" }), /answered init with message/],
    ["asks for suggestions and gets a reply", answeringModule({ message: Uint8Array.of(0x1a, 0), suggest: Uint8Array.of(0x1a, 0) }, { name: "chatty" }), /answered a request for suggestions with message/],
  ])("%s, and is told so", async (_what, bytes, words) => {
    const revision = revisionOf(bytes);
    revisions.activate(revision);
    const told = async () => {
      const agent = await house.spawn(revision.manifest.name);
      await house.say(agent, "hi");
      await house.house.suggest(agent, create(SuggestionContextSchema), 1, null, null);
    };
    expect(await rejection(told())).toMatchObject({ code: "GUEST_PROTOCOL", message: expect.stringMatching(words) as string });
  });

  test.each([
    ["save with a reply", { save: Uint8Array.of(0x1a, 0) }, /answered save with message/],
    ["load with a reply", { save: Uint8Array.of(0x3a, 0), load: Uint8Array.of(0x1a, 0) }, /answered load with message/],
    ["save with a refusal", { save: Uint8Array.of(0x0a, 0) }, /the agent answered unknown/],
  ])("answers %s: the swap fails with the reason", async (_what, answers, words) => {
    const bytes = answeringModule({ message: Uint8Array.of(0x1a, 0), ...answers }, { name: "mover", onSwap: "migrate" });
    await using own = await TestHouse.open({ revisions: new FixedRevisions(revisionOf(bytes)) });
    await own.spawn("mover");
    expect(await own.swap("mover", revisionOf(revised(bytes, { version: "2.0.0" })))).toMatchObject({ failed: 1, failureReason: expect.stringMatching(words) as string });
  });
});

describe("a shard that dies", () => {
  test("H1 A3 settles every call in hand: repeated where nothing had shown, told where it had", async () => {
    watchShards();
    const clock = new ManualClock();
    await using own = await TestHouse.open({ revisions, clock, restart: TIRELESS });
    const agents = await Promise.all(Array.from({ length: 10 }, () => own.spawn("mischief")));
    const waiting = await own.spawn("mischief");
    const fresh = await own.spawn("forgetful");
    await own.say(fresh, "add 5");
    await Promise.all(agents.map((agent) => own.say(agent, "add 5")));
    let waits = () => {};
    const begun = new Promise<void>((resolve) => (waits = resolve));
    const inWait = rejection(own.say(waiting, "add 9; preview now; sleep 50", { onPartial: waits }));
    await begun;
    const calls = agents.map((agent) => own.say(agent, "add 1; spin 100000; total"));
    const killed = killShard(0);
    expect(await Promise.all(calls)).toEqual(agents.map(() => "6; 100000; 6"));
    await killed;
    expect(own.lost.length).toBe(1);
    clock.advance(50);
    expect((await inWait).code).toBe("SHARD_LOST");
    expect(await own.say(waiting, "total")).toBe("0");
    // Without durability it begins afresh; and no fault is held against anybody.
    expect(await own.say(fresh, "total")).toBe("0");
    expect(await Promise.all(agents.map(async (agent) => (await own.look(agent))?.restarts))).toEqual(agents.map(() => 0));
    expect(own.pool.shards.map(({ pendingCalls }) => pendingCalls)).toEqual([0]);
  });

  test("is replaced again and again, and two shards are two", async () => {
    watchShards();
    await using own = await TestHouse.open({ revisions, shards: 2, restart: TIRELESS });
    const agents = await Promise.all(Array.from({ length: 4 }, () => own.spawn("counter")));
    expect(own.pool.shards.map(({ instances }) => instances)).toEqual([2, 2]);
    for (const index of [0, 1, 0]) {
      await killShard(index);
      await Promise.all(agents.map((agent) => own.say(agent, "increment")));
    }
    expect(await Promise.all(agents.map((agent) => own.say(agent, "get")))).toEqual(["3", "3", "3", "3"]);
    expect(own.lost.length).toBe(3);
  });

  test("loses a spawn in hand, which is then not there", async () => {
    watchShards();
    await using own = await TestHouse.open({ revisions });
    const agent = await own.spawn("mischief");
    const spawned = rejection(own.spawn("patient", { config: { ...own.spec("").config, parameters: { on_init: "spin" } } }));
    await new Promise(setImmediate);
    await killShard(0);
    // A thread that ends while a guest runs on it may have ended because of it.
    expect(["SHARD_LOST", "GUEST_TRAP"]).toContain((await spawned).code);
    expect(await own.agents()).toEqual([agent]);
    expect(await own.say(agent, "add 1")).toBe("1");
  });

  test("H2 because a guest hung it: that guest is told and counted, its neighbours are only repeated", async () => {
    const watchdog = new ManualClock();
    await using own = await TestHouse.open({ revisions, poolClock: watchdog, stallMs: 1_000, restart: TIRELESS });
    const [culprit, neighbour] = [await own.spawn("patient"), await own.spawn("mischief")];
    await own.say(culprit, "add 3");
    const hung = rejection(own.say(culprit, "add 4; log 1; spin"));
    const behind = own.say(neighbour, "add 1");
    // A log line leaves the shard at once: it is in the step, and stays there.
    while (own.logs.length === 0) await new Promise(setImmediate);
    while (own.lost.length === 0) watchdog.advance(5_000);
    expect(await hung).toMatchObject({ code: "GUEST_TRAP", details: { metadata: { trap: "hung" } } });
    expect(await behind).toBe("1");
    expect(await own.say(culprit, "total")).toBe("3");
    expect([(await own.look(culprit))?.restarts, (await own.look(neighbour))?.restarts]).toEqual([1, 0]);
    expect(own.lost).toEqual(["it showed no sign of life for 1000 ms"]);
  });

  test("H2 is not taken for one that works: signs of life keep it", async () => {
    const watchdog = new ManualClock();
    await using own = await TestHouse.open({ revisions, poolClock: watchdog, stallMs: 1_000 });
    const agent = await own.spawn("mischief");
    for (let i = 1; i <= 20; i++) {
      expect(await own.say(agent, "add 1")).toBe(String(i));
      watchdog.advance(300);
    }
    expect(own.lost).toEqual([]);
  });
});
