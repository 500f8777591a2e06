/** Part of the store contract: outbox, timers, documents, dead letters. */
import { expect, it } from "vitest";
import { newId } from "../../runtime/core/ids.ts";
import type { DeadLetterQuery, OutboxKey, Store, TimerChange } from "../../runtime/store/store.ts";
import { START_MS, agentCommit, deadLetter, exchangeRecord, newAgent, outboxEntry, sessionOf, stateImage, waitCommit } from "./store-records.ts";

const NO_LETTER: DeadLetterQuery = { sessionId: null, agentId: null, beforeId: "", limit: 100 };

export function outboxContract(get: () => Store): void {
  const keys = async (): Promise<OutboxKey[]> => (await get().listOutbox(null, 100)).entries.map((entry) => entry.key);

  it("keeps entries of every sender in order, with what they are", async () => {
    const [one, other] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(one, 1, { outbox: [outboxEntry(other), outboxEntry("news", { kind: "event", body: Uint8Array.of(9) })] }));
    await get().commit(agentCommit(other, 1, { outbox: [outboxEntry(one)] }));
    await get().commit(agentCommit(one, 2, { outbox: [outboxEntry(other)] }));
    const { entries, next } = await get().listOutbox(null, 100);
    expect(entries.map(({ key }) => [key.agentId, key.commitSequence, key.index])).toEqual([[one, 1, 0], [one, 1, 1], [other, 1, 0], [one, 2, 0]]);
    expect(entries[1]).toEqual({
      key: { agentId: one, commitSequence: 1, index: 1 }, sessionId: await sessionOf(get(), one), kind: "event", target: "news", body: Uint8Array.of(9), createdAt: START_MS,
    });
    expect(next).toBeNull();
  });

  it("pages, past what goes and what comes between two pages", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, { outbox: [outboxEntry(agentId)] }));
    const first = await get().listOutbox(null, 2);
    expect(first.entries.map(({ key }) => key.commitSequence)).toEqual([1, 2]);
    await get().settleOutbox(await keys());
    await get().commit(agentCommit(agentId, 6, { outbox: [outboxEntry(agentId), outboxEntry(agentId)] }));
    const second = await get().listOutbox(first.next, 2);
    expect(second.entries.map(({ key }) => [key.commitSequence, key.index])).toEqual([[6, 0], [6, 1]]);
    expect((await get().listOutbox(second.next ?? 0, 2)).entries.length).toBe(second.next === null ? 2 : 0);
  });

  it("D3: an entry goes with the commit of the step that took it", async () => {
    const [sender, receiver] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(sender, 1, { outbox: [outboxEntry(receiver), outboxEntry(receiver)] }));
    await get().commit(agentCommit(receiver, 1, { consumed: { agentId: sender, commitSequence: 1, index: 0 }, exchange: exchangeRecord(1) }));
    expect(await keys()).toEqual([{ agentId: sender, commitSequence: 1, index: 1 }]);
  });

  it("D3: refuses the exchange of an entry that is gone, and changes nothing", async () => {
    const [sender, receiver] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(sender, 1, { outbox: [outboxEntry(receiver)] }));
    const consumed = { agentId: sender, commitSequence: 1, index: 0 };
    await get().commit(agentCommit(receiver, 1, { consumed, exchange: exchangeRecord(1) }));
    const again = agentCommit(receiver, 2, { consumed, state: stateImage("base", 1), exchange: exchangeRecord(2, { messageId: "under another id" }) });
    await expect(get().commit(again)).rejects.toMatchObject({ code: "MESSAGE_ID_REUSED" });
    expect(await get().getAgent(receiver)).toMatchObject({ commitSequence: 1, exchangeSequence: 1, account: { received: 1, done: 1 } });
    expect(await get().getState(receiver, null)).toBeNull();
    // Without an exchange nothing is doubled.
    await get().commit(agentCommit(receiver, 2, { consumed, cause: "event" }));
  });

  it("D3: the commit of a wait may take an entry that the step names again at its end", async () => {
    const [sender, receiver] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(sender, 1, { outbox: [outboxEntry(receiver)] }));
    await get().commit(agentCommit(receiver, 1, { state: stateImage("base", 1) }));
    const consumed = { agentId: sender, commitSequence: 1, index: 0 };
    await get().commit(waitCommit(receiver, 2, "m-1", { consumed }));
    expect(await keys()).toEqual([]);
    await get().commit(agentCommit(receiver, 3, { consumed, exchange: exchangeRecord(1) }));
  });

  it("settles entries, those that are gone too", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { outbox: [outboxEntry("a"), outboxEntry("b"), outboxEntry("c")] }));
    const [first, , third] = await keys();
    await get().settleOutbox([third!, first!]);
    await get().settleOutbox([first!, { agentId: newId(START_MS), commitSequence: 1, index: 0 }]);
    await get().settleOutbox([]);
    expect((await keys()).map((key) => key.index)).toEqual([1]);
  });

  it("makes one dead letter of an entry, however often it is asked", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { outbox: [outboxEntry("nobody")] }));
    const [key] = await keys();
    const letter = deadLetter("nobody", await sessionOf(get(), agentId), { sourceAgentId: agentId });
    await get().deadLetterOutbox(key!, letter);
    await get().deadLetterOutbox(key!, { ...letter, deadLetterId: newId(START_MS) });
    expect(await keys()).toEqual([]);
    expect(await get().listDeadLetters(NO_LETTER)).toEqual([letter]);
  });
}

