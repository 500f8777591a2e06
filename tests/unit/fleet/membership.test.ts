import { beforeEach, describe, expect, test } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { Membership, type MembershipConfig } from "../../../runtime/fleet/membership.ts";
import { silentLogger } from "../../../runtime/observe/index.ts";
import { LeaseTable, type HostDoor } from "../../support/lease-table.ts";

const LEASE_MS = 3_000;

let clock: ManualClock;
let table: LeaseTable;

beforeEach(() => {
  clock = new ManualClock();
  table = new LeaseTable(clock);
});

interface Member {
  readonly membership: Membership;
  readonly door: HostDoor;
  readonly buried: number[];
  readonly rejoined: string[];
}

async function join(name: string, changes: Partial<MembershipConfig> = {}): Promise<Member> {
  const door = table.door();
  const buried: number[] = [];
  const rejoined: string[] = [];
  const membership = await Membership.open({
    clock,
    random: () => 0.5,
    store: door,
    log: silentLogger,
    leaseMs: LEASE_MS,
    describe: () => ({ name, zone: "", labels: {}, grpcAddress: "", httpAddress: "", version: "1", capacity: 100 }),
    load: () => ({ resident: 1, residentBytes: 0, cpu: 0 }),
    predecessor: null,
    remember: () => undefined,
    onTime: () => undefined,
    onBuried: async () => void buried.push(clock.monotonic()),
    onRejoined: async (hostId) => void rejoined.push(hostId),
    ...changes,
  });
  return { membership, door, buried, rejoined };
}

/** In small turns, so that what a timer begins is done before the next goes off. */
async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    clock.advance(Math.min(50, left));
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  }
}

describe("a lease", () => {
  test("brings the store's time with each renewal, between two moments on the steady clock", async () => {
    const told: (readonly [number, number, number])[] = [];
    await join("a", { onTime: (now, askedAt, heardAt) => void told.push([now, askedAt, heardAt]) });
    await pass(LEASE_MS);
    expect(told.length).toBeGreaterThan(3);
    for (const [now, askedAt, heardAt] of told) expect([now - told[0]![0], heardAt]).toEqual([askedAt - told[0]![1], askedAt]);
  });

  test("is renewed for as long as the store answers, and is held all the while", async () => {
    const { membership } = await join("a");
    for (let round = 0; round < 20; round++) {
      await pass(500);
      expect(membership.held).toBe(true);
    }
    expect(membership.hosts.map(({ name }) => name)).toEqual(["a"]);
  });

  test("is held no longer than it surely runs when the store is away, and is held again when it is back", async () => {
    const { membership, door } = await join("a");
    await pass(1_000);
    door.broken = true;
    await pass(2_000);
    expect(membership.held).toBe(true);
    await pass(1_000);
    expect(membership.held).toBe(false);
    door.broken = false;
    await pass(800);
    expect(membership.held).toBe(true);
  });

  test("is not held after the machine's clock has jumped ahead, until it is renewed", async () => {
    const { membership } = await join("a");
    await pass(1_000);
    clock.setNow(clock.now() + 60_000);
    expect(membership.held).toBe(false);
    await pass(800);
    expect(membership.held).toBe(true);
  });

  test("a clock that is set back by minutes changes nothing", async () => {
    const { membership } = await join("a");
    clock.setNow(clock.now() - 600_000);
    for (let round = 0; round < 10; round++) {
      await pass(500);
      expect(membership.held).toBe(true);
    }
  });
});

describe("a host that is gone", () => {
  test("is buried by the others when its lease is over, and not before", async () => {
    const [a, b] = [await join("a"), await join("b")];
    await pass(4_000);
    b.membership.close();
    const seen: string[][] = [];
    a.membership.onChange(() => seen.push(a.membership.hosts.map(({ name }) => name)));
    await pass(2_000);
    expect(table.stateOf(b.door.hostId)).toBe("joining");
    await pass(1_200);
    expect(table.stateOf(b.door.hostId)).toBe("dead");
    expect(seen.at(-1)).toEqual(["a"]);
  });

  test("by its own will is dead at once", async () => {
    const [, b] = [await join("a"), await join("b")];
    await b.membership.leave();
    expect(table.stateOf(b.door.hostId)).toBe("dead");
    expect(b.membership.held).toBe(false);
  });

  test("buries its predecessor as it joins, whose lease still runs", async () => {
    const a = await join("a");
    a.membership.close();
    await join("a", { predecessor: a.door.hostId });
    expect(table.stateOf(a.door.hostId)).toBe("dead");
  });
});

describe("after an outage of the store", () => {
  test("nobody is buried who comes back within a lease", async () => {
    const [a, b] = [await join("a"), await join("b")];
    await pass(4_000);
    a.door.broken = true;
    b.door.broken = true;
    await pass(10_000);
    a.door.broken = false;
    await pass(2_000);
    b.door.broken = false;
    await pass(1_500);
    expect([table.stateOf(a.door.hostId), table.stateOf(b.door.hostId)]).toEqual(["joining", "joining"]);
    expect([a.buried, b.buried]).toEqual([[], []]);
    expect([a.membership.held, b.membership.held]).toEqual([true, true]);
  });
});

describe("a host that was buried and is not dead", () => {
  test("lets go of everything before it joins again, under a new id and in the state that it had", async () => {
    const [, b] = [await join("a"), await join("b")];
    await b.membership.activate();
    await pass(4_000);
    const before = b.door.hostId;
    b.door.broken = true;
    await pass(4_000);
    expect(table.stateOf(before)).toBe("dead");
    expect(b.membership.held).toBe(false);
    b.door.broken = false;
    await pass(1_000);
    expect(b.buried.length).toBe(1);
    expect(b.rejoined).toEqual([b.membership.self.hostId]);
    expect(b.membership.self.hostId).not.toBe(before);
    expect(table.stateOf(b.membership.self.hostId)).toBe("active");
    expect(b.membership.held).toBe(true);
  });

  test("holds nothing while it lets go", async () => {
    const release = Promise.withResolvers<void>();
    const [, b] = [await join("a"), await join("b", { onBuried: () => release.promise })];
    await pass(4_000);
    b.door.broken = true;
    await pass(4_000);
    b.door.broken = false;
    await pass(2_000);
    expect([b.membership.held, b.rejoined]).toEqual([false, []]);
    release.resolve();
    await pass(100);
    expect(b.membership.held).toBe(true);
  });
});

describe("a name that another host has", () => {
  test("is refused while that host runs", async () => {
    await join("a");
    const second = join("a").then(
      () => "joined",
      (thrown: unknown) => thrown,
    );
    await pass(6_000);
    expect(await second).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("another host named a") as string });
    expect([...table.rows.values()].filter(({ state }) => state !== "dead").length).toBe(1);
  });

  test("is free again once a dead host's lease is over", async () => {
    const first = await join("a");
    first.membership.close();
    const second = join("a");
    await pass(4_000);
    expect((await second).membership.hosts.map(({ name }) => name)).toEqual(["a"]);
    expect(table.stateOf(first.door.hostId)).toBe("dead");
  });
});
