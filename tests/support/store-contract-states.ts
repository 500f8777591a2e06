/** Part of the store contract: states, history, waits, and the bytes in them. */
import { expect, it } from "vitest";
import type { AgentCommit, Store } from "../../runtime/store/store.ts";
import { START_MS, agentCommit, exchangeRecord, newAgent, stateImage, waitCommit, waitRecord } from "./store-records.ts";

const base = (n: number): Partial<AgentCommit> => ({ state: stateImage("base", n) });
const difference = (n: number): Partial<AgentCommit> => ({ state: stateImage("difference", n) });
const bytes = (...ns: number[]): Uint8Array[] => ns.map((n) => Uint8Array.of(n));

export function stateContract(get: () => Store): void {
  async function committed(...changes: readonly Partial<AgentCommit>[]): Promise<string> {
    const agentId = await newAgent(get());
    for (const [i, change] of changes.entries()) await get().commit(agentCommit(agentId, i + 1, change));
    return agentId;
  }

  it("D6: gives the newest base with the differences since, oldest first", async () => {
    const agentId = await committed(base(1), difference(2), base(3), difference(4), difference(5));
    expect(await get().getState(agentId, null)).toEqual({
      digest: "a".repeat(64), preparation: "p1", commitSequence: 5, base: Uint8Array.of(3), differences: bytes(4, 5), wait: null,
    });
  });

  it("gives the state as each commit left it", async () => {
    const agentId = await committed(base(1), difference(2), {}, difference(4), base(5), difference(6));
    const at = async (sequence: number) => {
      const chain = await get().getState(agentId, sequence);
      return chain === null ? null : [chain.commitSequence, chain.base[0], ...chain.differences.map((image) => image[0])];
    };
    // The third changed no state: it is still that of the second.
    expect(await Promise.all([1, 2, 3, 4, 5, 6].map(at))).toEqual([[1, 1], [2, 1, 2], [2, 1, 2], [4, 1, 2, 4], [5, 5], [6, 5, 6]]);
    expect(await Promise.all([0, 7, 1.5, -1].map(at))).toEqual([null, null, null, null]);
  });

  it("lays a wait on the last state at rest, and only while the agent is in it", async () => {
    const agentId = await committed(base(1), difference(2));
    await get().commit(waitCommit(agentId, 3, "m-1"));
    await get().commit(waitCommit(agentId, 4, "m-1", { state: { ...stateImage("wait", 44), preparation: "p9" } }));
    expect(await get().getState(agentId, null)).toEqual({
      digest: "a".repeat(64), preparation: "p1", commitSequence: 4, base: Uint8Array.of(1), differences: bytes(2), wait: { image: Uint8Array.of(44), preparation: "p9" },
    });
    await get().commit(agentCommit(agentId, 5, difference(5)));
    expect(await get().getState(agentId, null)).toMatchObject({ commitSequence: 5, differences: bytes(2, 5), wait: null });
    expect(await get().getState(agentId, 4)).toMatchObject({ commitSequence: 4, differences: bytes(2), wait: { image: Uint8Array.of(44) } });
    expect(await get().getState(agentId, 3)).toMatchObject({ commitSequence: 3, differences: bytes(2), wait: { image: Uint8Array.of(53) } });
    expect(await get().getState(agentId, 2)).toMatchObject({ commitSequence: 2, wait: null });
  });

  it("goes back to rest when a wait is given up", async () => {
    const agentId = await committed(base(1), difference(2));
    await get().commit(waitCommit(agentId, 3, "m-1"));
    await get().commit(agentCommit(agentId, 4, { cause: "given_up" }));
    for (const at of [null, 4]) expect(await get().getState(agentId, at)).toMatchObject({ commitSequence: 2, differences: bytes(2), wait: null });
    await get().commit(agentCommit(agentId, 5, difference(5)));
    expect(await get().getState(agentId, null)).toMatchObject({ commitSequence: 5, differences: bytes(2, 5) });
  });

  it("has none of an agent that never committed one", async () => {
    const agentId = await committed({}, { exchange: exchangeRecord(1) });
    expect(await get().getState(agentId, null)).toBeNull();
    expect(await get().getState(agentId, 1)).toBeNull();
  });

  it("keeps states from the newest base that lies keepCommits back, and drops the older ones with a base only", async () => {
    const agentId = await newAgent(get());
    const kept = async () => (await get().listCommits(agentId, Infinity, 100)).map((commit) => commit.commitSequence).toReversed();
    for (let n = 1; n <= 12; n++) await get().commit(agentCommit(agentId, n, { ...(n % 4 === 1 ? base(n) : difference(n)), keepCommits: 5 }));
    // The base of commit 9 keeps five back, to 4: so from the base of 1 on.
    expect(await kept()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    await get().commit(agentCommit(agentId, 13, { ...base(13), keepCommits: 5 }));
    expect(await kept()).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13]);
    expect(await get().getState(agentId, 4)).toBeNull();
    expect(await get().getState(agentId, 7)).toMatchObject({ base: Uint8Array.of(5), differences: bytes(6, 7) });
    await get().commit(agentCommit(agentId, 14, { ...base(14), keepCommits: 0 }));
    expect(await kept()).toEqual([14]);
    expect(await get().getState(agentId, null)).toMatchObject({ base: Uint8Array.of(14), differences: [] });
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
  });

  it("keeps the exchange of a commit that is history no more", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 3; n++) await get().commit(agentCommit(agentId, n, { ...base(n), exchange: exchangeRecord(n), keepCommits: 0 }));
    expect((await get().listCommits(agentId, Infinity, 10)).map((commit) => commit.commitSequence)).toEqual([3]);
    expect(await get().listExchanges(agentId, Infinity, 10)).toEqual([exchangeRecord(3), exchangeRecord(2), exchangeRecord(1)]);
    await expect(get().commit(agentCommit(agentId, 4, { exchange: exchangeRecord(4, { messageId: "m-1" }) }))).rejects.toMatchObject({ code: "MESSAGE_ID_REUSED" });
  });

  it("does not grow without end for an agent that never commits a state", async () => {
    const agentId = await newAgent(get());
    for (let n = 1; n <= 60; n++) await get().commit(agentCommit(agentId, n, { keepCommits: 3 }));
    const kept = await get().listCommits(agentId, Infinity, 100);
    expect(kept.length).toBeLessThan(40);
    expect(kept.slice(0, 3).map((commit) => commit.commitSequence)).toEqual([60, 59, 58]);
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
  });
}

