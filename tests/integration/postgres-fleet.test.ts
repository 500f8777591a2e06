import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../../runtime/core/ids.ts";
import type { FleetModule, FleetStore } from "../../runtime/store/fleet-store.ts";
import type { AgentRecord } from "../../runtime/store/store.ts";
import { until } from "../../scripts/services/service.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { creationContract } from "../support/store-contract-commits.ts";
import { outboxContract, timerContract } from "../support/store-contract-effects.ts";
import { hostDescription, LOAD, LONG_MS, OVER_MS, StoreFleet, type StoreHost } from "../support/store-host.ts";
import { START_MS, agentCommit, agentRecord, deadLetter, moduleRecord, newAgent, outboxEntry, revisionRecord, sessionOf, sessionRecord, stateImage, swapRecord, waitCommit } from "../support/store-records.ts";

let server: PostgresServer;
let fleet: StoreFleet;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());
beforeEach(async () => {
  fleet = await StoreFleet.on(server);
});
afterEach(() => fleet.close());

const FENCED = { code: "AGENT_FENCED" };
const OWNED = { kind: "owned", taken: false };
const TAKEN = { kind: "owned", taken: true };

async function epochOf(store: FleetStore, agentId: string): Promise<number> {
  return (await store.getAgent(agentId))!.epoch;
}

async function ownerOf(store: FleetStore, agentId: string): Promise<string | null> {
  return (await store.ownersOf([agentId])).get(agentId) ?? null;
}

/** By another, as soon as the lease is over. */
async function bury({ hostId }: StoreHost, by: FleetStore): Promise<void> {
  await until(() => by.buryHost(hostId), 10_000, () => `the lease of host ${hostId} does not end`);
}

async function end(store: FleetStore, agentId: string): Promise<void> {
  await store.putAgent({ ...(await store.getAgent(agentId))!.record, state: "TERMINATED" });
}

const timer = (timerId: string, dueAt: number) => ({ kind: "set", timerId, dueAt, payload: Uint8Array.of(1) }) as const;

describe("the store of a host in a fleet keeps what every store keeps", () => {
  let store: FleetStore;
  beforeEach(async () => {
    ({ store } = await fleet.host("a"));
  });
  describe("creating an agent with its first commit", () => creationContract(() => store));
  describe("the outbox", () => outboxContract(() => store));
  describe("timers", () => timerContract(() => store));
});

