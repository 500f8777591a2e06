import { describe, expect, it } from "vitest";
import { CallOrder, type Needs, type Unit } from "../../../runtime/store/postgres/call-order.ts";

const commit = (agent: string): Needs => ({ kind: "batch", writes: [agent], reads: [] });
const read = (agent: string): Needs => ({ kind: "read", writes: [], reads: [agent] });
const write = (name: string): Needs => ({ kind: "single", writes: [name], reads: [] });
const LISTING: Needs = { kind: "read", writes: [], reads: [], everything: true };
const ALONE: Needs = { kind: "single", writes: ["s"], reads: [], alone: true };

function orderOf(...calls: readonly (readonly [string, Needs])[]): CallOrder<string> {
  const order = new CallOrder<string>();
  for (const [name, needs] of calls) order.add(needs, name);
  return order;
}

/** Everything that may start now. */
function starts(order: CallOrder<string>): Unit<string>[] {
  const units: Unit<string>[] = [];
  for (let unit = order.next(true); unit !== null; unit = order.next(true)) units.push(unit);
  return units;
}

const names = (units: readonly Unit<string>[]): string => units.map(({ calls }) => calls.join("+")).join(" ");

describe("the order of calls", () => {
  it("O1: puts calls of agents together, those of one agent in their order", () => {
    const order = orderOf(["a1", commit("a")], ["b1", commit("b")], ["a2", commit("a")]);
    expect(names(starts(order))).toBe("a1+b1+a2");
  });

  it("O1: lets a read wait for the writes before it, and a write for the reads before it", () => {
    const order = orderOf(["a1", commit("a")], ["ra", read("a")], ["a2", commit("a")], ["b1", commit("b")], ["rc", read("c")]);
    const first = starts(order);
    expect(names(first)).toBe("a1+b1 rc");
    order.over(first[0]!);
    const second = starts(order);
    expect(names(second)).toBe("ra");
    order.over(second[0]!);
    expect(names(starts(order))).toBe("a2");
  });

  it("O1: keeps a batch from passing one that is on its way with the same agent", () => {
    const order = orderOf(["a1", commit("a")]);
    const [first] = starts(order);
    order.add(commit("a"), "a2");
    order.add(commit("b"), "b1");
    expect(names(starts(order))).toBe("b1");
    order.over(first!);
    expect(names(starts(order))).toBe("a2");
  });

  it("O2: lets a listing wait for the writes before it, and no write for a listing", () => {
    const order = orderOf(["a1", commit("a")]);
    const [first] = starts(order);
    order.add(LISTING, "list");
    order.add(commit("b"), "b1");
    const later = starts(order);
    expect(names(later)).toBe("b1");
    order.over(first!);
    // The write that was made after it is still on its way.
    expect(names(starts(order))).toBe("list");
  });

  it("O2: lets a listing wait for a write that waits itself", () => {
    const order = orderOf(["ra", read("a")], ["a1", commit("a")], ["list", LISTING]);
    const [first] = starts(order);
    expect(first?.calls).toEqual(["ra"]);
    order.over(first!);
    const [second] = starts(order);
    expect(second?.calls).toEqual(["a1"]);
    order.over(second!);
    expect(names(starts(order))).toBe("list");
  });

  it("O3: lets what is alone wait for all before it, and all after it wait", () => {
    const order = orderOf(["ra", read("a")], ["alone", ALONE], ["b1", commit("b")], ["rc", read("c")]);
    const [first, ...none] = starts(order);
    expect([names([first!]), none]).toEqual(["ra", []]);
    order.over(first!);
    const [second, ...still] = starts(order);
    expect([names([second!]), still]).toEqual(["alone", []]);
    order.over(second!);
    expect(names(starts(order))).toBe("b1 rc");
  });

  it("passes others by while no batch may start, but not those that depend on it", () => {
    const order = orderOf(["a1", commit("a")], ["ra", read("a")], ["w", write("w")]);
    expect(order.next(false)?.calls).toEqual(["w"]);
    expect(order.next(false)).toBeNull();
    expect(order.next(true)?.calls).toEqual(["a1"]);
  });

  it("fills a batch by number and by bytes", () => {
    const many = orderOf(...Array.from({ length: 1_500 }, (_, i) => [`${i}`, commit(`agent ${i}`)] as const));
    expect(starts(many).map(({ calls }) => calls.length)).toEqual([1_024, 476]);
    const heavy = orderOf(...Array.from({ length: 5 }, (_, i) => [`${i}`, { ...commit(`agent ${i}`), bytes: 5 * 1024 * 1024 }] as const));
    expect(starts(heavy).map(({ calls }) => calls.length)).toEqual([2, 2, 1]);
  });

  it("is idle when everything is over", () => {
    const order = orderOf(["a1", commit("a")]);
    expect(order.idle).toBe(false);
    const [unit] = starts(order);
    expect(order.idle).toBe(false);
    order.over(unit!);
    order.over(unit!);
    expect(order.idle).toBe(true);
  });
});