export function timerContract(get: () => Store): void {
  const set = (timerId: string, dueAt: number, ...payload: number[]): TimerChange => ({ kind: "set", timerId, dueAt, payload: Uint8Array.from(payload) });
  const due = async (before = Infinity) => (await get().listTimers(before, 100)).map((timer) => [timer.timerId, timer.dueAt]);

  it("lists timers that are due, earliest first, so many at a time", async () => {
    const [one, other] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(one, 1, { timers: [set("late", 30), set("early", 10, 1, 2)] }));
    await get().commit(agentCommit(other, 1, { timers: [set("early", 20)] }));
    expect(await due()).toEqual([["early", 10], ["early", 20], ["late", 30]]);
    expect(await due(20)).toEqual([["early", 10], ["early", 20]]);
    expect(await due(9)).toEqual([]);
    expect(await get().listTimers(Infinity, 1)).toEqual([{ agentId: one, timerId: "early", dueAt: 10, payload: Uint8Array.of(1, 2) }]);
  });

  it("tells when the next one after a moment is due", async () => {
    const agentId = await newAgent(get());
    expect(await get().nextTimer(0)).toBeNull();
    await get().commit(agentCommit(agentId, 1, { timers: [set("a", 10), set("b", 20)] }));
    expect([await get().nextTimer(0), await get().nextTimer(10), await get().nextTimer(20)]).toEqual([10, 20, null]);
  });

  it("replaces a timer that is set again, and cancels, in the order of the step", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { timers: [set("a", 10), set("b", 20), set("c", 30)] }));
    await get().commit(agentCommit(agentId, 2, { timers: [set("a", 40), { kind: "cancel", timerId: "b" }, { kind: "cancel", timerId: "c" }, set("c", 50), { kind: "cancel", timerId: "never" }] }));
    expect(await due()).toEqual([["a", 40], ["c", 50]]);
  });

  it("takes the timer that fired away, unless it was set anew", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { timers: [set("once", 10), set("again", 10), set("moved", 10), set("same", 10)] }));
    await get().commit(agentCommit(agentId, 2, { firedTimer: { timerId: "once", dueAt: 10 } }));
    await get().commit(agentCommit(agentId, 3, { firedTimer: { timerId: "again", dueAt: 10 }, timers: [set("again", 60)] }));
    await get().commit(agentCommit(agentId, 4, { timers: [set("moved", 70)] }));
    await get().commit(agentCommit(agentId, 5, { firedTimer: { timerId: "moved", dueAt: 10 } }));
    await get().commit(agentCommit(agentId, 6, { firedTimer: { timerId: "same", dueAt: 10 }, timers: [set("same", 10)] }));
    expect(await due()).toEqual([["same", 10], ["again", 60], ["moved", 70]]);
  });
}

