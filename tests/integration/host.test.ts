/** A real host, whole, through the client that is published. */
import { copyFileSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Client, credentials, makeGenericClientConstructor, status } from "@grpc/grpc-js";
import { service as healthService } from "grpc-health-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type AgentEvent, type ConverseResponse, HealthStatus, type Module, ModuleState, RevisionState, type SirsiClient } from "../../runtime/client/index.ts";
import { startHostProcess } from "../../scripts/host-process.ts";
import { builtAgent } from "../support/built-agents.ts";
import { runHost, type TestHost } from "../support/running-host.ts";
import { withManifestFields } from "../support/wasm-bytes.ts";
import { HOSTILE_MODULES, guestModule } from "../support/wat.ts";
import { SwapState } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";

const PATIENCE = { timeout: 20_000, interval: 20 };

interface Place {
  readonly sessionId: string;
  readonly agentId: string;
}

let host: TestHost;
let client: SirsiClient;
let counter: Uint8Array;

beforeAll(async () => {
  host = await runHost({ modules: ["counter", "echo", "relay"] });
  client = host.client;
  counter = readFileSync((await builtAgent("counter")).file);
}, 240_000);

afterAll(async () => {
  await host[Symbol.asyncDispose]();
});

async function openSession(): Promise<string> {
  return (await client.agents.createSession({ userId: "ada" })).session?.sessionId ?? "";
}

async function spawn(agentType: string, sessionId?: string): Promise<Place> {
  const place = { sessionId: sessionId ?? (await openSession()) };
  const { agent } = await client.agents.createAgent({ ...place, agentType });
  return { ...place, agentId: agent?.agentId ?? "" };
}

async function say(place: Place, content: string, metadata: Record<string, string> = {}): Promise<string> {
  return (await client.agents.sendMessage({ ...place, message: { content, metadata } })).response?.content ?? "";
}

const agentOf = async (place: Place) => (await client.agents.getAgent(place)).agent;
const moduleOf = async (name: string) => (await client.modules.listModules({})).modules.find((module) => module.name === name);
const moduleFile = (name: string) => join(host.home.modulesDir, `${name}.wasm`);

/** As a careful tool does it: whole under another name, then renamed. */
function drop(name: string, bytes: Uint8Array): void {
  writeFileSync(`${moduleFile(name)}.partial`, bytes);
  renameSync(`${moduleFile(name)}.partial`, moduleFile(name));
}

function seenModule(name: string, check: (module: Module | undefined) => void): Promise<void> {
  return vi.waitFor(async () => check(await moduleOf(name)), PATIENCE);
}

interface HealthClient extends Client {
  check(request: { service: string }, done: (error: Error | null, reply?: { status: string }) => void): void;
  watch(request: { service: string }): NodeJS.EventEmitter & { cancel(): void };
}

function healthClient(): HealthClient {
  const Health = makeGenericClientConstructor(healthService, "Health");
  return new Health(host.grpcAddress, credentials.createInsecure()) as unknown as HealthClient;
}

describe("health", () => {
  it("is SERVING for every service of a host that has looked at itself, and /readyz agrees", async () => {
    const health = healthClient();
    const ask = (service: string) => new Promise((resolve) => health.check({ service }, (error, reply) => resolve(error === null ? reply?.status : error)));
    for (const service of ["", "sirsi.agent.v1.AgentService", "sirsi.hypervisor.v1.HypervisorService"]) expect(await ask(service)).toBe("SERVING");
    expect((await fetch(`http://${host.httpAddress}/readyz`)).status).toBe(200);
    health.close();
  });

  it("follows the truth: NOT_SERVING while the store takes no writes, SERVING when it does again", async () => {
    const health = healthClient();
    const watch = health.watch({ service: "sirsi.agent.v1.AgentService" });
    const seen: string[] = [];
    watch.on("data", (reply: { status: string }) => seen.push(reply.status));
    watch.on("error", () => undefined);
    await vi.waitFor(() => expect(seen).toEqual(["SERVING"]), PATIENCE);

    const intruder = new DatabaseSync(join(host.home.dataDir, "sirsi.db"));
    intruder.exec("BEGIN IMMEDIATE");
    const { health: sick } = await client.agents.getSystemHealth({});
    expect(sick).toMatchObject({ overallStatus: HealthStatus.UNHEALTHY, components: { store: { status: HealthStatus.UNHEALTHY, message: expect.stringContaining("store") as string }, shards: { status: HealthStatus.HEALTHY } } });
    await vi.waitFor(() => expect(seen).toEqual(["SERVING", "NOT_SERVING"]), PATIENCE);
    const readyz = await fetch(`http://${host.httpAddress}/readyz`);
    expect([readyz.status, await readyz.text()]).toEqual([503, expect.stringContaining("the store does not answer") as string]);

    intruder.exec("ROLLBACK");
    intruder.close();
    await vi.waitFor(async () => {
      await client.agents.getSystemHealth({});
      expect(seen).toEqual(["SERVING", "NOT_SERVING", "SERVING"]);
    }, PATIENCE);
    watch.cancel();
    health.close();
  }, 60_000);
});

