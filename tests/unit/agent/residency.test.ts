import { beforeEach, describe, expect, it } from "vitest";
import { Residency } from "../../../runtime/agent/residency.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { turn } from "../../support/turn.ts";

class Lodger {
  restful = true;
  residentBytes = 10;
  leaves: Deferred<boolean>[] = [];
  /** What leave() answers at once; null to have the test answer. */
  answer: boolean | null = true;

  readonly id: string;
  readonly durable: boolean;
  constructor(id: string, durable = true) {
    this.id = id;
    this.durable = durable;
  }

  leave(): Promise<boolean> {
    const left = new Deferred<boolean>();
    this.leaves.push(left);
    if (this.answer !== null) left.resolve(this.answer);
    return left.promise;
  }
}

let clock: ManualClock;
let loads: string[];
let loaded: Map<string, Lodger>;
let loading: () => Promise<void>;
let faults: SirsiError[];
beforeEach(() => {
  clock = new ManualClock();
  loads = [];
  loaded = new Map();
  loading = () => Promise.resolve();
  faults = [];
});

function open(limits: { readonly maxResident?: number; readonly maxBytes?: number; readonly idleAfterMs?: number } = {}): Residency<Lodger> {
  return new Residency<Lodger>({
    clock,
    maxResident: 3,
    maxBytes: 1_000,
    idleAfterMs: 60_000,
    ...limits,
    load: async (agentId, arrive) => {
      loads.push(agentId);
      await loading();
      const agent = new Lodger(agentId);
      loaded.set(agentId, agent);
      arrive(agent);
      return agent;
    },
    onFault: (error) => faults.push(error),
  });
}

const ids = (residency: Residency<Lodger>) => [...residency.agents()].map(({ id }) => id).toSorted();

describe("coming", () => {
  it("R1: those who want one agent at once share its coming and get one object", async () => {
    const residency = open();
    const [a, b] = await Promise.all([residency.activate("a"), residency.activate("a")]);
    expect(a).toBe(b);
    expect(await residency.activate("a")).toBe(a);
    expect(residency.use("a")).toBe(a);
    expect(loads).toEqual(["a"]);
  });

  it("one that cannot be loaded rejects for all who wait, and is tried again by the next", async () => {
    const residency = open();
    loading = () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "no"));
    const both = await Promise.allSettled([residency.activate("a"), residency.activate("a")]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    loading = () => Promise.resolve();
    await residency.activate("a");
    expect(loads).toEqual(["a", "a"]);
  });

  it("R1: one that leaves has left before it comes back, as a new object", async () => {
    const residency = open({ maxResident: 1 });
    const first = await residency.activate("a");
    first.answer = null;
    await residency.activate("b");
    await turn();
    expect(residency.get("a")).toBeNull();
    expect(residency.peek("a")).toBe(first);
    const back = residency.activate("a");
    await turn();
    expect(loads).toEqual(["a", "b"]);
    first.leaves[0]!.resolve(true);
    expect(await back).not.toBe(first);
    expect(loads).toEqual(["a", "b", "a"]);
  });

  it("R1: one that stays after all is the same object for those who waited", async () => {
    const residency = open({ maxResident: 1 });
    const first = await residency.activate("a");
    first.answer = null;
    await residency.activate("b");
    await turn();
    const back = residency.activate("a");
    first.leaves[0]!.resolve(false);
    expect(await back).toBe(first);
    expect(loads).toEqual(["a", "b"]);
  });
});

