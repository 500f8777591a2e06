/** What tools and clients on a bus see of modules, as tests, whatever bus it is: ADR-32 of NATS. */
import { create, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus } from "../../runtime/bus/bus.ts";
import { SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import { echo, manifest } from "./fake-agents.ts";
import type { Buses } from "./nats-gateway-contract.ts";
import { answered, FakeRegistry, GatewayRig, PREFIX, refused, text } from "./nats-gateway-rig.ts";

const SEND = `${PREFIX}.module.echo.send`;

export function natsModulesContract(name: string, open: () => Promise<Buses>): void {
  describe(name, () => {
    let buses: Buses;
    let rig: GatewayRig;
    beforeEach(async () => {
      buses = await open();
      const registry = new FakeRegistry();
      registry.activate(manifest("echo"));
      rig = await GatewayRig.open(await buses.host(), buses.client, { registry });
    });
    afterEach(async () => {
      await rig.gateway.close();
      await buses.dispose();
    });

    describe("discovery", () => discoveryContract(() => rig));
    describe("changes of modules", () => changeContract(() => rig));
    describe("a message to a module", () => sendContract(() => rig));
    describe("statistics", () => statsContract(() => rig));
  });
}

type Get = () => GatewayRig;

/** Who answers until an echo that was asked for after it is back. */
async function askAll({ bus, client }: GatewayRig, subject: string): Promise<Record<string, unknown>[]> {
  await bus.flush();
  const found: Record<string, unknown>[] = [];
  const inbox = `_INBOX.${newId(0)}`;
  const heard = client.subscribe(inbox, (message) => void found.push(JSON.parse(text(message)) as Record<string, unknown>));
  await client.flush();
  client.publish(subject, new Uint8Array(), { reply: inbox });
  await client.flush();
  await roundTrip(client, bus);
  heard.close();
  return found;
}

/** Whatever was on its way from the client to the host, and what that made the host answer, has arrived. */
async function roundTrip(client: Bus, host: Bus): Promise<void> {
  const subject = `echo.${newId(0)}`;
  const echoing = host.subscribe(subject, (message) => message.respond(message.data));
  await host.flush();
  await client.request(subject, new Uint8Array(), { timeoutMs: 60_000 });
  echoing.close();
}

async function one(rig: GatewayRig, subject: string): Promise<Record<string, unknown>> {
  const found = await askAll(rig, subject);
  expect(found).toHaveLength(1);
  return found[0]!;
}

const METADATA = { digest: "a".repeat(64), abi: "1", durability: "wait", host: "h1" };

function discoveryContract(get: Get): void {
  it("PING, INFO and STATS are answered with the types and the fields of ADR-32", async () => {
    const ping = await one(get(), "$SRV.PING");
    const id = ping["id"] as string;
    expect(ping).toEqual({ type: "io.nats.micro.v1.ping_response", name: "echo", id: expect.stringMatching(/^[0-9a-f-]{36}$/), version: "1.0.0", metadata: METADATA });
    expect(await one(get(), "$SRV.INFO")).toEqual({
      type: "io.nats.micro.v1.info_response",
      name: "echo",
      id,
      version: "1.0.0",
      metadata: METADATA,
      description: "Does echo.",
      endpoints: [{ name: "send", subject: SEND, queue_group: "q", metadata: { request: expect.any(String), response: expect.any(String) } }],
    });
    expect(await one(get(), "$SRV.STATS")).toEqual({
      type: "io.nats.micro.v1.stats_response",
      name: "echo",
      id,
      version: "1.0.0",
      metadata: METADATA,
      started: new Date(get().bench.clock.now()).toISOString(),
      endpoints: [{ name: "send", subject: SEND, queue_group: "q", num_requests: 0, num_errors: 0, processing_time: 0, average_processing_time: 0 }],
    });
  });

  it("all are asked, those of a name, or one by its id", async () => {
    get().modules.activate(manifest("aws", { version: "2.1.0-rc.1" }), "b".repeat(64));
    const pings = await askAll(get(), "$SRV.PING");
    expect(pings.map(({ name, version }) => `${String(name)} ${String(version)}`).toSorted()).toEqual(["aws 2.1.0-rc.1", "echo 1.0.0"]);
    const idOf = (module: string) => String(pings.find(({ name }) => name === module)?.["id"]);
    expect(idOf("aws")).not.toBe(idOf("echo"));
    for (const verb of ["PING", "INFO", "STATS"]) {
      expect(await one(get(), `$SRV.${verb}.aws`)).toMatchObject({ name: "aws", id: idOf("aws") });
      expect(await one(get(), `$SRV.${verb}.aws.${idOf("aws")}`)).toMatchObject({ name: "aws" });
      await expect(get().ask(`$SRV.${verb}.aws.${idOf("echo")}`, "")).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
      await expect(get().ask(`$SRV.${verb}.nobody`, "")).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
    }
  });
}

function changeContract(get: Get): void {
  it("a new revision is a new service, and going back another one", async () => {
    const first = await one(get(), "$SRV.PING");
    const { active } = get().modules.list()[0]!;
    get().modules.activate(manifest("echo", { version: "1.1.0" }), "c".repeat(64));
    const second = await one(get(), "$SRV.PING");
    expect(second).toMatchObject({ name: "echo", version: "1.1.0", metadata: { digest: "c".repeat(64) } });
    expect(second["id"]).not.toBe(first["id"]);
    get().modules.revert(active!);
    expect(await one(get(), "$SRV.PING")).toMatchObject({ version: "1.0.0" });
  });

  it("a change that nobody can see leaves the service as it is", async () => {
    const { id } = await one(get(), "$SRV.PING");
    get().modules.activate(manifest("echo", { topics: ["news"] }));
    expect(await one(get(), "$SRV.PING")).toMatchObject({ id });
  });

  it("a module that is removed is not found any more", async () => {
    get().modules.retire("echo");
    await get().bus.flush();
    await expect(get().ask("$SRV.PING", "")).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
    await expect(get().ask(SEND, "hello")).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
  });

  it("nobody who sends meanwhile finds nobody", async () => {
    const { agentId } = await get().agent();
    const sent = Array.from({ length: 40 }, async (_, at) => {
      if (at % 10 === 5) get().modules.activate(manifest("echo", { version: `1.0.${at}` }));
      return text(await get().ask(SEND, `hello ${at}`, { "sirsi-session-id": get().sessionId, "sirsi-agent-id": agentId }));
    });
    expect(await Promise.all(sent)).toEqual(Array.from({ length: 40 }, (_, at) => `hello ${at}`));
  });

  it("a gateway that drains or is closed offers none, whatever comes to be", async () => {
    await get().gateway.drain(1_000);
    get().modules.activate(manifest("aws"));
    await get().bus.flush();
    await expect(get().ask("$SRV.PING", "")).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
  });
}

function sendContract(get: Get): void {
  it("without an agent's id makes one in the session and says which", async () => {
    const made = await get().ask(SEND, "hello", { "sirsi-session-id": get().sessionId, "Nats-Msg-Id": "m-1" });
    const agentId = made.headers["sirsi-agent-id"]!;
    expect([text(made), made.headers["content-type"], made.headers["sirsi-message-id"]]).toEqual(["hello", "text/plain; charset=utf-8", "m-1"]);
    expect(get().bench.agents.find(agentId)?.record).toMatchObject({ module: "echo", sessionId: get().sessionId });
    const again = await get().ask(SEND, "again", { "sirsi-session-id": get().sessionId, "sirsi-agent-id": agentId });
    expect([text(again), again.headers["sirsi-agent-id"]]).toEqual(["again", agentId]);
    expect(get().bench.agents.count).toBe(1);
  });

  it("may be JSON, short or in full, or bytes", async () => {
    const { agentId } = await get().agent();
    const { sessionId } = get();
    const short = await get().ask(SEND, JSON.stringify({ sessionId, agentId, content: "short" }));
    expect(JSON.parse(text(short))).toMatchObject({ response: { content: "short", type: "MESSAGE_TYPE_RESPONSE" } });
    expect(short.headers).toMatchObject({ "content-type": "application/json", "sirsi-agent-id": agentId });
    const full = await get().ask(SEND, JSON.stringify({ session_id: sessionId, message: { message_id: "m-2", content: "full" }, options: { timeout_seconds: 5 } }), { "content-type": "application/json" });
    expect(JSON.parse(text(full))).toMatchObject({ messageId: "m-2", response: { content: "full" } });
    const data = toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId, agentId, message: { content: "bytes" } }));
    expect(answered(await get().ask(SEND, data, { "content-type": "application/protobuf" })).response.response?.content).toBe("bytes");
  });

  it("is refused for an agent of another module, of another session, or of none", async () => {
    const { agentId } = get().bench.agents.put(manifest("aws"), { sessionId: get().sessionId }, { state: "READY" }).record;
    const ask = async (sessionId: string, agent: string) => refused(await get().ask(SEND, "hello", { "sirsi-session-id": sessionId, "sirsi-agent-id": agent }));
    const other = await ask(get().sessionId, agentId);
    expect(other.info.reason).toBe("INVALID_ARGUMENT");
    expect(other.headers["Nats-Service-Error"]).toContain(`agent ${agentId} is an agent of aws`);
    expect((await ask(get().sessionId, newId(0))).info.reason).toBe("AGENT_NOT_FOUND");
    expect((await ask(newId(0), "")).info.reason).toBe("SESSION_NOT_FOUND");
    expect(get().bench.agents.deliveries).toEqual([]);
  });

  it("that fails leaves the agent it was for, and tells which; one that can never be sent leaves none", async () => {
    get().bench.agents.answer = () => {
      throw new SirsiError("GUEST_ERROR", "no");
    };
    const failed = refused(await get().ask(SEND, "hello", { "sirsi-session-id": get().sessionId }));
    expect([failed.info.reason, failed.headers["content-type"]]).toEqual(["GUEST_ERROR", "application/json"]);
    expect(get().bench.agents.find(failed.headers["sirsi-agent-id"]!)?.record.state).toBe("READY");
    const wrong = refused(await get().ask(SEND, "hello", { "sirsi-session-id": get().sessionId, "Nats-Msg-Id": "not an id" }));
    expect([wrong.info.reason, wrong.headers["sirsi-agent-id"]]).toEqual(["INVALID_ARGUMENT", undefined]);
    expect(refused(await get().ask(SEND, JSON.stringify({ sessionId: get().sessionId }))).info.reason).toBe("INVALID_ARGUMENT");
    expect(get().bench.agents.count).toBe(1);
  });

  it.each([
    ["no JSON and no session", "hello", {}],
    ["text that is no UTF-8", Uint8Array.of(0xff, 0xfe), { "sirsi-session-id": newId(0) }],
    ["a form nobody knows", "hello", { "content-type": "image/png" }],
  ])("is refused when it is %s", async (_what, body, headers) => {
    expect(refused(await get().ask(SEND, body, headers)).info.reason).toBe("INVALID_ARGUMENT");
  });
}

function statsContract(get: Get): void {
  it("count requests, errors and time in nanoseconds, and keep the last error", async () => {
    const { agentId } = await get().agent();
    const headers = { "sirsi-session-id": get().sessionId, "sirsi-agent-id": agentId };
    get().bench.agents.answer = (delivery) => {
      get().bench.clock.advance(3);
      if (delivery.message.content === "fail") throw new SirsiError("GUEST_ERROR", "it does not like that; send another");
      return echo(delivery);
    };
    for (const content of ["one", "fail", "two"]) await get().ask(SEND, content, headers);
    const stats = await vi.waitFor(async () => {
      const found = (await one(get(), "$SRV.STATS.echo"))["endpoints"] as Record<string, unknown>[];
      expect(found[0]).toMatchObject({ num_requests: 3 });
      return found;
    });
    expect(stats).toEqual([{ name: "send", subject: SEND, queue_group: "q", num_requests: 3, num_errors: 1, last_error: "9:it does not like that; send another", processing_time: 9_000_000, average_processing_time: 3_000_000 }]);
  });
}
