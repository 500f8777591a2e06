/** What every Store keeps, as tests. An implementation's own test file calls `storeContract`. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../../runtime/core/ids.ts";
import type { SessionQuery, Store } from "../../runtime/store/store.ts";
import {
  START_MS, agentCommit, agentCounters, agentRecord, checkpointRecord, exchangeRecord, moduleRecord, revisionRecord, sessionRecord,
} from "./store-records.ts";

export interface StoreUnderTest {
  /** Open and empty. */
  readonly store: Store;
  /** Closes the store and removes what it left behind. */
  dispose(): Promise<void>;
}

const ALL_SESSIONS: SessionQuery = { userId: null, states: [], before: null, limit: 100 };
const ODD_TEXT = 'a "quoted" \\ line\nand\u0000null, ünïcödé, 🦉, __proto__';

export function storeContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(name, () => {
    let test: StoreUnderTest;
    let store: Store;
    beforeEach(async () => {
      test = await open();
      store = test.store;
    });
    afterEach(() => test.dispose());
    const get = (): Store => store;

    describe("sessions and users", () => sessionContract(get));
    describe("listing sessions", () => sessionListingContract(get));
    describe("deleting a session", () => sessionDeletionContract(get));
    describe("agents", () => agentContract(get));
    describe("listing agents", () => agentListingContract(get));
    describe("commits", () => commitContract(get));
    describe("refused commits", () => refusalContract(get));
    describe("exchanges", () => exchangeContract(get));
    describe("bytes", () => bytesContract(get));
    describe("modules", () => moduleContract(get));
    describe("order and closing", () => lifeContract(get));
  });
}

async function newAgent(store: Store): Promise<string> {
  const session = sessionRecord();
  const agent = agentRecord(session.sessionId);
  await store.putSession(session);
  await store.putAgent(agent);
  return agent.agentId;
}

function sessionContract(get: () => Store): void {
  it("gives a session back as it was put", async () => {
    const session = sessionRecord({ userId: ODD_TEXT, metadata: { [ODD_TEXT]: ODD_TEXT, "": "" } });
    await get().putSession(session);
    expect(await get().getSession(session.sessionId)).toEqual(session);
  });

  it("replaces a session and keeps its agents", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId);
    await get().putSession(session);
    await get().putAgent(agent);
    const changed = { ...session, state: "SUSPENDED", updatedAt: START_MS + 9, metadata: {} } as const;
    await get().putSession(changed);
    expect(await get().getSession(session.sessionId)).toEqual(changed);
    expect((await get().getAgent(agent.agentId))?.record).toEqual(agent);
  });

  it("has null for a session that was never put", async () => {
    expect(await get().getSession(newId(START_MS))).toBeNull();
  });

  it("puts, replaces and misses users", async () => {
    const user = { userId: ODD_TEXT, displayName: ODD_TEXT, preferences: { a: "1" }, updatedAt: START_MS };
    await get().putUser(user);
    expect(await get().getUser(ODD_TEXT)).toEqual(user);
    await get().putUser({ ...user, displayName: "Ada", preferences: {} });
    expect(await get().getUser(ODD_TEXT)).toEqual({ ...user, displayName: "Ada", preferences: {} });
    expect(await get().getUser("nobody")).toBeNull();
  });
}