export function documentContract(get: () => Store): void {
  it("writes, replaces with a rising version, and removes", async () => {
    const [writer, sessionId] = await inSession();
    const second = await newAgent(get(), sessionId);
    await get().commit(agentCommit(writer, 1, { documents: [{ key: "a/b", bytes: Uint8Array.of(1) }] }));
    expect(await get().getDocument(sessionId, "a/b")).toEqual({ sessionId, key: "a/b", version: 1, bytes: Uint8Array.of(1), updatedAt: START_MS + 1, agentId: writer });
    await get().commit(agentCommit(second, 1, { documents: [{ key: "a/b", bytes: Uint8Array.of(2) }, { key: "a/b", bytes: new Uint8Array(0) }], committedAt: START_MS + 9 }));
    expect(await get().getDocument(sessionId, "a/b")).toEqual({ sessionId, key: "a/b", version: 3, bytes: new Uint8Array(0), updatedAt: START_MS + 9, agentId: second });
    await get().commit(agentCommit(writer, 2, { documents: [{ key: "a/b", bytes: null }, { key: "never", bytes: null }] }));
    expect(await get().getDocument(sessionId, "a/b")).toBeNull();
  });

  it("keeps to its session", async () => {
    const [one, mine] = await inSession();
    const [, theirs] = await inSession();
    await get().commit(agentCommit(one, 1, { documents: [{ key: "k", bytes: Uint8Array.of(1) }] }));
    expect(await get().getDocument(theirs, "k")).toBeNull();
    expect(await get().listDocuments(theirs, "", "", 10)).toEqual([]);
    expect(await get().listDocuments(mine, "", "", 10)).toHaveLength(1);
  });

  it("lists by key, under a prefix, page by page, without bytes", async () => {
    const [writer, sessionId] = await inSession();
    const names = ["a", "a%b", "a_b", "b/1", "b/10", "b/2", "b0", "c"];
    await get().commit(agentCommit(writer, 1, { documents: names.toReversed().map((key) => ({ key, bytes: Uint8Array.of(1) })) }));
    const list = async (prefix: string, after: string, limit: number) => (await get().listDocuments(sessionId, prefix, after, limit)).map((document) => document.key);
    expect(await list("", "", 100)).toEqual(names);
    expect(await list("b/", "", 100)).toEqual(["b/1", "b/10", "b/2"]);
    expect(await list("b/", "b/1", 1)).toEqual(["b/10"]);
    expect(await list("b/", "c", 100)).toEqual([]);
    expect(await list("c", "a", 100)).toEqual(["c"]);
    expect(await list("a_", "", 100)).toEqual(["a_b"]);
    expect(await get().listDocuments(sessionId, "c", "", 1)).toEqual([{ sessionId, key: "c", version: 1, updatedAt: START_MS + 1, agentId: writer }]);
  });

  async function inSession(): Promise<[agentId: string, sessionId: string]> {
    const agentId = await newAgent(get());
    return [agentId, await sessionOf(get(), agentId)];
  }
}

export function deadLetterContract(get: () => Store): void {
  it("keeps a letter with the commit that gave its message up, and lets it go with the one that took it after all", async () => {
    const agentId = await newAgent(get());
    const letter = deadLetter(agentId, await sessionOf(get(), agentId), { sourceAgentId: newId(START_MS) });
    await get().commit(agentCommit(agentId, 1, { cause: "dead_letter", deadLetter: letter }));
    expect(await get().getDeadLetter(letter.deadLetterId)).toEqual(letter);
    await get().commit(agentCommit(agentId, 2, { consumedDeadLetter: letter.deadLetterId, exchange: exchangeRecord(1) }));
    expect(await get().getDeadLetter(letter.deadLetterId)).toBeNull();
    expect((await get().getAgent(agentId))?.account).toEqual({ received: 2, done: 1, deadLettered: 1 });
  });

  it("takes a letter that comes back under its old id", async () => {
    const agentId = await newAgent(get());
    const letter = deadLetter(agentId, await sessionOf(get(), agentId));
    await get().commit(agentCommit(agentId, 1, { deadLetter: letter }));
    const back = { ...letter, attempts: 4, body: Uint8Array.of(5) };
    await get().commit(agentCommit(agentId, 2, { consumedDeadLetter: letter.deadLetterId, deadLetter: back }));
    expect(await get().listDeadLetters(NO_LETTER)).toEqual([back]);
  });

  it("lists newest first, of a session, of an agent, page by page", async () => {
    const [one, other] = [await newAgent(get()), await newAgent(get())];
    const session = await sessionOf(get(), one);
    const letters = [];
    for (let n = 1; n <= 3; n++) {
      for (const agentId of [one, other]) {
        const letter = deadLetter(agentId, await sessionOf(get(), agentId));
        letters.unshift(letter);
        await get().commit(agentCommit(agentId, n, { deadLetter: letter }));
      }
    }
    const mine = letters.filter((letter) => letter.agentId === one);
    expect(await get().listDeadLetters(NO_LETTER)).toEqual(letters);
    expect(await get().listDeadLetters({ ...NO_LETTER, agentId: one })).toEqual(mine);
    expect(await get().listDeadLetters({ ...NO_LETTER, sessionId: session })).toEqual(mine);
    expect(await get().listDeadLetters({ ...NO_LETTER, sessionId: session, agentId: other })).toEqual([]);
    expect(await get().listDeadLetters({ ...NO_LETTER, sessionId: session, agentId: one, limit: 2 })).toEqual(mine.slice(0, 2));
    expect(await get().listDeadLetters({ ...NO_LETTER, agentId: one, beforeId: mine[1]!.deadLetterId })).toEqual(mine.slice(2));
  });

  it("drops a letter once", async () => {
    const agentId = await newAgent(get());
    const letter = deadLetter(agentId, await sessionOf(get(), agentId));
    await get().commit(agentCommit(agentId, 1, { deadLetter: letter }));
    expect(await get().dropDeadLetter(letter.deadLetterId)).toBe(true);
    expect(await get().dropDeadLetter(letter.deadLetterId)).toBe(false);
    expect(await get().getDeadLetter(letter.deadLetterId)).toBeNull();
  });
}