describe("leaving", () => {
  it("R3: the one used least recently goes first, by count", async () => {
    const residency = open();
    for (const id of ["a", "b", "c"]) await residency.activate(id);
    residency.use("a");
    await residency.activate("d");
    await turn();
    expect(ids(residency)).toEqual(["a", "c", "d"]);
  });

  it("R3: by bytes, which are read again after a use", async () => {
    const residency = open({ maxResident: 100, maxBytes: 35 });
    for (const id of ["a", "b", "c"]) await residency.activate(id);
    loaded.get("b")!.residentBytes = 20;
    residency.use("b");
    clock.advance(1_000);
    await turn();
    expect(ids(residency)).toEqual(["b", "c"]);
    expect(residency.bytes).toBe(30);
  });

  it("R3: one with work in hand stays, counts as used, and is weighed again when it rests", async () => {
    const residency = open({ maxResident: 1 });
    const a = await residency.activate("a");
    a.restful = false;
    await residency.activate("b");
    await turn();
    expect(ids(residency)).toEqual(["a"]);
    await residency.activate("c");
    await turn();
    a.restful = true;
    a.residentBytes = 77;
    clock.advance(1_000);
    await turn();
    expect(ids(residency)).toEqual(["a"]);
    expect(residency.bytes).toBe(77);
  });

  it("R2: what is not durable, and what is still being made, never leaves", async () => {
    const residency = open({ maxResident: 1, idleAfterMs: 5_000 });
    residency.add(new Lodger("fleeting", false));
    residency.release("fleeting");
    residency.add(new Lodger("made"));
    await residency.activate("a");
    await residency.activate("b");
    clock.advance(10_000);
    await turn();
    expect(ids(residency)).toEqual(["fleeting", "made"]);
    residency.release("made");
    clock.advance(10_000);
    await turn();
    expect(ids(residency)).toEqual(["fleeting"]);
  });

  it("those that were idle for long go without anybody needing the room", async () => {
    const residency = open({ idleAfterMs: 5_000 });
    await residency.activate("a");
    await residency.activate("b");
    clock.advance(4_000);
    residency.use("b");
    clock.advance(2_000);
    await turn();
    expect(ids(residency)).toEqual(["b"]);
  });

  it("one that cannot leave stays, is told of, and is tried again", async () => {
    const residency = open({ maxResident: 1 });
    const a = await residency.activate("a");
    a.answer = null;
    await residency.activate("b");
    await turn();
    a.leaves[0]!.reject(new SirsiError("STORE_UNAVAILABLE", "full"));
    await turn();
    expect(faults.map(({ code }) => code)).toEqual(["STORE_UNAVAILABLE"]);
    expect(residency.get("a")).toBe(a);
    a.answer = true;
    clock.advance(1_000);
    await turn();
    expect(residency.size).toBe(1);
  });

  it("one that ended while it left is gone, whatever its leaving says", async () => {
    const residency = open({ maxResident: 1 });
    const a = await residency.activate("a");
    a.answer = null;
    await residency.activate("b");
    await turn();
    residency.remove("a");
    a.leaves[0]!.resolve(false);
    await turn();
    expect(ids(residency)).toEqual(["b"]);
  });

  it("R4: looks at a bounded number however many have work in hand, and R6: lets them be more", async () => {
    const residency = open({ maxResident: 1 });
    let asked = 0;
    for (let n = 0; n < 1_000; n++) {
      if (n === 999) await turn();
      const busy = new Lodger(`busy-${n}`);
      Object.defineProperty(busy, "restful", { get: () => asked++ < 0 });
      residency.add(busy);
      residency.release(busy.id);
    }
    asked = 0;
    await residency.activate("one more");
    expect(asked).toBeLessThan(300);
    expect(residency.size).toBe(1_001);
  });

  it("nobody leaves after the close", async () => {
    const residency = open({ maxResident: 1, idleAfterMs: 5_000 });
    await residency.activate("a");
    residency.close();
    await residency.activate("b");
    clock.advance(10_000);
    await turn();
    expect(ids(residency)).toEqual(["a", "b"]);
  });
});

describe("asleep", () => {
  it("does something with an agent that sleeps, and whoever wants it waits", async () => {
    const residency = open();
    const gate = new Deferred<string>();
    const done = residency.asleep("a", () => gate.promise);
    await turn();
    const coming = residency.activate("a");
    const second = residency.asleep("a", () => Promise.resolve("late"));
    await turn();
    expect(loads).toEqual([]);
    gate.resolve("done");
    expect(await done).toEqual({ value: "done" });
    await Promise.all([coming, second]);
    expect(loads).toEqual(["a"]);
  });

  it("does nothing when it is resident, or has just come", async () => {
    const residency = open();
    const gate = new Deferred<void>();
    loading = () => gate.promise;
    const coming = residency.activate("a");
    const refused = residency.asleep("a", () => Promise.resolve("never"));
    gate.resolve();
    await coming;
    expect(await refused).toBeNull();
  });

  it("waits for one that leaves", async () => {
    const residency = open({ maxResident: 1 });
    const a = await residency.activate("a");
    a.answer = null;
    await residency.activate("b");
    await turn();
    const done = residency.asleep("a", () => Promise.resolve("done"));
    a.leaves[0]!.resolve(true);
    expect(await done).toEqual({ value: "done" });
  });

  it("hands on what goes wrong, and the agent can come after it", async () => {
    const residency = open();
    await expect(residency.asleep("a", () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "no")))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await residency.activate("a");
    expect(residency.size).toBe(1);
  });
});