describe("hosts of a fleet", () => {
  it("see each other with their leases, states and loads, each as it described itself", async () => {
    const [a, b] = [await fleet.open(), await fleet.open()];
    const [one, other] = [hostDescription("one", { zone: "x" }), hostDescription("other\0", { labels: { gpu: "yes" }, capacity: 7 })];
    await a.joinFleet(one, LONG_MS, null);
    await b.joinFleet(other, LONG_MS, null);
    const moved = { ...one, grpcAddress: "127.0.0.1:77", labels: {} };
    await a.describeHost(moved);
    expect(await a.setHostState(one.hostId, "active")).toBe(true);
    expect((await a.renewLease(LOAD, LONG_MS)).held).toBe(true);
    const { held, hosts } = await b.renewLease({ resident: 0, residentBytes: 0, cpu: 0 }, LONG_MS);
    expect(held).toBe(true);
    expect(new Map(hosts.map((host) => [host.hostId, host]))).toEqual(new Map([
      [one.hostId, { ...moved, state: "active", load: LOAD, joinedAt: expect.any(Number), leaseLeftMs: expect.any(Number) }],
      [other.hostId, { ...other, state: "joining", load: { resident: 0, residentBytes: 0, cpu: 0 }, joinedAt: expect.any(Number), leaseLeftMs: expect.any(Number) }],
    ]));
    for (const { leaseLeftMs } of hosts) expect(leaseLeftMs).toSatisfy((left: number) => left > 0 && left <= LONG_MS);
  });

  it("change the state of any host that lives, and of no other", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    expect(await a.store.setHostState(b.hostId, "draining")).toBe(true);
    expect((await b.store.renewLease(LOAD, OVER_MS)).hosts.find(({ hostId }) => hostId === b.hostId)).toMatchObject({ state: "draining" });
    await bury(b, a.store);
    expect(await a.store.setHostState(b.hostId, "active")).toBe(false);
    expect(await a.store.setHostState(newId(START_MS), "active")).toBe(false);
    expect(await a.store.setHostState("nobody", "active")).toBe(false);
  });

  it("bury a host only when its lease is over by the database's clock", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    expect((await b.store.renewLease(LOAD, LONG_MS)).held).toBe(true);
    expect(await a.store.buryHost(b.hostId)).toBe(false);
    expect((await b.store.renewLease(LOAD, 200)).held).toBe(true);
    await bury(b, a.store);
    expect((await a.store.renewLease(LOAD, LONG_MS)).hosts.map(({ hostId }) => hostId)).toEqual([a.hostId]);
    // Again, and of one that nobody knows.
    expect(await a.store.buryHost(b.hostId)).toBe(true);
    expect(await a.store.buryHost(newId(START_MS))).toBe(true);
  });

  it("stay dead once they were buried, whatever they do, and join again under a new id", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    await bury(b, a.store);
    expect(await b.store.renewLease(LOAD, LONG_MS)).toMatchObject({ held: false, hosts: [{ hostId: a.hostId }] });
    await expect(b.store.joinFleet(hostDescription("b", { hostId: b.hostId }), LONG_MS, null)).rejects.toMatchObject(FENCED);
    await expect(b.store.setHostState(b.hostId, "active")).rejects.toMatchObject(FENCED);
    const again = hostDescription("b");
    await b.store.joinFleet(again, LONG_MS, b.hostId);
    expect((await b.store.renewLease(LOAD, LONG_MS)).held).toBe(true);
    expect(await ownerOf(b.store, await newAgent(b.store))).toBe(again.hostId);
  });

  it("bury their predecessor as they join, though its lease runs", async () => {
    const before = await fleet.host("a");
    const agentId = await newAgent(before.store);
    const [after, description] = [await fleet.open(), hostDescription("a")];
    await after.joinFleet(description, LONG_MS, before.hostId);
    expect((await before.store.renewLease(LOAD, LONG_MS)).held).toBe(false);
    await expect(before.store.commit(agentCommit(agentId, 1))).rejects.toMatchObject(FENCED);
    expect(await after.acquireAgent(agentId)).toEqual(TAKEN);
  });

  it("may be told to join twice under one id", async () => {
    const store = await fleet.open();
    const description = hostDescription("a");
    await store.joinFleet(description, LONG_MS, null);
    await store.joinFleet(description, LONG_MS, null);
    expect((await store.renewLease(LOAD, LONG_MS)).hosts).toMatchObject([{ hostId: description.hostId }]);
  });

  it("that leave are dead at once, after what they were asked before", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const agentId = await newAgent(b.store);
    const [commit] = await Promise.allSettled([b.store.commit(agentCommit(agentId, 1)), b.store.leaveFleet()]);
    expect(commit.status).toBe("fulfilled");
    await expect(b.store.commit(agentCommit(agentId, 2))).rejects.toMatchObject(FENCED);
    expect(await a.store.acquireAgent(agentId)).toEqual(TAKEN);
  });

  it("are forgotten a day after their end, unless something is theirs", async () => {
    const [idle, owner] = [await fleet.host("idle"), await fleet.host("owner")];
    await newAgent(owner.store);
    await idle.store.leaveFleet();
    await owner.store.leaveFleet();
    await fleet.sql("UPDATE hosts SET lease_until = lease_until - interval '2 days'");
    const { hostId } = await fleet.host("new");
    expect((await fleet.sql("SELECT host_id FROM hosts ORDER BY host_id")).split("\n").toSorted()).toEqual([owner.hostId, hostId].toSorted());
    await expect(newAgent(idle.store)).rejects.toMatchObject(FENCED);
    expect((await idle.store.renewLease(LOAD, LONG_MS)).held).toBe(false);
  });

  it("renew past calls that wait, and are buried only when what was on its way is over", async () => {
    const [a, b] = [await fleet.host("a", LONG_MS, { connectionsMax: 2 }), await fleet.host("b")];
    const agentId = await newAgent(a.store);
    await fleet.sql("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$");
    await fleet.sql("CREATE TRIGGER hold BEFORE UPDATE ON agent_progress FOR EACH ROW EXECUTE FUNCTION hold()");
    // A session that holds what commits wait for, until it is ended.
    const holding = fleet.sql("SELECT pg_advisory_lock(1); SELECT pg_sleep(60)").catch(() => "ended");
    const holder = async (): Promise<string> => fleet.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted LIMIT 1");
    await until(async () => (await holder()) !== "", 10_000, () => "nobody holds the lock");
    const commit = a.store.commit(agentCommit(agentId, 1));
    const left = a.store.leaveFleet();
    await until(async () => (await fleet.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) === "1", 10_000, () => "the commit does not wait");
    expect((await a.store.renewLease(LOAD, LONG_MS)).held).toBe(true);
    // A burial by another waits for the commit that is on its way (H4).
    await fleet.sql(`UPDATE hosts SET lease_until = lease_until - interval '1 day' WHERE host_id = '${a.hostId}'`);
    const buried = b.store.buryHost(a.hostId);
    await until(async () => (await fleet.sql(`SELECT state FROM hosts WHERE host_id = '${a.hostId}'`)) === "dead", 10_000, () => "it is not buried");
    expect(await Promise.race([buried.then(() => "over"), fleet.sql("SELECT 'waiting'")])).toBe("waiting");
    await fleet.sql(`SELECT pg_terminate_backend(${await holder()})`);
    await holding;
    await commit;
    expect(await buried).toBe(true);
    await left;
    expect(await b.store.acquireAgent(agentId)).toEqual(TAKEN);
    expect(await b.store.getAgent(agentId)).toMatchObject({ commitSequence: 1, epoch: 2 });
  });
});

