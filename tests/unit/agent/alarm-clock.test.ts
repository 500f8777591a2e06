import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AlarmClock } from "../../../runtime/agent/alarm-clock.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { TimerChange, TimerRecord } from "../../../runtime/store/store.ts";
import { turn } from "../../support/turn.ts";

const START = 1_750_000_000_000;

/** The timers of a store, in memory, and a clock that can be set. */
class Shelf {
  readonly base = new ManualClock(START);
  offset = 0;
  readonly clock = { now: () => this.base.now() + this.offset, monotonic: () => this.base.monotonic(), after: this.base.after.bind(this.base) };
  readonly timers = new Map<string, TimerRecord>();
  fault: SirsiError | null = null;
  lists = 0;
  /** Awaited by every listing, after it was read. */
  reading: () => Promise<void> = () => Promise.resolve();

  async listTimers(before: number, limit: number): Promise<TimerRecord[]> {
    if (this.fault !== null) throw this.fault;
    this.lists++;
    const due = [...this.timers.values()].filter(({ dueAt }) => dueAt <= before).toSorted((a, b) => a.dueAt - b.dueAt);
    await this.reading();
    return due.slice(0, limit);
  }

  nextTimer(after: number): Promise<number | null> {
    const later = [...this.timers.values()].map(({ dueAt }) => dueAt).filter((dueAt) => dueAt > after);
    return Promise.resolve(later.length === 0 ? null : Math.min(...later));
  }
}

let shelf: Shelf;
let alarms: AlarmClock;
let fired: string[];
/** Called when a timer fires; its commit is the test's. */
let firing: (timer: TimerRecord) => Promise<void>;
beforeEach(() => {
  shelf = new Shelf();
  fired = [];
  firing = (timer) => Promise.resolve(take(timer));
  alarms = open();
});
afterEach(() => alarms.close());

function open(inHandMax = 100): AlarmClock {
  return new AlarmClock({
    clock: shelf.clock,
    random: () => 0.999,
    store: shelf,
    log: silentLogger,
    inHandMax,
    fire: (timer) => {
      fired.push(`${timer.timerId}@${timer.dueAt - START}`);
      return firing(timer);
    },
  });
}

/** As a commit does: on disk, then told. */
function set(timerId: string, inMs: number, agentId = "a"): void {
  const timer = { agentId, timerId, dueAt: shelf.clock.now() + inMs, payload: new Uint8Array() };
  shelf.timers.set(timerId, timer);
  alarms.changed(agentId, [{ kind: "set", timerId, dueAt: timer.dueAt, payload: timer.payload }], null);
}

/** The commit of the step that the timer was, and what it set and cancelled besides. */
function take({ agentId, timerId, dueAt }: TimerRecord, changes: readonly TimerChange[] = []): void {
  if (shelf.timers.get(timerId)?.dueAt === dueAt) shelf.timers.delete(timerId);
  alarms.changed(agentId, changes, { timerId, dueAt });
}

async function pass(ms: number): Promise<void> {
  shelf.base.advance(ms);
  await turn();
}

describe("firing", () => {
  it("fires what is due at the start, and what is set later, each once and in time", async () => {
    set("early", -5_000);
    alarms.start();
    await turn();
    set("b", 300);
    set("a", 100);
    await pass(99);
    expect(fired).toEqual(["early@-5000"]);
    await pass(1);
    expect(fired).toEqual(["early@-5000", "a@100"]);
    await pass(200);
    await pass(100_000);
    expect(fired).toEqual(["early@-5000", "a@100", "b@300"]);
    expect(alarms.inHand).toBe(0);
  });

  it("nothing fires before the start, and nothing is looked for when nothing is set", async () => {
    set("a", 0);
    await pass(10_000);
    expect(fired).toEqual([]);
    alarms.start();
    await turn();
    const { lists } = shelf;
    await pass(100_000);
    expect([fired, shelf.lists]).toEqual([["a@0"], lists]);
  });

  it("one that is cancelled, or set anew to another time, does not fire as it was", async () => {
    alarms.start();
    await turn();
    set("a", 100);
    set("b", 100);
    shelf.timers.delete("a");
    alarms.changed("a", [{ kind: "cancel", timerId: "a" }], null);
    set("b", 500);
    await pass(400);
    expect(fired).toEqual([]);
    await pass(100);
    expect(fired).toEqual(["b@500"]);
  });

  it("one that its own step sets anew fires again, also when that is due at once", async () => {
    alarms.start();
    await turn();
    let rounds = 0;
    firing = (timer) => {
      if (++rounds === 4) return Promise.resolve(take(timer));
      const again = { ...timer, dueAt: shelf.clock.now() + (rounds === 1 ? 0.5 : 50) };
      shelf.timers.set("a", again);
      take(timer, [{ kind: "set", timerId: "a", dueAt: again.dueAt, payload: again.payload }]);
      return turn();
    };
    set("a", 100);
    await pass(100);
    await pass(1);
    await pass(50);
    await pass(50);
    expect(fired).toHaveLength(4);
    expect(shelf.timers.size).toBe(0);
  });

  it("one set to another time by another step, while it fires, fires at that time too", async () => {
    alarms.start();
    await turn();
    const gate = new Deferred<void>();
    firing = async (timer) => {
      await gate.promise;
      take(timer);
    };
    set("a", 100);
    await pass(100);
    set("a", -1);
    await turn();
    firing = (timer) => Promise.resolve(take(timer));
    gate.resolve();
    await turn(6);
    expect(fired).toEqual(["a@100", "a@99"]);
  });

  it("T1: one that is done while the list is read is not fired from that list", async () => {
    alarms.start();
    await turn();
    const firings: Deferred<void>[] = [];
    firing = async (timer) => {
      const gate = new Deferred<void>();
      firings.push(gate);
      await gate.promise;
      take(timer);
    };
    set("a", 100);
    await pass(100);
    const gate = new Deferred<void>();
    shelf.reading = () => gate.promise;
    set("b", 0);
    await pass(0);
    firings[0]!.resolve();
    await turn();
    shelf.reading = () => Promise.resolve();
    gate.resolve();
    await turn(6);
    expect(fired).toEqual(["a@100", "b@100"]);
  });
});

