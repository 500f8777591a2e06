import { expect, it } from "vitest";
import { IdUpkeep } from "../../../runtime/agent/id-upkeep.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import { turn } from "../../support/turn.ts";

const DAY = 86_400_000;

function opened(forget: (before: number, limit: number) => Promise<number>) {
  const base = new ManualClock();
  const wall = { offset: 0 };
  const clock = { now: () => base.now() + wall.offset, monotonic: () => base.monotonic(), after: base.after.bind(base) };
  return { base, wall, upkeep: new IdUpkeep({ clock, store: { forgetExchanges: forget }, keptMs: DAY, log: silentLogger }) };
}

it("forgets once a minute what is older than it is kept, in batches until none is left", async () => {
  const left = [1_000, 1_000, 3];
  const asked: number[] = [];
  const { base, upkeep } = opened((before) => {
    asked.push(base.now() - before);
    return Promise.resolve(left.shift() ?? 0);
  });
  upkeep.start();
  base.advance(60_000);
  await turn();
  expect(asked).toEqual([DAY, DAY, DAY]);
  base.advance(60_000);
  await turn();
  expect(asked).toHaveLength(4);
  upkeep.close();
  base.advance(600_000);
  await turn();
  expect(asked).toHaveLength(4);
});

it("a clock that is set a day forward does not make every id old, and one set back keeps them longer", async () => {
  const befores: number[] = [];
  const { base, wall, upkeep } = opened((before) => {
    befores.push(before);
    return Promise.resolve(0);
  });
  const start = base.now();
  wall.offset = DAY;
  base.advance(60_000);
  await upkeep.sweep();
  wall.offset = -DAY;
  await upkeep.sweep();
  expect(befores[0]).toBeLessThan(start - DAY + 70_000);
  expect(befores[1]).toBe(base.now() - 2 * DAY);
});

it("a store that refuses is asked again a minute later", async () => {
  let asked = 0;
  const { base, upkeep } = opened(() => (asked++ === 0 ? Promise.reject(new SirsiError("STORE_UNAVAILABLE", "no")) : Promise.resolve(0)));
  upkeep.start();
  base.advance(60_000);
  await turn();
  base.advance(60_000);
  await turn();
  expect(asked).toBe(2);
  upkeep.close();
});
