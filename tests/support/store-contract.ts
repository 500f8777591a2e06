/** What every Store keeps, as tests. An implementation's own test file calls `storeContract`. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { newId } from "../../runtime/core/ids.ts";
import type { AgentQuery, SessionQuery, Store } from "../../runtime/store/store.ts";
import { auditContract } from "./store-contract-audit.ts";
import { accountContract, commitContract, creationContract, exchangeContract, refusalContract } from "./store-contract-commits.ts";
import { deadLetterContract, documentContract, outboxContract, timerContract } from "./store-contract-effects.ts";
import { bytesContract, historyContract, stateContract, waitContract } from "./store-contract-states.ts";
import {
  START_MS, agentCommit, agentCounters, agentRecord, deadLetter, exchangeRecord, moduleRecord, newAgent, outboxEntry, revisionRecord, sessionOf, sessionRecord, stateImage, swapRecord, waitCommit,
} from "./store-records.ts";

export interface StoreUnderTest {
  /** Open and empty. */
  readonly store: Store;
  /** Closes the store and removes what it left behind. */
  dispose(): Promise<void>;
}

const ALL_SESSIONS: SessionQuery = { userId: null, states: [], before: null, limit: 100 };
const ANY_AGENT: AgentQuery = { sessionId: null, module: null, digest: null, parentAgentId: null };
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
    describe("creating an agent with its first commit", () => creationContract(get));
    describe("commits", () => commitContract(get));
    describe("refused commits", () => refusalContract(get));
    describe("accounts", () => accountContract(get));
    describe("exchanges", () => exchangeContract(get));
    describe("states", () => stateContract(get));
    describe("history", () => historyContract(get));
    describe("waits", () => waitContract(get));
    describe("bytes", () => bytesContract(get));
    describe("the outbox", () => outboxContract(get));
    describe("timers", () => timerContract(get));
    describe("documents", () => documentContract(get));
    describe("dead letters", () => deadLetterContract(get));
    describe("audits", () => auditContract(get));
    describe("modules", () => moduleContract(get));
    describe("swaps", () => swapContract(get));
    describe("order and closing", () => lifeContract(get));
  });
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
  it("takes its agents and everything of theirs with it and leaves the others", async () => {
    const [doomed, spared] = [await newAgent(get()), await newAgent(get())];
    const sessionId = await sessionOf(get(), doomed);
    for (const agentId of [doomed, spared]) {
      const letter = deadLetter(agentId, await sessionOf(get(), agentId), { deadLetterId: `of ${agentId}` });
      await get().commit(agentCommit(agentId, 1, {
        state: stateImage("base", 1), exchange: exchangeRecord(1), outbox: [outboxEntry(agentId)], deadLetter: letter,
        timers: [{ kind: "set", timerId: "t", dueAt: 5, payload: Uint8Array.of(1) }], documents: [{ key: "k", bytes: Uint8Array.of(1) }],
      }));
      await get().commit(waitCommit(agentId, 2, "m-2"));
    }
    await get().deleteSession(sessionId);

    expect(await get().getSession(sessionId)).toBeNull();
    expect(await get().getAgent(doomed)).toBeNull();
    expect(await get().getState(doomed, null)).toBeNull();
    expect(await get().getWait(doomed)).toBeNull();
    expect(await get().listExchanges(doomed, Infinity, 10)).toEqual([]);
    expect(await get().listCommits(doomed, Infinity, 10)).toEqual([]);
    expect(await get().getDocument(sessionId, "k")).toBeNull();
    expect(await get().getDeadLetter(`of ${doomed}`)).toBeNull();
    await expect(get().commit(agentCommit(doomed, 3))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });

    expect(await get().listWaiting("", 10)).toEqual([spared]);
    expect((await get().listTimers(Infinity, 10)).map((timer) => timer.agentId)).toEqual([spared]);
    expect((await get().listOutbox(null, 10)).entries.map((entry) => entry.key.agentId)).toEqual([spared]);
    expect(await get().getState(spared, null)).toMatchObject({ base: Uint8Array.of(1) });
    expect(await get().listExchanges(spared, Infinity, 10)).toEqual([exchangeRecord(1)]);
    expect(await get().getDocument(await sessionOf(get(), spared), "k")).not.toBeNull();
    expect(await get().getDeadLetter(`of ${spared}`)).not.toBeNull();
    expect(await get().countLiveAgents(ANY_AGENT)).toBe(1);
  });

  it("leaves nothing for an agent that comes later with the same id", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 1), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    const { record } = (await get().getAgent(agentId))!;
    await get().deleteSession(record.sessionId);
    await get().putSession(sessionRecord({ sessionId: record.sessionId }));
    await get().putAgent(record);
    expect(await get().getAgent(agentId)).toMatchObject({ epoch: 1, commitSequence: 0, exchangeSequence: 0, counters: { messagesProcessed: 0 }, account: { received: 0 } });
    expect(await get().getState(agentId, null)).toBeNull();
    expect(await get().findExchange(agentId, "m-1")).toBeNull();
  });

  it("may be asked for a session that is not there", async () => {
    const agentId = await newAgent(get());
    await get().deleteSession(newId(START_MS));
    expect(await get().getAgent(agentId)).not.toBeNull();
  });
}