describe("failing", () => {
  it("one that fails is fired again with growing pauses, and holds up no others", async () => {
    alarms.start();
    await turn();
    firing = (timer) => (timer.timerId === "bad" ? Promise.reject(new SirsiError("AGENT_QUARANTINED", "set aside")) : Promise.resolve(take(timer)));
    set("bad", 0);
    set("good", 1_000);
    for (let n = 0; n < 20; n++) await pass(100);
    const early = fired.filter((each) => each.startsWith("bad")).length;
    expect(early).toBeGreaterThan(2);
    expect(early).toBeLessThan(8);
    expect(fired).toContain("good@1000");
    firing = (timer) => Promise.resolve(take(timer));
    for (let n = 0; n < 10; n++) await pass(5_000);
    expect([shelf.timers.size, alarms.inHand]).toEqual([0, 0]);
  });

  it("T1: an attempt that failed though it was committed is the last", async () => {
    alarms.start();
    await turn();
    firing = (timer) => {
      take(timer);
      return Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the answer was lost"));
    };
    set("a", 10);
    await pass(10);
    for (let n = 0; n < 10; n++) await pass(1_000);
    expect([fired, alarms.inHand]).toEqual([["a@10"], 0]);
  });

  it("an agent's own error is an answer, and one that has ended is not woken again", async () => {
    alarms.start();
    await turn();
    firing = (timer) => {
      shelf.timers.delete(timer.timerId);
      return Promise.reject(new SirsiError(timer.timerId === "a" ? "GUEST_ERROR" : "AGENT_TERMINATED", "no"));
    };
    set("a", 10);
    set("b", 20);
    for (let n = 0; n < 10; n++) await pass(1_000);
    expect([fired, alarms.inHand]).toEqual([["a@10", "b@20"], 0]);
  });

  it("one that rests is forgotten when it is cancelled", async () => {
    alarms.start();
    await turn();
    firing = () => Promise.reject(new SirsiError("MAILBOX_FULL", "full"));
    set("a", 0);
    await pass(0);
    shelf.timers.delete("a");
    alarms.changed("a", [{ kind: "cancel", timerId: "a" }], null);
    for (let n = 0; n < 10; n++) await pass(1_000);
    expect([fired.length, alarms.inHand]).toEqual([1, 0]);
  });

  it("a store that cannot be read is asked again", async () => {
    set("a", -1);
    shelf.fault = new SirsiError("STORE_UNAVAILABLE", "no");
    alarms.start();
    await turn();
    shelf.fault = null;
    await pass(1_000);
    expect(fired).toEqual(["a@-1"]);
  });

  it("T3: more than memory may hold are fired as others are done", async () => {
    alarms = open(5);
    const gates: Deferred<void>[] = [];
    firing = async (timer) => {
      const gate = new Deferred<void>();
      gates.push(gate);
      await gate.promise;
      take(timer);
    };
    for (let n = 0; n < 12; n++) set(`t${n}`, -100 + n);
    alarms.start();
    await turn();
    expect([fired.length, alarms.inHand]).toEqual([5, 5]);
    for (let n = 0; n < 12; n++) {
      gates[n]?.resolve();
      await turn(6);
      expect(alarms.inHand).toBeLessThanOrEqual(5);
    }
    expect(fired.toSorted()).toEqual(Array.from({ length: 12 }, (_, n) => `t${n}@${-100 + n}`).toSorted());
    expect(shelf.timers.size).toBe(0);
  });
});