describe("owners of agents", () => {
  it("are the hosts that made them, by either way", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const put = await newAgent(a.store);
    const record = agentRecord(await sessionOf(a.store, put));
    await b.store.commit(agentCommit(record.agentId, 1, { agent: record, state: stateImage("base", 1) }));
    expect(await b.store.ownersOf([put, record.agentId, newId(START_MS), "nobody"])).toEqual(new Map([[put, a.hostId], [record.agentId, b.hostId]]));
    expect(await a.store.acquireAgent(put)).toEqual(OWNED);
    expect(await a.store.acquireAgent(record.agentId)).toEqual({ kind: "elsewhere", hostId: b.hostId });
    expect(await a.store.acquireAgent(newId(START_MS))).toEqual({ kind: "missing" });
    expect(await a.store.acquireAgent("nobody")).toEqual({ kind: "missing" });
    expect([await epochOf(a.store, put), await epochOf(a.store, record.agentId)]).toEqual([1, 1]);
  });

  it("acquire what nobody owns: made in no fleet, or by a host that is dead", async () => {
    const alone = await fleet.open();
    const unowned = await newAgent(alone);
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    const orphan = await newAgent(b.store);
    expect(await a.store.acquireAgent(orphan)).toEqual({ kind: "elsewhere", hostId: b.hostId });
    await bury(b, a.store);
    expect(await ownerOf(a.store, orphan)).toBeNull();
    expect(await Promise.all([unowned, orphan].map((agentId) => a.store.acquireAgent(agentId)))).toEqual([TAKEN, TAKEN]);
    expect(await Promise.all([unowned, orphan].map((agentId) => epochOf(a.store, agentId)))).toEqual([2, 2]);
    await a.store.commit(agentCommit(orphan, 1, { epoch: 2 }));
    // Its owner is not to be found any more.
    await fleet.sql(`UPDATE agent_progress SET owner = '${newId(START_MS)}' WHERE agent_id = '${orphan}'`);
    expect(await a.store.acquireAgent(orphan)).toEqual(TAKEN);
  });

  it("get an orphan one at a time, however many try", async () => {
    const hosts = [await fleet.host("a"), await fleet.host("b"), await fleet.host("c")];
    const last = await fleet.host("last", OVER_MS);
    const agents = await Promise.all(Array.from({ length: 20 }, () => newAgent(last.store)));
    await bury(last, hosts[0]!.store);
    const tries = agents.flatMap((agentId) => hosts.flatMap(({ store }) => [agentId, agentId].map((id) => store.acquireAgent(id))));
    const outcomes = await Promise.all(tries);
    expect(outcomes.filter((outcome) => outcome.kind === "owned" && outcome.taken)).toHaveLength(agents.length);
    const owners = await hosts[0]!.store.ownersOf(agents);
    for (const [index, agentId] of agents.entries()) {
      const of = outcomes.slice(index * 6, index * 6 + 6);
      expect(of.map((outcome) => (outcome.kind === "elsewhere" ? outcome.hostId : owners.get(agentId)))).toEqual(Array.from({ length: 6 }, () => owners.get(agentId)));
      expect(of.filter(({ kind }) => kind === "owned")).toHaveLength(2);
      expect(await epochOf(hosts[0]!.store, agentId)).toBe(2);
    }
  });

  it("give agents to each other, and to nobody, and what they still commit is refused", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const [mine, given, theirs] = [await newAgent(a.store), await newAgent(a.store), await newAgent(b.store)];
    const [committed, passed, late] = await Promise.allSettled([a.store.commit(agentCommit(given, 1)), a.store.giveAgents([given, theirs, newId(START_MS), "nobody"], b.hostId), a.store.commit(agentCommit(given, 2))]);
    expect([committed.status, passed, late]).toMatchObject(["fulfilled", { value: [given] }, { reason: FENCED }]);
    expect(await b.store.acquireAgent(given)).toEqual(OWNED);
    expect(await b.store.getAgent(given)).toMatchObject({ epoch: 2, commitSequence: 1 });
    await b.store.commit(agentCommit(given, 2, { epoch: 2 }));
    expect(await a.store.giveAgents([mine], null)).toEqual([mine]);
    expect(await ownerOf(a.store, mine)).toBeNull();
    await expect(a.store.commit(agentCommit(mine, 1))).rejects.toMatchObject(FENCED);
    await expect(a.store.putAgent((await a.store.getAgent(mine))!.record)).rejects.toMatchObject(FENCED);
    expect(await b.store.acquireAgent(mine)).toEqual(TAKEN);
    expect(await epochOf(a.store, mine)).toBe(3);
  });

  it("give nothing to the dead: such agents are nobody's", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    await bury(b, a.store);
    const agentId = await newAgent(a.store);
    expect(await a.store.giveAgents([agentId], b.hostId)).toEqual([agentId]);
    expect(await fleet.sql(`SELECT owner IS NULL FROM agent_progress WHERE agent_id = '${agentId}'`)).toBe("t");
  });

  it("are told from others: what a host owns, by page, and who owns how many", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const own = (await Promise.all([newAgent(a.store), newAgent(a.store), newAgent(a.store), newAgent(a.store)])).toSorted();
    await newAgent(b.store);
    await end(a.store, own[3]!);
    await a.store.giveAgents([own[2]!], null);
    expect(await a.store.listOwned("", 1)).toEqual([own[0]]);
    expect(await a.store.listOwned(own[0]!, 10)).toEqual([own[1]]);
    expect([await a.store.countOwned(), await b.store.countOwned()]).toEqual([2, 1]);
    expect(await b.store.countByOwner()).toEqual(new Map([[a.hostId, 2], [b.hostId, 1], ["", 1]]));
    await b.store.leaveFleet();
    expect(await a.store.countByOwner()).toEqual(new Map([[a.hostId, 2], ["", 2]]));
  });

  it("are asked for only by hosts that joined a fleet", async () => {
    const store = await fleet.open();
    const agentId = await newAgent(store);
    const calls = [store.acquireAgent(agentId), store.giveAgents([agentId], null), store.listOwned("", 1), store.countOwned(), store.renewLease(LOAD, LONG_MS), store.leaveFleet()];
    for (const outcome of await Promise.allSettled(calls)) expect(outcome).toMatchObject({ reason: { code: "INTERNAL", message: expect.stringContaining("joinFleet") } });
    expect(await store.listLiveAgents({ sessionId: null, module: null, digest: null, parentAgentId: null }, "", 10)).toHaveLength(1);
  });
});

