/** Part of the store contract: what a commit writes, what it refuses, and how it moves the books. */
import { expect, it } from "vitest";
import { newId } from "../../runtime/core/ids.ts";
import type { AgentCommit, OutboxKey, Store } from "../../runtime/store/store.ts";
import {
  START_MS, agentCommit, agentCounters, agentRecord, deadLetter, exchangeRecord, newAgent, outboxEntry, sessionOf, sessionRecord, stateImage, waitCommit,
} from "./store-records.ts";

export function creationContract(get: () => Store): void {
  it("creates an agent that the store does not have", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId);
    await get().putSession(session);
    await get().commit(agentCommit(agent.agentId, 1, { cause: "init", agent, state: stateImage("base", 1), outbox: [outboxEntry("topic", { kind: "event" })] }));
    expect(await get().getAgent(agent.agentId)).toMatchObject({ record: agent, epoch: 1, commitSequence: 1, counters: { lastActivityAt: agent.createdAt } });
    expect(await get().getState(agent.agentId, null)).toMatchObject({ base: Uint8Array.of(1) });
    expect(await get().countByDigest("echo")).toEqual(new Map([[agent.digest, 1]]));
  });

  it("creates nothing in a session that is gone", async () => {
    const agent = agentRecord(newId(START_MS));
    await expect(get().commit(agentCommit(agent.agentId, 1, { agent, state: stateImage("base", 1) }))).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(await get().getAgent(agent.agentId)).toBeNull();
  });

  it("creates nothing with a later commit, a later epoch or without a record", async () => {
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId);
    await get().putSession(session);
    for (const commit of [agentCommit(agent.agentId, 2, { agent }), agentCommit(agent.agentId, 1, { agent, epoch: 2 }), agentCommit(agent.agentId, 1)]) {
      await expect(get().commit(commit)).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
    }
    expect(await get().getAgent(agent.agentId)).toBeNull();
  });

  it("commits to an agent that was put before as to any other", async () => {
    const agentId = await newAgent(get(), null, { state: "INITIALIZING" });
    const { record } = (await get().getAgent(agentId))!;
    await get().commit(agentCommit(agentId, 1, { cause: "fork", agent: { ...record, state: "READY" }, state: stateImage("base", 1) }));
    expect(await get().getAgent(agentId)).toMatchObject({ record: { state: "READY" }, commitSequence: 1 });
  });
}

export function commitContract(get: () => Store): void {
  it("writes record, state, exchange and counters together", async () => {
    const agentId = await newAgent(get());
    const record = { ...(await get().getAgent(agentId))!.record, state: "BUSY", updatedAt: START_MS + 7 } as const;
    await get().commit(agentCommit(agentId, 1, { agent: record, state: stateImage("base", 1, 2, 3), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    expect(await get().getAgent(agentId)).toEqual({
      record, epoch: 1, commitSequence: 1, counters: agentCounters(1), account: { received: 1, done: 1, deadLettered: 0 }, exchangeSequence: 1,
    });
    expect(await get().getState(agentId, null)).toMatchObject({ base: Uint8Array.of(1, 2, 3), commitSequence: 1 });
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([exchangeRecord(1)]);
  });

  it("leaves what is null as it was", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 9), exchange: exchangeRecord(1), counters: agentCounters(1) }));
    const before = (await get().getAgent(agentId))!;
    const state = await get().getState(agentId, null);
    await get().commit(agentCommit(agentId, 2));
    expect(await get().getAgent(agentId)).toEqual({ ...before, commitSequence: 2 });
    expect(await get().getState(agentId, null)).toEqual(state);
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([exchangeRecord(1)]);
  });

  it("S2: moves an agent to another revision with its base in one commit", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }));
    const record = { ...(await get().getAgent(agentId))!.record, digest: "e".repeat(64) };
    await get().commit(agentCommit(agentId, 2, { cause: "swap", agent: record, state: { kind: "base", digest: "e".repeat(64), preparation: "p2", image: Uint8Array.of(2) } }));
    expect((await get().getAgent(agentId))?.record).toEqual(record);
    expect(await get().getState(agentId, null)).toEqual({ digest: "e".repeat(64), preparation: "p2", commitSequence: 2, base: Uint8Array.of(2), differences: [], wait: null });
    expect(await get().getState(agentId, 1)).toMatchObject({ digest: "a".repeat(64), base: Uint8Array.of(1) });
  });
}

