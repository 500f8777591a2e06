import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { AgentCommit, Store } from "../../runtime/store/store.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { agentCommit, exchangeRecord, newAgent, sessionOf, sessionRecord, stateImage } from "../support/store-records.ts";

const WRITER = fileURLToPath(new URL("../support/store-writer.ts", import.meta.url));

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());

let database: string;
const opened: Store[] = [];
beforeEach(async () => {
  database = await server.newDatabase();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

async function open(options: Parameters<PostgresServer["open"]>[1] = {}): Promise<Store> {
  const store = await server.open(database, options);
  opened.push(store);
  return store;
}

async function openThrough(proxy: FaultProxy, options: Parameters<PostgresServer["open"]>[1] = {}): Promise<Store> {
  const url = new URL(server.urlOf(database));
  url.port = String(proxy.port);
  return open({ url: url.href, ...options });
}

function step(agentId: string, n: number, epoch = 1): AgentCommit {
  return agentCommit(agentId, n, { epoch, state: stateImage(n % 4 === 1 ? "base" : "difference", n % 256), exchange: exchangeRecord(n), keepCommits: 6, keepExchanges: 5 });
}

/** The store answers again, by itself. */
async function untilBack(store: Store): Promise<void> {
  await vi.waitFor(() => store.probe(), { timeout: 20_000, interval: 50 });
}

/** Commits to an agent without end, as its ledger does: after a failure the store says where it stands. Gives the newest acknowledged commit. */
function drive(store: Store, agentId: string, running: { on: boolean }, codes: Set<string>): { acknowledged: number; readonly ended: Promise<void> } {
  const state = { acknowledged: 0, ended: Promise.resolve() };
  const work = async (): Promise<void> => {
    for (let next = 1; running.on; ) {
      try {
        await store.commit(step(agentId, next));
        state.acknowledged = next++;
      } catch (thrown) {
        codes.add(SirsiError.from(thrown).code);
        next = await vi.waitFor(async () => (await store.getAgent(agentId))!.commitSequence + 1, { timeout: 20_000, interval: 50 });
      }
    }
  };
  state.ended = work();
  return state;
}

describe("a server that is killed and started again in the middle of load", () => {
  it("D3: loses nothing that was acknowledged, does nothing twice, and is found again by the store", async () => {
    const store = await open();
    const ids = await Promise.all(Array.from({ length: 24 }, () => newAgent(store)));
    const [running, codes] = [{ on: true }, new Set<string>()];
    const driven = ids.map((agentId) => drive(store, agentId, running, codes));
    for (let round = 1; round <= 3; round++) {
      const before = driven.map(({ acknowledged }) => acknowledged);
      await vi.waitFor(() => expect(driven.every(({ acknowledged }, i) => acknowledged > before[i]! + 5)).toBe(true), { timeout: 20_000 });
      await server.kill();
      await server.restart();
    }
    await untilBack(store);
    running.on = false;
    await Promise.all(driven.map(({ ended }) => ended));
    // Nothing but what a caller may try again.
    expect([...codes]).toEqual(["STORE_UNAVAILABLE"]);
    for (const [i, agentId] of ids.entries()) {
      const stored = (await store.getAgent(agentId))!;
      expect(stored.commitSequence).toBeGreaterThanOrEqual(driven[i]!.acknowledged);
      expect(stored).toMatchObject({ exchangeSequence: stored.commitSequence, account: { received: stored.commitSequence, done: stored.commitSequence } });
    }
    expect(await store.auditHost(10)).toMatchObject({ agents: ids.length, findings: [] });
  });

  it("answers at once while it is down, as something to try again", async () => {
    const store = await open();
    const agentId = await newAgent(store);
    await server.kill();
    try {
      for (let tries = 0; tries < 5; tries++) {
        const refused = await store.getAgent(agentId).catch((thrown: unknown) => SirsiError.from(thrown));
        expect(refused).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true });
      }
    } finally {
      await server.restart();
    }
    await untilBack(store);
    await store.commit(step(agentId, 1));
  });
});

