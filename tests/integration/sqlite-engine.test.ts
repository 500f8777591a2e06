import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import { prepareBatches } from "../../runtime/store/sqlite/batch.ts";
import { openEngine, prepareCalls, type StoreEngine } from "../../runtime/store/sqlite/engine.ts";
import type { StoreCall } from "../../runtime/store/sqlite/protocol.ts";
import { MIGRATIONS, migrate } from "../../runtime/store/sqlite/schema.ts";
import type { Store } from "../../runtime/store/store.ts";
import { storeContract } from "../support/store-contract.ts";
import { agentCommit, agentRecord, checkpointRecord, exchangeRecord, sessionRecord } from "../support/store-records.ts";

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
  return new Proxy({} as Store, { get: (_, name) => (name === "close" ? close : call(name as StoreCall["name"])) });
}

let folder: string;
const database = (): string => join(folder, "sirsi.db");
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sirsi-engine-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

storeContract("the SQLite engine without its thread", async () => {
  const store = asStore(openEngine({ path: database(), openedAtMs: 0 }));
  return { store, dispose: () => store.close() };
});

function commitOf(agentId: string, sequence: number, image = Uint8Array.of(sequence)): StoreCall {
  const commit = agentCommit(agentId, sequence, { checkpoint: { ...checkpointRecord(), image }, exchange: exchangeRecord(sequence) });
  return { name: "commit", args: [commit] };
}

describe("a batch", () => {
  let db: DatabaseSync;
  let run: ReturnType<typeof prepareBatches>;
  const session = sessionRecord();
  const agents = Array.from({ length: 4 }, () => agentRecord(session.sessionId));
  const [first, second, third, fourth] = agents.map((agent) => agent.agentId) as [string, string, string, string];
  const sequences = (): unknown[] => db.prepare("SELECT commit_sequence FROM agent_progress ORDER BY agent_key").all().map((row) => row["commit_sequence"]);

  beforeEach(() => {
    db = new DatabaseSync(database());
    db.exec("PRAGMA journal_mode = WAL");
    migrate(db, database(), 0);
    run = prepareBatches(db, prepareCalls(db));
    const setUp: StoreCall[] = [{ name: "putSession", args: [session] }, ...agents.map((agent): StoreCall => ({ name: "putAgent", args: [agent] }))];
    expect(run(setUp).failures).toEqual([]);
  });
  afterEach(() => db.close());

  it("is one transaction when nothing fails", () => {
    const seen: string[] = [];
    const calls = { ...prepareCalls(db), probe: () => void seen.push(`in a transaction: ${String(db.isTransaction)}`) };
    const watched = prepareBatches(db, calls);
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
    const calls = { ...prepareCalls(db), probe: () => db.exec("ROLLBACK; SELECT * FROM a_table_that_is_gone") };
    const broken = prepareBatches(db, calls);
    const settled = broken([commitOf(first, 1), commitOf(second, 5), { name: "probe", args: [] }, commitOf(third, 1)]);
    expect(settled.failures.map(({ error }) => error.code)).toEqual(["INTERNAL", "STORE_CORRUPT", "INTERNAL", "INTERNAL"]);
    expect(sequences()).toEqual([0, 0, 0, 0]);
    expect(run([commitOf(first, 1)]).failures).toEqual([]);
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

  it("reports a folder where a database should be", () => {
    expect(() => openEngine({ path: folder, openedAtMs: 0 })).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
  });
});