export function historyContract(get: () => Store): void {
  it("lists every commit, newest first, with what it was and wrote", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, { cause: "init", ...base(1) }));
    await get().commit(agentCommit(agentId, 2, { causeId: "m-1", state: { ...stateImage("difference", 1, 2, 3), preparation: "p2" }, exchange: exchangeRecord(1) }));
    await get().commit(waitCommit(agentId, 3, "m-2"));
    await get().commit(agentCommit(agentId, 4, { cause: "given_up", causeId: "m-2" }));
    const entry = (commitSequence: number, cause: string, causeId: string, kind: string, imageBytes: number) => ({ commitSequence, cause, causeId, committedAt: START_MS + commitSequence, digest: "a".repeat(64), kind, imageBytes });
    expect(await get().listCommits(agentId, Infinity, 10)).toEqual([
      entry(4, "given_up", "m-2", "difference", 0),
      entry(3, "wait", "m-2", "wait", 1),
      entry(2, "message", "m-1", "difference", 3),
      entry(1, "init", "", "base", 1),
    ]);
  });

  it("pages", async () => {
    const agentId = await newAgent(get());
    await newAgent(get());
    for (let n = 1; n <= 5; n++) await get().commit(agentCommit(agentId, n, base(n)));
    const page = async (before: number) => (await get().listCommits(agentId, before, 2)).map((commit) => commit.commitSequence);
    expect([await page(Infinity), await page(4), await page(2), await page(1)]).toEqual([[5, 4], [3, 2], [1], []]);
  });
}

