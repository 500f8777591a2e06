import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { armFault } from "../../runtime/core/fault-points.ts";
import { SwapState } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { digestOf } from "../../runtime/module/inspect.ts";
import { mischief, SwapRig } from "../support/swap-rig.ts";
import { HOSTILE_MODULES } from "../support/wat.ts";

let rig: SwapRig;
afterEach(async () => {
  armFault(null);
  await rig[Symbol.asyncDispose]();
});

/** Agents that are made while others move: enough to fall on each turn of a swap. */
const NEWCOMERS_MAX = 40;

async function open(settings: Readonly<Record<string, string>> = {}, first?: Uint8Array): Promise<void> {
  rig = await SwapRig.open({ mischief: first ?? (await mischief("1.0.0")) }, settings);
}

async function spawnSome(count: number, parameters: Record<string, string> = {}): Promise<string[]> {
  const agents = await Promise.all(Array.from({ length: count }, () => rig.spawn("mischief", parameters)));
  for (const agent of agents) await rig.say(agent, "add 5");
  return agents;
}

const totals = (agents: readonly string[]) => Promise.all(agents.map((agent) => rig.say(agent, "total")));
const active = async () => (await rig.module()).active?.version;

describe("a swap that goes well", () => {
  test("S2 takes its turns: rehearsed, tried on canaries, moved, watched, kept; each agent with its state", async () => {
    await open();
    const agents = await spawnSome(6);
    const served = await rig.install(await mischief("2.0.0"), { canaryPercent: 34 });
    expect(served).toMatchObject({ state: SwapState.WATCHING, moved: 6, kept: 0, failed: 0, reason: "" });
    expect(served.rehearsal).toEqual(["3 agents rehearsed, 3 messages told again", expect.stringMatching(/^load\(\) needed \d+\.\d ms at most$/), "every message was answered as before"]);
    expect(await totals(agents)).toEqual(agents.map(() => "5"));
    const kept = await rig.until(SwapState.KEPT);
    expect(kept).toMatchObject({ swapId: served.swapId, moved: 6, canaryPercent: 34, watchMs: 400n });
    expect(kept.pauseP50Ms).toBeGreaterThan(0);
    expect(kept.pauseMaxMs).toBeGreaterThanOrEqual(kept.pauseP99Ms);
    expect(await rig.peopled()).toEqual({ "2.0.0": 6 });
  });

  test("S1 loses, doubles and reorders nothing under traffic, there and back by rollback, nor for agents made meanwhile", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "50" });
    const agents = await spawnSome(8);
    const traffic = { on: true };
    const talk = async (agent: string, from: number): Promise<readonly [string, number]> => {
      let count = from;
      while (traffic.on) {
        const answers = await Promise.all(Array.from({ length: 4 }, () => rig.say(agent, "add 1; sleep 0")));
        expect(answers).toEqual(Array.from({ length: 4 }, () => `${++count}; slept`));
      }
      return [agent, count];
    };
    const talks = agents.map((agent) => talk(agent, 5));
    const born = (async () => {
      while (traffic.on && talks.length < NEWCOMERS_MAX) talks.push(talk(await rig.spawn(), 0));
    })();
    await rig.install(await mischief("2.0.0"));
    await rig.rollback();
    const last = await rig.install(await mischief("3.0.0"));
    expect(last).toMatchObject({ failed: 0, reason: "" });
    traffic.on = false;
    await born;
    const counted = await Promise.all(talks);
    expect(await totals(counted.map(([agent]) => agent))).toEqual(counted.map(([, count]) => String(count)));
    await rig.until(SwapState.KEPT);
    expect(await rig.peopled()).toEqual({ "3.0.0": counted.length });
  });

  test("S3 leaves an agent in a wait where it is, is not held up by it, and moves it when its step has ended", async () => {
    await open();
    const [waiting = "", other = ""] = await spawnSome(2);
    const next = await mischief("2.0.0");
    // Longer than an install takes on a busy machine: it is not to be over before the others have moved.
    const inHand = rig.say(waiting, "add 1; sleep 6000; total");
    const served = await rig.install(next, { canaryPercent: 1 });
    expect(served).toMatchObject({ moved: 1, kept: 1, failed: 0 });
    expect(await rig.peopled()).toEqual({ "1.0.0": 1, "2.0.0": 1 });
    expect(await inHand).toBe("6; slept; 6");
    expect(await totals([waiting, other])).toEqual(["6", "5"]);
    expect(await rig.peopled()).toEqual({ "2.0.0": 2 });
    await expect.poll(async () => (await rig.swaps())[0], { timeout: 10_000 }).toMatchObject({ state: SwapState.KEPT, moved: 2, kept: 0 });
  });

  test("of a module without agents is recorded, and done at once", async () => {
    await open();
    expect(await rig.install(await mischief("2.0.0"), { watchMs: 3_600_000 })).toMatchObject({ state: SwapState.KEPT, moved: 0, kept: 0 });
    expect([await active(), (await rig.swaps())[0]?.state]).toEqual(["2.0.0", SwapState.KEPT]);
  });

  test("keep: those that are there finish on their revision, also when they have slept; new ones get the new", async () => {
    await open({ SIRSI_AGENTS_MAX_RESIDENT: "1" });
    const agents = await spawnSome(3);
    expect(await rig.install(await mischief("2.0.0", {}, { onSwap: "keep" }))).toMatchObject({ state: SwapState.WATCHING, moved: 0, kept: 3 });
    await rig.spawn();
    expect(await totals(agents)).toEqual(["5", "5", "5"]);
    expect(await rig.peopled()).toEqual({ "1.0.0": 3, "2.0.0": 1 });
  });

  test("reset: they begin afresh on the new one", async () => {
    await open();
    const agents = await spawnSome(2);
    expect(await rig.install(await mischief("2.0.0", {}, { onSwap: "reset" }))).toMatchObject({ moved: 2 });
    expect(await totals(agents)).toEqual(["0", "0"]);
  });

  test("without durability the state crosses by save and load", async () => {
    const loose = { durability: "none" };
    await open({}, await mischief("1.0.0", {}, loose));
    const agents = await spawnSome(3);
    expect(await rig.install(await mischief("2.0.0", {}, loose))).toMatchObject({ moved: 3, failed: 0 });
    expect(await totals(agents)).toEqual(["5", "5", "5"]);
    expect(await rig.peopled()).toEqual({ "2.0.0": 3 });
  });

  test("S6 agents that sleep are not woken for it, and move when they are addressed, after a restart too", async () => {
    await open({ SIRSI_AGENTS_MAX_RESIDENT: "1" });
    const agents = await spawnSome(4);
    await expect.poll(async () => (await rig.peopled())["1.0.0"]).toBe(4);
    const served = await rig.install(await mischief("2.0.0"), { watchMs: 0 });
    expect(served.moved + served.kept).toBe(4);
    expect(served.kept).toBeGreaterThanOrEqual(2);
    expect(await rig.say(agents[0]!, "add 1")).toBe("6");
    await rig.restart();
    expect((await rig.peopled())["1.0.0"]).toBeGreaterThanOrEqual(1);
    expect(await totals(agents)).toEqual(["6", "5", "5", "5"]);
    expect(await rig.peopled()).toEqual({ "2.0.0": 4 });
  });
});