function agentContract(get: () => Store): void {
  it("starts an agent at epoch 1 and commit 0, with nothing counted", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId, { parentAgentId: newId(START_MS), metadata: { [ODD_TEXT]: ODD_TEXT }, statusMessage: ODD_TEXT });
    await get().putSession(session);
    await get().putAgent(agent);
    expect(await get().getAgent(agent.agentId)).toEqual({
      record: agent,
      epoch: 1,
      commitSequence: 0,
      counters: { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: agent.createdAt },
      account: { received: 0, done: 0, deadLettered: 0 },
      exchangeSequence: 0,
    });
    expect(await get().getState(agent.agentId, null)).toBeNull();
    expect(await get().listCommits(agent.agentId, Infinity, 10)).toEqual([]);
  });

  it("replaces a record without touching state, counters or sequences", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 1, 2), exchange: exchangeRecord(1), counters: agentCounters(5) }));
    const before = (await get().getAgent(agentId))!;
    const record = { ...before.record, state: "ERROR", statusMessage: "trapped", metadata: {}, digest: "d".repeat(64) } as const;
    await get().putAgent(record);
    expect(await get().getAgent(agentId)).toEqual({ ...before, record });
    expect(await get().getState(agentId, null)).toMatchObject({ base: Uint8Array.of(1, 2) });
  });

  it("refuses an agent of a session that is gone", async () => {
    const agent = agentRecord(newId(START_MS));
    await expect(get().putAgent(agent)).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(await get().getAgent(agent.agentId)).toBeNull();
  });

  it("has null for an agent that was never put", async () => {
    const nobody = newId(START_MS);
    expect(await get().getAgent(nobody)).toBeNull();
    expect(await get().getState(nobody, null)).toBeNull();
    expect(await get().getWait(nobody)).toBeNull();
    expect(await get().listExchanges(nobody, Infinity, 10)).toEqual([]);
    expect(await get().listCommits(nobody, Infinity, 10)).toEqual([]);
    expect(await get().auditAgent(nobody)).toBeNull();
  });

  it("D5: raises the epoch each time an agent is claimed, and claims nobody who is not there", async () => {
    const agentId = await newAgent(get());
    expect(await get().claimAgent(agentId)).toBe(2);
    expect(await get().claimAgent(agentId)).toBe(3);
    expect(await get().getAgent(agentId)).toMatchObject({ epoch: 3, commitSequence: 0 });
    await expect(get().claimAgent(newId(START_MS))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
  });
}

