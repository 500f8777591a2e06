import { expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { steadyClock } from "../../../runtime/core/steady-clock.ts";

const HOUR = 3_600_000;

/** A manual clock whose wall time can be set. */
function settable() {
  const base = new ManualClock();
  let offset = 0;
  const clock = { now: () => base.now() + offset, monotonic: () => base.monotonic(), after: base.after.bind(base) };
  return { clock, advance: (ms: number) => base.advance(ms), set: (ms: number) => void (offset += ms) };
}

it("goes with a clock that does not jump, and follows small corrections at once", () => {
  const { clock, advance, set } = settable();
  const steady = steadyClock(clock);
  advance(12_345);
  expect(steady.now()).toBe(clock.now());
  set(-400);
  expect(steady.now()).toBe(clock.now());
});

it.each([
  ["forward", HOUR],
  ["back", -HOUR],
])("does not jump when the machine's clock is set %s, and closes the gap at a tenth of its pace", (_how, jump) => {
  const { clock, advance, set } = settable();
  const steady = steadyClock(clock);
  const before = steady.now();
  set(jump);
  expect(steady.now()).toBe(before);
  advance(HOUR);
  expect(steady.now()).toBe(before + HOUR + jump / 10);
  advance(20 * HOUR);
  expect(steady.now()).toBe(clock.now());
});

it("hands on the rest of the clock", () => {
  const { clock, advance } = settable();
  const steady = steadyClock(clock);
  let rang = false;
  steady.after(10, () => void (rang = true));
  advance(10);
  expect([rang, steady.monotonic()]).toEqual([true, 10]);
});