describe("S4 a revision that cannot take over is rejected by its rehearsal: nothing moves", () => {
  const REFUSALS: readonly (readonly [string, () => Uint8Array | Promise<Uint8Array>, RegExp])[] = [
    ["load traps", () => mischief("2.0.0", { on_load: "divide 0" }), /load\(\) of revision 2\.0\.0 failed on a copy of agent .*divide by zero/],
    ["load loops", () => mischief("2.0.0", { on_load: "spin" }), /load\(\) of revision 2\.0\.0 failed .*fuel/],
    ["load returns an error", () => mischief("2.0.0", { on_load: "fail" }), /load\(\) .*on_load was told to fail/],
    ["load waits for something", () => mischief("2.0.0", { on_load: "sleep 10" }), /load\(\) asked the host for something/],
    ["init traps", () => mischief("2.0.0", { on_init: "divide 0" }), /init\(\) of revision 2\.0\.0 failed/],
    ["it answers garbage", () => HOSTILE_MODULES["malformedResult"]!({ name: "mischief", version: "2.0.0" }), /init\(\) of revision 2\.0\.0 failed .*not a sirsi\.agent\.v1\.GuestResult/],
  ];

  test.each(REFUSALS)("when %s", async (_what, bad, words) => {
    await open();
    const agents = await spawnSome(2);
    const bytes = await bad();
    const served = await rig.install(bytes);
    expect(served).toMatchObject({ state: SwapState.REJECTED, moved: 0, failed: 0, reverted: 0, reason: expect.stringMatching(words) as string });
    expect(served.rehearsal).toContain(served.reason);
    expect([await active(), await rig.peopled(), await totals(agents)]).toEqual(["1.0.0", { "1.0.0": 2 }, ["5", "5"]]);
    const module = await rig.module();
    expect(module.lastError).toMatch(words);
    expect(module.revisions.find(({ digest }) => digest === digestOf(bytes))?.reason).toBe(served.reason);
  });

  test("and is not taken again by the watcher or the next start, but when somebody asks, or its bytes change", async () => {
    await open();
    const agents = await spawnSome(2);
    const bad = await mischief("2.0.0", { on_load: "fail" });
    await rig.install(bad);
    rig.drop("mischief", bad);
    await rig.restart();
    expect(await active()).toBe("1.0.0");
    await expect.poll(async () => (await rig.module()).lastError).toContain("was told to fail");
    expect((await rig.swaps()).length).toBe(1);
    expect(await rig.reload()).toMatchObject({ state: SwapState.REJECTED });
    expect((await rig.swaps()).length).toBe(2);
    rig.drop("mischief", await mischief("3.0.0"));
    await rig.until(SwapState.KEPT, SwapState.WATCHING);
    expect([await active(), (await rig.module()).lastError, await totals(agents)]).toEqual(["3.0.0", "", ["5", "5"]]);
    expect(await rig.peopled()).toEqual({ "3.0.0": 2 });
  });

  test("a dry run tells the same and changes nothing", async () => {
    await open();
    const agents = await spawnSome(2);
    const before = readFileSync(join(rig.modulesDir, "mischief.wasm"));
    const good = await rig.install(await mischief("2.0.0"), { dryRun: true });
    expect(good).toMatchObject({ state: SwapState.DRY_RUN, reason: "", moved: 0 });
    expect(good.rehearsal).toContain("every message was answered as before");
    expect(await rig.install(await mischief("2.0.0", { on_load: "fail" }), { dryRun: true })).toMatchObject({ state: SwapState.DRY_RUN, reason: expect.stringContaining("told to fail") as string });
    expect([await active(), readFileSync(join(rig.modulesDir, "mischief.wasm")), await totals(agents)]).toEqual(["1.0.0", before, ["5", "5"]]);
    expect((await rig.module()).revisions.length).toBe(1);
  });
});

