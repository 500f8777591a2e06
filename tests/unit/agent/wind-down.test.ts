import { expect, it } from "vitest";
import { windDown } from "../../../runtime/agent/wind-down.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { turn } from "../../support/turn.ts";

function begun(agents: readonly { restful: boolean; resumable: boolean }[], graceMs: number) {
  const clock = new ManualClock();
  const down = { over: false };
  void windDown(clock, () => agents, graceMs).then(() => (down.over = true));
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 10) {
      clock.advance(10);
      await turn(1);
    }
  };
  return { down, pass };
}

it("is over at once when nobody has work in hand", async () => {
  const { down } = begun([{ restful: true, resumable: false }], 10_000);
  await turn();
  expect(down.over).toBe(true);
});

it("waits for steps that run, and not beyond the grace", async () => {
  const busy = { restful: false, resumable: false };
  const first = begun([busy], 10_000);
  await first.pass(1_000);
  expect(first.down.over).toBe(false);
  busy.restful = true;
  await first.pass(30);
  expect(first.down.over).toBe(true);
  busy.restful = false;
  const second = begun([busy], 1_000);
  await second.pass(990);
  expect(second.down.over).toBe(false);
  await second.pass(20);
  expect(second.down.over).toBe(true);
});

it("a step whose wait is on disk gets a moment after the others are done, and is left then", async () => {
  const busy = { restful: false, resumable: false };
  const { down, pass } = begun([busy, { restful: false, resumable: true }], 60_000);
  await pass(2_000);
  expect(down.over).toBe(false);
  busy.restful = true;
  await pass(400);
  expect(down.over).toBe(false);
  await pass(200);
  expect(down.over).toBe(true);
});
