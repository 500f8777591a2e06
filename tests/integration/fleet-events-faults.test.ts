/** The events of a fleet's sessions when servers end, links break, and JetStream is not as it should be. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AgentEvent } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { HOST_LOGIN, documentedAccounts } from "../../scripts/fleet-demo/documented-accounts.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { PREFIX, STREAM, expectRising, follow, happening, kept, newSession, openEventHost, sequences, take, types, type EventHost } from "../support/fleet-events.ts";
import { NatsRig, becomes, bytes } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";
import { codeOf, refusal } from "../support/service-bench.ts";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

let rig: NatsRig;
let server: RunningServer | null;
let session: string;
beforeEach(() => {
  rig = new NatsRig();
  server = null;
  session = newSession();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
  await server?.stop();
});

const soon = { timeout: 10_000, interval: 5 };
const settles = ({ events }: EventHost, kind: string) => vi.waitFor(() => expect(events.stream.state.kind).toBe(kind), soon);
const reasonOf = ({ events: { stream } }: EventHost) => (stream.state.kind === "open" ? "" : stream.state.reason);

async function ask({ bus }: EventHost, verb: string, body: object = {}): Promise<Record<string, unknown>> {
  const { data } = await bus.request(`$JS.API.${verb}`, bytes(JSON.stringify(body)), { timeoutMs: 5_000 });
  return JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>;
}

/** Reads on and on; what it has is in `seen`. */
function collect(following: AsyncIterableIterator<AgentEvent>) {
  const seen: AgentEvent[] = [];
  const done = (async () => {
    for await (const event of following) seen.push(event);
  })();
  return { seen, done };
}

describe("a server that is killed and comes back", () => {
  it("in the middle of it all: every follower on every host has every event once, in one order", async () => {
    server = await startNats();
    const hosts = [await openEventHost(rig, server.url), await openEventHost(rig, server.url)] as const;
    hosts[0].events.publish(happening(session, "SESSION_CREATED"));
    await kept(...hosts);
    const readers = hosts.map((host) => collect(follow(host, session, 1n)));
    const told = new Set<string>();
    const tell = (count: number) => {
      for (let n = 0; n < count; n++) {
        for (const [at, { events }] of hosts.entries()) {
          const name = `${at}/${told.size}`;
          told.add(name);
          events.publish(happening(session, "tick", { attributes: { name } }));
        }
      }
    };
    for (let kill = 1; kill <= 3; kill++) {
      tell(50);
      const before = readers[0]!.seen.length;
      await vi.waitFor(() => expect(readers[0]!.seen.length).toBeGreaterThan(before), soon);
      tell(50);
      await server.kill();
      tell(50);
      await Promise.all(hosts.map(({ bus }) => becomes(bus, "reconnecting")));
      tell(50);
      await server.restart();
      await Promise.all(hosts.map((host) => settles(host, "open")));
    }
    for (const { seen } of readers) await vi.waitFor(() => expect(seen).toHaveLength(1 + told.size), soon);
    const [one, two] = readers.map(({ seen }) => seen);
    expectRising(one!);
    expect(sequences(two!)).toEqual(sequences(one!));
    expect(new Set(one!.slice(1).map(({ attributes }) => attributes["name"]))).toEqual(told);
    for (const at of ["0/", "1/"]) {
      const own = one!.slice(1).flatMap(({ attributes: { name = "" } }) => (name.startsWith(at) ? [Number(name.slice(2))] : []));
      expect(own).toEqual(own.toSorted((a, b) => a - b));
    }
    for (const { events } of hosts) expect(events.stream.counts).toMatchObject({ lost: 0, waiting: 0 });
    hosts[1].events.end(session, happening(session, "SESSION_ENDED"));
    await Promise.all(readers.map(({ done }) => done));
  });

  it("without what it had: followers are told, and events are kept anew", async () => {
    server = await startNats();
    const host = await openEventHost(rig, server.url);
    for (const type of ["SESSION_CREATED", "B", "C"]) host.events.publish(happening(session, type));
    const following = follow(host, session, 1n);
    await take(following, 3);
    expect(await ask(host, `STREAM.DELETE.${STREAM}`)).toMatchObject({ success: true });
    host.events.publish(happening(session, "D"));
    expect(await codeOf(following.next())).toBe("EVENTS_NOT_KEPT");
    await kept(host);
    expect(types(await take(follow(host, session, 1n), 1))).toEqual(["D"]);
    expect(host.events.stream.counts.lost).toBe(0);
  });
});