describe("S4 a revision that takes over and then misbehaves is taken back", () => {
  test("on canaries: one fault where there were none moves them back, and the others never moved", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "60000" });
    const agents = await spawnSome(4);
    const install = rig.install(await mischief("2.0.0"), { canaryPercent: 50 });
    await rig.until(SwapState.CANARY);
    await expect.poll(async () => (await rig.peopled())["1.0.0"]).toBe(2);
    expect(await active()).toBe("1.0.0");
    for (const agent of agents) await rig.hear(agent, "divide 0");
    expect(await install).toMatchObject({ state: SwapState.REJECTED, moved: 2, reverted: 2, reason: expect.stringMatching(/of \d+ steps on the new revision failed.*divide by zero/) as string });
    expect([await active(), await rig.peopled(), await totals(agents)]).toEqual(["1.0.0", { "1.0.0": 4 }, ["5", "5", "5", "5"]]);
  });

  test("in the watched window: all move back with what happened since, new agents too, and the file is not taken again", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "60000", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100" });
    const agents = await spawnSome(4);
    const second = await mischief("2.0.0");
    const install = rig.install(second, { canaryPercent: 1, watchMs: 15_000 });
    expect(await install).toMatchObject({ state: SwapState.WATCHING, moved: 4 });
    const born = await rig.spawn();
    for (const agent of [...agents, born]) await rig.say(agent, "add 2");
    for (const agent of [...agents, born]) await rig.hear(agent, "divide 0");
    const reverted = await rig.until(SwapState.REVERTED);
    expect(reverted).toMatchObject({ moved: 4, reverted: 5, failed: 0, reason: expect.stringContaining("5 of") as string });
    expect(await totals([...agents, born])).toEqual(["7", "7", "7", "7", "2"]);
    expect([await active(), await rig.peopled()]).toEqual(["1.0.0", { "1.0.0": 5 }]);
    await rig.restart();
    expect([await active(), await totals(agents), (await rig.swaps()).length]).toEqual(["1.0.0", ["7", "7", "7", "7"], 1]);
    expect((await rig.module()).revisions.map(({ version, state }) => [version, state])).toContainEqual(["2.0.0", 3]);
  });

  test("S6 an agent that it had set aside works again on the old one", async () => {
    await open({ SIRSI_AGENTS_RESTART_MAX_RESTARTS: "1", SIRSI_AGENTS_RESTART_BACKOFF_FIRST_MS: "1", SIRSI_AGENTS_RESTART_BACKOFF_MAX_MS: "1" });
    const [one = "", two = ""] = await spawnSome(2);
    await rig.install(await mischief("2.0.0"), { watchMs: 30_000, canaryPercent: 1 });
    await rig.until(SwapState.WATCHING);
    while ((await rig.swaps())[0]?.state === SwapState.WATCHING) await rig.hear(one, "divide 0");
    expect(await rig.until(SwapState.REVERTED)).toMatchObject({ reverted: 2, reason: expect.stringContaining("had to be set aside") as string });
    expect(await totals([one, two])).toEqual(["5", "5"]);
    expect(await rig.peopled()).toEqual({ "1.0.0": 2 });
  });

  test("when it cannot even save, from before the move and the messages since", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "3000", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100" });
    const agents = await spawnSome(3);
    await rig.install(await mischief("2.0.0", { on_save: "divide 0" }), { canaryPercent: 1 });
    for (const agent of agents) expect(await rig.say(agent, "add 2; sleep 0; emit noise loud")).toBe("7; slept; emitted");
    for (const agent of [...agents, ...agents]) await rig.hear(agent, "divide 0");
    expect(await rig.until(SwapState.REVERTED)).toMatchObject({ reverted: 3, failed: 0 });
    expect([await totals(agents), await rig.peopled()]).toEqual([["7", "7", "7"], { "1.0.0": 3 }]);
  });

  test("S6 one that can go neither way stays where it is and can be reached", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "3000", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100", SIRSI_AGENTS_RESTART_BACKOFF_FIRST_MS: "1", SIRSI_AGENTS_RESTART_BACKOFF_MAX_MS: "1" });
    const agents = await spawnSome(2);
    await rig.install(await mischief("2.0.0", { on_save: "divide 0" }), { canaryPercent: 1 });
    // What an event did cannot be told again.
    await rig.say(agents[1]!, "emit rain news");
    await expect.poll(() => rig.say(agents[0]!, "heard")).toBe("rain");
    for (let fault = 0; fault < 6; fault++) await rig.hear(agents[0]!, "divide 0");
    const reverted = await rig.until(SwapState.REVERTED);
    expect(reverted).toMatchObject({ reverted: 1, failed: 1, kept: 0 });
    expect([await active(), await rig.peopled()]).toEqual(["1.0.0", { "1.0.0": 1, "2.0.0": 1 }]);
    expect(await rig.say(agents[0]!, "add 1")).toMatch(/^\d+$/);
    expect((await rig.status(agents[0]!)).healthStatus).toContain("degraded");
    expect((await rig.module()).revisions.some(({ version, liveAgents }) => version === "2.0.0" && liveAgents === 1)).toBe(true);
  });

  test("agents that sleep on it move back when they come to memory", async () => {
    await open({ SIRSI_AGENTS_MAX_RESIDENT: "1", SIRSI_SWAP_WATCH_MS: "20000", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100" });
    const agents = await spawnSome(3);
    await rig.install(await mischief("2.0.0"), { canaryPercent: 1, watchMs: 20_000 });
    for (const agent of agents) await rig.say(agent, "add 1");
    await expect.poll(async () => (await rig.peopled())["2.0.0"]).toBe(3);
    for (let fault = 0; fault < 6; fault++) await rig.hear(agents[0]!, "divide 0");
    await rig.until(SwapState.REVERTED);
    expect(await totals(agents)).toEqual(["6", "6", "6"]);
    await expect.poll(() => rig.peopled()).toEqual({ "1.0.0": 3 });
  });
});