/** Everything of an agent and around it that a refused commit could have touched. */
async function everything(store: Store, agentId: string, sessionId: string): Promise<unknown> {
  return {
    agent: await store.getAgent(agentId),
    state: await store.getState(agentId, null),
    wait: await store.getWait(agentId),
    commits: await store.listCommits(agentId, Infinity, 100),
    exchanges: await store.listExchanges(agentId, Infinity, 100),
    outbox: await store.listOutbox(null, 100),
    timers: await store.listTimers(Infinity, 100),
    documents: await store.listDocuments(sessionId, "", "", 100),
    letters: await store.listDeadLetters({ sessionId, agentId: null, beforeId: "", limit: 100 }),
  };
}

/** An agent with something of everything, and a commit that would change all of it. */
async function rich(store: Store): Promise<{ readonly agentId: string; readonly sessionId: string; readonly change: Partial<AgentCommit> }> {
  const agentId = await newAgent(store);
  const sessionId = await sessionOf(store, agentId);
  await store.commit(agentCommit(agentId, 1, {
    state: stateImage("base", 1), exchange: exchangeRecord(1), counters: agentCounters(1), outbox: [outboxEntry(agentId)],
    timers: [{ kind: "set", timerId: "t", dueAt: 5, payload: Uint8Array.of(1) }], documents: [{ key: "k", bytes: Uint8Array.of(1) }],
    deadLetter: deadLetter(agentId, sessionId, { deadLetterId: "old" }),
  }));
  const key: OutboxKey = { agentId, commitSequence: 1, index: 0 };
  return {
    agentId,
    sessionId,
    change: {
      state: stateImage("base", 2), exchange: exchangeRecord(2), counters: agentCounters(2), outbox: [outboxEntry(agentId)], consumed: key,
      timers: [{ kind: "cancel", timerId: "t" }], documents: [{ key: "k", bytes: null }], deadLetter: deadLetter(agentId, sessionId), consumedDeadLetter: "old", keepCommits: 0, keepExchanges: 0,
    },
  };
}

