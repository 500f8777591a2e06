import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../runtime/core/clock.ts";
import { armFault } from "../../runtime/core/fault-points.ts";
import { newId } from "../../runtime/core/ids.ts";
import { openPostgresStore } from "../../runtime/store/postgres/index.ts";
import { MIGRATIONS } from "../../runtime/store/postgres/schema.ts";
import { userKey } from "../../runtime/store/postgres/user-id.ts";
import type { Store } from "../../runtime/store/store.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { storeContract } from "../support/store-contract.ts";
import { START_MS, agentCommit, agentCounters, agentRecord, exchangeRecord, moduleRecord, newAgent, outboxEntry, revisionRecord, sessionOf, sessionRecord, stateImage, swapRecord, waitCommit, waitRecord } from "../support/store-records.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());

storeContract("the Postgres store", async () => {
  const store = await server.open(await server.newDatabase());
  return { store, dispose: () => store.close() };
});

describe("the Postgres store in its database", () => {
  let database: string;
  const opened: Store[] = [];
  beforeEach(async () => {
    database = await server.newDatabase();
  });
  afterEach(async () => {
    armFault(null);
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  async function open(name = database): Promise<Store> {
    const store = await server.open(name);
    opened.push(store);
    return store;
  }

  it("gives everything back after it was closed and opened again, and to another host at once", async () => {
    const store = await open();
    const agentId = await newAgent(store);
    await store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1, 2), exchange: exchangeRecord(1), counters: agentCounters(3) }));
    await store.commit(waitCommit(agentId, 2, "m-2"));
    await store.putModule(moduleRecord("echo"), revisionRecord("echo", "c".repeat(64)));
    const before = await store.getAgent(agentId);
    const other = await open();
    expect(await other.getAgent(agentId)).toEqual(before);
    await store.close();
    const again = await open();
    expect(await again.getState(agentId, null)).toMatchObject({ base: Uint8Array.of(1, 2), wait: { image: Uint8Array.of(52) } });
    expect(await again.getWait(agentId)).toEqual(waitRecord("m-2"));
    expect(await again.listModules()).toEqual([moduleRecord("echo")]);
    await again.commit(agentCommit(agentId, 3));
  });

  it("commits calls that are made together in one transaction", async () => {
    const store = await open();
    const session = sessionRecord();
    await store.putSession(session);
    const transactions = async (): Promise<number> => Number(await server.sql(database, "SELECT count(DISTINCT xmin::text) FROM agent_progress"));
    const agents = Array.from({ length: 200 }, () => agentRecord(session.sessionId));
    await Promise.all(agents.map((agent) => store.putAgent(agent)));
    expect(await transactions()).toBe(1);
    await Promise.all(agents.map(({ agentId }) => store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1) }))));
    expect(await transactions()).toBe(1);
  });

  it("fails a commit alone whose values only the database can refuse", async () => {
    const store = await open();
    const ids = [await newAgent(store), await newAgent(store), await newAgent(store)];
    const outcomes = await Promise.allSettled(ids.map((agentId, i) => store.commit(agentCommit(agentId, 1, { exchange: exchangeRecord(1, i === 1 ? { completedAt: "soon" as unknown as number } : {}) }))));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(outcomes[1]).toMatchObject({ reason: { code: "INTERNAL" } });
    expect(await Promise.all(ids.map(async (agentId) => (await store.getAgent(agentId))?.commitSequence))).toEqual([1, 0, 1]);
  });

  it("writes what comes of several commits to the same records in one batch", async () => {
    const store = await open();
    const agentId = await newAgent(store);
    const sessionId = await sessionOf(store, agentId);
    const set = (timerId: string, dueAt: number) => ({ kind: "set", timerId, dueAt, payload: Uint8Array.of(1) }) as const;
    const document = (...bytes: number[]) => ({ key: "k", bytes: Uint8Array.from(bytes) });
    const commits = [
      agentCommit(agentId, 1, { state: stateImage("base", 1), timers: [set("a", 10), set("b", 20)], documents: [document(1)], outbox: [outboxEntry("x"), outboxEntry("y")], exchange: exchangeRecord(1), keepExchanges: 0, keepCommits: 0 }),
      agentCommit(agentId, 2, { state: stateImage("base", 2), firedTimer: { timerId: "a", dueAt: 10 }, documents: [document(2)], consumed: { agentId, commitSequence: 1, index: 0 }, exchange: exchangeRecord(2), keepExchanges: 1, keepCommits: 0 }),
      agentCommit(agentId, 3, { firedTimer: { timerId: "b", dueAt: 99 }, documents: [{ key: "k", bytes: null }, document(3)] }),
    ];
    const twice = agentCommit(agentId, 4, { exchange: exchangeRecord(3, { messageId: "m-2" }) });
    const outcomes = await Promise.allSettled([...commits, twice].map((commit) => store.commit(commit)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled", "rejected"]);
    expect(outcomes[3]).toMatchObject({ reason: { code: "MESSAGE_ID_REUSED" } });
    expect((await store.listTimers(Infinity, 10)).map((timer) => timer.timerId)).toEqual(["b"]);
    expect(await store.getDocument(sessionId, "k")).toMatchObject({ version: 1, bytes: Uint8Array.of(3) });
    expect((await store.listOutbox(null, 10)).entries.map((entry) => entry.target)).toEqual(["y"]);
    expect((await store.listExchanges(agentId, Infinity, 10)).map((exchange) => exchange.sequence)).toEqual([2]);
    expect((await store.listCommits(agentId, Infinity, 10)).map((commit) => commit.commitSequence)).toEqual([3, 2]);
    expect((await store.auditAgent(agentId))?.findings.map((finding) => finding.explanation)).toEqual([expect.stringContaining("for agent y")]);
  });

  it("has the table that other programs know: sessions with their user and their active agents", async () => {
    const store = await open();
    const byName = sessionRecord({ userId: "ada" });
    const byId = sessionRecord({ userId: newId(START_MS) });
    await store.putSession(byName);
    await store.putSession(byId);
    const [one, other] = [await newAgent(store, byName.sessionId), await newAgent(store, byName.sessionId)];
    const look = async (sql: string): Promise<unknown> => JSON.parse(await server.sql(database, sql));
    const active = `SELECT active_agents FROM agent_sessions WHERE session_id = '${byName.sessionId}'`;
    expect(await look(active)).toEqual([one, other]);
    await store.putAgent({ ...(await store.getAgent(one))!.record, state: "TERMINATED" });
    expect(await look(active)).toEqual([other]);
    const users = await look("SELECT json_object_agg(session_id, json_build_array(user_id, extract(epoch FROM created_at) * 1000)) FROM agent_sessions");
    expect(users).toEqual({ [byName.sessionId]: [userKey("ada"), START_MS], [byId.sessionId]: [byId.userId, START_MS] });
    expect(await server.sql(database, `SELECT user_id FROM users WHERE id = '${userKey("ada")}'`)).toBe("ada");
    // A session names a user; that does not make it one that was put.
    expect(await store.getUser("ada")).toBeNull();
  });

  it("answers ids that cannot be anybody's, and refuses to keep one", async () => {
    const store = await open();
    expect([await store.getAgent("nobody"), await store.getSession("nobody"), await store.getState("nobody", null), await store.findExchange("nobody", "m"), await store.getDocument("nobody", "k")]).toEqual([null, null, null, null, null]);
    expect(await store.listSessionAgents("nobody")).toEqual([]);
    await store.deleteSession("nobody");
    await store.settleOutbox([{ agentId: "nobody", commitSequence: 1, index: 0 }]);
    await expect(store.commit(agentCommit("nobody", 1))).rejects.toMatchObject({ code: "AGENT_NOT_FOUND" });
    await expect(store.putSession(sessionRecord({ sessionId: "nobody" }))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(store.putAgent(agentRecord("nobody"))).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    const session = sessionRecord();
    await store.putSession(session);
    await expect(store.putAgent(agentRecord(session.sessionId, { agentId: "nobody" }))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it.each(["commit.before-write", "commit.in-transaction", "commit.written"] as const)("at the fault point %s writes fail, reads go on, and nothing is there by halves", async (point) => {
    const store = await open();
    const agentId = await newAgent(store);
    armFault({ point, hit: 1, action: "fail" });
    const [commit, read, probe] = await Promise.allSettled([store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1) })), store.getSession(newId(START_MS)), store.probe()]);
    expect([commit, probe]).toMatchObject([{ reason: { code: "STORE_UNAVAILABLE" } }, { reason: { code: "STORE_UNAVAILABLE" } }]);
    expect(read).toEqual({ status: "fulfilled", value: null });
    armFault(null);
    expect((await store.getAgent(agentId))?.commitSequence).toBe(point === "commit.written" ? 1 : 0);
    expect((await store.auditAgent(agentId))?.findings).toEqual([]);
    await store.probe();
  });

  it("reports a record whose JSON is damaged, and still gives the others", async () => {
    const store = await open();
    const [damaged, sound] = [await newAgent(store), await newAgent(store)];
    await server.sql(database, `UPDATE agents SET metadata = '{"cut' WHERE agent_id = '${damaged}'`);
    const [bad, good] = await Promise.allSettled([store.getAgent(damaged), store.getAgent(sound)]);
    expect(bad).toMatchObject({ status: "rejected", reason: { code: "STORE_CORRUPT", message: expect.stringContaining(damaged) } });
    expect(good).toMatchObject({ status: "fulfilled", value: { record: { agentId: sound } } });
  });

  it.each([
    ["a message that vanished", "UPDATE agent_progress SET received = received + 1", "account"],
    ["more exchanges than were done", "UPDATE agent_progress SET done = done - 1, received = received - 1", "account"],
    ["a message done twice", "DROP INDEX exchanges_by_message; UPDATE exchanges SET message_id = 'm-1' WHERE sequence = 2", "doubled"],
    ["a message done and waiting", "UPDATE waits SET message_id = 'm-1'", "doubled"],
    ["a gap in the exchanges", "DELETE FROM exchanges WHERE sequence = 2", "sequence"],
    ["a lost last commit", "DELETE FROM commits WHERE sequence = 4", "sequence"],
    ["a lost difference", "DELETE FROM commits WHERE sequence = 2", "chain"],
    ["a lost base", "DELETE FROM commits WHERE sequence = 1", "chain"],
    ["a base without an image", "UPDATE commits SET image = NULL WHERE sequence = 1", "chain"],
    ["a base that progress does not know", "UPDATE agent_progress SET base_sequence = 0", "chain"],
    ["a lost wait", "DELETE FROM waits", "wait"],
    ["a wait of an earlier commit", "UPDATE waits SET sequence = 3", "wait"],
    ["an entry of a commit that never was", "UPDATE outbox SET sequence = 9", "outbox"],
    ["an ended agent with a timer", "UPDATE agents SET state = 'TERMINATED', live = false", "timer"],
  ])("books that were tampered with show in the audit: %s", async (_, sql, check) => {
    const store = await open();
    const agentId = await newAgent(store);
    await store.commit(agentCommit(agentId, 1, { state: stateImage("base", 1), exchange: exchangeRecord(1), timers: [{ kind: "set", timerId: "t", dueAt: 1, payload: new Uint8Array(0) }] }));
    await store.commit(agentCommit(agentId, 2, { state: stateImage("difference", 2), exchange: exchangeRecord(2), outbox: [outboxEntry(agentId)] }));
    await store.commit(agentCommit(agentId, 3, { state: stateImage("difference", 3), exchange: exchangeRecord(3) }));
    await store.commit(waitCommit(agentId, 4, "m-4"));
    expect((await store.auditAgent(agentId))?.findings).toEqual([]);
    await server.sql(database, sql);
    expect((await store.auditAgent(agentId))?.findings.map((finding) => finding.check)).toContain(check);
    expect((await store.auditHost(100)).findings).toEqual((await store.auditAgent(agentId))?.findings);
  });

  it("audits more agents than one part holds, and serves others meanwhile", async () => {
    const store = await open();
    const session = sessionRecord();
    await store.putSession(session);
    const agents = Array.from({ length: 1_200 }, () => agentRecord(session.sessionId));
    await Promise.all(agents.map((agent) => store.putAgent(agent)));
    const [audit] = await Promise.all([store.auditHost(10), ...agents.map(({ agentId }) => store.commit(agentCommit(agentId, 1, { exchange: exchangeRecord(1) })))]);
    expect(audit).toMatchObject({ agents: 1_200, findings: [] });
    expect(await store.auditHost(10)).toMatchObject({ agents: 1_200, done: 1_200, findings: [] });
  });

  it("refuses a schema that is newer than this host and leaves it alone", async () => {
    await (await open()).close();
    await server.sql(database, "INSERT INTO schema_version VALUES (99, 'from the future', 0)");
    await expect(open()).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringMatching(/schema version 99.*newer host/) });
    await server.sql(database, "DELETE FROM schema_version WHERE version = 99");
    await (await open()).probe();
  });

  it("refuses the database of another program and leaves it alone", async () => {
    const theirs = await server.newDatabase("bare");
    await server.sql(theirs, "CREATE TABLE recipes (name text)");
    await expect(open(theirs)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("some other program") });
    expect(await server.sql(theirs, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'")).toBe("1");
    await server.sql(theirs, "CREATE SCHEMA agents");
    const store = await openPostgresStore({ url: `${server.urlOf(theirs)}?search_path=agents`, clock: systemClock });
    opened.push(store);
    await store.probe();
  });

  it("makes its tables once when several hosts open an empty database together", async () => {
    const empty = await server.newDatabase("bare");
    const stores = await Promise.all(Array.from({ length: 5 }, () => open(empty)));
    await Promise.all(stores.map((store) => store.probe()));
    expect(await server.sql(empty, "SELECT max(version) FROM schema_version")).toBe(String(MIGRATIONS.length));
  });

  it("brings the tables of the first version up to date, with what is in them", async () => {
    const old = await server.newDatabase("bare");
    const first = MIGRATIONS[0]!;
    const rows = [
      "CREATE TABLE schema_version (version integer PRIMARY KEY, name text NOT NULL, applied_at double precision NOT NULL)",
      ...first.statements,
      `INSERT INTO schema_version VALUES (0, 'lock', 0), (1, '${first.name}', 1)`,
      `INSERT INTO modules VALUES ('echo', '${"c".repeat(64)}', false, 'echo.wasm')`,
      `INSERT INTO revisions VALUES ('echo', '${"c".repeat(64)}', '1.0.0', 'ACTIVE', '', 10240, ${START_MS})`,
      `INSERT INTO swaps VALUES ('s', 'echo', 1, '${JSON.stringify(swapRecord("echo", { swapId: "s" }))}')`,
    ];
    await server.sql(old, rows.join(";\n"));
    const store = await open(old);
    expect(await store.listModules()).toEqual([moduleRecord("echo")]);
    expect(await store.listRevisions("echo")).toEqual([revisionRecord("echo", "c".repeat(64))]);
    expect(await store.listSwaps("echo", 10)).toEqual([swapRecord("echo", { swapId: "s" })]);
    await store.commit(agentCommit(await newAgent(store), 1));
  });

  it("says why it cannot be opened, and never the password", async () => {
    const url = new URL(server.urlOf(database));
    const wrong = new URL(url);
    wrong.password = "guessed-wrong";
    const missing = new URL(server.urlOf("never_made"));
    const deaf = new URL(url);
    deaf.port = "1";
    const cases: [URL, RegExp][] = [[wrong, /refuses the user or the password/], [missing, /does not exist/], [deaf, /cannot be reached/], [new URL(`${url.href}?sslmode=require`), /cannot be reached/]];
    for (const [one, says] of cases) {
      const opening = openPostgresStore({ url: one.href, clock: systemClock });
      await expect(opening).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringMatching(says) });
      const said = await opening.catch((thrown: unknown) => String(thrown));
      expect(said).not.toContain(one.password);
    }
    await expect(openPostgresStore({ url: url.href, clock: systemClock, connectionsMax: 1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("finds the server among several that the URL names", async () => {
    const url = new URL(server.urlOf(database));
    const store = await openPostgresStore({ url: url.href.replace(url.host, `127.0.0.1:1,${url.host}`), clock: systemClock });
    opened.push(store);
    await store.probe();
  });

  it("keeps to its number of connections", async () => {
    const store = await server.open(database, { connectionsMax: 3 });
    opened.push(store);
    const ids = await Promise.all(Array.from({ length: 20 }, () => newAgent(store)));
    await Promise.all([...ids.map((agentId) => store.getAgent(agentId)), ...ids.map((agentId) => store.auditAgent(agentId)), store.auditHost(10), ...ids.map((agentId) => store.commit(agentCommit(agentId, 1)))]);
    expect(Number(await server.sql("postgres", `SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}'`))).toBe(3);
  });

  it("speaks TLS as its URL says, and checks whom it speaks to", async () => {
    const certificate = await server.useTls();
    const at = (query: string, host = "127.0.0.1") => openPostgresStore({ url: `${server.urlOf(database).replace("127.0.0.1", host)}?${query}`, clock: systemClock });
    for (const query of ["sslmode=require", "sslmode=prefer", `sslmode=verify-full&sslrootcert=${certificate}`]) {
      const store = await at(query);
      await store.probe();
      expect(await server.sql("postgres", `SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE datname = '${database}'`)).toBe("t");
      await store.close();
    }
    for (const [query, host] of [["sslmode=verify-full", "127.0.0.1"], [`sslmode=verify-full&sslrootcert=${certificate}`, "localhost"]] as const) {
      await expect(at(query, host)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringMatching(/cannot be reached.*cert/i) });
    }
    opened.push(await at(`sslmode=verify-ca&sslrootcert=${certificate}`, "localhost"));
  });
});