describe("several at once", () => {
  test("one that is not active yet gives way to a later one, its canaries moving back", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "40000" });
    const agents = await spawnSome(3);
    const second = rig.install(await mischief("2.0.0"), { canaryPercent: 40 });
    await rig.until(SwapState.CANARY);
    const third = rig.install(await mischief("3.0.0"), { watchMs: 0 });
    expect(await second).toMatchObject({ state: SwapState.REJECTED, reason: expect.stringContaining("another revision took its place") as string });
    expect(await third).toMatchObject({ state: SwapState.WATCHING, moved: 3 });
    expect([await active(), await totals(agents), await rig.peopled()]).toEqual(["3.0.0", ["5", "5", "5"], { "3.0.0": 3 }]);
  });

  test("a later one ends the watch of one that is active; of several that wait the last counts", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "60000" });
    const agents = await spawnSome(3);
    await rig.install(await mischief("2.0.0"), { canaryPercent: 1, watchMs: 5_000 });
    expect((await rig.swaps())[0]?.state).toBe(SwapState.WATCHING);
    const [third, fourth] = await Promise.all([rig.install(await mischief("3.0.0"), { watchMs: 0 }), rig.install(await mischief("4.0.0"), { watchMs: 0 })]);
    expect([third.state, fourth.state].filter((state) => state === SwapState.WATCHING).length).toBeGreaterThanOrEqual(1);
    await rig.until(SwapState.KEPT);
    const version = await active();
    expect(["3.0.0", "4.0.0"]).toContain(version);
    expect([await rig.peopled(), await totals(agents)]).toEqual([{ [version!]: 3 }, ["5", "5", "5"]]);
  });

  test("asked for twice it is one swap", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "2000" });
    await spawnSome(2);
    const bytes = await mischief("2.0.0");
    const [first, second] = await Promise.all([rig.install(bytes), rig.install(bytes)]);
    expect(first.swapId === second.swapId || second.swapId === "").toBe(true);
    expect((await rig.swaps()).length).toBe(1);
  });
});