describe("fencing in a fleet", () => {
  it("refuses who does not own an agent: commits, records, claims", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const agentId = await newAgent(a.store);
    const { record } = (await b.store.getAgent(agentId))!;
    await expect(b.store.commit(agentCommit(agentId, 1))).rejects.toMatchObject({ ...FENCED, details: { metadata: { owner: a.hostId } } });
    await expect(b.store.putAgent({ ...record, state: "TERMINATED" })).rejects.toMatchObject(FENCED);
    await expect(b.store.claimAgent(agentId)).rejects.toMatchObject(FENCED);
    expect(await a.store.getAgent(agentId)).toMatchObject({ epoch: 1, commitSequence: 0, record: { state: "READY" } });
    await a.store.putAgent({ ...record, state: "BUSY" });
    expect(await a.store.claimAgent(agentId)).toBe(2);
  });

  it("refuses everything that a buried host writes, and lets it read", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b", OVER_MS)];
    const agentId = await newAgent(b.store);
    const sessionId = await sessionOf(b.store, agentId);
    const letter = deadLetter(agentId, sessionId);
    await b.store.commit(agentCommit(agentId, 1, { outbox: [outboxEntry(agentId)], deadLetter: letter }));
    const key = { agentId, commitSequence: 1, index: 0 };
    await bury(b, a.store);
    const born = agentRecord(sessionId);
    const writes: Record<string, () => Promise<unknown>> = {
      commit: () => b.store.commit(agentCommit(agentId, 2)),
      create: () => b.store.putAgent(born),
      createByCommit: () => b.store.commit(agentCommit(born.agentId, 1, { agent: born, state: stateImage("base", 1) })),
      acquireAgent: () => b.store.acquireAgent(agentId),
      giveAgents: () => b.store.giveAgents([agentId], a.hostId),
      settleOutbox: () => b.store.settleOutbox([key]),
      deadLetterOutbox: () => b.store.deadLetterOutbox(key, letter),
      dropDeadLetter: () => b.store.dropDeadLetter(letter.deadLetterId),
      forgetExchanges: () => b.store.forgetExchanges(Infinity, 10),
      putSession: () => b.store.putSession(sessionRecord()),
      deleteSession: () => b.store.deleteSession(sessionId),
      putUser: () => b.store.putUser({ userId: "ada", displayName: "Ada", preferences: {}, updatedAt: 1 }),
      putModule: () => b.store.putModule(moduleRecord("echo"), revisionRecord("echo", "c".repeat(64))),
      putRevision: () => b.store.putRevision(revisionRecord("echo", "c".repeat(64))),
      putSwap: () => b.store.putSwap(swapRecord("echo")),
      putModuleBytes: () => b.store.putModuleBytes("d", Uint8Array.of(1)),
      putFleetModule: () => b.store.putFleetModule(fleetModule(1)),
      describeHost: () => b.store.describeHost(hostDescription("b", { hostId: b.hostId })),
      buryHost: () => b.store.buryHost(a.hostId),
      setHostState: () => b.store.setHostState(a.hostId, "draining"),
    };
    const outcomes = await Promise.allSettled(Object.values(writes).map((write) => write()));
    expect(Object.fromEntries(Object.keys(writes).map((name, index) => [name, outcomes[index]]))).toMatchObject(Object.fromEntries(Object.keys(writes).map((name) => [name, { reason: FENCED }])));
    expect(await b.store.getAgent(agentId)).toMatchObject({ commitSequence: 1 });
    expect(await b.store.getDeadLetter(letter.deadLetterId)).toEqual(letter);
    await b.store.probe();
    expect(await a.store.getAgent(born.agentId)).toBeNull();
    expect(await a.store.listFleetModules()).toEqual([]);
  });

  it("lets agents of several hosts be in one session, and end with it", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const agentId = await newAgent(a.store);
    const sessionId = await sessionOf(a.store, agentId);
    const sibling = agentRecord(sessionId);
    await b.store.putAgent(sibling);
    expect((await a.store.listSessionAgents(sessionId)).map(({ record }) => record.agentId).toSorted()).toEqual([agentId, sibling.agentId].toSorted());
    await b.store.deleteSession(sessionId);
    await expect(a.store.commit(agentCommit(agentId, 1))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
    expect(await a.store.acquireAgent(agentId)).toEqual({ kind: "missing" });
  });
});