describe("a host whose link breaks", () => {
  it("goes on where it was, and misses nothing of what others did meanwhile", async () => {
    server = await startNats();
    const proxy = await FaultProxy.before(server.port);
    try {
      const [far, near] = [await openEventHost(rig, `nats://127.0.0.1:${proxy.port}`), await openEventHost(rig, server.url)];
      const { seen } = collect(follow(far, session));
      far.events.publish(happening(session, "first"));
      await vi.waitFor(() => expect(types(seen)).toEqual(["first"]), soon);
      for (let cut = 1; cut <= 3; cut++) {
        proxy.freeze();
        near.events.publish(happening(session, `near ${cut}`));
        far.events.publish(happening(session, `far ${cut}`));
        await becomes(far.bus, "reconnecting");
        proxy.heal();
        await vi.waitFor(() => expect(seen).toHaveLength(1 + cut * 2), soon);
      }
      expectRising(seen);
      expect(types(seen).toSorted()).toEqual(["far 1", "far 2", "far 3", "first", "near 1", "near 2", "near 3"]);
    } finally {
      await proxy[Symbol.asyncDispose]();
    }
  });

  it("keeps a bounded number of events for later, counts what it loses, and its followers learn of it", async () => {
    server = await startNats();
    const host = await openEventHost(rig, server.url);
    host.events.publish(happening(session, "SESSION_CREATED"));
    const following = follow(host, session, 1n);
    await take(following, 1);
    await server.kill();
    await becomes(host.bus, "reconnecting");
    const other = newSession();
    for (let n = 0; n < 16_384 + 10; n++) host.events.publish(happening(other, "A"));
    host.events.publish(happening(session, "lost"));
    expect(host.events.stream.counts).toMatchObject({ lost: 11, waiting: 16_384 });
    await server.restart();
    await kept(host);
    host.events.publish(happening(session, "after"));
    expect(await refusal(following.next())).toMatchObject({ code: "EVENTS_NOT_KEPT" });
  });

  it("publishes nothing of what waited once it may not speak for its agents (D5)", async () => {
    server = await startNats();
    let held = true;
    const [host, other] = [await openEventHost(rig, server.url, { held: () => held }), await openEventHost(rig, server.url)];
    other.events.publish(happening(session, "SESSION_CREATED"));
    await kept(other);
    await server.kill();
    await becomes(host.bus, "reconnecting");
    host.events.publish(happening(session, "before it was buried"));
    held = false;
    await server.restart();
    await settles(host, "open");
    await kept(host);
    held = true;
    await settles(other, "open");
    other.events.publish(happening(session, "B"));
    expect(types(await take(follow(other, session, 1n), 2))).toEqual(["SESSION_CREATED", "B"]);
  });
});

describe("a fleet whose NATS has no JetStream", () => {
  it("follows what happens on any host, counts by itself, and says how to keep events", async () => {
    server = await startNats({ config: "jetstream: false" });
    const [one, two] = [await openEventHost(rig, server.url), await openEventHost(rig, server.url)];
    expect(one.events.stream.state).toMatchObject({ kind: "unusable", reason: expect.stringContaining("has no JetStream; switch it on") as string });
    const refused = await refusal((async () => follow(two, session, 1n))());
    expect(refused).toMatchObject({ code: "EVENTS_NOT_KEPT", message: expect.stringContaining("switch it on") as string });
    const [a, b] = [follow(two, session), follow(two, session, 0n, { types: ["SESSION_ENDED", "n7"] })];
    await two.bus.flush();
    for (let n = 0; n < 10; n++) (n % 2 === 0 ? one : two).events.publish(happening(session, `n${n}`));
    const seen = await take(a, 10);
    expectRising(seen);
    expect(types(seen).toSorted()).toEqual(Array.from({ length: 10 }, (_, n) => `n${n}`));
    expect(sequences(await take(b, 1))).toEqual([seen.find(({ eventType }) => eventType === "n7")!.sequence]);
    one.events.end(session, happening(session, "SESSION_ENDED"));
    for (const following of [a, b]) expect(types(await take(following, 10))).toEqual(["SESSION_ENDED"]);
    expect(await take(follow(two, session, 0n, { live: false }), 1)).toEqual([]);
  });

  it("tells its followers when they missed something", async () => {
    server = await startNats({ config: "jetstream: false" });
    const [near, far] = [await openEventHost(rig, server.url), await openEventHost(rig, server.url)];
    const following = follow(near, session);
    await near.bus.flush();
    far.events.publish(happening(session, "A"));
    expect(types(await take(following, 1))).toEqual(["A"]);
    await server.kill();
    await Promise.all([near, far].map(({ bus }) => becomes(bus, "reconnecting")));
    far.events.publish(happening(session, "B"));
    expect(far.events.stream.counts.lost).toBe(1);
    await server.restart();
    await Promise.all([near, far].map(({ bus }) => becomes(bus, "connected")));
    await near.bus.flush();
    far.events.publish(happening(session, "C"));
    expect(await codeOf(following.next())).toBe("EVENTS_NOT_KEPT");
  });

  it("keeps them from the moment it is switched on", async () => {
    server = await startNats({ config: "jetstream: false" });
    const host = await openEventHost(rig, server.url);
    host.events.publish(happening(session, "before"));
    await server.kill();
    await becomes(host.bus, "reconnecting");
    const file = join(server.directory, "nats-server.conf");
    writeFileSync(file, readFileSync(file, "utf8").replace("jetstream: false", `jetstream { store_dir: ${JSON.stringify(join(server.directory, "jetstream"))} }`));
    await server.restart();
    await settles(host, "open");
    host.events.publish(happening(session, "after"));
    await kept(host);
    expect(types(await take(follow(host, session, 1n), 1))).toEqual(["after"]);
  });

  it("is the same when only its account has none", async () => {
    server = await startNats({ config: `accounts { HOSTS { users: [{ user: "a", password: "b" }] } }\nno_auth_user: "a"` });
    const host = await openEventHost(rig, server.url);
    expect(reasonOf(host)).toContain("JetStream");
    expect(host.events.stream.state.kind).toBe("unusable");
  });

  it("is the same when nothing is to be kept", async () => {
    server = await startNats();
    const host = await openEventHost(rig, server.url, { eventsKept: 0 });
    expect(reasonOf(host)).toContain("sessions.events_kept is 0");
    expect(await ask(host, "STREAM.NAMES")).toMatchObject({ total: 0 });
  });
});