describe("a store that fails in the middle", () => {
  test("before the revision is active: whoever asked is told, canaries move back, and nothing is held against the revision", async () => {
    await open();
    const agents = await spawnSome(2);
    const bytes = await mischief("2.0.0");
    armFault({ point: "swap.rehearsed", hit: 1, action: "fail" });
    await expect(rig.install(bytes)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    armFault(null);
    expect(await rig.until(SwapState.REJECTED)).toMatchObject({ reason: expect.stringContaining("the host could not go on with it") as string });
    expect([await active(), (await rig.module()).lastError, await totals(agents)]).toEqual(["1.0.0", "", ["5", "5"]]);
    expect(await rig.reload()).toMatchObject({ state: SwapState.WATCHING, moved: 2 });
  });

  test.each(["swap.before-activate", "swap.activated", "swap.before-end"] as const)("after, at %s: the swap goes on when it works again", async (point) => {
    await open();
    const agents = await spawnSome(2);
    armFault({ point, hit: 1, action: "fail" });
    const install = rig.install(await mischief("2.0.0"), { watchMs: 0 });
    // On a busy machine it may be further by the time that anybody looks.
    await rig.until(...(point === "swap.before-end" ? [] : [SwapState.MOVING]), SwapState.WATCHING, SwapState.KEPT);
    armFault(null);
    expect(await install).toMatchObject({ moved: 2, failed: 0 });
    await rig.until(SwapState.KEPT);
    expect([await active(), await totals(agents)]).toEqual(["2.0.0", ["5", "5"]]);
  });
});

describe("a host that stops in the middle", () => {
  test("before the revision is active: its canaries move back, and its file begins again", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "50000" });
    const agents = await spawnSome(4);
    const install = rig.install(await mischief("2.0.0"), { canaryPercent: 50 }).catch((thrown: unknown) => (thrown as { readonly code: string }).code);
    await rig.until(SwapState.CANARY);
    await expect.poll(async () => (await rig.peopled())["1.0.0"]).toBe(2);
    await rig.stop();
    expect(await install).toBe("SHUTTING_DOWN");
    await rig.start();
    const [again, cut] = [await rig.until(SwapState.CANARY, SwapState.MOVING, SwapState.WATCHING), (await rig.swaps())[1]];
    expect(cut).toMatchObject({ state: SwapState.REJECTED, reason: expect.stringContaining("the host stopped in the middle") as string });
    expect(again.swapId).not.toBe(cut?.swapId);
    expect(await totals(agents)).toEqual(["5", "5", "5", "5"]);
    await rig.until(SwapState.WATCHING);
    expect([await active(), await totals(agents), await rig.peopled()]).toEqual(["2.0.0", ["5", "5", "5", "5"], { "2.0.0": 4 }]);
  });

  test("while it is watched: the window begins anew, and a fault still takes it back", async () => {
    await open({ SIRSI_SWAP_WATCH_MS: "20000", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100" });
    const agents = await spawnSome(2);
    await rig.install(await mischief("2.0.0"), { canaryPercent: 1, watchMs: 20_000 });
    await rig.restart();
    expect((await rig.swaps()).map(({ state }) => state)).toEqual([SwapState.WATCHING]);
    for (let fault = 0; fault < 6; fault++) await rig.hear(agents[0]!, "divide 0");
    expect((await rig.until(SwapState.REVERTED)).moved).toBe(2);
    expect(await totals(agents)).toEqual(["5", "5"]);
    await expect.poll(() => rig.peopled()).toEqual({ "1.0.0": 2 });
  });
});

