import { expect, it } from "vitest";
import { Census } from "../../../runtime/agent/census.ts";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { AgentQuery } from "../../../runtime/store/store.ts";
import { turn } from "../../support/turn.ts";

function opened(counts: Record<string, number>, max = 100) {
  const asked: string[] = [];
  const gates: Deferred<void>[] = [];
  const store = {
    gated: false,
    async countLiveAgents({ sessionId }: AgentQuery): Promise<number> {
      asked.push(sessionId ?? "");
      if (this.gated) {
        const gate = new Deferred<void>();
        gates.push(gate);
        await gate.promise;
      }
      return counts[sessionId ?? ""] ?? 0;
    },
  };
  return { census: new Census(store, max), store, asked, gates };
}

it("asks the store once for the host and once for a session, and keeps the numbers from then on", async () => {
  const { census, asked } = opened({ "": 7, s: 3 });
  await census.open();
  expect(census.total).toBe(7);
  expect(await Promise.all([census.of("s"), census.of("s")])).toEqual([3, 3]);
  census.enter("s");
  expect([census.of("s"), census.total]).toEqual([4, 8]);
  census.entered("s", true);
  census.enter("s");
  census.entered("s", false);
  census.left("s");
  census.left("other");
  expect([census.of("s"), census.total, asked]).toEqual([3, 6, ["", "s"]]);
});

it("G1: holds the host's limit from the call on", async () => {
  const { census } = opened({ "": 1 }, 3);
  await census.open();
  census.enter("s");
  census.enter("s");
  expect(() => census.enter("s")).toThrow(expect.objectContaining({ code: "AGENT_LIMIT_REACHED" }));
  census.entered("s", false);
  census.enter("s");
  expect(census.total).toBe(3);
});

it("asks again when something was counted while it asked", async () => {
  const counts = { s: 3 };
  const { census, store, gates, asked } = opened(counts);
  store.gated = true;
  const first = census.of("s");
  census.enter("s");
  gates[0]!.resolve();
  await turn();
  counts.s = 4;
  census.entered("s", true);
  gates[1]!.resolve();
  await turn();
  gates[2]!.resolve();
  expect(await first).toBe(4);
  expect([census.of("s"), asked.length]).toEqual([4, 3]);
});

it("takes the larger number when spawns never pause", async () => {
  const { census } = opened({ s: 3 });
  census.enter("s");
  expect(await census.of("s")).toBe(4);
});

it("a question that the store cannot answer is asked again by the next", async () => {
  let fault: SirsiError | null = new SirsiError("STORE_UNAVAILABLE", "no");
  const census = new Census({ countLiveAgents: () => (fault === null ? Promise.resolve(2) : Promise.reject(fault)) }, 10);
  await expect(census.of("s")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  fault = null;
  expect(await census.of("s")).toBe(2);
});

it("keeps the numbers of so many sessions at most, and never forgets one in which a spawn is under way", async () => {
  const { census } = opened({}, 1_000_000);
  await census.of("busy");
  census.enter("busy");
  await census.of("early");
  for (let n = 0; n < 65_600; n++) await census.of(`s${n}`);
  expect(census.of("busy")).toBe(1);
  expect(census.of("early")).toBeInstanceOf(Promise);
  expect(census.of("s65599")).toBe(0);
});

function shared(counts: Record<string, number>, max = 100) {
  const clock = new ManualClock();
  const { asked } = opened(counts);
  const store = {
    countLiveAgents({ sessionId }: AgentQuery): Promise<number> {
      asked.push(sessionId ?? "");
      return Promise.resolve(counts[sessionId ?? ""] ?? 0);
    },
  };
  const own = { count: 2, gate: Promise.resolve() };
  const countOwned = async () => {
    const { count } = own;
    await own.gate;
    return count;
  };
  return { census: new Census(store, max, { clock, countOwned }), clock, counts, asked, own };
}

it("in a fleet the host counts those that it owns, and keeps count of those that come and go", async () => {
  const { census, own } = shared({ "": 50 });
  await census.open();
  expect(census.total).toBe(2);
  census.moved(1);
  census.moved(-2);
  census.enter("s");
  expect(census.total).toBe(2);
  census.entered("s", true);
  own.count = 7;
  await census.recount();
  expect(census.total).toBe(7);
  census.enter("s");
  census.reset();
  expect(census.total).toBe(1);
  census.entered("s", false);
  expect(census.total).toBe(0);
});

it("in a fleet a recount that was asked for while one is under way tells of what is there by then", async () => {
  const { census, own } = shared({});
  const gate = new Deferred<void>();
  own.gate = gate.promise;
  const first = census.recount();
  own.count = 3;
  const second = census.recount();
  gate.resolve();
  await Promise.all([first, second]);
  expect(census.total).toBe(3);
});

it("in a fleet a session's number is believed for a moment, with what is counted here meanwhile", async () => {
  const { census, clock, counts, asked } = shared({ s: 3 });
  expect(await census.of("s")).toBe(3);
  counts["s"] = 5;
  census.enter("s");
  census.entered("s", true);
  clock.advance(999);
  expect(census.of("s")).toBe(4);
  clock.advance(2);
  counts["s"] = 6;
  expect([await census.of("s"), census.of("s"), asked]).toEqual([6, 6, ["s", "s"]]);
});
