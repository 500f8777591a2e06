/** Context in a real Redis: what every context keeps, what hosts share, and what is left when Redis fails. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../runtime/core/clock.ts";
import { createLogger } from "../../runtime/observe/index.ts";
import type { SharedContext } from "../../runtime/session/context/index.ts";
import { openRedisContext, type RedisContextOptions } from "../../runtime/session/context/redis/index.ts";
import { becomes, contextContract, entry, LIMITS } from "../support/context-contract.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { startRedis, type RunningServer } from "../support/running-server.ts";

const GRANTED = { kind: "granted" };
const DEADLINE_MS = 100;

let server: RunningServer;
let prefixes = 0;
const opened: SharedContext[] = [];
const logged: string[] = [];
const log = createLogger({ format: "json", output: { write: (line) => void logged.push(line) } });

/** Patient, for a machine may be busy; quick to connect again, so that tests are. */
function open(prefix: string, options: Partial<RedisContextOptions> = {}): SharedContext {
  const context = openRedisContext({ ...LIMITS, url: server.url, prefix, hostName: "here", clock: systemClock, log, deadlineMs: 10_000, backoff: { firstMs: 10, maxMs: 50, factor: 2 }, restMs: 50, ...options });
  opened.push(context);
  return context;
}

const connected = (...contexts: readonly SharedContext[]) => becomes(() => contexts.map(({ status }) => status), contexts.map(() => "connected"));
/** As little patient as a host is. */
const HASTY = { deadlineMs: DEADLINE_MS };
const newPrefix = () => `test${++prefixes}`;
const through = (proxy: FaultProxy) => server.url.replace(`:${server.port}`, `:${proxy.port}`);
const take = (context: SharedContext, perMinute: number) => context.rates.take([{ key: "k", perMinute }]);

beforeEach(() => void logged.splice(0));
afterEach(() => Promise.all(opened.splice(0).map((context) => context.close())));

/** Every call there is, and what each says. Rejects, or lasts, where one of them does. */
async function askEverything(context: SharedContext): Promise<readonly unknown[]> {
  context.conversations.add("x", entry(1));
  context.notes.put("x", { one: "1" });
  context.presence.connect("x")();
  return await Promise.all([context.conversations.newest("a", 10), context.notes.of("s"), context.presence.of("s"), take(context, 1_000_000)]);
}

const UNKNOWN = [null, null, null, GRANTED];
const KNOWN = [[entry(1)], { one: "1" }, [], GRANTED];

