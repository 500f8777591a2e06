import { describe, expect, test } from "vitest";
import { decideRestart, type RestartConfig } from "../../../runtime/agent/restart-policy.ts";

const CONFIG: RestartConfig = { maxRestarts: 3, windowMs: 1_000, backoff: { firstMs: 10, maxMs: 15, factor: 2 } };

describe("after a fault an agent", () => {
  test("is started again at once the first time, then after growing, bounded delays, then set aside", () => {
    let faults: readonly number[] = [];
    const decisions = [0, 100, 200, 300].map((now) => {
      const decision = decideRestart(CONFIG, faults, now, 1);
      ({ faults } = decision);
      return decision.kind === "restart" ? decision.delayMs : decision.kind;
    });
    expect(decisions).toEqual([0, 10, 15, "quarantine"]);
    expect(faults).toEqual([0, 100, 200, 300]);
  });

  test("is forgiven faults that lie outside of the window", () => {
    const decision = decideRestart(CONFIG, [0, 1, 2], 1_002, 0.5);
    expect(decision).toEqual({ kind: "restart", delayMs: 0, faults: [1_002] });
  });

  test("counts a fault until the window has passed whole", () => {
    expect(decideRestart(CONFIG, [0, 1, 2], 999, 0.5).kind).toBe("quarantine");
    expect(decideRestart(CONFIG, [0, 1, 2], 1_000, 1)).toEqual({ kind: "restart", delayMs: 15, faults: [1, 2, 1_000] });
  });

  test("that may never restart is set aside by its first fault", () => {
    expect(decideRestart({ ...CONFIG, maxRestarts: 0 }, [], 5, 0).kind).toBe("quarantine");
  });
});
