import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { FleetClock } from "../../../runtime/fleet/fleet-clock.ts";

const MINUTE_MS = 60_000;
const START = 1_750_000_000_000;

/** A renewal that takes `wayMs` in all; the store reads its clock in the middle. */
function hear(fleet: FleetClock, machine: ManualClock, storeNow: number, wayMs: number): void {
  const askedAt = machine.monotonic();
  machine.advance(wayMs);
  fleet.hear(storeNow, askedAt, machine.monotonic());
}

describe("the fleet's time", () => {
  it("is the machine's until the store has said its own", () => {
    const machine = new ManualClock(START);
    expect(new FleetClock(machine).now()).toBe(START);
  });

  it("is the store's on a machine whose clock is minutes off", () => {
    const machine = new ManualClock(START + 10 * MINUTE_MS);
    const fleet = new FleetClock(machine);
    hear(fleet, machine, START + 20, 40);
    expect(fleet.now()).toBe(START + 40);
    machine.advance(1_000);
    expect(fleet.now()).toBe(START + 1_040);
  });

  it("does not move when the machine's clock is set", () => {
    const machine = new ManualClock(START);
    const fleet = new FleetClock(machine);
    machine.setNow(START - 5 * MINUTE_MS);
    machine.advance(100);
    expect(fleet.now()).toBe(START + 100);
  });

  it("does not flutter with the time that answers take", () => {
    const machine = new ManualClock(START);
    const fleet = new FleetClock(machine);
    for (const [storeNow, wayMs] of [[5, 40], [190, 200], [241, 10]] as const) hear(fleet, machine, START + storeNow, wayMs);
    expect(fleet.now()).toBe(START + 250);
  });

  it("counts time and delays by the machine's steady clock", () => {
    const machine = new ManualClock(START);
    const fleet = new FleetClock(machine);
    const rung: number[] = [];
    fleet.after(50, () => rung.push(fleet.monotonic()));
    hear(fleet, machine, START + 10 * MINUTE_MS, 60);
    expect(rung).toEqual([50]);
  });
});