describe("the stream", () => {
  it("is made once, with limits", async () => {
    server = await startNats();
    const { url } = server;
    const hosts = await Promise.all(Array.from({ length: 4 }, () => openEventHost(rig, url, { eventsKept: 7 })));
    for (const { events } of hosts) expect(events.stream.state).toEqual({ kind: "open", name: STREAM, replicas: 1 });
    expect(await ask(hosts[0]!, `STREAM.INFO.${STREAM}`)).toMatchObject({
      config: { subjects: [`${PREFIX}.session.*.events`], storage: "file", discard: "old", retention: "limits", max_msgs_per_subject: 7, max_age: 24 * 3600 * 1e9, max_bytes: 1024 ** 3, num_replicas: 1 },
    });
  });

  it("that is there keeps its limits, under a name of its own too", async () => {
    server = await startNats();
    const maker = await openEventHost(rig, server.url, { eventsKept: 0 });
    await ask(maker, "STREAM.CREATE.mine", { name: "mine", subjects: [`${PREFIX}.>`], max_msgs_per_subject: 3, storage: "memory" });
    const host = await openEventHost(rig, server.url, { eventsKept: 100 });
    expect(host.events.stream.state).toMatchObject({ kind: "open", name: "mine" });
    for (const type of ["SESSION_CREATED", "B", "C", "D"]) host.events.publish(happening(session, type));
    await kept(host);
    expect(await codeOf(follow(host, session, 1n).next())).toBe("EVENTS_NOT_KEPT");
    expect(await ask(host, "STREAM.INFO.mine")).toMatchObject({ config: { max_msgs_per_subject: 3, storage: "memory" } });
  });

  it.each([
    ["does not take the events", { name: STREAM, subjects: ["other.>"] }, "does not take test.agents.session.*.events"],
    ["lets go of what was read", { name: STREAM, subjects: [`${PREFIX}.session.*.events`], retention: "interest" }, "retention interest"],
    ["of another name takes a part of them", { name: "part", subjects: [`${PREFIX}.session.a.events`] }, "does not take test.agents.session.*.events"],
  ])("that %s is not used, and the reason told; events are live", async (_what, config, reason) => {
    server = await startNats();
    const maker = await openEventHost(rig, server.url, { eventsKept: 0 });
    await ask(maker, `STREAM.CREATE.${config.name}`, config);
    const host = await openEventHost(rig, server.url);
    expect(host.events.stream.state.kind).toBe("unusable");
    expect(reasonOf(host)).toContain(reason);
    const following = follow(host, session);
    host.events.publish(happening(session, "A"));
    expect(types(await take(following, 1))).toEqual(["A"]);
  });

  it("for which there is no room is told", async () => {
    server = await startNats();
    const host = await openEventHost(rig, server.url, { streamMaxBytes: 2 ** 52 });
    expect(host.events.stream.state.kind).toBe("unusable");
    expect(reasonOf(host)).toContain("no room for the stream");
  });

  it("needs no more than the documented permissions, however much is read at once", async () => {
    server = await startNats({ config: documentedAccounts() });
    const host = await openEventHost(rig, server.url, { prefix: "sirsi.agents" }, { login: HOST_LOGIN });
    host.events.publish(happening(session, "SESSION_CREATED"));
    const payload = { typeUrl: "x", value: new Uint8Array(20_000) };
    for (let n = 0; n < 500; n++) host.events.publish(happening(session, "A", { payload }));
    await kept(host);
    expect(await take(follow(host, session, 1n), 501)).toHaveLength(501);
    expect(host.reported).toEqual([]);
  });
});