function sessionListingContract(get: () => Store): void {
  it("comes newest first and, within a millisecond, by falling id", async () => {
    const [first, second, third] = [sessionRecord(), sessionRecord(), sessionRecord({ createdAt: START_MS + 5 })];
    for (const session of [second, third, first]) await get().putSession(session);
    const ids = (await get().listSessions(ALL_SESSIONS)).map((session) => session.sessionId);
    expect(ids).toEqual([third.sessionId, second.sessionId, first.sessionId]);
  });

  it("goes on exactly after the session it was told, page by page", async () => {
    const sessions = Array.from({ length: 7 }, (_, i) => sessionRecord({ createdAt: START_MS + Math.floor(i / 3) }));
    for (const session of sessions) await get().putSession(session);
    const seen: string[] = [];
    let before: SessionQuery["before"] = null;
    for (;;) {
      const page = await get().listSessions({ ...ALL_SESSIONS, before, limit: 2 });
      expect(page.length).toBeLessThanOrEqual(2);
      const last = page.at(-1);
      if (last === undefined) break;
      seen.push(...page.map((session) => session.sessionId));
      before = { createdAt: last.createdAt, sessionId: last.sessionId };
    }
    expect(seen).toEqual(sessions.map((session) => session.sessionId).toReversed());
  });

  it("keeps to one user and to the states asked for", async () => {
    const wanted = sessionRecord({ userId: "bob", state: "SUSPENDED" });
    for (const session of [wanted, sessionRecord({ userId: "bob" }), sessionRecord({ state: "SUSPENDED" }), sessionRecord({ state: "EXPIRED" })]) {
      await get().putSession(session);
    }
    expect(await get().listSessions({ ...ALL_SESSIONS, userId: "bob", states: ["SUSPENDED", "EXPIRED"] })).toEqual([wanted]);
    expect(await get().listSessions({ ...ALL_SESSIONS, userId: "bob" })).toHaveLength(2);
    expect(await get().listSessions({ ...ALL_SESSIONS, states: ["SUSPENDED", "EXPIRED"] })).toHaveLength(3);
    expect(await get().listSessions(ALL_SESSIONS)).toHaveLength(4);
  });
}

function sessionDeletionContract(get: () => Store): void {
  it("takes its agents, checkpoints and exchanges with it and leaves the others", async () => {
    const [doomed, spared] = [await newAgent(get()), await newAgent(get())];
    for (const agentId of [doomed, spared]) {
      await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1), exchange: exchangeRecord(1) }));
    }
    const sessionId = (await get().getAgent(doomed))!.record.sessionId;
    await get().deleteSession(sessionId);

    expect(await get().getSession(sessionId)).toBeNull();
    expect(await get().getAgent(doomed)).toBeNull();
    expect(await get().getCheckpoint(doomed)).toBeNull();
    expect(await get().listExchanges(doomed, Infinity, 10)).toEqual([]);
    await expect(get().commit(agentCommit(doomed, 2))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
    expect(await get().getCheckpoint(spared)).toEqual(checkpointRecord(1));
    expect(await get().listExchanges(spared, Infinity, 10)).toEqual([exchangeRecord(1)]);
  });

  it("leaves nothing for an agent that comes later with the same id", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    const { record } = (await get().getAgent(agentId))!;
    await get().deleteSession(record.sessionId);
    await get().putSession(sessionRecord({ sessionId: record.sessionId }));
    await get().putAgent(record);
    expect(await get().getAgent(agentId)).toMatchObject({ commitSequence: 0, exchangeSequence: 0, counters: { messagesProcessed: 0 } });
    expect(await get().getCheckpoint(agentId)).toBeNull();
    expect(await get().findExchange(agentId, "m-1")).toBeNull();
  });

  it("may be asked for a session that is not there", async () => {
    const agentId = await newAgent(get());
    await get().deleteSession(newId(START_MS));
    expect(await get().getAgent(agentId)).not.toBeNull();
  });
}

function agentContract(get: () => Store): void {
  it("starts an agent at commit 0, with nothing counted", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId, { parentAgentId: newId(START_MS), metadata: { [ODD_TEXT]: ODD_TEXT }, statusMessage: ODD_TEXT });
    await get().putSession(session);
    await get().putAgent(agent);
    expect(await get().getAgent(agent.agentId)).toEqual({
      record: agent,
      commitSequence: 0,
      counters: { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: agent.createdAt },
      exchangeSequence: 0,
    });
    expect(await get().getCheckpoint(agent.agentId)).toBeNull();
  });

  it("replaces a record without touching checkpoint, counters or sequences", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1, 2), exchange: exchangeRecord(1), counters: agentCounters(5) }));
    const before = (await get().getAgent(agentId))!;
    const record = { ...before.record, state: "ERROR", statusMessage: "trapped", metadata: {}, digest: "d".repeat(64) } as const;
    await get().putAgent(record);
    expect(await get().getAgent(agentId)).toEqual({ ...before, record });
    expect(await get().getCheckpoint(agentId)).toEqual(checkpointRecord(1, 2));
  });

  it("refuses an agent of a session that is gone", async () => {
    const agent = agentRecord(newId(START_MS));
    await expect(get().putAgent(agent)).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(await get().getAgent(agent.agentId)).toBeNull();
  });

  it("has null for an agent that was never put", async () => {
    expect(await get().getAgent(newId(START_MS))).toBeNull();
    expect(await get().getCheckpoint(newId(START_MS))).toBeNull();
  });
}

