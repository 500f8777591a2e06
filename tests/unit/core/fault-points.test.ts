import { afterEach, describe, expect, it } from "vitest";
import { armFault, armedFault, faultPoint } from "../../../runtime/core/fault-points.ts";

afterEach(() => armFault(null));

describe("a fault point", () => {
  it("does nothing unless it is armed", () => {
    expect(armedFault()).toBeNull();
    armFault({ point: "step.done", hit: 1, action: "fail" });
    expect(() => faultPoint("commit.written")).not.toThrow();
  });

  it("fails from the hit it was armed for, until it is disarmed", () => {
    armFault({ point: "step.done", hit: 3, action: "fail" });
    for (let i = 0; i < 2; i++) expect(() => faultPoint("step.done")).not.toThrow();
    for (let i = 0; i < 2; i++) expect(() => faultPoint("step.done")).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
    armFault(null);
    expect(() => faultPoint("step.done")).not.toThrow();
  });

  it("that is slow holds the thread, and goes on", () => {
    armFault({ point: "step.done", hit: 1, action: "slow" });
    const before = performance.now();
    faultPoint("step.done");
    expect(performance.now() - before).toBeGreaterThan(10);
  });
});