export function refusalContract(get: () => Store): void {
  it.each([0, 1, 3, 1.5])("refuses sequence %d when the next one is 2, and changes nothing at all", async (commitSequence) => {
    const { agentId, sessionId, change } = await rich(get());
    const before = await everything(get(), agentId, sessionId);
    await expect(get().commit(agentCommit(agentId, commitSequence, change))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await everything(get(), agentId, sessionId)).toEqual(before);
    await get().commit(agentCommit(agentId, 2, change));
  });

  it("D5: refuses an epoch that is over, and one that never was, and changes nothing at all", async () => {
    const { agentId, sessionId, change } = await rich(get());
    await get().claimAgent(agentId);
    const before = await everything(get(), agentId, sessionId);
    for (const epoch of [1, 3]) {
      await expect(get().commit(agentCommit(agentId, 2, { ...change, epoch }))).rejects.toMatchObject({ code: "AGENT_FENCED" });
      // The fence comes before the sequence: who has lost the agent has lost count, too.
      await expect(get().commit(agentCommit(agentId, 7, { ...change, epoch }))).rejects.toMatchObject({ code: "AGENT_FENCED" });
    }
    expect(await everything(get(), agentId, sessionId)).toEqual(before);
    await get().commit(agentCommit(agentId, 2, { ...change, epoch: 2 }));
  });

  it("D2: refuses a message that took effect before, with and without its body, and changes nothing at all", async () => {
    const { agentId, sessionId, change } = await rich(get());
    await get().commit(agentCommit(agentId, 2, { exchange: exchangeRecord(2), keepExchanges: 1 }));
    const before = await everything(get(), agentId, sessionId);
    for (const messageId of ["m-1", "m-2"]) {
      await expect(get().commit(agentCommit(agentId, 3, { ...change, exchange: exchangeRecord(3, { messageId }) }))).rejects.toMatchObject({ code: "MESSAGE_ID_REUSED" });
    }
    expect(await everything(get(), agentId, sessionId)).toEqual(before);
    await get().commit(agentCommit(agentId, 3, { ...change, exchange: exchangeRecord(3) }));
  });

  it("lets other agents have messages of the same id", async () => {
    for (const agentId of [await newAgent(get()), await newAgent(get())]) await get().commit(agentCommit(agentId, 1, { exchange: exchangeRecord(1) }));
  });

  it("refuses an exchange with a number that was given before", async () => {
    const { agentId, sessionId, change } = await rich(get());
    const before = await everything(get(), agentId, sessionId);
    await expect(get().commit(agentCommit(agentId, 2, { ...change, exchange: exchangeRecord(1, { messageId: "other" }) }))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await everything(get(), agentId, sessionId)).toEqual(before);
  });

  it("refuses a difference and a wait of an agent that has no base", async () => {
    const agentId = await newAgent(get());
    await expect(get().commit(agentCommit(agentId, 1, { state: stateImage("difference", 1) }))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    await expect(get().commit(waitCommit(agentId, 1, "m-1"))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    expect(await get().getAgent(agentId)).toMatchObject({ commitSequence: 0, account: { received: 0 } });
    expect(await get().getWait(agentId)).toBeNull();
  });

  it("refuses an agent that is not there", async () => {
    await expect(get().commit(agentCommit(newId(START_MS), 1))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
  });

  it("refuses a commit that carries another agent's record, or a wait without its state", async () => {
    const agentId = await newAgent(get());
    const { record } = (await get().getAgent(agentId))!;
    const stranger = { ...record, agentId: newId(START_MS) };
    await expect(get().commit(agentCommit(agentId, 1, { agent: stranger }))).rejects.toMatchObject({ code: "INTERNAL" });
    expect(await get().getAgent(stranger.agentId)).toBeNull();
    await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }));
    await expect(get().commit(waitCommit(agentId, 2, "m-1", { state: null }))).rejects.toMatchObject({ code: "INTERNAL" });
    await expect(get().commit(waitCommit(agentId, 2, "m-1", { wait: null }))).rejects.toMatchObject({ code: "INTERNAL" });
    expect(await get().getAgent(agentId)).toMatchObject({ commitSequence: 1 });
  });

  it("fails alone among commits made at the same time", async () => {
    const agents: string[] = [];
    for (let i = 0; i < 10; i++) agents.push(await newAgent(get()));
    const outcomes = await Promise.allSettled(agents.map((agentId, i) =>
      get().commit(agentCommit(agentId, i === 4 ? 2 : 1, { state: stateImage("base", i), exchange: exchangeRecord(1) }))));
    expect(outcomes.map((outcome) => outcome.status)).toEqual(agents.map((_, i) => (i === 4 ? "rejected" : "fulfilled")));
    for (const [i, agentId] of agents.entries()) {
      expect((await get().getState(agentId, null))?.base ?? null).toEqual(i === 4 ? null : Uint8Array.of(i));
    }
  });
}