describe("lists of a host in a fleet", () => {
  /** An agent with one of everything that is listed. */
  async function busyAgent(store: FleetStore, sessionId: string | null, dueAt: number, changes: Partial<AgentRecord> = {}): Promise<string> {
    const agentId = await newAgent(store, null, { state: "INITIALIZING", ...changes, ...(sessionId === null ? {} : { sessionId }) });
    await store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1), outbox: [outboxEntry("x")], timers: [timer("t", dueAt)] }));
    await store.commit(waitCommit(agentId, 2, "m-1"));
    return agentId;
  }

  it("tell of its own agents alone, and move with them", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const [mine, theirs] = [await busyAgent(a.store, null, 20), await busyAgent(b.store, null, 10, { digest: "b".repeat(64) })];
    const everybody = { sessionId: null, module: "echo", digest: null, parentAgentId: null };
    const seen = async ({ store }: StoreHost) => ({
      waiting: await store.listWaiting("", 10),
      initializing: await store.listInitializing(10),
      outbox: (await store.listOutbox(null, 10)).entries.map(({ key }) => key.agentId),
      timers: (await store.listTimers(Infinity, 10)).map(({ agentId }) => agentId),
      nextTimer: await store.nextTimer(0),
      digests: await store.countByDigest("echo"),
      live: (await store.listLiveAgents(everybody, "", 10)).map(({ record }) => record.agentId),
      count: await store.countLiveAgents(everybody),
    });
    const of = (agentId: string, nextTimer: number, digest: string) => ({
      waiting: [agentId], initializing: [agentId], outbox: [agentId], timers: [agentId], nextTimer, digests: new Map([[digest.repeat(64), 1]]), live: [agentId], count: 1,
    });
    expect(await seen(a)).toEqual(of(mine, 20, "a"));
    expect(await seen(b)).toEqual(of(theirs, 10, "b"));
    await a.store.giveAgents([mine], b.hostId);
    expect(await seen(a)).toEqual({ waiting: [], initializing: [], outbox: [], timers: [], nextTimer: null, digests: new Map(), live: [], count: 0 });
    expect(await seen(b)).toMatchObject({ waiting: [mine, theirs].toSorted(), nextTimer: 10, count: 2 });
    // In no fleet, everything is a host's own.
    expect(await seen({ store: await fleet.open(), hostId: "" })).toMatchObject({ waiting: [mine, theirs].toSorted(), nextTimer: 10, count: 2 });
  });

  it("tell of the whole fleet's agents when a session or a parent is named", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const parent = await newAgent(a.store);
    const sessionId = await sessionOf(a.store, parent);
    const child = agentRecord(sessionId, { parentAgentId: parent });
    await b.store.putAgent(child);
    const anything = { sessionId: null, module: null, digest: null, parentAgentId: null };
    expect(await a.store.countLiveAgents({ ...anything, sessionId })).toBe(2);
    expect((await a.store.listLiveAgents({ ...anything, sessionId }, "", 10)).map(({ record }) => record.agentId)).toEqual([parent, child.agentId].toSorted());
    expect((await a.store.listLiveAgents({ ...anything, parentAgentId: parent }, "", 10)).map(({ record }) => record.agentId)).toEqual([child.agentId]);
    expect(await a.store.countLiveAgents(anything)).toBe(1);
  });

  it("tell of orphans with each kind of work, by page, and of those that hear topics", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const spawn = (changes: Partial<AgentRecord> = {}) => newAgent(b.store, null, changes);
    const [idle, waits, sends, rings, cutOff, hears, ended, mute] = [await spawn(), await spawn(), await spawn(), await spawn(), await spawn({ state: "INITIALIZING" }), await spawn({ module: "ears" }), await spawn(), await spawn({ module: "ears" })];
    const base = { state: stateImage("base", 1) };
    await b.store.commit(agentCommit(waits, 1, base));
    await b.store.commit(waitCommit(waits, 2, "m-1"));
    await b.store.commit(agentCommit(sends, 1, { outbox: [outboxEntry("x")] }));
    await b.store.commit(agentCommit(rings, 1, { timers: [timer("t", 5)] }));
    await b.store.commit(agentCommit(ended, 1, { outbox: [outboxEntry("x")] }));
    await end(b.store, ended);
    await end(b.store, mute);
    await newAgent(a.store, null, { module: "ears" });
    expect(await a.store.listOrphans(["ears"], "", 10)).toEqual([]);
    await b.store.giveAgents([rings], null);
    await b.store.leaveFleet();
    const nothing = { inWait: false, hasOutbox: false, hasTimers: false, initializing: false, ended: false };
    const found = await a.store.listOrphans(["ears"], "", 10);
    expect(new Map(found.map(({ agentId, ...rest }) => [agentId, rest]))).toEqual(new Map(await Promise.all(
      [
        { agentId: waits, inWait: true },
        { agentId: sends, hasOutbox: true },
        { agentId: rings, hasTimers: true },
        { agentId: cutOff, initializing: true },
        { agentId: hears, module: "ears" },
        { agentId: ended, hasOutbox: true, ended: true },
      ].map(async ({ agentId, ...what }) => [agentId, { sessionId: await sessionOf(a.store, agentId), module: "echo", digest: "a".repeat(64), ...nothing, ...what }] as const),
    )));
    expect(found.map(({ agentId }) => agentId)).toEqual([waits, sends, rings, cutOff, hears, ended].toSorted());
    const silent = found.filter(({ agentId }) => agentId !== hears);
    expect(await a.store.listOrphans([], "", 2)).toEqual(silent.slice(0, 2));
    expect(await a.store.listOrphans([], silent[1]!.agentId, 10)).toEqual(silent.slice(2));
    await Promise.all(silent.map(({ agentId }) => a.store.acquireAgent(agentId)));
    expect(await a.store.listOrphans([], "", 10)).toEqual([]);
    expect((await a.store.listOutbox(null, 10)).entries.map(({ key }) => key.agentId).toSorted()).toEqual([sends, ended].toSorted());
    expect(await a.store.acquireAgent(idle)).toEqual(TAKEN);
  });

  it("tell of sessions that are due: open ones past their expiry, closed ones with agents that live", async () => {
    const { store } = await fleet.host("a");
    const session = async (changes: Parameters<typeof sessionRecord>[0]): Promise<string> => {
      const record = sessionRecord(changes);
      await store.putSession(record);
      return record.sessionId;
    };
    const due = [await session({ expiresAt: 100 }), await session({ state: "SUSPENDED", expiresAt: 90 })];
    await session({ expiresAt: 101 });
    await session({ state: "EXPIRED", expiresAt: 50 });
    const [unfinished, finished] = [await session({ state: "TERMINATED", expiresAt: 1_000 }), await session({ state: "TERMINATED" })];
    await newAgent(store, unfinished).catch(() => undefined);
    await store.putAgent(agentRecord(unfinished));
    const last = agentRecord(finished);
    await store.putAgent(last);
    await store.putAgent({ ...last, state: "TERMINATED" });
    expect((await store.listDueSessions(100, 10)).toSorted()).toEqual([...due, unfinished].toSorted());
    expect(await store.listDueSessions(100, 1)).toHaveLength(1);
  });
});