describe("the HTTP side", () => {
  it("has figures of what the host holds and has done, for Prometheus", async () => {
    const place = await spawn("counter");
    await say(place, "increment");
    const text = await (await fetch(`http://${host.httpAddress}/metrics`)).text();
    const value = (series: string) => Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.split(" ").at(-1));
    expect(value('sirsi_agents{module="counter",state="READY"}')).toBeGreaterThan(0);
    expect(value("sirsi_sessions")).toBeGreaterThan(0);
    expect(value('sirsi_guest_memory_bytes{module="counter"}')).toBeGreaterThan(0);
    expect(value('sirsi_grpc_requests_total{method="sirsi.agent.v1.AgentService/SendMessage",code="OK"}')).toBeGreaterThan(0);
    expect(text).toContain(`sirsi_module_info{module="counter",version="1.0.0",digest="${(await agentOf(place))?.moduleDigest}"} 1`);
    const { metrics } = await client.agents.getSystemHealth({ includeMetrics: true });
    expect(metrics).toMatchObject({ totalAgents: expect.any(Number) as number });
    expect([metrics?.cpuUsagePercent, metrics?.memoryUsagePercent].every((percent) => percent !== undefined && percent >= 0 && percent <= 100)).toBe(true);
  });

  it("has a page that says what is there", async () => {
    const page = await fetch(`http://${host.httpAddress}/`);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(await page.text()).toContain("counter");
  });
});

describe("reflection", () => {
  it.each(["v1", "v1alpha"])("%s lists the services", async (version) => {
    const raw = new Client(host.grpcAddress, credentials.createInsecure());
    const bytes = (buffer: Buffer) => buffer;
    const reply = await new Promise<Buffer>((resolve, reject) => {
      const stream = raw.makeBidiStreamRequest(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, bytes, bytes);
      stream.on("data", resolve).on("error", reject);
      // ServerReflectionRequest { list_services: "" }
      stream.end(Buffer.from([0x3a, 0]));
    });
    for (const service of ["sirsi.agent.v1.AgentService", "sirsi.hypervisor.v1.HypervisorService", "grpc.health.v1.Health"]) expect(reply.toString("latin1")).toContain(service);
    raw.close();
  });
});

