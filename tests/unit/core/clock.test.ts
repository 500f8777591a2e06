import { describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "../../../runtime/core/clock.ts";

describe("the manual clock", () => {
  it("stands still until it is moved, and moves both times alike", () => {
    const clock = new ManualClock(1_000);
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
    clock.advance(250);
    expect([clock.now(), clock.monotonic()]).toEqual([1_250, 250]);
  });

  it("calls back what falls due, in order of time and then of asking", () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    clock.after(20, () => seen.push("late"));
    clock.after(10, () => seen.push("first of two"));
    clock.after(10, () => seen.push("second of two"));
    clock.advance(9);
    expect(seen).toEqual([]);
    clock.advance(1);
    expect(seen).toEqual(["first of two", "second of two"]);
    clock.advance(100);
    expect(seen).toEqual(["first of two", "second of two", "late"]);
  });

  it("shows a callback the time it was due at", () => {
    const clock = new ManualClock(0);
    const times: number[] = [];
    clock.after(10, () => times.push(clock.now(), clock.monotonic()));
    clock.advance(1_000);
    expect([...times, clock.now()]).toEqual([10, 10, 1_000]);
  });

  it("runs what a callback asks for within the same move", () => {
    const clock = new ManualClock();
    let ticks = 0;
    const tick = () => {
      ticks += 1;
      clock.after(10, tick);
    };
    clock.after(10, tick);
    clock.advance(35);
    expect(ticks).toBe(3);
  });

  it("forgets a timer that was cancelled, also twice or late", () => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const gone = clock.after(10, () => seen.push("gone"));
    const other = clock.after(-5, () => seen.push("at once"));
    gone.cancel();
    gone.cancel();
    clock.advance(10);
    other.cancel();
    expect(seen).toEqual(["at once"]);
  });
});

describe("the system clock", () => {
  it("never goes back, and calls back after the delay", async () => {
    const before = systemClock.monotonic();
    await new Promise<void>((resolve) => systemClock.after(2, resolve));
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(before + 1);
  });

  it("takes delays longer than a timer of Node can", async () => {
    const fired: string[] = [];
    const far = systemClock.after(2 ** 40, () => fired.push("far"));
    await new Promise<void>((resolve) => systemClock.after(5, resolve));
    far.cancel();
    expect(fired).toEqual([]);
  });
});
