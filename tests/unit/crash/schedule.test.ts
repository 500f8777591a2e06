/** The crash tests' plan: the same for the same seed, and of everything in the long run. */
import { describe, expect, it } from "vitest";
import { readUnsettled, Numbers, bookedBy, drawCommand, readReply, writeCommand } from "../../crash/commands.ts";
import { Draw } from "../../crash/draw.ts";
import { Gate } from "../../crash/gate.ts";
import { planCycle } from "../../crash/schedule.ts";
import { FAULT_POINTS } from "../../../runtime/core/fault-points.ts";

describe("the lots", () => {
  it("are the same for a seed and a stream, and others for another", () => {
    const first = (seed: number, stream: string) => {
      const draw = new Draw(seed, stream);
      return Array.from({ length: 20 }, () => draw.whole(0, 1_000));
    };
    expect(first(7, "a")).toEqual(first(7, "a"));
    expect(first(7, "a")).not.toEqual(first(7, "b"));
    expect(first(7, "a")).not.toEqual(first(8, "a"));
  });

  it("are spread evenly, by weight, and over the orders of magnitude", () => {
    const draw = new Draw(1, "spread");
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 20_000; i++) counts[draw.whole(0, 9)]!++;
    for (const count of counts) expect(count).toBeGreaterThan(1_700);
    const named = { often: 0, seldom: 0 };
    for (let i = 0; i < 4_000; i++) named[draw.weighted({ often: 3, seldom: 1 })]++;
    expect(named.often / named.seldom).toBeGreaterThan(2.5);
    const scaled = Array.from({ length: 3_000 }, () => draw.scaled(1, 1_000)).toSorted((a, b) => a - b);
    expect(scaled[0]).toBe(1);
    expect(scaled.at(-1)).toBeLessThanOrEqual(1_000);
    expect(scaled[1_500]).toBeLessThan(100);
  });
});

describe("the plan of a run", () => {
  const cycles = Array.from({ length: 300 }, (_, i) => planCycle(5, i + 1));

  it("is a function of the seed and the number of the cycle", () => {
    expect(planCycle(5, 17)).toEqual(cycles[16]);
    expect(planCycle(6, 17)).not.toEqual(cycles[16]);
  });

  it("arms every fault point to kill, and has every ordeal and every kind of swap", () => {
    const armed = new Set(cycles.flatMap(({ fault }) => (fault?.action === "kill" ? [fault.point] : [])));
    expect([...armed].toSorted()).toEqual([...FAULT_POINTS].toSorted());
    expect(new Set(cycles.map(({ ordeal }) => ordeal)).size).toBe(7);
    expect(new Set(cycles.flatMap(({ swaps }) => swaps.map((act) => (act.kind === "install" ? act.build : act.kind)))).size).toBe(9);
  });

  it("keeps its cycles short enough for 200 kills in half an hour", () => {
    for (const { killAtMs, ordeal } of cycles) expect(killAtMs).toBeLessThanOrEqual(ordeal === "point" ? 8_000 : 5_500);
  });
});

describe("a client's commands", () => {
  const ledgers = Array.from({ length: 4 }, (_, i) => ({ name: `a${i}`, agentId: `id-${i}` }));

  it("go only from a ledger to those after it, and number what they have credited without a gap", () => {
    const draw = new Draw(3, "commands");
    const numbers = new Numbers();
    const credits = new Map<string, number[]>();
    for (let i = 0; i < 2_000; i++) {
      const at = draw.whole(0, 3);
      const command = drawCommand(draw, at, ledgers, numbers);
      const to = command.kind === "chain" ? command.to : command.kind === "transfer" ? [command.to] : [];
      for (const { ledger, number } of to) {
        expect(Number(ledger.slice(1))).toBeGreaterThan(at);
        credits.set(ledger, [...(credits.get(ledger) ?? []), number]);
      }
    }
    for (const all of credits.values()) expect(all).toEqual(all.map((_, i) => i + 1));
    expect([...credits.keys()].toSorted()).toEqual(["a1", "a2", "a3"]);
  });

  it("are written in the ledger's words and booked as its reply says", () => {
    const chain = { kind: "chain", amount: 5, pauseMs: 2, to: [{ ledger: "a1", number: 1 }, { ledger: "a2", number: 4 }] } as const;
    expect(writeCommand(chain, "l1", 9, (name) => `id-${name}`)).toBe("chain l1 9 5 2 id-a1 1 id-a2 4");
    const whole = readReply("12 00112233aabbccdd -7 ")!;
    expect(bookedBy(chain, "l1", "a0", 9, whole)).toMatchObject({ position: 12, amount: -10, effects: { credits: [{ ledger: "a1", number: 1, amount: 5 }, { ledger: "a2", number: 4, amount: 5 }] } });
    const part = readUnsettled("13 00112233aabbccdd 3 1 deadline_exceeded: no")!;
    expect(bookedBy(chain, "l1", "a0", 9, part)).toMatchObject({ position: 13, amount: -5, effects: { credits: [{ ledger: "a1" }] } });
    expect(bookedBy({ kind: "tell", amount: 3, ledger: "a2" }, "l1", "a0", 1, readReply("1 00112233aabbccdd 0 17")!)).toMatchObject({ amount: -3, effects: { told: { ledger: "a2", number: 17, amount: 3 } } });
    expect(readReply("nonsense")).toBeNull();
    expect(readUnsettled("nonsense")).toBeNull();
  });
});

describe("the gate", () => {
  it("holds all parties, tells when they are held, and lets them go together", async () => {
    const gate = new Gate(2);
    const passed: number[] = [];
    const party = async (id: number) => {
      await gate.pass();
      passed.push(id);
      await gate.pass();
      passed.push(id + 10);
    };
    const parties = [party(1), party(2)];
    await gate.close();
    expect(passed).toEqual([]);
    gate.open();
    const held = gate.close();
    await held;
    expect(passed).toHaveLength(2);
    gate.open();
    await Promise.all(parties);
    expect(passed).toHaveLength(4);
  });
});