describe("a module file", () => {
  it("that is dropped in becomes an agent type, and ends as one when it is removed", async () => {
    drop("sample", withManifestFields(counter, { name: "sample" }));
    await seenModule("sample", (module) => expect(module?.state).toBe(ModuleState.ACTIVE));
    const place = await spawn("sample");
    expect(await say(place, "increment")).toBe("1");

    rmSync(moduleFile("sample"));
    await seenModule("sample", (module) => expect(module?.state).toBe(ModuleState.RETIRED));
    expect(await say(place, "increment")).toBe("2");
    await expect(spawn("sample", place.sessionId)).rejects.toMatchObject({ rpcCode: status.FAILED_PRECONDITION, reason: "MODULE_RETIRED" });
  });

  it("that is bad leaves the revision before it serving, and says why", async () => {
    const place = await spawn("counter");
    drop("counter", counter.slice(0, counter.length / 2));
    await seenModule("counter", (module) => expect(module?.lastError).toMatch(/^MODULE_REJECTED: the file is not well-formed WebAssembly/));
    expect(await moduleOf("counter")).toMatchObject({ state: ModuleState.ACTIVE, active: { version: "1.0.0" } });
    expect(await say(place, "increment")).toBe("1");
    expect(await say(await spawn("counter"), "increment")).toBe("1");
    drop("counter", counter);
    await seenModule("counter", (module) => expect(module?.lastError).toBe(""));
  });

  it("that is new takes the live agents over with their state; a rollback takes them back", async () => {
    const place = await spawn("counter");
    await say(place, "add 7");
    const before = await agentOf(place);
    const { swap, revision } = await client.modules.installModule({ wasm: withManifestFields(counter, { version: "1.1.0" }) });
    expect(swap).toMatchObject({ kept: 0, failed: 0 });
    expect(swap?.moved).toBeGreaterThan(0);
    expect(await agentOf(place)).toMatchObject({ moduleVersion: "1.1.0", moduleDigest: revision?.digest });
    expect(await say(place, "increment")).toBe("8");

    const back = await client.modules.rollbackModule({ name: "counter" });
    expect(back.module?.active).toMatchObject({ digest: before?.moduleDigest, state: RevisionState.ACTIVE });
    expect(await agentOf(place)).toMatchObject({ moduleVersion: "1.0.0", moduleDigest: before?.moduleDigest });
    expect(await say(place, "increment")).toBe("9");
    expect(readFileSync(moduleFile("counter")).equals(counter)).toBe(true);
    // The older revision can still be asked for by its version.
    const { agent } = await client.agents.createAgent({ sessionId: place.sessionId, agentType: "counter@1.1.0" });
    expect(agent?.moduleVersion).toBe("1.1.0");
  });

  it("that breaks its agents' load leaves each on the revision it had, with its state", async () => {
    const place = await spawn("counter");
    await say(place, "add 3");
    const refusesState = guestModule({ name: "counter", version: "2.0.0", onSwap: "migrate" }, { call: "(unreachable)" });
    const { swap } = await client.modules.installModule({ wasm: refusesState });
    expect(swap).toMatchObject({ state: SwapState.REJECTED, moved: 0, reason: expect.stringContaining("2.0.0") as string });
    expect(await say(place, "increment")).toBe("4");
    expect(await agentOf(place)).toMatchObject({ moduleVersion: "1.0.0" });
  });

  it("is looked at and not taken with validate_only", async () => {
    const { revision } = await client.modules.installModule({ wasm: withManifestFields(counter, { name: "only-looked-at" }), validateOnly: true });
    expect(revision).toMatchObject({ module: "only-looked-at" });
    expect(await moduleOf("only-looked-at")).toBeUndefined();
    await expect(client.modules.installModule({ wasm: Buffer.from("no wasm") })).rejects.toMatchObject({ rpcCode: status.INVALID_ARGUMENT, reason: "MODULE_REJECTED" });
  });
});

