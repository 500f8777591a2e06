/** Part of the store contract: audits of books that balance. Those of books that do not need a way behind the store's back. */
import { expect, it } from "vitest";
import type { Store } from "../../runtime/store/store.ts";
import { agentCommit, deadLetter, exchangeRecord, newAgent, outboxEntry, sessionOf, stateImage, waitCommit } from "./store-records.ts";

export function auditContract(get: () => Store): void {
  /** An agent with 3 messages received: one done, one dead, one in a wait; two messages and an event on their way, and a timer. */
  async function busy(): Promise<string> {
    const agentId = await newAgent(get());
    const sessionId = await sessionOf(get(), agentId);
    await get().commit(agentCommit(agentId, 1, { cause: "init", state: stateImage("base", 1) }));
    await get().commit(agentCommit(agentId, 2, {
      state: stateImage("difference", 2), exchange: exchangeRecord(1), outbox: [outboxEntry(agentId), outboxEntry(agentId), outboxEntry("news", { kind: "event" })],
      timers: [{ kind: "set", timerId: "t", dueAt: 5, payload: new Uint8Array(0) }],
    }));
    await get().commit(agentCommit(agentId, 3, { cause: "dead_letter", deadLetter: deadLetter(agentId, sessionId) }));
    await get().commit(waitCommit(agentId, 4, "m-2"));
    return agentId;
  }
  const BOOKS = { received: 3, done: 1, deadLettered: 1, pending: 1, outbox: 2, timers: 1, findings: [] };

  it("tells one agent's books", async () => {
    const agentId = await busy();
    await busy();
    expect(await get().auditAgent(agentId)).toEqual({ agents: 1, ...BOOKS });
  });

  it("adds up the books of all, those of ended agents too", async () => {
    const ids = [await busy(), await busy(), await newAgent(get())];
    expect(await get().auditHost(10)).toEqual({ agents: 3, received: 6, done: 2, deadLettered: 2, pending: 2, outbox: 4, timers: 2, findings: [] });
    await get().putAgent({ ...(await get().getAgent(ids[0]!))!.record, state: "TERMINATED" });
    expect(await get().auditHost(10)).toEqual({ agents: 3, received: 5, done: 2, deadLettered: 2, pending: 1, outbox: 4, timers: 1, findings: [] });
  });

  it("has nothing to tell of an empty store", async () => {
    expect(await get().auditHost(10)).toEqual({ agents: 0, received: 0, done: 0, deadLettered: 0, pending: 0, outbox: 0, timers: 0, findings: [] });
  });

  it("finds a message to an agent that is not there, and no more than asked for", async () => {
    const ids = [await newAgent(get()), await newAgent(get())];
    for (const agentId of ids) await get().commit(agentCommit(agentId, 1, { outbox: [outboxEntry("nobody"), outboxEntry(agentId)] }));
    expect((await get().auditAgent(ids[0]!))?.findings).toEqual([{ agentId: ids[0], check: "outbox", explanation: expect.stringContaining("nobody") as string }]);
    expect((await get().auditHost(10)).findings.map((finding) => finding.agentId)).toEqual(ids.toSorted());
    expect((await get().auditHost(1)).findings).toHaveLength(1);
    expect((await get().auditHost(0)).findings).toEqual([]);
  });

  it("finds a message that was taken and is still in its sender's outbox", async () => {
    const [sender, receiver] = [await newAgent(get()), await newAgent(get())];
    await get().commit(agentCommit(sender, 1, { outbox: [outboxEntry(receiver)] }));
    await get().commit(agentCommit(receiver, 1, { exchange: exchangeRecord(1, { messageId: `out-${sender}-1-0` }) }));
    expect((await get().auditHost(10)).findings).toEqual([{ agentId: sender, check: "outbox", explanation: expect.stringContaining("has taken its message") as string }]);
  });

  it("balances at every moment while commits go on", async () => {
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) ids.push(await newAgent(get()));
    const working = ids.map(async (agentId) => {
      await get().commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }));
      for (let n = 2; n <= 21; n += 2) {
        await get().commit(waitCommit(agentId, n, `m-${n / 2}`));
        await get().commit(agentCommit(agentId, n + 1, { state: stateImage("difference", n), exchange: exchangeRecord(n / 2) }));
      }
    });
    const work = { open: true };
    const done = Promise.all(working).finally(() => (work.open = false));
    while (work.open) {
      const audit = await get().auditHost(10);
      expect(audit.findings).toEqual([]);
      expect(audit.received).toBe(audit.done + audit.pending + audit.deadLettered);
    }
    await done;
    expect(await get().auditHost(10)).toMatchObject({ agents: 20, received: 200, done: 200, pending: 0 });
  });
}
