/** What a NATS server or a receiver cannot take, and how a host leaves without losing any. */
import { connect as connectTcp } from "node:net";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus, BusMessage } from "../../runtime/bus/index.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { NEVER, NatsRig, bytes, echo, stuck, text } from "../support/nats-rig.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

const MAX_PAYLOAD = 64 * 1024;

let rig: NatsRig;
beforeEach(() => void (rig = new NatsRig()));
afterEach(() => rig[Symbol.asyncDispose]());

describe("what a server or a receiver cannot take", () => {
  let server: RunningServer;
  beforeAll(async () => {
    const user = `{ user: anyone, password: any, permissions: { publish: { deny: "secret.>" }, subscribe: { deny: "secret.>" } } }`;
    server = await startNats({ config: `max_payload: ${MAX_PAYLOAD}\nno_auth_user: anyone\naccounts { all { users: [ ${user} ] } }` });
  });
  afterAll(() => server.stop());

  it("is refused when it is too large, headers included, and arrives whole when it just fits", async () => {
    const { bus } = await rig.open(server.url);
    const heard: BusMessage[] = [];
    bus.subscribe("big", (message) => void heard.push(message));
    const largest = Uint8Array.from({ length: MAX_PAYLOAD }, (_, n) => n % 251);
    const refusal = expect.objectContaining({ code: "PAYLOAD_TOO_LARGE", message: expect.stringContaining(String(MAX_PAYLOAD)) });
    expect(() => bus.publish("big", new Uint8Array(MAX_PAYLOAD + 1))).toThrow(refusal);
    expect(() => bus.publish("big", largest, { headers: { one: "more" } })).toThrow(refusal);
    await expect(bus.request("big", new Uint8Array(MAX_PAYLOAD + 1), NEVER)).rejects.toEqual(refusal);
    bus.publish("big", largest);
    await bus.flush();
    expect(heard).toHaveLength(1);
    expect(Buffer.from(heard[0]!.data).equals(largest)).toBe(true);
    expect(bus.status).toBe("connected");
  });

  it("is told to the handler when it is its answer, which can then give another one", async () => {
    const { bus } = await rig.open(server.url);
    bus.subscribe("ask", (message) => {
      try {
        message.respond(new Uint8Array(MAX_PAYLOAD + 1));
      } catch (thrown) {
        message.respond(bytes(SirsiError.from(thrown).code));
      }
    });
    expect(text(await bus.request("ask", bytes(""), NEVER))).toBe("PAYLOAD_TOO_LARGE");
  });

  it("is dropped, counted and told once when a subscriber has too many in hand, and others go on", async () => {
    const { bus, logged } = await rig.open(server.url, { pendingMax: 10 });
    const { gate, began } = stuck(bus, "slow");
    const quick: string[] = [];
    bus.subscribe("slow", (message) => void quick.push(text(message)));
    for (let n = 0; n < 25; n++) bus.publish("slow", bytes(String(n)));
    await bus.flush();
    expect([began.length, quick.length, bus.counts.dropped]).toEqual([10, 25, 15]);
    gate.resolve();
    const told = "a subscriber that did not keep up takes messages again";
    await vi.waitFor(() => expect(logged).toContain(told), { interval: 1 });
    bus.publish("slow", bytes("again"));
    await bus.flush();
    expect(began.at(-1)).toBe("again");
    expect(logged.filter((line) => line.includes("keep up"))).toEqual(["a subscriber does not keep up; messages to it are dropped", told]);
  });

  it("is dropped when what a subscriber has in hand is too large in sum, but one message always is taken", async () => {
    const { bus } = await rig.open(server.url, { pendingMaxBytes: 1_000 });
    const { gate, began } = stuck(bus, "slow");
    for (const size of [2_000, 1, 1]) bus.publish("slow", bytes("x".repeat(size)));
    await bus.flush();
    expect([began.length, bus.counts.dropped]).toEqual([1, 2]);
    gate.resolve();
  });

  it("is reported when permissions forbid it, and a request ends at once", async () => {
    const { bus, reported } = await rig.open(server.url);
    bus.subscribe("secret.a", () => undefined);
    await vi.waitFor(() => expect(reported).toEqual(["secret.a: PERMISSION_DENIED"]), { interval: 5 });
    await expect(bus.request("secret.b", bytes(""), NEVER)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    echo(bus, "open");
    expect(text(await bus.request("open", bytes("still here"), NEVER))).toBe("still here");
  });

  it("is reported when its headers are broken, and the bus goes on hearing", async () => {
    const { bus, reported } = await rig.open(server.url);
    const heard: string[] = [];
    bus.subscribe("a", (message) => void heard.push(text(message)));
    await bus.flush();
    const socket = connectTcp(server.port, "127.0.0.1");
    const header = "NATS/1.0\r\nno good: x\r\n\r\n";
    socket.write(`CONNECT {"headers":true,"verbose":false}\r\nHPUB a ${header.length} ${header.length + 1}\r\n${header}x\r\nPUB a 4\r\nfine\r\nPING\r\n`);
    await vi.waitFor(() => expect(heard).toEqual(["fine"]), { interval: 5 });
    socket.end();
    await once(socket.resume(), "close");
    expect(reported).toEqual(["a: INTERNAL"]);
  });
});

describe("a drain", () => {
  it("lets every request that was taken be answered, and the rest of the fleet take over without a gap", async () => {
    await using server = await startNats();
    const asking = await rig.open(server.url);
    const [leaving, staying] = [await rig.open(server.url), await rig.open(server.url)];
    const answeredBy = { leaving: 0, staying: 0 };
    for (const [name, { bus }] of Object.entries({ leaving, staying }) as ["leaving" | "staying", { bus: Bus }][]) {
      bus.subscribe("work", async (message) => {
        await new Promise((resolve) => setImmediate(resolve));
        answeredBy[name] += 1;
        message.respond(message.data);
      }, { queue: "team" });
      await bus.flush();
    }
    const drained = new Deferred<void>();
    const answers = await Promise.all(Array.from({ length: 2_000 }, async (_, n) => {
      if (n % 100 === 0) await asking.bus.flush();
      if (n === 1_000) void leaving.bus.drain().then(() => drained.resolve());
      return text(await asking.bus.request("work", bytes(String(n)), { timeoutMs: 20_000 }));
    }));
    await drained.promise;
    expect(answers).toEqual(Array.from({ length: 2_000 }, (_, n) => String(n)));
    expect(answeredBy.leaving + answeredBy.staying).toBe(2_000);
    expect(answeredBy.leaving).toBeGreaterThan(0);
    expect(leaving.bus.status).toBe("closed");
    expect([leaving.reported, staying.reported]).toEqual([[], []]);
  });
});