export function accountContract(get: () => Store): void {
  async function begun(): Promise<{ readonly agentId: string; readonly sessionId: string }> {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { cause: "init", state: stateImage("base", 1) }));
    return { agentId, sessionId: await sessionOf(get(), agentId) };
  }
  const account = async (agentId: string) => (await get().getAgent(agentId))?.account;
  const pending = async (agentId: string) => (await get().auditAgent(agentId))?.pending;

  it("counts a message as received and done with its exchange", async () => {
    const { agentId } = await begun();
    await get().commit(agentCommit(agentId, 2, { exchange: exchangeRecord(1) }));
    expect(await account(agentId)).toEqual({ received: 1, done: 1, deadLettered: 0 });
  });

  it("counts a message that waits once, however often it waits, and is done with it when it is", async () => {
    const { agentId } = await begun();
    await get().commit(waitCommit(agentId, 2, "m-1"));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 1, done: 0, deadLettered: 0 }, 1]);
    await get().commit(waitCommit(agentId, 3, "m-1"));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 1, done: 0, deadLettered: 0 }, 1]);
    await get().commit(agentCommit(agentId, 4, { state: stateImage("difference", 4), exchange: exchangeRecord(1) }));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 1, done: 1, deadLettered: 0 }, 0]);
  });

  it("never received a message whose wait was given up", async () => {
    const { agentId } = await begun();
    await get().commit(waitCommit(agentId, 2, "m-1"));
    await get().commit(agentCommit(agentId, 3, { cause: "given_up", causeId: "m-1" }));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 0, done: 0, deadLettered: 0 }, 0]);
  });

  it("counts nothing for a wait of no message", async () => {
    const { agentId } = await begun();
    await get().commit(waitCommit(agentId, 2, ""));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 0, done: 0, deadLettered: 0 }, 0]);
    await get().commit(agentCommit(agentId, 3, { cause: "timer", state: stateImage("difference", 3) }));
    expect(await account(agentId)).toEqual({ received: 0, done: 0, deadLettered: 0 });
  });

  it("counts a dead letter, out of a wait and out of nothing", async () => {
    const { agentId, sessionId } = await begun();
    await get().commit(agentCommit(agentId, 2, { cause: "dead_letter", deadLetter: deadLetter(agentId, sessionId) }));
    expect(await account(agentId)).toEqual({ received: 1, done: 0, deadLettered: 1 });
    await get().commit(waitCommit(agentId, 3, "m-1"));
    await get().commit(agentCommit(agentId, 4, { cause: "dead_letter", deadLetter: deadLetter(agentId, sessionId, { messageId: "m-1" }) }));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 2, done: 0, deadLettered: 2 }, 0]);
  });

  it("counts another message than the one in the wait for itself", async () => {
    const { agentId } = await begun();
    await get().commit(waitCommit(agentId, 2, "m-given-up"));
    await get().commit(agentCommit(agentId, 3, { exchange: exchangeRecord(1) }));
    expect([await account(agentId), await pending(agentId)]).toEqual([{ received: 1, done: 1, deadLettered: 0 }, 0]);
  });

  it.each(["putAgent", "commit"] as const)("an agent that is ended by %s loses its wait and its timers; its outbox stays", async (by) => {
    const { agentId } = await begun();
    await get().commit(waitCommit(agentId, 2, "m-1", { outbox: [outboxEntry(agentId)], timers: [{ kind: "set", timerId: "t", dueAt: 5, payload: Uint8Array.of() }] }));
    const record = { ...(await get().getAgent(agentId))!.record, state: "TERMINATED" } as const;
    if (by === "putAgent") await get().putAgent(record);
    else await get().commit(agentCommit(agentId, 3, { agent: record, timers: [{ kind: "set", timerId: "u", dueAt: 6, payload: Uint8Array.of() }] }));
    expect(await account(agentId)).toEqual({ received: 0, done: 0, deadLettered: 0 });
    expect(await get().getWait(agentId)).toBeNull();
    expect(await get().listWaiting("", 10)).toEqual([]);
    expect(await get().listTimers(Infinity, 10)).toEqual([]);
    expect((await get().getState(agentId, null))?.wait).toBeNull();
    expect((await get().listOutbox(null, 10)).entries).toHaveLength(1);
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
  });
}