describe("with a server of its own", () => {
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  contextContract("the context in Redis", async (limits) => {
    const context = open(newPrefix(), limits);
    await connected(context);
    return { context, pass: () => undefined, dispose: () => context.close() };
  });

  describe("hosts with one prefix", () => {
    it("know what the others were told, and those with another one do not", async () => {
      const prefix = newPrefix();
      const [one, other, stranger] = [open(prefix), open(prefix), open(newPrefix())];
      await connected(one, other, stranger);
      one.conversations.add("a", entry(1));
      one.notes.put("s", { one: "1" });
      await becomes(() => other.conversations.newest("a", 10), [entry(1)]);
      await becomes(() => other.notes.of("s"), { one: "1" });
      other.conversations.add("a", entry(2));
      await becomes(() => one.conversations.newest("a", 10), [entry(2), entry(1)]);
      expect([await stranger.conversations.newest("a", 10), await stranger.notes.of("s")]).toEqual([null, null]);
    });

    it("take from the same buckets, all of them together no more than there is", async () => {
      const prefix = newPrefix();
      const hosts = [open(prefix), open(prefix), open(prefix)];
      await connected(...hosts);
      const verdicts = await Promise.all(Array.from({ length: 90 }, async (_, n) => await take(hosts[n % 3]!, 30)));
      expect(verdicts.filter(({ kind }) => kind === "granted")).toHaveLength(30);
    });

    it("see who is connected to the others; and one that closes takes its own along", async () => {
      const prefix = newPrefix();
      const [one, other] = [open(prefix), open(prefix, { hostName: "there" })];
      await connected(one, other);
      one.presence.connect("s");
      const leave = other.presence.connect("s");
      other.presence.connect("s");
      const at = (host: string, connections: number) => ({ host, connections });
      await becomes(() => one.presence.of("s"), [at("here", 1), at("there", 2)]);
      leave();
      await becomes(() => one.presence.of("s"), [at("here", 1), at("there", 1)]);
      await other.close();
      await becomes(() => one.presence.of("s"), [at("here", 1)]);
    });

    it("are believed for as long as they say that they are there, and no longer", async () => {
      const prefix = newPrefix();
      await using proxy = await FaultProxy.before(server.port);
      const [one, beating] = [open(prefix), open(prefix, { hostName: "beating", presenceTtlMs: 300, url: through(proxy) })];
      await connected(one, beating);
      beating.presence.connect("s");
      await becomes(() => one.presence.of("s"), [{ host: "beating", connections: 1 }]);
      proxy.cut();
      await becomes(() => one.presence.of("s"), []);
      proxy.heal();
      // It says so again by itself, all of it.
      await becomes(() => one.presence.of("s"), [{ host: "beating", connections: 1 }]);
    });
  });

  describe("a link that fails", () => {
    let proxy: FaultProxy;
    let context: SharedContext;
    beforeEach(async () => {
      proxy = await FaultProxy.before(server.port);
      context = open(newPrefix(), { ...HASTY, url: through(proxy) });
      await connected(context);
      context.conversations.add("a", entry(1));
      context.notes.put("s", { one: "1" });
      await becomes(() => askEverything(context), KNOWN);
    });
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((one) => one.close()));
      await proxy[Symbol.asyncDispose]();
    });

    it("by a cut: less is known, what is written is counted as lost, and it comes back by itself", async () => {
      proxy.cut();
      await becomes(() => context.status, "away");
      const { dropped } = context.counts;
      expect(await askEverything(context)).toEqual(UNKNOWN);
      await vi.waitFor(() => expect(context.counts.dropped).toBeGreaterThan(dropped), { interval: 1 });
      proxy.heal();
      await becomes(() => askEverything(context), KNOWN);
      const lines = logged.map((line) => (JSON.parse(line) as { msg: string }).msg);
      expect(lines.map((line) => line.split(";")[0])).toEqual(["Redis is out of reach", "Redis is there again"]);
      expect(logged.join("")).not.toContain(new URL(server.url).password);
    });

    it("by silence, in the middle of questions: they come to nothing, later ones at once, and it comes back by itself", async () => {
      proxy.freeze();
      expect(await askEverything(context)).toEqual(UNKNOWN);
      expect([context.status, context.reason]).toEqual(["away", `it did not answer within ${DEADLINE_MS} ms`]);
      for (let n = 0; n < 200; n++) expect(await askEverything(context)).toEqual(UNKNOWN);
      proxy.heal();
      await becomes(() => askEverything(context), KNOWN);
    });

    it("by silence in one direction: what was asked for may have been done, and nobody is told anything wrong", async () => {
      proxy.freeze("to-client");
      expect(await askEverything(context)).toEqual(UNKNOWN);
      proxy.heal();
      await becomes(() => askEverything(context), KNOWN);
    });

    it("by delay: answers that come too late are no answers", async () => {
      proxy.delay(DEADLINE_MS * 2);
      expect(await askEverything(context)).toEqual(UNKNOWN);
      proxy.heal();
      await becomes(() => askEverything(context), KNOWN);
    });

    it("again and again: rates go on from what each host has granted itself", async () => {
      const limited = () => take(context, 10);
      for (let n = 0; n < 6; n++) {
        expect(await limited()).toEqual(GRANTED);
      }
      proxy.cut();
      await becomes(() => context.status, "away");
      const verdicts = await Promise.all(Array.from({ length: 10 }, async () => await limited()));
      expect(verdicts.filter(({ kind }) => kind === "granted")).toHaveLength(4);
      proxy.heal();
      await connected(context);
    });
  });
});

