/** A host that is killed at each named point of a swap, and the one that comes after it. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MessageType, SirsiClient, SwapState } from "../../runtime/client/index.ts";
import type { Fault, FaultPoint } from "../../runtime/core/fault-points.ts";
import { HostUnderTest } from "../crash/host-under-test.ts";
import { sharedCache } from "../support/shared-cache.ts";
import { mischief } from "../support/swap-rig.ts";

const AGENTS = 4;
const SETTINGS = { SIRSI_LOG_LEVEL: "warn", SIRSI_SWAP_WATCH_MS: "300", SIRSI_SHARDS_COUNT: "1", SIRSI_AGENTS_RESTART_MAX_RESTARTS: "100" };
const OVER: readonly SwapState[] = [SwapState.KEPT, SwapState.REJECTED, SwapState.REVERTED];

let home = "";
let host: HostUnderTest;
let client: SirsiClient;
let sessionId = "";
let agents: string[] = [];

beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "sirsi-killed-"));
  for (const directory of ["modules", "data"]) mkdirSync(join(home, directory));
  symlinkSync(sharedCache(), join(home, "data", "cache"));
  writeFileSync(join(home, "modules", "mischief.wasm"), await mischief("1.0.0"));
});

afterEach(async () => {
  client.close();
  await host.kill();
  rmSync(home, { recursive: true, force: true });
});

async function start(fault: Fault | null, settings: Readonly<Record<string, string>> = {}): Promise<void> {
  host = new HostUnderTest({ dataDir: join(home, "data"), modulesDir: join(home, "modules"), fault, settings: { ...SETTINGS, ...settings } });
  const ready = await host.ready;
  if (ready === null) throw new Error(`the host did not start:\n${host.log}`);
  client = new SirsiClient({ address: ready.address, retries: 0 });
}

/** It has killed itself at its fault point. */
async function died(): Promise<void> {
  expect((await host.ended).signal).toBe("SIGKILL");
  client.close();
}

async function say(agentId: string, content: string): Promise<string> {
  const { response } = await client.agents.sendMessage({ sessionId, agentId, message: { content, type: MessageType.TEXT } });
  return response?.content ?? "";
}

async function populate(): Promise<void> {
  sessionId = (await client.agents.createSession({ userId: "u" })).session?.sessionId ?? "";
  const made = await Promise.all(Array.from({ length: AGENTS }, () => client.agents.createAgent({ sessionId, agentType: "mischief" })));
  agents = made.map(({ agent }) => agent?.agentId ?? "");
  for (const agent of agents) expect(await say(agent, "add 5")).toBe("5");
}

async function newest() {
  return (await client.modules.listSwaps({ module: "mischief" })).swaps;
}

/** Every swap has come to an end, every agent is there with its state, and is on what is active once it was addressed. */
async function settled(expected: string): Promise<string> {
  await expect.poll(async () => (await newest()).every(({ state }) => OVER.includes(state)), { timeout: 20_000 }).toBe(true);
  expect(await Promise.all(agents.map((agent) => say(agent, "total")))).toEqual(agents.map(() => expected));
  const { module } = await client.modules.getModule({ name: "mischief" });
  const active = module?.active;
  await expect.poll(async () => (await client.modules.getModule({ name: "mischief" })).module?.active?.liveAgents, { timeout: 10_000 }).toBe(AGENTS);
  return active?.version ?? "";
}

const POINTS: readonly (readonly [FaultPoint, number])[] = [
  ["module.file-written", 1],
  ["swap.rehearsed", 1],
  ["swap.before-commit", 1],
  ["swap.committed", 1],
  ["swap.committed", 3],
  ["swap.before-activate", 1],
  ["swap.activated", 1],
  ["swap.before-end", 1],
];

describe("S1 S2 S6 killed on the way to a revision, the host goes on to it", () => {
  test.each(POINTS)("at %s, hit %i", async (point, hit) => {
    await start({ point, hit, action: "kill" });
    await populate();
    await client.modules.installModule({ wasm: await mischief("2.0.0") }).catch(() => null);
    await died();
    await start(null);
    expect(await settled("5")).toBe("2.0.0");
    expect((await newest()).some(({ state }) => state === SwapState.KEPT)).toBe(true);
    expect((await client.operator.auditHost({})).audit).toMatchObject({ balanced: true, findings: [] });
  });
});

describe("S4 killed on the way back, the host goes on going back", () => {
  test.each([
    ["swap.before-revert", 1],
    ["swap.committed", AGENTS + 2],
  ] as const)("at %s, hit %i", async (point, hit) => {
    await start({ point, hit, action: "kill" }, { SIRSI_SWAP_WATCH_MS: "20000" });
    await populate();
    await client.modules.installModule({ wasm: await mischief("2.0.0"), swap: { canaryPercent: 1, watchMs: 20_000n } });
    for (const agent of agents) await say(agent, "add 2");
    for (let fault = 0; fault < 6; fault++) await say(agents[fault % AGENTS] ?? "", "divide 0").catch(() => null);
    await died();
    await start(null);
    expect(await settled("7")).toBe("1.0.0");
    expect((await newest()).map(({ state }) => state)).toEqual([SwapState.REVERTED]);
    // The next start does not take the file again.
    await host.kill();
    client.close();
    await start(null);
    expect(await settled("7")).toBe("1.0.0");
    expect((await newest()).length).toBe(1);
  });
});