function agentListingContract(get: () => Store): void {
  it("pages through all live agents by id, across sessions", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await newAgent(get()));
    const ended = (await get().getAgent(ids[2]!))!.record;
    await get().putAgent({ ...ended, state: "TERMINATED" });
    const first = await get().listLiveAgents("", 3);
    const rest = await get().listLiveAgents(first.at(-1)!.record.agentId, 3);
    const live = ids.filter((id) => id !== ids[2]).toSorted();
    expect([...first, ...rest].map((agent) => agent.record.agentId)).toEqual(live);
    expect(first).toHaveLength(3);
    expect(first[0]).toEqual(await get().getAgent(live[0]!));
  });

  it("lists all agents of one session in creation order, ended ones too", async () => {
    const session = sessionRecord();
    await get().putSession(session);
    await newAgent(get());
    const third = agentRecord(session.sessionId, { createdAt: START_MS + 3 });
    const first = agentRecord(session.sessionId, { createdAt: START_MS + 1, state: "TERMINATED" });
    const second = agentRecord(session.sessionId, { createdAt: START_MS + 2 });
    for (const agent of [third, first, second]) await get().putAgent(agent);
    expect((await get().listSessionAgents(session.sessionId)).map((agent) => agent.record)).toEqual([first, second, third]);
    expect(await get().listSessionAgents(newId(START_MS))).toEqual([]);
  });
}

function commitContract(get: () => Store): void {
  it("writes record, checkpoint, exchange and counters together", async () => {
    const agentId = await newAgent(get());
    const record = { ...(await get().getAgent(agentId))!.record, state: "BUSY", updatedAt: START_MS + 7 } as const;
    await get().commit(agentCommit(agentId, 1, {
      agent: record, checkpoint: checkpointRecord(1, 2, 3), exchange: exchangeRecord(1), counters: agentCounters(1),
    }));
    expect(await get().getAgent(agentId)).toEqual({ record, commitSequence: 1, counters: agentCounters(1), exchangeSequence: 1 });
    expect(await get().getCheckpoint(agentId)).toEqual(checkpointRecord(1, 2, 3));
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([exchangeRecord(1)]);
  });

  it("leaves what is null as it was", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(9), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    const before = (await get().getAgent(agentId))!;
    await get().commit(agentCommit(agentId, 2));
    expect(await get().getAgent(agentId)).toEqual({ ...before, commitSequence: 2 });
    expect(await get().getCheckpoint(agentId)).toEqual(checkpointRecord(9));
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([exchangeRecord(1)]);
  });

  it("replaces the checkpoint, that of another revision too", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1) }));
    const next = { digest: "e".repeat(64), preparation: "p2", image: Uint8Array.of(2, 2) };
    await get().commit(agentCommit(agentId, 2, { checkpoint: next }));
    expect(await get().getCheckpoint(agentId)).toEqual(next);
  });
}