describe("a host that is killed in the middle of commits", () => {
  it("D3: loses nothing it acknowledged, and leaves no lock that lasts", async () => {
    const store = await open();
    const ids = await Promise.all(Array.from({ length: 16 }, () => newAgent(store)));
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [WRITER, server.urlOf(database), ...ids], { stdio: ["ignore", "pipe", "inherit"] });
      let printed = "";
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        printed += chunk;
        if (printed.split("\n").length > 400) child.kill("SIGKILL");
      });
      await once(child, "close");
      const acknowledged = new Map(printed.split("\n").slice(0, -1).map((line) => [line.split(" ")[0]!, Number(line.split(" ")[1])]));
      for (const agentId of ids) {
        // Claiming waits for whatever the dead host still holds.
        await store.claimAgent(agentId);
        const stored = (await store.getAgent(agentId))!;
        expect(stored.commitSequence).toBeGreaterThanOrEqual(acknowledged.get(agentId) ?? 0);
        expect(stored).toMatchObject({ exchangeSequence: stored.commitSequence });
        await server.sql(database, "UPDATE agent_progress SET epoch = 1");
      }
      expect(await store.auditHost(10)).toMatchObject({ agents: 16, findings: [] });
    }
  });

  it("loses its agents to others when it stops in the middle of a transaction", async () => {
    const other = await open();
    const agentId = await newAgent(other);
    await using proxy = await FaultProxy.before(server.port);
    const frozen = await openThrough(proxy, { idleInTransactionMs: 1_000, callTimeoutMs: 5_000 });
    try {
      // Its locks are taken, and its COMMIT never arrives.
      proxy.watch((bytes) => {
        if (bytes.includes("COMMIT\0")) proxy.freeze();
      });
      const lost = frozen.commit(step(agentId, 1)).catch((thrown: unknown) => SirsiError.from(thrown).code);
      const idle = `SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}' AND state = 'idle in transaction'`;
      await vi.waitFor(async () => expect(await server.sql("postgres", idle)).toBe("1"), { interval: 10 });
      const epoch = await other.claimAgent(agentId);
      expect(await server.sql("postgres", idle)).toBe("0");
      await other.commit(step(agentId, 1, epoch));
      expect(await lost).toBe("STORE_UNAVAILABLE");
      proxy.watch(null);
      proxy.heal();
      await untilBack(frozen);
      await expect(frozen.commit(step(agentId, 2))).rejects.toMatchObject({ code: "AGENT_FENCED" });
      expect((await other.auditAgent(agentId))?.findings).toEqual([]);
    } finally {
      await Promise.all(opened.splice(0).map((store) => store.close()));
    }
  });
});

describe("a connection that fails", () => {
  let proxy: FaultProxy;
  beforeEach(async () => {
    proxy = await FaultProxy.before(server.port);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
    await proxy[Symbol.asyncDispose]();
  });

  it("settles what was open when it is cut, again and again, and takes new calls", async () => {
    const store = await openThrough(proxy);
    const ids = await Promise.all(Array.from({ length: 8 }, () => newAgent(store)));
    const [running, codes] = [{ on: true }, new Set<string>()];
    const driven = ids.map((agentId) => drive(store, agentId, running, codes));
    for (let round = 1; round <= 10; round++) {
      const before = driven.map(({ acknowledged }) => acknowledged);
      await vi.waitFor(() => expect(driven.every(({ acknowledged }, i) => acknowledged > before[i]!)).toBe(true), { timeout: 20_000 });
      proxy.reset();
    }
    running.on = false;
    await Promise.all(driven.map(({ ended }) => ended));
    expect([...codes]).toEqual(["STORE_UNAVAILABLE"]);
    expect(await store.auditHost(10)).toMatchObject({ agents: 8, findings: [] });
  });

  it("never answers, and is given up after a while", async () => {
    const store = await openThrough(proxy, { callTimeoutMs: 500, connectTimeoutMs: 500 });
    const agentId = await newAgent(store);
    proxy.freeze();
    const outcomes = await Promise.allSettled([store.commit(step(agentId, 1)), store.getAgent(agentId), store.probe()]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "STORE_UNAVAILABLE" } });
    proxy.heal();
    await untilBack(store);
    expect((await store.getAgent(agentId))?.commitSequence).toBe(0);
    await store.commit(step(agentId, 1));
  });

  it("D2: takes the answer to a commit with it: the commit is there, is not made again, and tells so to who looks", async () => {
    const store = await openThrough(proxy, { callTimeoutMs: 2_000 });
    const agentId = await newAgent(store);
    proxy.watch((bytes) => {
      if (bytes.includes("COMMIT\0")) proxy.freeze("to-client");
    });
    await expect(store.commit(step(agentId, 1))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("may or may not have been written") });
    proxy.watch(null);
    proxy.heal();
    await untilBack(store);
    expect(await store.getAgent(agentId)).toMatchObject({ commitSequence: 1, account: { received: 1, done: 1 } });
    await expect(store.commit(step(agentId, 1))).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    await store.commit(step(agentId, 2));
    expect((await store.auditAgent(agentId))?.findings).toEqual([]);
  });

  it("is ended by the server while nobody uses it, and the next call does not notice", async () => {
    const store = await openThrough(proxy);
    await store.probe();
    await server.sql("postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}'`);
    await vi.waitFor(async () => expect(await server.sql("postgres", `SELECT count(*) FROM pg_stat_activity WHERE datname = '${database}'`)).toBe("0"));
    await untilBack(store);
  });
});

