import { beforeEach, expect, it } from "vitest";
import { WakeUp, type WakeUpConfig } from "../../../runtime/agent/wake-up.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { Revision } from "../../../runtime/module/revision.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { StoredAgent } from "../../../runtime/store/store.ts";
import { manifest } from "../../support/fake-agents.ts";
import { turn } from "../../support/turn.ts";

let clock: ManualClock;
let waiting: string[];
let unfinished: string[];
let live: Record<string, string[]>;
let order: string[];
let closed: boolean;
let fault: SirsiError | null;
let resume: (agentId: string) => Promise<void>;
beforeEach(() => {
  clock = new ManualClock();
  waiting = [];
  unfinished = [];
  live = {};
  order = [];
  closed = false;
  fault = null;
  resume = () => Promise.resolve();
});

function failing<T>(value: T): Promise<T> {
  return fault === null ? Promise.resolve(value) : Promise.reject(fault);
}

function wakeUp(): WakeUp {
  const config: WakeUpConfig = {
    clock,
    random: () => 0.999,
    store: {
      listModules: () => failing([{ module: "m", activeDigest: null, retired: false, file: "" }]),
      countByDigest: () => Promise.resolve(new Map(Object.entries(live).map(([digest, agents]) => [digest, agents.length]))),
      listLiveAgents: ({ digest }, after, limit) => Promise.resolve((live[digest ?? ""] ?? []).filter((id) => id > after).slice(0, limit).map((agentId) => ({ record: { agentId, sessionId: "s" } }) as StoredAgent)),
      listWaiting: (after, limit) => failing(waiting.filter((id) => id > after).slice(0, limit)),
      listInitializing: (limit) => failing(unfinished.slice(0, limit)),
    },
    revisions: {
      revisionByDigest: (digest) => (digest === "gone" ? Promise.reject(new SirsiError("MODULE_NOT_FOUND", "not kept")) : Promise.resolve({ manifest: manifest("m", { topics: digest === "hears" ? ["news"] : [] }) } as unknown as Revision)),
    },
    log: silentLogger,
    hear: (agentId, sessionId, topics) => order.push(`${agentId} of ${sessionId} hears ${topics.join()}`),
    resume: (agentId) => {
      order.push(`woke ${agentId}`);
      return resume(agentId);
    },
    remove: (agentId) => {
      unfinished = unfinished.filter((id) => id !== agentId);
      return Promise.resolve();
    },
    deliver: () => order.push("delivers"),
    closed: () => closed,
  };
  return new WakeUp(config);
}

const ids = (count: number) => Array.from({ length: count }, (_, n) => String(n).padStart(5, "0"));

it("topics are heard before anything is delivered, agents asleep stay asleep, and what has no revision is told", async () => {
  live = { hears: ["a", "b"], deaf: ["c"], gone: ["d", "e"] };
  expect(await wakeUp().run()).toEqual({ resumed: 0, unreachable: [{ module: "m", digest: "gone", agents: 2, reason: "not kept" }] });
  expect(order).toEqual(["a of s hears news", "b of s hears news", "delivers"]);
});

it("D4: every agent in a wait comes to memory, some at a time", async () => {
  waiting = ids(1_100);
  let now = 0;
  let most = 0;
  resume = async () => {
    most = Math.max(most, ++now);
    await turn(1);
    now--;
  };
  expect((await wakeUp().run()).resumed).toBe(1_100);
  expect(new Set(order.filter((each) => each.startsWith("woke"))).size).toBe(1_100);
  expect(most).toBeLessThanOrEqual(64);
});

it("one that cannot go on is tried again, and one that has ended is not", async () => {
  waiting = ["a", "b", "c"];
  let refusals = 2;
  resume = (agentId) => {
    if (agentId === "b") return Promise.reject(new SirsiError("AGENT_TERMINATED", "over"));
    return agentId === "c" && refusals-- > 0 ? Promise.reject(new SirsiError("MODULE_NOT_FOUND", "not yet")) : Promise.resolve();
  };
  expect((await wakeUp().run()).resumed).toBe(2);
  for (let n = 0; n < 10; n++) {
    clock.advance(1_000);
    await turn();
  }
  expect(order.filter((each) => each.startsWith("woke"))).toEqual(["woke a", "woke b", "woke c", "woke c", "woke c"]);
});

it("spawns that were cut off are ended, all of them", async () => {
  unfinished = ids(1_200);
  await wakeUp().run();
  expect(unfinished).toEqual([]);
});

it("a store that cannot be read is asked until it can, and no longer once the host closes", async () => {
  fault = new SirsiError("STORE_UNAVAILABLE", "no");
  waiting = ["a"];
  const run = wakeUp().run();
  for (let n = 0; n < 3; n++) {
    clock.advance(1_000);
    await turn();
  }
  fault = null;
  clock.advance(30_000);
  expect((await run).resumed).toBe(1);
  fault = new SirsiError("STORE_UNAVAILABLE", "no");
  const second = wakeUp().run();
  await turn();
  closed = true;
  clock.advance(30_000);
  expect(await second).toEqual({ resumed: 0, unreachable: [] });
});

it("a host that closes while agents come up wakes no more of them", async () => {
  waiting = ids(200);
  const gate = new Deferred<void>();
  resume = () => gate.promise;
  const run = wakeUp().run();
  await turn();
  closed = true;
  gate.resolve();
  await run;
  expect(order.filter((each) => each.startsWith("woke"))).toHaveLength(16);
});