export function waitContract(get: () => Store): void {
  const rested = async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, base(1)));
    return agentId;
  };

  it("D4: keeps a wait until a commit ends or replaces it", async () => {
    const agentId = await rested();
    const [first, second] = [waitRecord("m-1", { body: Uint8Array.of(1) }), waitRecord("m-1", { body: Uint8Array.of(2), messageHash: "c".repeat(64) })];
    await get().commit(waitCommit(agentId, 2, "m-1", { wait: first }));
    expect(await get().getWait(agentId)).toEqual(first);
    await get().commit(waitCommit(agentId, 3, "m-1", { wait: second }));
    expect(await get().getWait(agentId)).toEqual(second);
    await get().commit(agentCommit(agentId, 4, { cause: "given_up" }));
    expect(await get().getWait(agentId)).toBeNull();
    await get().commit(waitCommit(agentId, 5, "", { wait: waitRecord("") }));
    expect(await get().getWait(agentId)).toEqual(waitRecord(""));
  });

  it("lists the agents in one by id, page by page", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await rested());
    for (const agentId of [ids[3]!, ids[0]!, ids[4]!]) await get().commit(waitCommit(agentId, 2, "m-1"));
    const waiting = [ids[0]!, ids[3]!, ids[4]!].toSorted();
    expect(await get().listWaiting("", 2)).toEqual(waiting.slice(0, 2));
    expect(await get().listWaiting(waiting[1]!, 2)).toEqual(waiting.slice(2));
    expect(await get().listWaiting(waiting[2]!, 2)).toEqual([]);
  });
}

export function bytesContract(get: () => Store): void {
  it("keeps bytes of any size, empty ones and views into a larger buffer", async () => {
    const agentId = await newAgent(get());
    const large = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
    const images = [new Uint8Array(0), large, large.subarray(1_000, 1_010), Buffer.from("from a pool")];
    for (const [i, image] of images.entries()) {
      await get().commit(agentCommit(agentId, i + 1, { state: { ...stateImage("base"), image } }));
      expect((await get().getState(agentId, null))?.base).toEqual(new Uint8Array(image));
    }
    expect((await get().auditAgent(agentId))?.findings).toEqual([]);
  });

  it("keeps an empty difference as one", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, base(1)));
    await get().commit(agentCommit(agentId, 2, { state: stateImage("difference") }));
    expect(await get().getState(agentId, null)).toMatchObject({ commitSequence: 2, differences: [new Uint8Array(0)] });
  });

  it("is not changed by what happens to the caller's buffers once the call was made", async () => {
    const agentId = await newAgent(get());
    const own = Array.from({ length: 6 }, (_, i) => Uint8Array.of(i + 1));
    const [image, body, entry, payload, document, wait] = own as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    await get().commit(agentCommit(agentId, 1, base(0)));
    const { sessionId } = (await get().getAgent(agentId))!.record;
    const written = get().commit(waitCommit(agentId, 2, "m-2", {
      state: { ...stateImage("wait"), image },
      wait: waitRecord("m-2", { body: wait }),
      exchange: exchangeRecord(1, { body }),
      outbox: [{ kind: "event", target: "", body: entry, createdAt: 1 }],
      timers: [{ kind: "set", timerId: "t", dueAt: 1, payload }],
      documents: [{ key: "k", bytes: document }],
    }));
    for (const bytes of own) bytes.fill(0);
    await written;
    expect([
      (await get().getState(agentId, null))?.wait?.image, (await get().findExchange(agentId, "m-1"))?.body, (await get().listOutbox(null, 1)).entries[0]?.body,
      (await get().listTimers(1, 1))[0]?.payload, (await get().getDocument(sessionId, "k"))?.bytes, (await get().getWait(agentId))?.body,
    ]).toEqual(bytes(1, 2, 3, 4, 5, 6));
  });

  it("hands out bytes that are the caller's own", async () => {
    const agentId = await newAgent(get());
    await get().commit(agentCommit(agentId, 1, base(1)));
    (await get().getState(agentId, null))!.base.fill(0);
    expect((await get().getState(agentId, null))?.base).toEqual(Uint8Array.of(1));
  });
}
