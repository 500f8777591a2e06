import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { Departures, type DrainProgress, type HandedOver } from "../../../runtime/fleet/departures.ts";
import type { Fleet } from "../../../runtime/fleet/fleet.ts";
import { ANYWHERE } from "../../../runtime/fleet/placement.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { HostEntry, HostStateName } from "../../../runtime/store/fleet-store.ts";

const SELF = "host-a";

let states: Map<string, HostStateName>;
/** Agent to owner; null for nobody. */
let owners: Map<string, string | null>;
let here: Set<string>;
let brought: { readonly hostId: string; readonly agentId: string }[];
let forgotten: string[];
let told: number;
let handOver: (agentId: string, give: () => Promise<boolean>) => Promise<HandedOver>;
let departures: Departures;

function entries(): HostEntry[] {
  return [...states].map(([name, state]) => ({ hostId: `host-${name}`, name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 100, state, load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 1 }));
}

const fleet: Fleet = {
  get self() {
    return entries()[0] as HostEntry;
  },
  get hosts() {
    return entries();
  },
  held: true,
  host: (hostId) => entries().find((one) => one.hostId === hostId) ?? null,
  onChange: () => () => undefined,
};

beforeEach(() => {
  states = new Map([["a", "active"], ["b", "active"], ["c", "active"]]);
  owners = new Map();
  here = new Set();
  brought = [];
  forgotten = [];
  told = 0;
  handOver = async (agentId, give) => {
    if (!(await give())) return { kind: "stayed", reason: "it is not this host's any more" };
    here.delete(agentId);
    return { kind: "moved", pauseMs: 3 };
  };
  departures = new Departures({
    clock: systemClock,
    fleet,
    log: silentLogger,
    store: {
      giveAgents: async (ids, to) => {
        const own = ids.filter((id) => owners.get(id) === SELF);
        for (const id of own) owners.set(id, to);
        return own;
      },
      countOwned: async () => [...owners.values()].filter((owner) => owner === SELF).length,
      listOwned: async (after, limit) => [...owners].filter(([id, owner]) => owner === SELF && id > after).map(([id]) => id).toSorted().slice(0, limit),
    },
    isHere: (agentId) => here.has(agentId),
    wantsOf: async () => ANYWHERE,
    handOver: (agentId, give) => handOver(agentId, give),
    forget: (ids) => void forgotten.push(...ids),
    bringThere: async (hostId, agentId) => void brought.push({ hostId, agentId }),
    orphaned: () => void told++,
    setState: async (state) => void states.set("a", state),
  });
});

function fill(count: number, resident: number): string[] {
  const ids = Array.from({ length: count }, (_, at) => `agent-${String(at).padStart(5, "0")}`);
  for (const [at, id] of ids.entries()) {
    owners.set(id, SELF);
    if (at < resident) here.add(id);
  }
  return ids;
}

async function drained(): Promise<DrainProgress> {
  let last: DrainProgress | null = null;
  for await (const progress of departures.drain()) last = progress;
  return last as DrainProgress;
}

describe("a drain", () => {
  test("hands over those in memory, gives away those asleep, and says what it took", async () => {
    const ids = fill(1_300, 40);
    const end = await drained();
    expect(end).toMatchObject({ done: true, moved: 1_300, left: 0, failed: 0, lastFailure: "" });
    expect(end.pauseP50Ms).toBeGreaterThan(2.8);
    expect(states.get("a")).toBe("drained");
    expect([...owners.values()].filter((owner) => owner === SELF)).toEqual([]);
    expect(brought.map(({ agentId }) => agentId).toSorted()).toEqual(ids.slice(0, 40));
    for (const { agentId, hostId } of brought) expect(owners.get(agentId)).toBe(hostId);
    expect(new Set(brought.map(({ hostId }) => hostId))).toEqual(new Set(["host-b", "host-c"]));
    expect(forgotten.length).toBe(1_260);
    expect(told).toBeGreaterThan(0);
  });

  test("V2 tries again those that could not go", async () => {
    fill(10, 10);
    const once = new Set<string>();
    const go = handOver;
    handOver = async (agentId, give) => {
      if (agentId.endsWith("3") && !once.has(agentId)) {
        once.add(agentId);
        return { kind: "stayed", reason: "it computes" };
      }
      return await go(agentId, give);
    };
    const end = await drained();
    expect(end).toMatchObject({ done: true, moved: 10 });
    expect(end.lastFailure).toContain("it computes");
  });

  test("tells how many are left as it goes", async () => {
    fill(700, 2);
    const began = Promise.withResolvers<void>();
    const go = handOver;
    handOver = async (agentId, give) => {
      await began.promise;
      return await go(agentId, give);
    };
    const lefts: number[] = [];
    for await (const { left } of departures.drain()) {
      lefts.push(left);
      began.resolve();
    }
    // Of the first page those asleep have gone, while those in memory hold up the rest.
    expect([lefts[0], lefts.at(-1)]).toEqual([202, 0]);
  });

  test("asked for again when it is over tells what it came to", async () => {
    fill(7, 3);
    const end = await drained();
    expect(await drained()).toMatchObject({ moved: end.moved, left: 0, done: true });
    owners.set("agent-new", SELF);
    expect(await drained()).toMatchObject({ moved: 1, left: 0 });
  });

  test("is refused when no other host takes agents, and the host goes on", async () => {
    fill(3, 3);
    states.set("b", "draining").set("c", "joining");
    await expect(drained()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(states.get("a")).toBe("active");
  });

  test("asked for twice is one; taken back, those that are left stay", async () => {
    fill(5, 5);
    const began = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    handOver = async () => {
      began.resolve();
      await go.promise;
      return { kind: "stayed", reason: "it computes" };
    };
    const [first, second] = [drained(), drained()];
    await began.promise;
    const back = departures.undrain();
    go.resolve();
    await back;
    expect(states.get("a")).toBe("active");
    expect((await Promise.all([first, second])).map(({ left, moved }) => [moved, left])).toEqual([[0, 5], [0, 5]]);
    expect([...owners.values()]).toEqual(Array.from({ length: 5 }, () => SELF));
  });
});

describe("one agent's move", () => {
  test("goes where the operator says, or where placement wants it", async () => {
    const [one = "", two = ""] = fill(2, 2);
    expect(await departures.move(one, "host-c")).toMatchObject({ hostId: "host-c", stayed: false });
    expect(owners.get(one)).toBe("host-c");
    states.set("a", "draining");
    const moved = await departures.move(two, "");
    expect(owners.get(two)).toBe(moved.hostId);
  });

  test("to where it is changes nothing; to a host that is not there, or of an agent that computes, is refused", async () => {
    const [one = ""] = fill(1, 1);
    expect(await departures.move(one, SELF)).toEqual({ hostId: SELF, stayed: true, pauseMs: 0 });
    await expect(departures.move(one, "host-x")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    handOver = async () => ({ kind: "stayed", reason: "it computes" });
    await expect(departures.move(one, "host-b")).rejects.toThrow(/it computes/);
    expect(owners.get(one)).toBe(SELF);
  });

  test("stands though the other host does not bring it to memory", async () => {
    const [one = ""] = fill(1, 1);
    brought.push = () => {
      throw new SirsiError("AGENT_FENCED", "that host is gone");
    };
    expect(await departures.move(one, "host-b")).toMatchObject({ hostId: "host-b" });
    expect(owners.get(one)).toBe("host-b");
  });
});
