/** What the NATS bus does when servers end, links break and receivers are slow. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus, BusMessage } from "../../runtime/bus/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { NEVER, NatsRig, becomes, bytes, echo, stuck, text } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

const UNAVAILABLE = expect.objectContaining({ code: "BUS_UNAVAILABLE" });
const PIECE = new Uint8Array(64 * 1024);

/** The answer, asked for again as long as that may help. */
async function insist(bus: Bus, subject: string, data: string, refusals: string[]): Promise<string> {
  for (;;) {
    try {
      return text(await bus.request(subject, bytes(data), { timeoutMs: 2_000 }));
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (!error.retryable) throw error;
      refusals.push(error.code);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

let rig: NatsRig;
beforeEach(() => void (rig = new NatsRig()));
afterEach(() => rig[Symbol.asyncDispose]());

describe("a server that is killed and comes back", () => {
  let server: RunningServer;
  beforeEach(async () => {
    server = await startNats();
  });
  afterEach(() => server.stop());

  it("in the middle of traffic: subscriptions and requests recover, and only what may be tried again was refused", async () => {
    const [asking, answering] = [await rig.open(server.url), await rig.open(server.url)];
    echo(answering.bus, "echo.*");
    await answering.bus.flush();
    const refusals: string[] = [];
    let answers = 0;
    const end = new AbortController();
    const askers = Array.from({ length: 8 }, async (_, asker) => {
      for (let n = 0; !end.signal.aborted; n++) {
        expect(await insist(asking.bus, `echo.${asker}`, `${asker}/${n}`, refusals)).toBe(`${asker}/${n}`);
        answers += 1;
      }
    });
    for (let kill = 1; kill <= 3; kill++) {
      const before = answers;
      await vi.waitFor(() => expect(answers).toBeGreaterThan(before + 50), { timeout: 10_000, interval: 5 });
      await server.kill();
      await becomes(asking.bus, "reconnecting");
      await server.restart();
      await Promise.all([becomes(asking.bus, "connected"), becomes(answering.bus, "connected")]);
    }
    const after = answers;
    await vi.waitFor(() => expect(answers).toBeGreaterThan(after + 50), { timeout: 10_000, interval: 5 });
    end.abort();
    await Promise.all(askers);
    expect([asking.bus.counts.disconnects, answering.bus.counts.disconnects]).toEqual([3, 3]);
    expect(new Set(refusals)).toContain("BUS_UNAVAILABLE");
    expect(answering.reported).toEqual([]);
  });

  it("fails what is open at once, whatever its deadline", async () => {
    const { bus, reported } = await rig.open(server.url);
    const asked = new Deferred<BusMessage>();
    bus.subscribe("ask", (message) => void asked.resolve(message));
    const request = bus.request("ask", bytes("x"), NEVER);
    const message = await asked.promise;
    const ended = expect(request).rejects.toEqual(expect.objectContaining({ code: "BUS_UNAVAILABLE", retryable: true }));
    await server.kill();
    await ended;
    message.respond(bytes("nobody can hear it"));
    expect(bus.counts).toMatchObject({ disconnects: 1, answersLost: 1 });
    expect(reported).toEqual([]);
  });

  it("refuses to send without a connection, takes subscriptions all the same, and has them when it is back", async () => {
    const { bus } = await rig.open(server.url);
    const heard: string[] = [];
    bus.subscribe("before", (message) => void heard.push(text(message)));
    const gone = bus.subscribe("gone", () => void heard.push("gone"));
    await server.kill();
    await becomes(bus, "reconnecting");
    expect(() => bus.publish("before", bytes("lost"))).toThrow(UNAVAILABLE);
    await expect(bus.request("before", bytes(""), NEVER)).rejects.toEqual(UNAVAILABLE);
    await expect(bus.flush()).rejects.toEqual(UNAVAILABLE);
    bus.subscribe("during", (message) => void heard.push(text(message)));
    gone.close();
    await server.restart();
    await becomes(bus, "connected");
    for (const subject of ["before", "during", "gone"]) bus.publish(subject, bytes(subject));
    await bus.flush();
    expect(heard).toEqual(["before", "during"]);
  });

  it("does not give a subscription more than its max, counted over connections", async () => {
    const { bus } = await rig.open(server.url);
    const heard: string[] = [];
    const subscription = bus.subscribe("a", (message) => void heard.push(text(message)), { max: 3 });
    bus.publish("a", bytes("1"));
    await bus.flush();
    await server.kill();
    await server.restart();
    await becomes(bus, "connected");
    for (const word of ["2", "3", "4"]) bus.publish("a", bytes(word));
    await bus.flush();
    expect(heard).toEqual(["1", "2", "3"]);
    expect(subscription.closed).toBe(true);
    await expect(bus.request("a", bytes(""), NEVER)).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
  });

  it("stays away: draining ends what is in hand and does not wait for it, closing stops the attempts", async () => {
    const [draining, closing] = [await rig.open(server.url), await rig.open(server.url)];
    const { gate, began } = stuck(draining.bus, "a");
    draining.bus.publish("a", bytes("in hand"));
    await draining.bus.flush();
    await server.kill();
    await Promise.all([becomes(draining.bus, "reconnecting"), becomes(closing.bus, "reconnecting")]);
    let over = false;
    const drained = draining.bus.drain().then(() => (over = true));
    await closing.bus.close();
    expect([draining.bus.status, over, closing.bus.status]).toEqual(["draining", false, "closed"]);
    gate.resolve();
    await drained;
    expect(began).toEqual(["in hand"]);
    expect(draining.bus.status).toBe("closed");
    await server.restart();
    expect(closing.logged.filter((line) => line === "connected to NATS")).toHaveLength(1);
  });

  it("is waited for when the bus is opened before it", async () => {
    await server.kill();
    const opening = rig.open(server.url, { connectTimeoutMs: 20_000 });
    await server.restart();
    const { bus } = await opening;
    expect(bus.status).toBe("connected");
  });

  it("and never does: opening says so when time is up", async () => {
    await server.kill();
    const refusal = { code: "BUS_UNAVAILABLE", message: expect.stringContaining(`127.0.0.1:${server.port}`) };
    await expect(rig.open(server.url, { connectTimeoutMs: 50 })).rejects.toMatchObject(refusal);
  });

  it("has a neighbour: the bus goes over to it", async () => {
    await using neighbour = await startNats();
    const { bus } = await rig.open([server.url, neighbour.url]);
    const other = await rig.open(neighbour.url);
    await server.kill();
    await vi.waitFor(async () => {
      echo(other.bus, "echo");
      await other.bus.flush();
      expect(text(await bus.request("echo", bytes("over there"), { timeoutMs: 1_000 }))).toBe("over there");
    }, { timeout: 10_000, interval: 10 });
    expect(bus.status).toBe("connected");
  });
});

describe("a link that fails", () => {
  let server: RunningServer;
  let proxy: FaultProxy;
  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server.stop());
  beforeEach(async () => {
    proxy = await FaultProxy.before(server.port);
  });
  afterEach(() => proxy[Symbol.asyncDispose]());
  const through = () => `nats://127.0.0.1:${proxy.port}`;

  it("by a cut: the bus tries on until it is mended", async () => {
    const { bus, logged } = await rig.open(through());
    echo(bus, "echo");
    proxy.cut();
    await becomes(bus, "reconnecting");
    await vi.waitFor(() => expect(proxy.taken).toBeGreaterThan(3), { timeout: 10_000, interval: 5 });
    proxy.heal();
    await becomes(bus, "connected");
    expect(text(await bus.request("echo", bytes("again"), NEVER))).toBe("again");
    expect(logged.filter((line) => line === "NATS is out of reach; trying on")).toHaveLength(1);
  });

  it("by delay: nothing is lost, doubled or reordered, and nobody takes it for dead", async () => {
    const { bus } = await rig.open(through());
    const heard: string[] = [];
    bus.subscribe("n", (message) => void heard.push(text(message)));
    await bus.flush();
    proxy.delay(40);
    for (let n = 0; n < 500; n++) bus.publish("n", bytes(String(n)));
    await bus.flush();
    await expect(bus.request("n", bytes("500"), { timeoutMs: 20 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await bus.flush();
    expect(heard).toEqual(Array.from({ length: 501 }, (_, n) => String(n)));
    expect(bus.counts.disconnects).toBe(0);
  });

  it("by silence: open requests fail long before their deadline, and the bus is back when the link is", async () => {
    const { bus } = await rig.open(through());
    stuck(bus, "ask");
    const request = bus.request("ask", bytes("x"), NEVER);
    await bus.flush();
    proxy.freeze();
    await expect(request).rejects.toEqual(UNAVAILABLE);
    expect(bus.status).toBe("reconnecting");
    proxy.heal();
    await becomes(bus, "connected");
    echo(bus, "echo");
    expect(text(await bus.request("echo", bytes("again"), NEVER))).toBe("again");
  });

  it("by silence while something drains: the drain ends with the link, once what is in hand has ended", async () => {
    const { bus } = await rig.open(through());
    const { gate } = stuck(bus, "one");
    const [busy, idle] = [bus.subscribe("one", () => gate.promise), bus.subscribe("two", () => undefined)];
    bus.publish("one", bytes("in hand"));
    await bus.flush();
    proxy.freeze();
    const drained = bus.drain();
    await idle.drain();
    expect([busy.closed, idle.closed, bus.status]).toEqual([false, true, "draining"]);
    gate.resolve();
    await drained;
    expect([busy.closed, bus.status]).toEqual([true, "closed"]);
  });

  it("by silence under load: what cannot leave is bounded, and does not keep the link from being given up", async () => {
    const { bus } = await rig.open(through(), { unconfirmedMaxBytes: 16 * 1024 * 1024 });
    proxy.freeze();
    let sent = 0;
    expect(() => {
      for (;; sent++) bus.publish("load", PIECE);
    }).toThrow(expect.objectContaining({ code: "BUS_UNAVAILABLE", message: expect.stringContaining("does not take") }));
    expect(sent * PIECE.length).toBeGreaterThan(14 * 1024 * 1024);
    expect(sent * PIECE.length).toBeLessThanOrEqual(16 * 1024 * 1024);
    await becomes(bus, "reconnecting");
    proxy.heal();
    await becomes(bus, "connected");
    bus.publish("load", PIECE);
    await bus.flush();
  });

  it("never stops a steady stream: what was confirmed makes room again", async () => {
    const { bus } = await rig.open(through(), { unconfirmedMaxBytes: 1024 * 1024 });
    let received = 0;
    bus.subscribe("stream", ({ data }) => void (received += data.length));
    for (let n = 0; n < 400; n++) {
      bus.publish("stream", PIECE);
      if (n % 8 === 7) await bus.flush();
    }
    expect(received).toBe(400 * PIECE.length);
  });
});