describe("a server that is not there", () => {
  beforeEach(async () => {
    server = await startRedis();
  });
  afterEach(() => server.stop());

  it("is waited for by nobody, and found once it is there", async () => {
    await server.kill();
    const context = open("p", HASTY);
    expect(await askEverything(context)).toEqual(UNKNOWN);
    expect(context.status).toBe("away");
    await server.restart();
    await connected(context);
    context.notes.put("s", { one: "1" });
    expect(await context.notes.of("s")).toEqual({ one: "1" });
  });

  it("for a while, killed in the middle of traffic: no call rejects or lasts, and what it forgot is unknown until it is told again", async () => {
    const [context, other] = [open("p", HASTY), open("p", { ...HASTY, hostName: "there" })];
    await connected(context, other);
    context.presence.connect("s");
    await becomes(() => other.presence.of("s"), [{ host: "here", connections: 1 }]);
    let answers = 0;
    const end = new AbortController();
    const askers = Array.from({ length: 8 }, async () => {
      for (let n = 1; !end.signal.aborted; n++) {
        context.conversations.add("a", entry(n));
        expect(await take(context, 1_000_000)).toEqual(GRANTED);
        const newest = await context.conversations.newest("a", 10);
        if (newest !== null) expect(newest.map(({ sequence }) => sequence)).toEqual(newest.map((_, at) => newest[0]!.sequence - at));
        answers += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
    const more = async () => {
      const before = answers;
      await vi.waitFor(() => expect(answers).toBeGreaterThan(before + 100), { timeout: 10_000, interval: 5 });
    };
    for (let kill = 1; kill <= 3; kill++) {
      await more();
      await server.kill();
      await becomes(() => context.status, "away");
      await more();
      await server.restart();
      await connected(context, other);
    }
    await more();
    end.abort();
    await Promise.all(askers);
    context.notes.put("s", { again: "yes" });
    expect(await context.notes.of("s")).toEqual({ again: "yes" });
  });

  it("for a while, frozen: the same", async () => {
    const context = open("p", HASTY);
    await connected(context);
    server.freeze();
    for (let n = 0; n < 100; n++) expect(await askEverything(context)).toEqual(UNKNOWN);
    server.thaw();
    await connected(context);
  });

  it("for this host, which has the wrong password: the reason is told, and the password is not", async () => {
    const context = open("p", { ...HASTY, url: server.url.replace(/:[^:@/]+@/, ":wr0ng-pass@") });
    await vi.waitFor(() => expect(context.reason).toContain("WRONGPASS"), { timeout: 10_000, interval: 5 });
    expect(await askEverything(context)).toEqual(UNKNOWN);
    await vi.waitFor(() => expect(logged.join("")).toContain("WRONGPASS"), { timeout: 10_000, interval: 5 });
    expect(logged.join("")).not.toContain("wr0ng-pass");
  });

  it("has no memory left: what it refuses is lost, what it has is known", async () => {
    await server.stop();
    server = await startRedis({ config: "maxmemory 3mb\nmaxmemory-policy noeviction" });
    const context = open("p", HASTY);
    await connected(context);
    context.notes.put("s", { one: "1" });
    expect(await context.notes.of("s")).toEqual({ one: "1" });
    const much = "x".repeat(1_000_000);
    for (let n = 0; n < 5; n++) context.notes.put("s", { [`much${n}`]: much });
    await vi.waitFor(() => expect(context.counts.dropped).toBeGreaterThan(0), { interval: 1 });
    expect(await context.notes.of("s")).toMatchObject({ one: "1" });
    expect(await take(context, 10)).toEqual(GRANTED);
    expect(context.status).toBe("connected");
  });
});
