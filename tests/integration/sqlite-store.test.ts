import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import type { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../runtime/core/clock.ts";
import { armFault } from "../../runtime/core/fault-points.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { Store } from "../../runtime/store/store.ts";
import { storeContract } from "../support/store-contract.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { agentCommit, agentCounters, agentRecord, exchangeRecord, moduleRecord, revisionRecord, sessionRecord, stateImage, waitCommit, waitRecord } from "../support/store-records.ts";

const WRITER = fileURLToPath(new URL("../support/store-writer.ts", import.meta.url));

storeContract("the SQLite store", async () => {
  const folder = await StoreFolder.make();
  return { store: await folder.open(), dispose: () => folder.dispose() };
});

async function agents(store: Store, count: number): Promise<string[]> {
  const session = sessionRecord();
  await store.putSession(session);
  const records = Array.from({ length: count }, () => agentRecord(session.sessionId));
  await Promise.all(records.map((record) => store.putAgent(record)));
  return records.map((record) => record.agentId);
}

describe("the SQLite store on disk", () => {
  let folder: StoreFolder;
  beforeEach(async () => {
    folder = await StoreFolder.make();
  });
  afterEach(() => folder.dispose());

  /** Edits the database behind the store's back. */
  function tamper(sql: string): void {
    const db = new DatabaseSync(folder.database);
    db.exec(sql);
    db.close();
  }

  it("copies its log into the database while commits go on, long before SQLite's own limit, and closes whole in the middle of it", async () => {
    const store = await folder.open();
    const ids = await agents(store, 64);
    const written = async (from: number, to: number): Promise<void> => {
      for (let sequence = from; sequence <= to; sequence++) await Promise.all(ids.map((id) => store.commit(agentCommit(id, sequence, { exchange: exchangeRecord(sequence) }))));
    };
    const size = async (): Promise<number> => (await stat(folder.database)).size;
    const before = await size();
    await written(1, 90);
    while ((await size()) <= before) await store.probe();
    await Promise.all([written(91, 130), store.probe()]);
    await store.close();
    const again = await folder.open();
    expect((await again.auditHost(10)).findings).toEqual([]);
    expect((await again.getAgent(ids[63]!))?.commitSequence).toBe(130);
  });

  it("gives everything back after it was closed and opened again", async () => {
    const store = await folder.open();
    const [agentId] = await agents(store, 1);
    await store.commit(agentCommit(agentId!, 1, { state: stateImage("base", 1, 2), exchange: exchangeRecord(1), counters: agentCounters(3) }));
    await store.commit(waitCommit(agentId!, 2, "m-2"));
    await store.putModule(moduleRecord("echo"), revisionRecord("echo", "c".repeat(64)));
    await store.putUser({ userId: "ada", displayName: "Ada", preferences: {}, updatedAt: 1 });
    const before = await store.getAgent(agentId!);
    await store.close();

    const again = await folder.open();
    expect(await again.getAgent(agentId!)).toEqual(before);
    expect(await again.getState(agentId!, null)).toMatchObject({ base: Uint8Array.of(1, 2), wait: { image: Uint8Array.of(52) } });
    expect(await again.getWait(agentId!)).toEqual(waitRecord("m-2"));
    expect(await again.listWaiting("", 10)).toEqual([agentId]);
    expect(await again.findExchange(agentId!, "m-1")).toEqual(exchangeRecord(1));
    expect(await again.listModules()).toEqual([moduleRecord("echo")]);
    expect(await again.getUser("ada")).toMatchObject({ displayName: "Ada" });
    await again.commit(agentCommit(agentId!, 3));
  });

  it("makes the data directory and takes a plain path as well", async () => {
    const path = join(folder.path, "deep", "er", "agents.db");
    const store = await openSqliteStore({ path, clock: new ManualClock() });
    const session = sessionRecord();
    await store.putSession(session);
    await store.close();
    const again = await openSqliteStore({ path, clock: new ManualClock() });
    expect(await again.getSession(session.sessionId)).toEqual(session);
    await again.close();
  });

  it("refuses a second host on the same data directory, by another name too, and says who has it", async () => {
    const store = await folder.open();
    await expect(folder.open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("in use by another running host") });
    const alias = join(folder.path, "alias");
    await symlink(folder.path, alias);
    await expect(openSqliteStore({ dataDir: alias, clock: new ManualClock() })).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.probe();
    await store.close();
    await (await folder.open()).probe();
  });

  it("refuses a second host in another process", async () => {
    await folder.open();
    const child = spawn(process.execPath, [WRITER, folder.path], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
    const [code] = (await once(child, "close")) as [number];
    expect(code).not.toBe(0);
    expect(said).toContain("in use by another running host");
  });

  it("refuses a schema that is newer than this host and leaves it alone", async () => {
    await (await folder.open()).close();
    tamper("INSERT INTO schema_version VALUES (99, 'from the future', 0)");
    await expect(folder.open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringMatching(/schema version 99.*newer host/) });
    tamper("DELETE FROM schema_version WHERE version = 99");
    await (await folder.open()).probe();
  });

  it("refuses the database of another program and leaves it alone", async () => {
    tamper("CREATE TABLE recipes (name TEXT)");
    await expect(folder.open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("some other program") });
    tamper("INSERT INTO recipes VALUES ('bread')");
  });

  it("reports a file that is no database as corrupt", async () => {
    await writeFile(folder.database, "this is a shopping list, not a database. ".repeat(100));
    await expect(folder.open()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });

  it("reports a data directory that cannot be made", async () => {
    await writeFile(join(folder.path, "file"), "");
    const opening = openSqliteStore({ dataDir: join(folder.path, "file", "data"), clock: new ManualClock() });
    await expect(opening).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("data directory") });
  });

  it("reports a record whose JSON is damaged, and still gives the others", async () => {
    const store = await folder.open();
    const [damaged, sound] = await agents(store, 2);
    await store.close();
    tamper(`UPDATE agents SET metadata = '{"cut' WHERE agent_id = '${damaged}'`);
    const again = await folder.open();
    const [bad, good] = await Promise.allSettled([again.getAgent(damaged!), again.getAgent(sound!)]);
    expect(bad).toMatchObject({ status: "rejected", reason: { code: "STORE_CORRUPT", message: expect.stringContaining(damaged!) } });
    expect(good).toMatchObject({ status: "fulfilled", value: { record: { agentId: sound } } });
  });

  it("fails only the call whose record cannot be copied to a thread", async () => {
    const store = await folder.open();
    const broken = sessionRecord({ metadata: { callback: (() => "not data") as unknown as string } });
    const sound = sessionRecord();
    const [first, second, third] = await Promise.allSettled([store.putSession(broken), store.putSession(sound), store.getSession(sound.sessionId)]);
    expect(first).toMatchObject({ status: "rejected", reason: { code: "INTERNAL" } });
    expect(second.status).toBe("fulfilled");
    expect(third).toEqual({ status: "fulfilled", value: sound });
  });

  /** Opens the store and catches its thread as the process announces it. */
  async function openWithThread(): Promise<{ store: Store; thread: Worker }> {
    const announced = once(process, "worker") as Promise<[Worker]>;
    const store = await folder.open();
    const [thread] = await announced;
    return { store, thread };
  }

  it("rejects what is pending and what comes later when its thread dies, and opens anew", async () => {
    const { store, thread } = await openWithThread();
    const [agentId] = await agents(store, 1);
    const sent = Array.from({ length: 20 }, (_, i) => store.commit(agentCommit(agentId!, i + 1)));
    const dead = thread.terminate();
    const queued = store.probe();
    const outcomes = await Promise.allSettled([...sent, queued]);
    await dead;
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_UNAVAILABLE", message: expect.stringContaining("thread of the store") } });
    }
    await expect(store.probe()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await store.close();
    const again = await folder.open();
    expect((await again.getAgent(agentId!))?.record.agentId).toBe(agentId);
  });

  it("settles every call that was under way when its thread dies, and keeps what it acknowledged", async () => {
    const { store, thread } = await openWithThread();
    const [agentId] = await agents(store, 1);
    const commits = Array.from({ length: 3_000 }, (_, i) => store.commit(agentCommit(agentId!, i + 1)));
    await new Promise((resolve) => setImmediate(resolve));
    await thread.terminate();
    const outcomes = await Promise.allSettled(commits);
    const acknowledged = outcomes.filter((outcome) => outcome.status === "fulfilled").length;
    for (const outcome of outcomes.slice(acknowledged)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_UNAVAILABLE" } });
    }
    const again = await folder.open();
    expect((await again.getAgent(agentId!))?.commitSequence).toBeGreaterThanOrEqual(acknowledged);
  });

  it("D3: loses nothing it acknowledged when the process is killed in the middle of commits", async () => {
    const store = await folder.open();
    const ids = await agents(store, 16);
    await store.close();

    for (let round = 0; round < 3; round++) {
      const acknowledged = await writeUntilKilled(folder.path, ids, 400);
      const survivor = await folder.open();
      for (const agentId of ids) {
        const stored = (await survivor.getAgent(agentId))!;
        const n = stored.commitSequence;
        expect(n).toBeGreaterThanOrEqual(acknowledged.get(agentId) ?? 0);
        expect(stored).toMatchObject({ exchangeSequence: n, counters: { messagesProcessed: n } });
        const from = n === 0 ? 0 : n - ((n - 1) % 4);
        const chain = await survivor.getState(agentId, null);
        expect(n === 0 ? chain : [chain?.base[0], ...(chain?.differences.map((image) => image[0]) ?? [])]).toEqual(n === 0 ? null : Array.from({ length: n - from + 1 }, (_, i) => (from + i) % 256));
        const kept = (await survivor.listExchanges(agentId, Infinity, 10)).map((exchange) => exchange.sequence);
        expect(kept).toEqual([n, n - 1, n - 2, n - 3, n - 4].filter((sequence) => sequence > 0));
      }
      expect(await survivor.auditHost(10)).toMatchObject({ agents: 16, findings: [] });
      await survivor.close();
    }
  });

  it("refuses what it has no room for, goes on reading, and recovers by itself when there is room", async () => {
    const store = await folder.open();
    const ids = await agents(store, 8);
    await store.close();
    const { size } = await stat(folder.database);

    const child = spawn(process.execPath, [WRITER, folder.path, ...ids], { stdio: ["ignore", "pipe", "inherit"] });
    /** No file of the writer may grow beyond so many bytes: what a full disk does, for one process. */
    const limit = (bytes: number | "unlimited") => expect(spawnSync("prlimit", ["--pid", String(child.pid), `--fsize=${bytes}:`]).status).toBe(0);
    const stages = [
      { line: /^\S+ 3$/, go: () => limit(size + 200_000) },
      { line: /^refused STORE_UNAVAILABLE reads$/, go: () => limit("unlimited") },
      { line: /^\S+ \d+$/, go: () => child.kill("SIGKILL") },
    ];
    const lines: string[] = [];
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        lines.push(line);
        if (stages[0]?.line.test(line)) stages.shift()?.go();
      }
    });
    await once(child, "close");
    expect(stages).toEqual([]);
    expect(new Set(lines.filter((line) => line.startsWith("refused")))).toEqual(new Set(["refused STORE_UNAVAILABLE reads"]));

    const survivor = await folder.open();
    for (const agentId of ids) {
      const acknowledged = Math.max(0, ...lines.filter((line) => line.startsWith(agentId)).map((line) => Number(line.split(" ")[1])));
      expect((await survivor.getAgent(agentId))?.commitSequence).toBeGreaterThanOrEqual(acknowledged);
    }
    expect((await survivor.auditHost(10)).findings).toEqual([]);
  });

  it("arms its thread as its parent is armed when it opens", async () => {
    armFault({ point: "commit.in-transaction", hit: 1, action: "fail" });
    const store = await folder.open();
    armFault(null);
    await expect(store.probe()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("commit.in-transaction") });
    expect(await store.getAgent("nobody")).toBeNull();
    await store.close();
    await (await folder.open()).probe();
  });

  it("answers others between the parts of an audit of many agents", async () => {
    const store = await folder.open();
    const ids = await agents(store, 5_000);
    const audit = { open: true };
    const audited = store.auditHost(10).finally(() => (audit.open = false));
    let between = 0;
    for (; audit.open; between++) await store.commit(agentCommit(ids[between % ids.length]!, 1 + Math.floor(between / ids.length)));
    expect(await audited).toMatchObject({ agents: 5_000, findings: [] });
    expect(between).toBeGreaterThan(2);
  });
});

/** Runs the writer, kills it once it has acknowledged so many commits, and gives the newest of each agent. */
async function writeUntilKilled(dataDir: string, agentIds: readonly string[], lines: number): Promise<Map<string, number>> {
  const child = spawn(process.execPath, [WRITER, dataDir, ...agentIds], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  let seen = 0;
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    printed += chunk;
    seen += chunk.split("\n").length - 1;
    if (seen >= lines) child.kill("SIGKILL");
  });
  const [, signal] = (await once(child, "close")) as [number | null, string | null];
  expect(signal).toBe("SIGKILL");
  const newest = new Map<string, number>();
  for (const line of printed.split("\n").slice(0, -1)) {
    const [agentId = "", sequence = "0"] = line.split(" ");
    newest.set(agentId, Number(sequence));
  }
  return newest;
}