function refusalContract(get: () => Store): void {
  it.each([0, 1, 3, 1.5])("refuses sequence %d when the next one is 2, and changes nothing", async (commitSequence) => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1), counters: agentCounters(1) }));
    const before = await get().getAgent(agentId);
    const stale = agentCommit(agentId, commitSequence, { checkpoint: checkpointRecord(2), exchange: exchangeRecord(1), counters: agentCounters(2) });
    await expect(get().commit(stale)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await get().getAgent(agentId)).toEqual(before);
    expect(await get().getCheckpoint(agentId)).toEqual(checkpointRecord(1));
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([]);
    await get().commit(agentCommit(agentId, 2));
  });

  it("refuses an agent that is not there", async () => {
    await expect(get().commit(agentCommit(newId(START_MS), 1))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
  });

  it("undoes the whole commit when a part of it is refused", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    const before = await get().getAgent(agentId);
    const doubled = agentCommit(agentId, 2, { checkpoint: checkpointRecord(2), exchange: exchangeRecord(1, { messageId: "other" }), counters: agentCounters(2) });
    await expect(get().commit(doubled)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await get().getAgent(agentId)).toEqual(before);
    expect(await get().getCheckpoint(agentId)).toEqual(checkpointRecord(1));
  });

  it("refuses a commit that carries another agent's record", async () => {
    const agentId = await newAgent(get());
    const { record } = (await get().getAgent(agentId))!;
    const stranger = { ...record, agentId: newId(START_MS) };
    await expect(get().commit(agentCommit(agentId, 1, { agent: stranger }))).rejects.toMatchObject({ code: "INTERNAL" });
    expect(await get().getAgent(stranger.agentId)).toBeNull();
  });

  it("fails alone among commits made at the same time", async () => {
    const agents: string[] = [];
    for (let i = 0; i < 10; i++) agents.push(await newAgent(get()));
    const outcomes = await Promise.allSettled(agents.map((agentId, i) =>
      get().commit(agentCommit(agentId, i === 4 ? 2 : 1, { checkpoint: checkpointRecord(i), exchange: exchangeRecord(1) }))));
    expect(outcomes.map((outcome) => outcome.status)).toEqual(agents.map((_, i) => (i === 4 ? "rejected" : "fulfilled")));
    for (const [i, agentId] of agents.entries()) {
      expect(await get().getCheckpoint(agentId)).toEqual(i === 4 ? null : checkpointRecord(i));
    }
  });
}

function exchangeContract(get: () => Store): void {
  it("keeps the newest, as many as each commit says", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, { exchange: exchangeRecord(n), keepExchanges: 3 }));
    expect((await get().listExchanges(agentId, Infinity, 10)).map((e) => e.sequence)).toEqual([5, 4, 3]);
    await get().commit(agentCommit(agentId, 6, { exchange: exchangeRecord(6), keepExchanges: 1 }));
    expect((await get().listExchanges(agentId, Infinity, 10)).map((e) => e.sequence)).toEqual([6]);
    expect(await get().findExchange(agentId, "m-5")).toBeNull();
    await get().commit(agentCommit(agentId, 7, { exchange: exchangeRecord(7), keepExchanges: 0 }));
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([]);
    expect((await get().getAgent(agentId))?.exchangeSequence).toBe(7);
  });

  it("pages newest first", async () => {
    const [agentId, other] = [await newAgent(get()), await newAgent(get())];
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, { exchange: exchangeRecord(n) }));
    await get().commit(agentCommit(other, 1, { exchange: exchangeRecord(1) }));
    expect(await get().listExchanges(agentId, Infinity, 2)).toEqual([exchangeRecord(5), exchangeRecord(4)]);
    expect(await get().listExchanges(agentId, 4, 2)).toEqual([exchangeRecord(3), exchangeRecord(2)]);
    expect(await get().listExchanges(agentId, 2, 2)).toEqual([exchangeRecord(1)]);
    expect(await get().listExchanges(agentId, 1, 2)).toEqual([]);
  });

  it("D2: finds the recorded exchange of a message id, of this agent only, the newest of several", async () => {
    const [agentId, other] = [await newAgent(get()), await newAgent(get())];
    const exchange = exchangeRecord(1, { messageId: "chosen/by~client" });
    await get().commit(agentCommit(agentId, 1, { exchange }));
    expect(await get().findExchange(agentId, "chosen/by~client")).toEqual(exchange);
    expect(await get().findExchange(other, "chosen/by~client")).toBeNull();
    const again = { ...exchange, sequence: 2 };
    await get().commit(agentCommit(agentId, 2, { exchange: again }));
    expect(await get().findExchange(agentId, "chosen/by~client")).toEqual(again);
  });
}