function fleetModule(generation: number, changes: Partial<FleetModule> = {}): FleetModule {
  return { module: "echo", digest: "c".repeat(64), file: "echo.wasm", version: "1.0.0", generation, changedAt: START_MS, changedBy: "a", ...changes };
}

describe("modules in a fleet", () => {
  it("are each host's own, by its name, and outlive its id", async () => {
    const alone = await fleet.open();
    await alone.putModule(moduleRecord("alone"), null);
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    expect(await a.store.listModules()).toEqual([]);
    const digest = "c".repeat(64);
    await a.store.putModule(moduleRecord("echo"), revisionRecord("echo", digest));
    await b.store.putModule(moduleRecord("echo", { retired: true }), revisionRecord("echo", digest, { state: "REJECTED" }));
    const swap = swapRecord("echo");
    await a.store.putSwap(swap);
    await b.store.putSwap({ ...swap, state: "REJECTED" });
    expect(await a.store.listModules()).toEqual([moduleRecord("echo")]);
    expect(await a.store.listRevisions("echo")).toEqual([revisionRecord("echo", digest)]);
    expect([await a.store.listSwaps(null, 10), await a.store.listSwaps("echo", 10)]).toEqual([[swap], [swap]]);
    expect(await b.store.listModules()).toEqual([moduleRecord("echo", { retired: true })]);
    expect(await b.store.listSwaps("echo", 10)).toEqual([{ ...swap, state: "REJECTED" }]);
    await a.store.leaveFleet();
    expect(await (await fleet.host("a")).store.listRevisions("echo")).toEqual([revisionRecord("echo", digest)]);
    expect(await alone.listModules()).toEqual([moduleRecord("alone")]);
  });

  it("change one at a time: who comes second finds another generation", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    expect(await a.store.putFleetModule(fleetModule(2))).toBe(false);
    const first = await Promise.all([a, b].map(({ store }, index) => store.putFleetModule(fleetModule(1, { version: `1.0.${index}` }))));
    expect(first.filter(Boolean)).toHaveLength(1);
    const second = await Promise.all([a, b, a, b].map(({ store }, index) => store.putFleetModule(fleetModule(2, { version: `2.0.${index}` }))));
    expect(second.filter(Boolean)).toHaveLength(1);
    expect(await a.store.putFleetModule(fleetModule(1))).toBe(false);
    expect(await b.store.putFleetModule(fleetModule(3, { digest: null, changedBy: "b" }))).toBe(true);
    await a.store.putFleetModule(fleetModule(1, { module: "counter" }));
    expect(await a.store.listFleetModules()).toEqual([fleetModule(1, { module: "counter" }), fleetModule(3, { digest: null, changedBy: "b" })]);
  });

  it("have their bytes by digest, put once or often", async () => {
    const [a, b] = [await fleet.host("a"), await fleet.host("b")];
    const bytes = Uint8Array.of(0, 97, 115, 109);
    const put = a.store.putModuleBytes("d", bytes);
    bytes.fill(9);
    await put;
    await b.store.putModuleBytes("d", Uint8Array.of(0, 97, 115, 109));
    expect(await b.store.getModuleBytes("d")).toEqual(Uint8Array.of(0, 97, 115, 109));
    expect(await b.store.getModuleBytes("e")).toBeNull();
  });
});
