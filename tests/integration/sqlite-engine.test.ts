import { mkdir, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import { armFault, type Fault } from "../../runtime/core/fault-points.ts";
import { prepareBatches } from "../../runtime/store/sqlite/batch.ts";
import { openEngine, prepareEngine, type StoreEngine } from "../../runtime/store/sqlite/engine.ts";
import { auditInParts, type AuditPart } from "../../runtime/store/host-audit.ts";
import type { StoreCall, SyncStore } from "../../runtime/store/sqlite/protocol.ts";
import { MIGRATIONS, migrate } from "../../runtime/store/sqlite/schema.ts";
import type { Store } from "../../runtime/store/store.ts";
import { storeContract } from "../support/store-contract.ts";
import { agentCommit, agentRecord, exchangeRecord, outboxEntry, sessionRecord, stateImage, waitCommit } from "../support/store-records.ts";

/** The engine as a Store, each call a batch of its own. */
function asStore(engine: StoreEngine): Store {
  let closed = false;
  const close = async (): Promise<void> => {
    if (!closed) engine.close();
    closed = true;
  };
  const call = (name: StoreCall["name"]) => async (...args: unknown[]): Promise<unknown> => {
    if (closed) throw new SirsiError("STORE_UNAVAILABLE", "closed");
    const { values, failures } = engine.run([{ name, args } as StoreCall]);
    if (failures[0] !== undefined) throw SirsiError.revive(failures[0].error);
    return values[0];
  };
  const auditHost = (most: number) => auditInParts(most, call("auditSome") as (after: string, most: number) => Promise<AuditPart>);
  return new Proxy({ close, auditHost } as Store, { get: (own, name) => own[name as keyof Store] ?? call(name as StoreCall["name"]) });
}

let folder: string;
const database = (): string => join(folder, "sirsi.db");
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sirsi-engine-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

storeContract("the SQLite engine without its thread", async () => {
  const own = await mkdtemp(join(tmpdir(), "sirsi-engine-"));
  const store = asStore(openEngine({ path: join(own, "sirsi.db"), openedAtMs: 0 }));
  return {
    store,
    async dispose() {
      await store.close();
      await rm(own, { recursive: true, force: true });
    },
  };
});

function commitOf(agentId: string, sequence: number, image = Uint8Array.of(sequence)): StoreCall {
  return { name: "commit", args: [agentCommit(agentId, sequence, { state: { ...stateImage("base"), image }, exchange: exchangeRecord(sequence) })] };
}

describe("a batch", () => {
  let db: DatabaseSync;
  let run: ReturnType<typeof prepareBatches>;
  let calls: SyncStore;
  const session = sessionRecord();
  const agents = Array.from({ length: 4 }, () => agentRecord(session.sessionId));
  const [first, second, third, fourth] = agents.map((agent) => agent.agentId) as [string, string, string, string];
  const sequences = (): unknown[] => db.prepare("SELECT commit_sequence FROM agent_progress ORDER BY agent_key").all().map((row) => row["commit_sequence"]);

  beforeEach(() => {
    db = new DatabaseSync(database());
    db.exec("PRAGMA journal_mode = WAL");
    migrate(db, database(), 0);
    ({ run, calls } = prepareEngine(db));
    const setUp: StoreCall[] = [{ name: "putSession", args: [session] }, ...agents.map((agent): StoreCall => ({ name: "putAgent", args: [agent] }))];
    expect(run(setUp).failures).toEqual([]);
  });
  afterEach(() => db.close());

  it("is one transaction when nothing fails", () => {
    const seen: string[] = [];
    const watching = { ...calls, probe: () => void seen.push(`in a transaction: ${String(db.isTransaction)}`) };
    const watched = prepareBatches(db, watching);
    expect(watched([{ name: "probe", args: [] }, commitOf(first, 1), { name: "probe", args: [] }]).failures).toEqual([]);
    expect(seen).toEqual(["in a transaction: true", "in a transaction: true"]);
    expect(db.isTransaction).toBe(false);
  });

  it("commits the others when some of its calls fail, and shows reads the writes before them", () => {
    const settled = run([
      commitOf(first, 1),
      commitOf(second, 7),
      { name: "getAgent", args: [first] },
      commitOf(third, 1),
      { name: "putAgent", args: [agentRecord("00000000-0000-7000-8000-000000000000")] },
      commitOf(fourth, 1),
      commitOf(fourth, 2),
    ]);
    expect(settled.failures.map(({ index, error }) => [index, error.code])).toEqual([[1, "STORE_CORRUPT"], [4, "SESSION_NOT_FOUND"]]);
    expect(settled.values[2]).toMatchObject({ commitSequence: 1 });
    expect(sequences()).toEqual([1, 0, 1, 2]);
  });

  it("reports a failed read alone", () => {
    db.prepare("UPDATE agents SET context = 'null' WHERE agent_id = ?").run(second);
    const reads = [first, second, third].map((agentId): StoreCall => ({ name: "getAgent", args: [agentId] }));
    const settled = run(reads);
    expect(settled.failures).toMatchObject([{ index: 1, error: { code: "STORE_CORRUPT" } }]);
    expect(settled.values[2]).toMatchObject({ record: { agentId: third } });
  });

  it("fails with STORE_UNAVAILABLE on a full disk, writes nothing by halves, and goes on when there is room", () => {
    const pages = Number(db.prepare("PRAGMA page_count").get()?.["page_count"]);
    db.exec(`PRAGMA max_page_count = ${pages + 3}`);
    const settled = run([commitOf(first, 1), commitOf(second, 1, new Uint8Array(200_000)), commitOf(third, 1)]);
    const failed = new Map(settled.failures.map(({ index, error }) => [index, error.code]));
    expect(failed.get(1)).toBe("STORE_UNAVAILABLE");
    expect(sequences()).toEqual([0, 1, 2, 3].map((index) => (index === 3 || failed.has(index) ? 0 : 1)));
    expect(db.isTransaction).toBe(false);

    db.exec("PRAGMA max_page_count = 100000");
    expect(run([commitOf(second, 1, new Uint8Array(200_000))]).failures).toEqual([]);
  });

  it("fails every write with STORE_UNAVAILABLE on read-only files, and still reads", () => {
    db.exec("PRAGMA query_only = ON");
    const settled = run([commitOf(first, 1), commitOf(second, 9)]);
    expect(settled.failures.map(({ error }) => error.code)).toEqual(["STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]);
    expect(run([{ name: "getAgent", args: [first] }]).failures).toEqual([]);
  });

  it("fails as a whole when SQLite gives up its transaction in the middle, keeping each call's own fault", () => {
    const breaking = { ...calls, probe: () => db.exec("ROLLBACK; SELECT * FROM a_table_that_is_gone") };
    const broken = prepareBatches(db, breaking);
    const settled = broken([commitOf(first, 1), commitOf(second, 5), { name: "probe", args: [] }, commitOf(third, 1)]);
    expect(settled.failures.map(({ error }) => error.code)).toEqual(["INTERNAL", "STORE_CORRUPT", "INTERNAL", "INTERNAL"]);
    expect(sequences()).toEqual([0, 0, 0, 0]);
    expect(run([commitOf(first, 1)]).failures).toEqual([]);
  });
});

describe("a batch at a fault point", () => {
  let store: Store;
  let engine: StoreEngine;
  let agentId: string;
  beforeEach(async () => {
    engine = openEngine({ path: database(), openedAtMs: 0 });
    store = asStore(engine);
    const session = sessionRecord();
    const agent = agentRecord(session.sessionId);
    agentId = agent.agentId;
    await store.putSession(session);
    await store.putAgent(agent);
  });
  afterEach(async () => {
    armFault(null);
    await store.close();
  });
  const fail = (point: Fault["point"], hit = 1): void => armFault({ point, hit, action: "fail" });

  it.each(["commit.before-write", "commit.in-transaction"] as const)("%s: writes are refused and change nothing, reads go on, and it recovers by itself", async (point) => {
    fail(point);
    for (let tries = 0; tries < 3; tries++) {
      const settled = engine.run([commitOf(agentId, 1), { name: "getAgent", args: [agentId] }, { name: "probe", args: [] }, { name: "getSession", args: ["nobody"] }]);
      expect(settled.failures.map(({ index, error }) => [index, error.code])).toEqual([[0, "STORE_UNAVAILABLE"], [2, "STORE_UNAVAILABLE"]]);
      expect(settled.values[1]).toMatchObject({ commitSequence: 0 });
      expect(await store.getAgent(agentId)).toMatchObject({ commitSequence: 0 });
      expect(await store.getState(agentId, null)).toBeNull();
    }
    armFault(null);
    expect(engine.run([commitOf(agentId, 1)]).failures).toEqual([]);
    expect(await store.getState(agentId, null)).toMatchObject({ commitSequence: 1 });
  });

  it("commit.written: the answer is lost, what was written is not", async () => {
    fail("commit.written");
    await expect(store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    armFault(null);
    expect(await store.getAgent(agentId)).toMatchObject({ commitSequence: 1 });
  });

  it("strikes from the batch on that it is armed for, and never a batch of reads", async () => {
    fail("commit.before-write", 2);
    await store.getAgent(agentId);
    await store.commit(agentCommit(agentId, 1));
    await expect(store.commit(agentCommit(agentId, 2))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.getAgent(agentId);
  });

  it("keeps a build that a batch failed to write out of later commits", async () => {
    fail("commit.in-transaction");
    await expect(store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    armFault(null);
    await store.commit(agentCommit(agentId, 1, { state: { ...stateImage("base", 1), preparation: "another" } }));
    await store.commit(agentCommit(agentId, 2, { state: stateImage("base", 2) }));
    expect(await store.getState(agentId, 1)).toMatchObject({ preparation: "another" });
    expect(await store.getState(agentId, 2)).toMatchObject({ preparation: "p1" });
  });
});

describe("books that were tampered with", () => {
  let db: DatabaseSync;
  let calls: SyncStore;
  const session = sessionRecord();
  const [agent, other] = [agentRecord(session.sessionId), agentRecord(session.sessionId)];
  const { agentId } = agent;

  beforeEach(() => {
    db = new DatabaseSync(database());
    migrate(db, database(), 0);
    ({ calls } = prepareEngine(db));
    calls.putSession(session);
    calls.putAgent(agent);
    calls.putAgent(other);
    calls.commit(agentCommit(agentId, 1, { state: stateImage("base", 1), exchange: exchangeRecord(1), timers: [{ kind: "set", timerId: "t", dueAt: 1, payload: new Uint8Array(0) }] }));
    calls.commit(agentCommit(agentId, 2, { state: stateImage("difference", 2), exchange: exchangeRecord(2), outbox: [outboxEntry(other.agentId)] }));
    calls.commit(agentCommit(agentId, 3, { state: stateImage("difference", 3), exchange: exchangeRecord(3) }));
    calls.commit(waitCommit(agentId, 4, "m-4"));
    expect(calls.auditAgent(agentId)?.findings).toEqual([]);
  });
  afterEach(() => db.close());

  /** Of the agent's row of a commit. */
  const at = (sequence: number) => `commit_key & 68719476735 = ${sequence}`;

  it.each([
    ["a message that vanished", "UPDATE agent_progress SET received = received + 1", "account"],
    ["more exchanges than were done", "UPDATE agent_progress SET done = done - 1, received = received - 1", "account"],
    ["a pending message that is not", "UPDATE agent_progress SET pending = 0", "account"],
    ["a message done twice", `DROP INDEX commits_by_message; UPDATE commits SET message_id = 'm-1' WHERE ${at(2)}`, "doubled"],
    ["a message done and waiting", `UPDATE waits SET message_id = 'm-1'`, "doubled"],
    ["a gap in the exchanges", `UPDATE commits SET exchange_sequence = 9, message_id = NULL, body = NULL WHERE ${at(2)}`, "sequence"],
    ["a lost last commit", `DELETE FROM commits WHERE ${at(4)}`, "sequence"],
    ["a lost difference", `DELETE FROM commits WHERE ${at(2)}`, "chain"],
    ["a lost base", `DELETE FROM commits WHERE ${at(1)}`, "chain"],
    ["a base without an image", `UPDATE commits SET image = NULL WHERE ${at(1)}`, "chain"],
    ["a base that progress does not know", "UPDATE agent_progress SET base_sequence = 0", "chain"],
    ["a difference of another revision", `INSERT INTO builds VALUES (77, 'x', 'x'); UPDATE commits SET build_key = 77 WHERE ${at(3)}`, "chain"],
    ["a lost wait", "DELETE FROM waits", "wait"],
    ["a wait of an earlier commit", "UPDATE waits SET sequence = 3", "wait"],
    ["a wait at rest", `UPDATE commits SET kind = 'difference' WHERE ${at(4)}`, "wait"],
    ["an entry of a commit that never was", "UPDATE outbox SET sequence = 9", "outbox"],
    ["an ended agent with a timer", "DROP TRIGGER agents_end; UPDATE agents SET state = 'TERMINATED'", "timer"],
    ["an ended agent in a wait", "DROP TRIGGER agents_end; UPDATE agents SET state = 'TERMINATED'", "wait"],
  ])("show in the audit: %s", (_, sql, check) => {
    db.exec(sql);
    const findings = calls.auditAgent(agentId)?.findings ?? [];
    expect(findings.map((finding) => finding.check)).toContain(check);
    expect(calls.auditSome("", 100).audit.findings.filter((finding) => finding.agentId === agentId)).toEqual(findings);
  });

  it.each([
    ["a lost base", `DELETE FROM commits WHERE ${at(1)}`],
    ["a base without an image", `UPDATE commits SET image = NULL WHERE ${at(1)}`],
    ["a lost difference", `DELETE FROM commits WHERE ${at(2)}`],
    ["a difference of another revision", `INSERT INTO builds VALUES (77, 'x', 'x'); UPDATE commits SET build_key = 77 WHERE ${at(3)}`],
  ])("are never read as a state: %s", (_, sql) => {
    db.exec(sql);
    expect(() => calls.getState(agentId, null)).toThrow(expect.objectContaining({ code: "STORE_CORRUPT", message: expect.stringContaining(agentId) as string }));
  });

  it("give the key of an agent that is gone to the next one, and nothing of it", () => {
    const keys = () => db.prepare("SELECT agent_key FROM agents ORDER BY agent_key").all().map((row) => row["agent_key"]);
    const before = keys();
    calls.deleteSession(session.sessionId);
    expect(db.prepare("SELECT count(*) AS n FROM commits").get()).toEqual({ n: 0 });
    const later = sessionRecord();
    calls.putSession(later);
    const next = [agentRecord(later.sessionId), agentRecord(later.sessionId), agentRecord(later.sessionId)];
    for (const one of next) calls.putAgent(one);
    expect(keys()).toEqual([...before, 3]);
    for (const one of next) expect(calls.listCommits(one.agentId, Infinity, 10)).toEqual([]);
  });
});

describe("migrations", () => {
  let db: DatabaseSync;
  beforeEach(() => {
    db = new DatabaseSync(database());
  });
  afterEach(() => db.close());
  const versions = (): unknown[] => db.prepare("SELECT version, applied_at FROM schema_version ORDER BY version").all().map((row) => ({ ...row }));
  const next = { name: "colours", sql: "CREATE TABLE colours (name TEXT) STRICT" };

  it("are applied once each, in order, with the time", () => {
    migrate(db, database(), 100);
    migrate(db, database(), 200);
    migrate(db, database(), 300, [...MIGRATIONS, next]);
    migrate(db, database(), 400, [...MIGRATIONS, next]);
    expect(versions()).toEqual([{ version: 1, applied_at: 100 }, { version: 2, applied_at: 300 }]);
    db.exec("INSERT INTO colours VALUES ('red')");
  });

  it("leave a database alone that an unreleased build made", () => {
    migrate(db, database(), 100, [next]);
    expect(() => migrate(db, database(), 200)).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("never released") as string }));
    db.exec("INSERT INTO colours VALUES ('red')");
  });

  it("leave everything as it was when one fails", () => {
    migrate(db, database(), 100);
    const broken = { name: "broken", sql: "CREATE TABLE half (a TEXT); SELECT * FROM nowhere" };
    expect(() => migrate(db, database(), 200, [...MIGRATIONS, next, broken])).toThrow("nowhere");
    expect(versions()).toHaveLength(1);
    expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name IN ('colours', 'half')").get()).toMatchObject({ n: 0 });
  });
});

describe("the engine", () => {
  it("holds nothing after it was refused, so that the next opening succeeds", () => {
    const engine = openEngine({ path: database(), openedAtMs: 0 });
    expect(() => openEngine({ path: database(), openedAtMs: 0 })).toThrow("in use by another running host");
    engine.close();
    const foreign = new DatabaseSync(database());
    foreign.exec("ALTER TABLE schema_version RENAME TO something_else");
    foreign.close();
    expect(() => openEngine({ path: database(), openedAtMs: 0 })).toThrow("some other program");
    const mended = new DatabaseSync(database());
    mended.exec("ALTER TABLE something_else RENAME TO schema_version");
    mended.close();
    openEngine({ path: database(), openedAtMs: 0 }).close();
  });

  it("reports damaged pages as STORE_CORRUPT", async () => {
    openEngine({ path: database(), openedAtMs: 0 }).close();
    const file = await readFile(database());
    await writeFile(database(), file.fill(0xff, 4_096));
    expect(() => openEngine({ path: database(), openedAtMs: 0 })).toThrow(expect.objectContaining({ code: "STORE_CORRUPT" }));
  });

  it("reports a damaged page as STORE_CORRUPT to the read that meets it alone", async () => {
    let engine = openEngine({ path: database(), openedAtMs: 0 });
    const session = sessionRecord();
    const agents = Array.from({ length: 40 }, () => agentRecord(session.sessionId));
    const image = new Uint8Array(3_000);
    const made = agents.map((agent): StoreCall => ({ name: "commit", args: [agentCommit(agent.agentId, 1, { agent, state: { ...stateImage("base"), image } })] }));
    expect(engine.run([{ name: "putSession", args: [session] }, ...made]).failures).toEqual([]);
    engine.close();

    const db = new DatabaseSync(database());
    const [page] = db.prepare("SELECT pageno FROM dbstat WHERE name = 'commits' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 20").all();
    db.close();
    const file = await open(database(), "r+");
    await file.write(new Uint8Array(4_096).fill(0xee), 0, 4_096, (Number(page?.["pageno"]) - 1) * 4_096);
    await file.close();

    engine = openEngine({ path: database(), openedAtMs: 0 });
    const { values, failures } = engine.run(agents.map((agent): StoreCall => ({ name: "getState", args: [agent.agentId, null] })));
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.length).toBeLessThan(5);
    for (const { error } of failures) expect(error.code).toBe("STORE_CORRUPT");
    expect(values.filter((value) => value !== null)).toHaveLength(agents.length - failures.length);
    engine.close();
  });

  it("reports a folder where a database should be", async () => {
    await mkdir(database());
    expect(() => openEngine({ path: database(), openedAtMs: 0 })).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
  });
});
