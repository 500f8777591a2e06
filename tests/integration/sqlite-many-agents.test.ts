/** A store that has seen more agents than its keys fit into JavaScript's numbers. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../runtime/core/clock.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import { agentCommit, exchangeRecord, newAgent, outboxEntry, sessionOf, stateImage } from "../support/store-records.ts";

const dataDir = mkdtempSync(join(tmpdir(), "sirsi-many-"));
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

/** As if so many agents had come before. */
function moveKeys(by: number): void {
  const db = new DatabaseSync(join(dataDir, "sirsi.db"), { enableForeignKeyConstraints: false });
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()) {
    const columns = db.prepare(`PRAGMA table_info(${String(name)})`).all().map((column) => column["name"]);
    if (columns.includes("agent_key") && !columns.includes("commit_key")) db.exec(`UPDATE ${String(name)} SET agent_key = agent_key + ${by}`);
  }
  db.close();
}

test("takes commits, effects and reads for the ten-millionth agent as for the first", async () => {
  const before = await openSqliteStore({ dataDir, clock: systemClock });
  await newAgent(before);
  await before.close();
  moveKeys(10_000_000);
  const store = await openSqliteStore({ dataDir, clock: systemClock });
  const [sender, receiver] = [await newAgent(store), await newAgent(store)];
  const entry = outboxEntry(receiver);
  await store.commit(agentCommit(sender, 1, { state: stateImage("base", 1, 2), outbox: [entry], exchange: exchangeRecord(1, { messageId: "m1" }) }));
  await store.commit(agentCommit(receiver, 1, { state: stateImage("base", 3), consumed: { agentId: sender, commitSequence: 1, index: 0 } }));
  await store.commit(agentCommit(sender, 2, { state: stateImage("difference", 4), timers: [{ kind: "set", timerId: "t", dueAt: 1, payload: new Uint8Array() }] }));
  expect((await store.listOutbox(null, 10)).entries).toEqual([]);
  expect(await store.getState(sender, null)).toMatchObject({ commitSequence: 2, base: Uint8Array.of(1, 2), differences: [Uint8Array.of(4)] });
  expect((await store.findExchange(sender, "m1"))?.sequence).toBe(1);
  expect((await store.listCommits(sender, Infinity, 10)).map(({ commitSequence }) => commitSequence)).toEqual([2, 1]);
  expect(await store.listTimers(10, 10)).toMatchObject([{ agentId: sender, timerId: "t" }]);
  expect(await store.dropDeadLetter("none")).toBe(false);
  for (const sequence of [1, 2]) {
    await store.commit(agentCommit(receiver, 1 + sequence, { state: stateImage("base", 5), exchange: exchangeRecord(sequence), keepExchanges: 0, keepCommits: 0 }));
  }
  expect(await store.forgetExchanges(Infinity, 10)).toBe(2);
  for (const sequence of [1, 2]) expect(await store.findExchange(receiver, `m-${sequence}`)).toBeNull();
  expect((await store.auditHost(10)).findings).toEqual([]);
  await store.deleteSession(await sessionOf(store, sender));
  expect(await store.getAgent(sender)).toBeNull();
  await store.close();
});
