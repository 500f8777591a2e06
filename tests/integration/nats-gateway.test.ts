/** The NATS gateway over a real nats-server: what it keeps on every bus, and what only NATS can show. */
import { connect, headers as natsHeaders, type NatsConnection, type QueuedIterator } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { create, toBinary } from "@bufbuild/protobuf";
import { MessageSchema, SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { newId } from "../../runtime/core/ids.ts";
import { freePort } from "../../scripts/services/service.ts";
import { echo, manifest } from "../support/fake-agents.ts";
import { natsGatewayContract } from "../support/nats-gateway-contract.ts";
import { FakeRegistry, GatewayRig, PREFIX, text } from "../support/nats-gateway-rig.ts";
import { natsModulesContract } from "../support/nats-modules-contract.ts";
import { becomes, NatsRig } from "../support/nats-rig.ts";
import { collect } from "../support/service-bench.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

const MAX_PAYLOAD = 64 * 1024;

let server: RunningServer;
let monitoring: number;
beforeAll(async () => {
  monitoring = await freePort();
  server = await startNats({ config: `max_payload: ${MAX_PAYLOAD}\nhttp: "127.0.0.1:${monitoring}"` });
});
afterAll(() => server.stop());

const open = async () => {
  const rig = new NatsRig();
  const { bus: client } = await rig.open(server.url);
  return { host: async () => (await rig.open(server.url)).bus, client, dispose: () => rig[Symbol.asyncDispose]() };
};

natsGatewayContract("a NATS gateway", open);
natsModulesContract("modules as NATS services", open);

describe("on NATS", () => {
  let buses: NatsRig;
  let rig: GatewayRig;
  let client: NatsConnection;
  beforeEach(async () => {
    buses = new NatsRig();
    const registry = new FakeRegistry();
    registry.activate(manifest("echo", { description: "Says it again." }));
    registry.activate(manifest("aws", { version: "3.0.1" }), "b".repeat(64));
    const [host, other] = [await buses.open(server.url), await buses.open(server.url)];
    rig = await GatewayRig.open(host.bus, other.bus, { registry });
    client = await connect({ servers: server.url });
  });
  afterEach(async () => {
    await client.close();
    await rig.gateway.close();
    await buses[Symbol.asyncDispose]();
  });

  const all = async <Item>(found: Promise<QueuedIterator<Item>>): Promise<Item[]> => await collect(await found);

  it("the client's own discovery finds, describes and measures the services", async () => {
    const services = client.services.client();
    const pings = await all(services.ping());
    expect(pings.map(({ name, version, type }) => ({ name, version, type })).toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
      { name: "aws", version: "3.0.1", type: "io.nats.micro.v1.ping_response" },
      { name: "echo", version: "1.0.0", type: "io.nats.micro.v1.ping_response" },
    ]);
    const [info] = await all(services.info("echo"));
    expect(info).toMatchObject({ type: "io.nats.micro.v1.info_response", description: "Says it again.", metadata: { durability: "wait", abi: "1", host: "h1" } });
    const subject = info!.endpoints[0]!.subject;
    const headers = natsHeaders();
    headers.set("sirsi-session-id", rig.sessionId);
    expect((await client.request(subject, "hello", { headers, timeout: 10_000 })).string()).toBe("hello");
    const [stats] = await all(services.stats("echo", info!.id));
    expect(stats).toMatchObject({ type: "io.nats.micro.v1.stats_response", id: info!.id, endpoints: [{ name: "send", num_requests: 1, num_errors: 0 }] });
    const endpoint = stats!.endpoints![0]!;
    expect(Number.isInteger(endpoint.processing_time)).toBe(true);
    expect(new Date(stats!.started).toISOString()).toBe(stats!.started);
  });

  it("what is above the server's limit is refused in both directions, and never cut", async () => {
    const { subject } = await rig.agent();
    await expect(rig.send(subject, { message: { content: "x".repeat(MAX_PAYLOAD) } })).rejects.toMatchObject({ code: "PAYLOAD_TOO_LARGE" });
    expect(rig.bench.agents.deliveries).toEqual([]);
    rig.bench.agents.answer = (delivery) => ({ ...echo(delivery), response: create(MessageSchema, { content: "y".repeat(Number(delivery.message.content)) }) });
    const fits = await rig.send(subject, { message: { content: String(MAX_PAYLOAD - 1_000) } });
    expect(fits.response.response?.content).toHaveLength(MAX_PAYLOAD - 1_000);
    const over = await rig.refusal(subject, { message: { content: String(MAX_PAYLOAD) } });
    expect([over.info.reason, over.info.metadata["limit"]]).toEqual(["PAYLOAD_TOO_LARGE", String(MAX_PAYLOAD)]);
  });

  it("agents and services are back after the server was gone", async () => {
    await using other = await startNats();
    const [host, asker] = [await buses.open(other.url), await buses.open(other.url)];
    const away = await GatewayRig.open(host.bus, asker.bus, { registry: rig.modules });
    const { subject } = await away.agent();
    await other.kill();
    await becomes(host.bus, "reconnecting");
    const { subject: born } = await cameWithoutConnection(away);
    await other.restart();
    await Promise.all([becomes(host.bus, "connected"), becomes(asker.bus, "connected")]);
    await host.bus.flush();
    for (const one of [subject, born]) expect((await away.send(one, { message: { content: "again" } })).response.response?.content).toBe("again");
    expect(JSON.parse(text(await away.ask("$SRV.PING.echo", "")))).toMatchObject({ name: "echo" });
    await away.gateway.close();
  });

  async function cameWithoutConnection({ bench, presence, sessionId }: GatewayRig) {
    const { agentId } = bench.agents.put(bench.echo, { sessionId }, { state: "READY" }).record;
    presence.came(agentId, sessionId);
    return { subject: `${PREFIX}.agent.${agentId}` };
  }

  it("ten thousand agents have a subject each, all of them answer, and all are let go", async () => {
    const agents = Array.from({ length: 10_000 }, () => rig.bench.agents.put(rig.bench.echo, { sessionId: rig.sessionId }, { state: "READY" }).record.agentId);
    const before = await subscriptions();
    for (const agentId of agents) rig.presence.came(agentId, rig.sessionId);
    await rig.bus.flush();
    expect((await subscriptions()) - before).toBe(10_000);
    for (const agentId of agents.filter((_, at) => at % 500 === 0)) {
      const { response } = await rig.send(`${PREFIX}.agent.${agentId}`, { message: { content: agentId } });
      expect(response.response?.content).toBe(agentId);
    }
    for (const agentId of agents) rig.presence.left(agentId);
    await rig.bus.flush();
    await vi.waitFor(async () => expect(await subscriptions()).toBe(before), { timeout: 20_000 });
  });

  /** As the server counts them, of all its clients. */
  async function subscriptions(): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${monitoring}/subsz`);
    return ((await response.json()) as { readonly num_subscriptions: number }).num_subscriptions;
  }

  it("a client of NATS alone tells errors by their headers", async () => {
    const { agentId, subject } = await rig.agent();
    const wrong = toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId: newId(0), agentId, message: { content: "hello" } }));
    const { headers } = await client.request(subject, wrong, { timeout: 10_000 });
    expect([headers?.get("Nats-Service-Error-Code"), headers?.get("sirsi-error")]).toEqual(["5", "SESSION_NOT_FOUND"]);
  });
});
