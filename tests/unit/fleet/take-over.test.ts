import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { Fleet } from "../../../runtime/fleet/fleet.ts";
import { ANYWHERE, place } from "../../../runtime/fleet/placement.ts";
import { TakeOver } from "../../../runtime/fleet/take-over.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import type { HostEntry, HostStateName, Orphan } from "../../../runtime/store/fleet-store.ts";

let clock: ManualClock;
let orphans: Orphan[];
let taken: string[];
let held: boolean;
let state: HostStateName;
let hearing: (readonly string[])[];
let refuse: (orphan: Orphan) => boolean;
let broken: boolean;
let change: () => void;
let opened: TakeOver[];

function entry(name: string, own: HostStateName = "active"): HostEntry {
  return { hostId: `host-${name}`, name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 100, state: own, load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: 0, leaseLeftMs: 1 };
}

function orphan(at: number): Orphan {
  return { agentId: `agent-${String(at).padStart(4, "0")}`, sessionId: "s", module: "m", digest: "d", inWait: true, hasOutbox: false, hasTimers: false, initializing: false, ended: false };
}

function hosts(): readonly HostEntry[] {
  return [entry("a", state), entry("b")];
}

const mine = ({ agentId }: Orphan): boolean => place(agentId, hosts(), ANYWHERE)?.name === "a";

function open(): TakeOver {
  const fleet: Fleet = {
    get self() {
      return entry("a", state);
    },
    get hosts() {
      return hosts();
    },
    get held() {
      return held;
    },
    host: () => null,
    onChange: (listener) => {
      change = listener;
      return () => undefined;
    },
  };
  const store = {
    listOrphans: async (modules: readonly string[], after: string, limit: number) => {
      if (broken) throw new SirsiError("STORE_UNAVAILABLE", "the server is away; try again");
      hearing.push(modules);
      return orphans.filter(({ agentId }) => agentId > after).slice(0, limit);
    },
  };
  const takeOver = new TakeOver({
    clock, store, fleet, log: silentLogger,
    hearing: () => ["topical"],
    wantsOfModule: () => ANYWHERE,
    take: async (page) => {
      const got = page.filter((one) => !refuse(one));
      taken.push(...got.map(({ agentId }) => agentId));
      const ids = new Set(got.map(({ agentId }) => agentId));
      orphans = orphans.filter(({ agentId }) => !ids.has(agentId));
      return { acquired: got.length };
    },
  });
  opened.push(takeOver);
  return takeOver;
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

beforeEach(() => {
  clock = new ManualClock();
  orphans = [];
  taken = [];
  held = true;
  state = "active";
  hearing = [];
  refuse = () => false;
  broken = false;
  opened = [];
});

afterEach(() => {
  for (const one of opened) one.close();
});

describe("agents of nobody with work in hand", () => {
  test("are taken by the host that placement wants them on, page after page", async () => {
    orphans = Array.from({ length: 1_200 }, (_, at) => orphan(at));
    const wanted = orphans.filter(mine).map(({ agentId }) => agentId);
    open().look();
    await settle();
    expect(taken).toEqual(wanted);
    expect(hearing[0]).toEqual(["topical"]);
  });

  test("are taken by whoever sees them when their own host does not come for them", async () => {
    orphans = Array.from({ length: 40 }, (_, at) => orphan(at));
    const all = orphans.map(({ agentId }) => agentId);
    open().look();
    await settle();
    expect(taken.length).toBeLessThan(40);
    for (let round = 0; round < 3; round++) {
      clock.advance(600);
      await settle();
    }
    expect(taken.toSorted()).toEqual(all);
  });

  test("are looked for when the fleet changes, and by themselves after a while", async () => {
    open().look();
    await settle();
    orphans = [orphan(1), orphan(2), orphan(3)].filter(mine);
    const first = orphans.length;
    change();
    await settle();
    expect(taken.length).toBe(first);
    orphans = [4, 5, 6, 7].map(orphan).filter(mine);
    const second = orphans.length;
    clock.advance(5_100);
    await settle();
    expect(taken.length).toBe(first + second);
  });

  test("K2 a look asked for in the middle of one is made after it", async () => {
    const takeOver = open();
    takeOver.look();
    orphans = Array.from({ length: 20 }, (_, at) => orphan(at));
    const wanted = orphans.filter(mine).length;
    takeOver.look();
    await settle();
    expect(taken.length).toBe(wanted);
    expect(hearing.length).toBeGreaterThanOrEqual(1);
  });

  test("are left alone by a host that is not sure of its lease, or that is leaving", async () => {
    orphans = Array.from({ length: 20 }, (_, at) => orphan(at));
    held = false;
    open().look();
    await settle();
    expect(taken).toEqual([]);
    held = true;
    state = "draining";
    change();
    await settle();
    expect(taken).toEqual([]);
  });

  test("are tried again when they could not be taken, or the store was away", async () => {
    broken = true;
    orphans = Array.from({ length: 20 }, (_, at) => orphan(at));
    const wanted = orphans.filter(mine).length;
    open().look();
    await settle();
    broken = false;
    let refusals = 1;
    refuse = () => refusals-- > 0;
    clock.advance(600);
    await settle();
    expect(taken.length).toBe(wanted - 1);
    clock.advance(600);
    await settle();
    expect(taken.length).toBe(wanted);
  });
});
