import { afterEach, expect, it } from "vitest";
import { HealthRounds } from "../../../runtime/agent/health-rounds.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { turn } from "../../support/turn.ts";

const clock = new ManualClock();
let rounds: HealthRounds<{ restful: boolean; examine(): Promise<void> }> | null = null;
afterEach(() => rounds?.close());

function opened(count: number, intervalMs: number) {
  const asked = new Map<number, number>();
  let now = 0;
  let most = 0;
  const agents = Array.from({ length: count }, (_, n) => ({
    restful: true,
    examine: async () => {
      asked.set(n, (asked.get(n) ?? 0) + 1);
      most = Math.max(most, ++now);
      await turn(1);
      now--;
    },
  }));
  rounds = new HealthRounds({ clock, intervalMs, agents: () => agents, size: () => agents.length });
  rounds.start();
  return { asked, agents, most: () => most };
}

async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 250) {
    clock.advance(250);
    await turn(1);
    await turn(1);
  }
}

it("asks each about once in an interval, a few at a time, spread over it", async () => {
  const { asked, most } = opened(40, 20_000);
  await pass(10_000);
  expect(asked.size).toBeGreaterThan(15);
  expect(asked.size).toBeLessThan(25);
  await pass(30_000);
  expect(asked.size).toBe(40);
  for (const times of asked.values()) expect([1, 2, 3]).toContain(times);
  expect(most()).toBeLessThanOrEqual(2);
});

it("passes over those with work in hand, and does not ask at all when told so", async () => {
  const { asked, agents } = opened(2, 1_000);
  agents[0]!.restful = false;
  await pass(5_000);
  expect([...asked.keys()]).toEqual([1]);
  rounds?.close();
  const off = opened(2, 0);
  await pass(5_000);
  expect(off.asked.size).toBe(0);
});

it("asks nobody after the close", async () => {
  const { asked } = opened(2, 1_000);
  rounds?.close();
  await pass(5_000);
  expect(asked.size).toBe(0);
});