function agentListingContract(get: () => Store): void {
  it("pages through all live agents by id, across sessions", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await newAgent(get()));
    const ended = (await get().getAgent(ids[2]!))!.record;
    await get().putAgent({ ...ended, state: "TERMINATED" });
    const first = await get().listLiveAgents(ANY_AGENT, "", 3);
    const rest = await get().listLiveAgents(ANY_AGENT, first.at(-1)!.record.agentId, 3);
    const live = ids.filter((id) => id !== ids[2]).toSorted();
    expect([...first, ...rest].map((agent) => agent.record.agentId)).toEqual(live);
    expect(first).toHaveLength(3);
    expect(first[0]).toEqual(await get().getAgent(live[0]!));
  });

  /** Agents of two sessions, modules, revisions and parents; one of each kind has ended. */
  async function population(): Promise<{ readonly sessions: readonly string[]; readonly parents: readonly string[]; readonly live: readonly { id: string; query: AgentQuery }[] }> {
    const sessions = [sessionRecord(), sessionRecord()];
    for (const session of sessions) await get().putSession(session);
    const parents = [newId(START_MS), newId(START_MS)];
    const live: { id: string; query: AgentQuery }[] = [];
    for (const { sessionId } of sessions) {
      for (const module of ["echo", "aws"]) {
        for (const digest of ["1".repeat(64), "2".repeat(64)]) {
          for (const parentAgentId of [null, ...parents]) {
            const query = { sessionId, module, digest, parentAgentId };
            live.push({ id: await newAgent(get(), sessionId, query), query });
            await newAgent(get(), sessionId, { ...query, state: "TERMINATED" });
          }
        }
      }
    }
    return { sessions: sessions.map((session) => session.sessionId), parents, live };
  }

  it("lists and counts by session, module, revision and parent, in every combination, page by page", async () => {
    const { sessions, parents, live } = await population();
    for (const sessionId of [null, sessions[0]!, newId(START_MS)]) {
      for (const module of [null, "aws"]) {
        for (const digest of [null, "2".repeat(64)]) {
          for (const parentAgentId of [null, parents[1]!]) {
            const query = { sessionId, module, digest, parentAgentId };
            const matches = (of: AgentQuery) => (Object.keys(query) as (keyof AgentQuery)[]).every((name) => query[name] === null || query[name] === of[name]);
            const expected = live.filter((agent) => matches(agent.query)).map((agent) => agent.id).toSorted();
            const seen: string[] = [];
            for (let page = await get().listLiveAgents(query, "", 5); page.length > 0; page = await get().listLiveAgents(query, seen.at(-1)!, 5)) {
              seen.push(...page.map((agent) => agent.record.agentId));
            }
            expect(seen).toEqual(expected);
            expect(await get().countLiveAgents(query)).toBe(expected.length);
          }
        }
      }
    }
  });

  it("counts a module's live agents by revision, as they come, move and go", async () => {
    const session = sessionRecord();
    await get().putSession(session);
    const [old, fresh] = ["1".repeat(64), "2".repeat(64)];
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push(await newAgent(get(), session.sessionId, { digest: old }));
    await newAgent(get(), session.sessionId, { module: "aws", digest: old });
    expect(await get().countByDigest("echo")).toEqual(new Map([[old, 3]]));
    const [moved, ended] = [(await get().getAgent(ids[0]!))!.record, (await get().getAgent(ids[1]!))!.record];
    await get().commit(agentCommit(ids[0]!, 1, { agent: { ...moved, digest: fresh }, state: stateImage("base", 1) }));
    await get().putAgent({ ...ended, state: "TERMINATED" });
    expect(await get().countByDigest("echo")).toEqual(new Map([[old, 1], [fresh, 1]]));
    await get().putAgent({ ...ended, state: "READY" });
    expect(await get().countByDigest("echo")).toEqual(new Map([[old, 2], [fresh, 1]]));
    await get().deleteSession(session.sessionId);
    expect(await get().countByDigest("echo")).toEqual(new Map());
    expect(await get().countLiveAgents(ANY_AGENT)).toBe(0);
  });

  it("finds those whose spawn was cut off", async () => {
    const cutOff = [await newAgent(get(), null, { state: "INITIALIZING" }), await newAgent(get(), null, { state: "INITIALIZING" })];
    await newAgent(get());
    expect((await get().listInitializing(10)).toSorted()).toEqual(cutOff);
    expect(await get().listInitializing(1)).toHaveLength(1);
    await get().putAgent({ ...(await get().getAgent(cutOff[0]!))!.record, state: "READY" });
    expect(await get().listInitializing(10)).toEqual([cutOff[1]]);
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

function swapContract(get: () => Store): void {
  it("lists swaps newest first, of one module or of all", async () => {
    const [first, second, third] = [swapRecord("echo"), swapRecord("aws", { startedAt: START_MS + 1 }), swapRecord("echo", { startedAt: START_MS + 2, endedAt: START_MS + 9, state: "KEPT" })];
    for (const swap of [second, third, first]) await get().putSwap(swap);
    expect(await get().listSwaps(null, 10)).toEqual([third, second, first]);
    expect(await get().listSwaps(null, 2)).toEqual([third, second]);
    expect(await get().listSwaps("echo", 10)).toEqual([third, first]);
    expect(await get().listSwaps("gcp", 10)).toEqual([]);
  });

  it("replaces a swap at each of its turns", async () => {
    const swap = swapRecord("echo");
    await get().putSwap(swap);
    const ended = { ...swap, state: "REVERTED", reason: ODD_TEXT, endedAt: START_MS + 9, rehearsal: [] } as const;
    await get().putSwap(ended);
    expect(await get().listSwaps("echo", 10)).toEqual([ended]);
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