test("S5 a revision that asks for more than was granted waits for approval; the old one serves", async () => {
  await open({ SIRSI_MODULES_DEFAULT_GRANTS: "ask,sleep" }, await mischief("1.0.0", {}, { requests: ["ask", "sleep"] }));
  const agents = await spawnSome(2);
  const greedy = await mischief("2.0.0", {}, { requests: ["ask", "sleep", "documents"] });
  expect(await rig.install(greedy)).toMatchObject({ swapId: "", moved: 0 });
  const module = await rig.module();
  expect([module.active?.version, module.revisions.map(({ version, state }) => [version, state])]).toEqual(["1.0.0", [["2.0.0", 4], ["1.0.0", 1]]]);
  expect(await totals(agents)).toEqual(["5", "5"]);
});

test("the old revision's bytes stay while agents are on it, asleep too, however many come after", async () => {
  await open({ SIRSI_AGENTS_MAX_RESIDENT: "1", SIRSI_MODULES_KEEP_REVISIONS: "1", SIRSI_SWAP_WATCH_MS: "0" });
  const agents = await spawnSome(3);
  const first = digestOf(await mischief("1.0.0"));
  for (const version of ["2.0.0", "3.0.0", "4.0.0"]) {
    await rig.install(await mischief(version), { watchMs: 0 });
    await rig.until(SwapState.KEPT);
  }
  await rig.restart();
  expect(existsSync(join(rig.home, "data", "revisions", `${first}.wasm`))).toBe(true);
  expect(await totals(agents)).toEqual(["5", "5", "5"]);
  await expect.poll(() => rig.peopled()).toEqual({ "4.0.0": 3 });
});