function bytesContract(get: () => Store): void {
  it("keeps empty bytes, large bytes and a view into a larger buffer", async () => {
    const agentId = await newAgent(get());
    const large = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
    const images = [new Uint8Array(0), large, large.subarray(1_000, 1_010), Buffer.from("from a pool")];
    for (const [i, image] of images.entries()) {
      await get().commit(agentCommit(agentId, i + 1, { checkpoint: { ...checkpointRecord(), image } }));
      expect((await get().getCheckpoint(agentId))?.image).toEqual(new Uint8Array(image));
    }
  });

  it("is not changed by what happens to the caller's buffer once the call was made", async () => {
    const agentId = await newAgent(get());
    const [image, body] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5, 6)];
    const written = get().commit(agentCommit(agentId, 1, { checkpoint: { ...checkpointRecord(), image }, exchange: exchangeRecord(1, { body }) }));
    image.fill(0);
    body.fill(0);
    await written;
    expect((await get().getCheckpoint(agentId))?.image).toEqual(Uint8Array.of(1, 2, 3));
    expect((await get().findExchange(agentId, "m-1"))?.body).toEqual(Uint8Array.of(4, 5, 6));
  });

  it("hands out bytes that are the caller's own", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { checkpoint: checkpointRecord(1, 2) }));
    (await get().getCheckpoint(agentId))!.image.fill(0);
    expect((await get().getCheckpoint(agentId))?.image).toEqual(Uint8Array.of(1, 2));
  });
}

function moduleContract(get: () => Store): void {
  const [old, fresh] = ["1".repeat(64), "2".repeat(64)];

  it("puts a module with its revision, and lists both", async () => {
    await get().putModule(moduleRecord("echo", { activeDigest: fresh }), revisionRecord("echo", fresh));
    await get().putModule(moduleRecord("aws", { activeDigest: null, retired: true }), null);
    const modules = await get().listModules();
    expect(modules).toHaveLength(2);
    expect(modules).toContainEqual(moduleRecord("echo", { activeDigest: fresh }));
    expect(modules).toContainEqual(moduleRecord("aws", { activeDigest: null, retired: true }));
    expect(await get().listRevisions("echo")).toEqual([revisionRecord("echo", fresh)]);
    expect(await get().listRevisions("aws")).toEqual([]);
  });

  it("replaces a module and a revision in place", async () => {
    await get().putModule(moduleRecord("echo", { activeDigest: old }), revisionRecord("echo", old));
    await get().putModule(moduleRecord("echo", { activeDigest: fresh }), revisionRecord("echo", fresh, { installedAt: START_MS + 1 }));
    const superseded = revisionRecord("echo", old, { state: "SUPERSEDED", reason: ODD_TEXT });
    await get().putRevision(superseded);
    expect(await get().listModules()).toEqual([moduleRecord("echo", { activeDigest: fresh })]);
    expect(await get().listRevisions("echo")).toEqual([revisionRecord("echo", fresh, { installedAt: START_MS + 1 }), superseded]);
  });

  it("lists revisions newest first, and a rejected one of a module that never was", async () => {
    const rejected = revisionRecord("broken", old, { state: "REJECTED", reason: "no memory" });
    await get().putRevision(rejected);
    await get().putRevision(revisionRecord("broken", fresh, { installedAt: START_MS + 1 }));
    expect((await get().listRevisions("broken")).map((revision) => revision.digest)).toEqual([fresh, old]);
    expect(await get().listModules()).toEqual([]);
  });
}

function lifeContract(get: () => Store): void {
  it("takes calls in the order they were made, none of them awaited", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId);
    const writes = [get().putSession(session), get().putAgent(agent)];
    for (let n = 1; n <= 50; n++) writes.push(get().commit(agentCommit(agent.agentId, n, { exchange: exchangeRecord(n) })));
    const seen = get().getAgent(agent.agentId);
    const removed = get().deleteSession(session.sessionId);
    const after = get().getAgent(agent.agentId);
    await Promise.all(writes);
    expect(await seen).toMatchObject({ commitSequence: 50, exchangeSequence: 50 });
    await removed;
    expect(await after).toBeNull();
  });

  it("answers the probe, again and again", async () => {
    await get().probe();
    await newAgent(get());
    await get().probe();
  });

  it("finishes what was asked before it closes, and closes as often as told", async () => {
    const session = sessionRecord();
    const put = get().putSession(session);
    const read = get().getSession(session.sessionId);
    await Promise.all([get().close(), get().close()]);
    await put;
    expect(await read).toEqual(session);
    await get().close();
  });

  it("refuses calls once it is closing or closed", async () => {
    const closing = get().close();
    await expect(get().probe()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await closing;
    await expect(get().getSession(newId(START_MS))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await expect(get().commit(agentCommit(newId(START_MS), 1))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });
}