describe("a conversation", () => {
  it("over a stream gives previews before the answer, and goes on after a refusal", async () => {
    const echo = await spawn("echo");
    const relay = await spawn("relay", echo.sessionId);
    const stream = client.agents.converse();
    const answers = stream[Symbol.asyncIterator]();
    const nextFinal = async (): Promise<readonly ConverseResponse[]> => {
      const all: ConverseResponse[] = [];
      for (;;) {
        const { value, done } = await answers.next();
        if (done === true) return all;
        all.push(value);
        if (value.kind.case !== "partial") return all;
      }
    };
    await stream.send({ ...relay, message: { messageId: "m-1", content: "fanout 3 hi", metadata: { target: echo.agentId } } });
    const [first, ...rest] = await nextFinal();
    expect(first).toMatchObject({ messageId: "m-1", kind: { case: "partial", value: { content: "1 of 3" } } });
    expect(rest.at(-1)).toMatchObject({ messageId: "m-1", kind: { case: "response", value: { response: { content: "hi\nhi\nhi" } } } });
    await stream.send({ message: { messageId: "m-2", content: "sleep forever" } });
    expect(await nextFinal()).toMatchObject([{ messageId: "m-2", kind: { case: "error", value: { code: status.INVALID_ARGUMENT, reason: "GUEST_ERROR" } } }]);
    await stream.send({ message: { messageId: "m-3", content: "sleep 1" } });
    expect((await nextFinal()).at(-1)).toMatchObject({ messageId: "m-3", kind: { case: "response" } });
    stream.end();
    expect(await nextFinal()).toEqual([]);

    const { exchanges } = await client.agents.listMessages(relay);
    expect(exchanges.map(({ message, errorReason }) => [message?.messageId, errorReason])).toEqual([["m-3", ""], ["m-2", "GUEST_ERROR"], ["m-1", ""]]);
    expect(exchanges[2]).toMatchObject({ message: { content: "fanout 3 hi" }, response: { content: "hi\nhi\nhi" } });
    const paged = await client.agents.listMessages({ ...relay, pageSize: 2 });
    expect((await client.agents.listMessages({ ...relay, pageSize: 2, pageToken: paged.nextPageToken })).exchanges.map(({ message }) => message?.messageId)).toEqual(["m-1"]);
  });

  it("shows in the session's events, live and again from a sequence", async () => {
    const sessionId = await openSession();
    const live = client.agents.streamEvents({ sessionId })[Symbol.asyncIterator]();
    // What a follower sees begins at the first event after it is there: wait for a first sign.
    const firstLive = live.next();
    const place = await spawn("counter", sessionId);
    await say(place, "increment");
    const first = (await firstLive).value?.event as AgentEvent;
    const all: AgentEvent[] = [first];
    while (all.at(-1)?.eventType !== "MESSAGE_SENT") all.push((await live.next()).value?.event as AgentEvent);
    await live.return?.();
    expect(all.map(({ eventType }) => eventType)).toEqual(expect.arrayContaining(["AGENT_SPAWNED", "MESSAGE_RECEIVED", "MESSAGE_SENT"]));
    const sequences = all.map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.toSorted((a, b) => Number(a - b)));

    const again = client.agents.streamEvents({ sessionId, fromSequence: 1n, eventTypes: ["MESSAGE_RECEIVED"] });
    for await (const { event } of again) {
      expect(event).toMatchObject({ eventType: "MESSAGE_RECEIVED", targetAgentId: place.agentId, sequence: all.find(({ eventType }) => eventType === "MESSAGE_RECEIVED")?.sequence });
      break;
    }
  });
});

describe("a deadline", () => {
  it("of the client stops a guest that computes on and on; its neighbours and its own next message are served", async () => {
    await client.modules.installModule({ wasm: HOSTILE_MODULES["infiniteLoop"]?.({ name: "spinner", limits: { fuelPerStep: 100_000_000_000 } }) ?? new Uint8Array() });
    const neighbour = await spawn("counter");
    const spinning = client.agents.createAgent({ sessionId: neighbour.sessionId, agentType: "spinner" }, { deadlineMs: 300 });
    await expect(spinning).rejects.toMatchObject({ rpcCode: status.DEADLINE_EXCEEDED });
    expect(await say(neighbour, "increment")).toBe("1");
  });

  it("of the client ends a wait", async () => {
    const relay = await spawn("relay");
    const target = await spawn("relay", relay.sessionId);
    const slow = client.agents.sendMessage({ ...target, message: { content: "sleep 2000" } });
    const asked = client.agents.sendMessage({ ...relay, message: { content: "hello", metadata: { target: target.agentId } } }, { deadlineMs: 200 });
    await expect(asked).rejects.toMatchObject({ rpcCode: status.DEADLINE_EXCEEDED });
    expect(await say(relay, "sleep 1")).toBe("slept 1 ms");
    await slow;
  });
});

describe("a host is refused", () => {
  const start = (dataDir: string, env: Record<string, string> = {}) => startHostProcess({ cwd: host.home.directory, dataDir, modulesDir: host.home.modulesDir, env: { SIRSI_LOG_LEVEL: "warn", ...env } });

  it("on a data directory that another host has", async () => {
    await expect(start(host.home.dataDir)).rejects.toThrow(/in use by another running host/);
    expect(await openSession()).not.toBe("");
  });

  it("on a file that is no directory", async () => {
    const file = join(host.home.directory, "taken");
    copyFileSync(moduleFile("counter"), file);
    await expect(start(join(file, "data"))).rejects.toThrow(/data directory/);
  });

  it("on an address that is not of this machine alone", async () => {
    await expect(start(join(host.home.directory, "other"), { SIRSI_GRPC_LISTEN: "0.0.0.0:0" })).rejects.toThrow(/loopback/);
    await expect(start(join(host.home.directory, "other"), { SIRSI_HTTP_LISTEN: "[::]:0" })).rejects.toThrow(/loopback/);
  });
});