export function exchangeContract(get: () => Store): void {
  const sequences = async (agentId: string) => (await get().listExchanges(agentId, Infinity, 1_000)).map((exchange) => exchange.sequence);

  it("keeps the bodies of the newest, as many as each commit says, and the ids of all", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, { exchange: exchangeRecord(n), keepExchanges: 3 }));
    expect(await sequences(agentId)).toEqual([5, 4, 3]);
    expect(await get().findExchange(agentId, "m-2")).toEqual(exchangeRecord(2, { body: Uint8Array.of() }));
    await get().commit(agentCommit(agentId, 6, { exchange: exchangeRecord(6), keepExchanges: 1 }));
    expect(await sequences(agentId)).toEqual([6]);
    await get().commit(agentCommit(agentId, 7, { exchange: exchangeRecord(7), keepExchanges: 0 }));
    expect(await sequences(agentId)).toEqual([]);
    expect(await get().findExchange(agentId, "m-7")).toMatchObject({ sequence: 7, body: Uint8Array.of() });
    expect((await get().getAgent(agentId))?.exchangeSequence).toBe(7);
    await get().commit(agentCommit(agentId, 8, { exchange: exchangeRecord(8), keepExchanges: 3 }));
    expect(await sequences(agentId)).toEqual([8]);
  });

  it("keeps exactly as many bodies as it should at every step, many too, with other commits between", async () => {
    const agentId = await newAgent(get());
    for (let n = 1, sequence = 0; n <= 200; n++) {
      const exchange = n % 3 === 0 ? null : exchangeRecord(++sequence);
      const bare = agentCommit(agentId, n, { exchange, keepExchanges: 64 });
      await get().commit(n % 10 === 1 ? { ...bare, state: stateImage("base", n), keepCommits: 20 } : bare);
      expect(await sequences(agentId)).toEqual(Array.from({ length: Math.min(sequence, 64) }, (_, i) => sequence - i));
    }
    expect(await get().findExchange(agentId, "m-71")).toMatchObject({ sequence: 71, body: Uint8Array.of(71) });
    expect(await get().findExchange(agentId, "m-70")).toMatchObject({ sequence: 70, body: Uint8Array.of() });
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
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

  it("D2: finds the recorded exchange of a message id, of this agent only", async () => {
    const [agentId, other] = [await newAgent(get()), await newAgent(get())];
    const exchange = exchangeRecord(1, { messageId: "chosen/by~client" });
    await get().commit(agentCommit(agentId, 1, { exchange }));
    expect(await get().findExchange(agentId, "chosen/by~client")).toEqual(exchange);
    expect(await get().findExchange(other, "chosen/by~client")).toBeNull();
    expect(await get().findExchange(agentId, "chosen/by~clien")).toBeNull();
  });

  it("forgets ids without a body that are old enough, oldest first, so many at a time", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, { causeId: `m-${n}`, exchange: exchangeRecord(n), keepExchanges: 2 }));
    expect(await get().forgetExchanges(START_MS + 1, 10)).toBe(0);
    expect(await get().forgetExchanges(START_MS + 100, 1)).toBe(1);
    expect(await get().findExchange(agentId, "m-1")).toBeNull();
    expect(await get().findExchange(agentId, "m-2")).not.toBeNull();
    expect(await get().forgetExchanges(START_MS + 100, 10)).toBe(2);
    expect(await get().findExchange(agentId, "m-3")).toBeNull();
    expect(await sequences(agentId)).toEqual([5, 4]);
    // What was done stays done, in the books and in the history.
    expect(await get().getAgent(agentId)).toMatchObject({ account: { received: 5, done: 5 } });
    expect((await get().listCommits(agentId, Infinity, 10)).map((commit) => commit.causeId)).toEqual(["m-5", "m-4", "m-3", "m-2", "m-1"]);
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
    await get().commit(agentCommit(agentId, 6, { exchange: exchangeRecord(6, { messageId: "m-1" }) }));
  });

  it("forgets an id whose commit is history no more", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 4; n++) await get().commit(agentCommit(agentId, n, { state: stateImage("base", n), exchange: exchangeRecord(n), keepExchanges: 1, keepCommits: 0 }));
    expect(await get().findExchange(agentId, "m-1")).not.toBeNull();
    expect(await get().forgetExchanges(START_MS + 100, 10)).toBe(3);
    expect(await get().findExchange(agentId, "m-3")).toBeNull();
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
  });
}