describe("two hosts on one database", () => {
  it("D5: only who claimed the agent last commits to it, whatever the two do at the same time", async () => {
    const stores = [await open(), await open()] as const;
    const agentId = await newAgent(stores[0]);
    const outcomes: { readonly epoch: number; readonly committed: boolean; readonly code: string }[] = [];
    const rounds = stores.map(async (store) => {
      for (let round = 0; round < 15; round++) {
        const epoch = await store.claimAgent(agentId);
        for (let i = 0; i < 3; i++) {
          const { commitSequence } = (await store.getAgent(agentId))!;
          const code = await store.commit(step(agentId, commitSequence + 1, epoch)).then(() => "", (thrown: unknown) => SirsiError.from(thrown).code);
          outcomes.push({ epoch, committed: code === "", code });
        }
      }
    });
    await Promise.all(rounds);
    const stored = (await stores[0].getAgent(agentId))!;
    expect(stored.epoch).toBe(31);
    expect(stored.commitSequence).toBe(outcomes.filter(({ committed }) => committed).length);
    expect(outcomes.some(({ committed }) => committed)).toBe(true);
    expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set(["", "AGENT_FENCED"]));
    expect((await stores[0].auditAgent(agentId))?.findings).toEqual([]);
  });

  it("write the same documents and end agents of one session at the same time, and both get through", async () => {
    const stores = [await open(), await open()] as const;
    const session = sessionRecord();
    await stores[0].putSession(session);
    const ids = await Promise.all(Array.from({ length: 20 }, () => newAgent(stores[0], session.sessionId)));
    const keys = Array.from({ length: 10 }, (_, i) => `k${i}`);
    const ordered = [keys, keys.toReversed()];
    for (let n = 1; n <= 10; n++) {
      await Promise.all(ids.map((agentId, i) => stores[i % 2]!.commit(agentCommit(agentId, n, { documents: ordered[i % 2]!.map((key) => ({ key, bytes: Uint8Array.of(n) })) }))));
    }
    expect(await stores[1].getDocument(session.sessionId, "k0")).toMatchObject({ version: 200 });
    const records = await Promise.all(ids.map(async (agentId) => (await stores[0].getAgent(agentId))!.record));
    await Promise.all(records.map((record, i) => stores[i % 2]!.putAgent({ ...record, state: "TERMINATED" })));
    expect(await server.sql(database, "SELECT active_agents FROM agent_sessions")).toBe("[]");
  });

  it("take a message out of an outbox or give it up, and never both", async () => {
    const stores = [await open(), await open()] as const;
    const [sender, receiver] = [await newAgent(stores[0]), await newAgent(stores[1])];
    const session = await sessionOf(stores[0], sender);
    for (let n = 1; n <= 20; n++) {
      await stores[0].commit(agentCommit(sender, n, { outbox: [{ kind: "message", target: receiver, body: Uint8Array.of(n), createdAt: n }] }));
      const consumed = { agentId: sender, commitSequence: n, index: 0 };
      const { commitSequence, exchangeSequence } = (await stores[1].getAgent(receiver))!;
      const letter = { deadLetterId: `letter ${n}`, agentId: receiver, sessionId: session, sourceAgentId: sender, messageId: `m-${n}`, reason: "AGENT_NOT_FOUND", explanation: "", attempts: 1, deadAt: n, body: Uint8Array.of(n) };
      const [taken] = await Promise.allSettled([
        stores[1].commit(agentCommit(receiver, commitSequence + 1, { consumed, exchange: exchangeRecord(exchangeSequence + 1, { messageId: `m-${n}` }) })),
        stores[0].deadLetterOutbox(consumed, letter),
      ]);
      const dead = await stores[0].getDeadLetter(letter.deadLetterId);
      expect(taken.status === "fulfilled").toBe(dead === null);
    }
    expect((await stores[0].listOutbox(null, 10)).entries).toEqual([]);
  });

  it("one deletes a session while the other commits to its agents: nothing is left behind", async () => {
    const stores = [await open(), await open()] as const;
    const session = sessionRecord();
    await stores[0].putSession(session);
    const ids = await Promise.all(Array.from({ length: 20 }, () => newAgent(stores[0], session.sessionId)));
    const codes = new Set<string>();
    const working = ids.map(async (agentId) => {
      for (let n = 1; ; n++) {
        const code = await stores[1].commit({ ...step(agentId, n), outbox: [{ kind: "event", target: "", body: Uint8Array.of(1), createdAt: 1 }], documents: [{ key: agentId, bytes: Uint8Array.of(n) }] }).then(() => "", (thrown: unknown) => SirsiError.from(thrown).code);
        codes.add(code);
        if (code !== "") return;
      }
    });
    await vi.waitFor(async () => expect((await stores[0].getAgent(ids[0]!))?.commitSequence).toBeGreaterThan(3));
    await stores[0].deleteSession(session.sessionId);
    await Promise.all(working);
    expect(codes).toEqual(new Set(["", "AGENT_NOT_FOUND"]));
    const left = ["agents", "agent_progress", "commits", "exchanges", "outbox", "documents", "agent_sessions"].map((table) => `(SELECT count(*) FROM ${table})`);
    expect(await server.sql(database, `SELECT ${left.join(" + ")}`)).toBe("0");
  });
});