describe("T2: a clock that is set", () => {
  it("forward makes timers early, once each, within ten seconds", async () => {
    alarms.start();
    await turn();
    set("a", 3_600_000);
    set("b", 7_200_000);
    await pass(1_000);
    shelf.offset = 3_700_000;
    await pass(10_000);
    expect(fired).toEqual(["a@3600000"]);
    shelf.offset = 0;
    await pass(10_000);
    for (let n = 0; n < 750; n++) shelf.base.advance(10_000);
    await turn();
    await pass(1);
    expect(fired).toEqual(["a@3600000", "b@7200000"]);
  });

  it("back makes timers late, and neither loses nor doubles one", async () => {
    alarms.start();
    await turn();
    set("a", 5_000);
    shelf.offset = -60_000;
    await pass(10_000);
    expect(fired).toEqual([]);
    set("b", 1_000);
    await pass(1_000);
    expect(fired).toHaveLength(1);
    for (let n = 0; n < 10; n++) await pass(10_000);
    expect(fired.map((each) => each.split("@")[0])).toEqual(["b", "a"]);
  });

  it("back while the store cannot be read holds up no timer that is due", async () => {
    alarms.start();
    await turn();
    set("a", 7_300_000);
    set("b", 50);
    shelf.fault = new SirsiError("STORE_UNAVAILABLE", "no");
    await pass(50);
    shelf.fault = null;
    shelf.offset = -3_600_000;
    shelf.timers.set("b", { ...shelf.timers.get("b")!, dueAt: START - 7_200_000 });
    for (let n = 0; n < 3; n++) await pass(10_000);
    expect(fired).toHaveLength(1);
  });

  it("back while one that failed rests leaves it in the store until its time", async () => {
    alarms.start();
    await turn();
    firing = () => Promise.reject(new SirsiError("MAILBOX_FULL", "full"));
    set("a", 0);
    await pass(0);
    shelf.offset = -5_000;
    await pass(1_000);
    firing = (timer) => Promise.resolve(take(timer));
    await pass(1_000);
    expect(fired).toHaveLength(1);
    await pass(10_000);
    expect([fired.length, shelf.timers.size]).toEqual([2, 0]);
  });
});

describe("agents of a fleet", () => {
  it("timers of one that was forgotten are let go of, firing or resting, and those of others stay", async () => {
    alarms.start();
    await turn();
    firing = () => Promise.reject(new SirsiError("OVERLOADED", "later", { retryAfterMs: 1_000 }));
    set("mine", 100);
    set("gone", 100, "b");
    await pass(100);
    expect([alarms.inHand, alarms.holds("b")]).toEqual([2, true]);
    const gate = new Deferred<void>();
    firing = () => gate.promise;
    set("fired", 50, "b");
    await pass(50);
    alarms.forget(new Set(["b"]));
    for (const name of ["gone", "fired"]) shelf.timers.delete(name);
    gate.reject(new SirsiError("AGENT_FENCED", "it is elsewhere"));
    await turn();
    expect([alarms.inHand, alarms.holds("b")]).toEqual([1, false]);
    firing = (timer) => Promise.resolve(take(timer));
    await pass(60_000);
    expect([fired.filter((name) => name.startsWith("mine")).length, fired.filter((name) => !name.startsWith("mine"))]).toEqual([2, ["gone@100", "fired@150"]]);
  });

  it("timers that came with an agent fire when they are looked for", async () => {
    alarms.start();
    await turn();
    shelf.timers.set("came", { agentId: "b", timerId: "came", dueAt: START + 300, payload: new Uint8Array() });
    alarms.look();
    await turn();
    await pass(300);
    expect(fired).toEqual(["came@300"]);
  });

  it("a host that was buried fires nothing, also not what it was just reading, until it is started again", async () => {
    alarms.start();
    await turn();
    firing = () => Promise.reject(new SirsiError("OVERLOADED", "later", { retryAfterMs: 1_000 }));
    set("a", 100);
    await pass(100);
    const gate = new Deferred<void>();
    shelf.reading = () => gate.promise;
    set("b", 0);
    await pass(0);
    alarms.reset();
    gate.resolve();
    await pass(60_000);
    expect([fired, alarms.inHand, shelf.base.pending]).toEqual([["a@100"], 0, 0]);
    firing = (timer) => Promise.resolve(take(timer));
    alarms.start();
    await turn();
    expect(fired.toSorted()).toEqual(["a@100", "a@100", "b@100"]);
  });
});
