/** What clients on a bus see of agents, as tests, whatever bus it is. */
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Bus } from "../../runtime/bus/bus.ts";
import { BadRequestSchema, RetryInfoSchema } from "../../runtime/contract/gen/google/rpc/error_details_pb.ts";
import { MessageSchema, SendMessageRequestSchema, SendMessageResponseSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { create } from "@bufbuild/protobuf";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import { echo } from "./fake-agents.ts";
import { GatewayRig, PREFIX, refused, text } from "./nats-gateway-rig.ts";

export interface Buses {
  /** Of a host; another one each time. */
  host(): Promise<Bus>;
  readonly client: Bus;
  dispose(): Promise<void>;
}

export function natsGatewayContract(name: string, open: () => Promise<Buses>): void {
  describe(name, () => {
    let buses: Buses;
    let rig: GatewayRig;
    beforeEach(async () => {
      buses = await open();
      rig = await GatewayRig.open(await buses.host(), buses.client);
    });
    afterEach(async () => {
      await rig.gateway.close();
      await buses.dispose();
    });
    const get = () => rig;

    describe("an agent's subject", () => subjectContract(get));
    describe("headers of a message", () => headerContract(get));
    describe("errors", () => errorContract(get, () => buses));
    describe("presence", () => presenceContract(get, () => buses));
    describe("the end of the gateway", () => endContract(get));
  });
}

type Get = () => GatewayRig;

function subjectContract(get: Get): void {
  it("answers a message as gRPC does", async () => {
    const { agentId, subject } = await get().agent();
    const { headers, response } = await get().send(subject, { agentId, message: { messageId: "m-1", content: "hello" } });
    expect(response).toMatchObject({ messageId: "m-1", response: { content: "hello" }, replayed: false });
    expect(headers).toEqual({ "content-type": "application/protobuf", "sirsi-message-id": "m-1" });
    expect(get().bench.agents.deliveries).toMatchObject([{ sourceAgentId: "", deadline: null, traceparent: "" }]);
  });

  it("needs no agent's id in the request, and refuses another's", async () => {
    const { subject } = await get().agent();
    const { response } = await get().send(subject, { message: { content: "hello" } });
    expect(response.response?.content).toBe("hello");
    const { info, status } = await get().refusal(subject, { agentId: newId(0), message: { content: "hello" } });
    expect(info.reason).toBe("INVALID_ARGUMENT");
    expect(status.details.flatMap((detail) => anyUnpack(detail, BadRequestSchema)?.fieldViolations ?? [])).toMatchObject([{ field: "agent_id" }]);
    expect(get().bench.agents.deliveries).toHaveLength(1);
  });

  it("refuses a message of another session", async () => {
    const { subject } = await get().agent();
    const other = await get().bench.sessions.create({ userId: "eve", context: {}, maxAgents: 0, timeoutSeconds: 0, enableLogging: false, preferences: {}, profile: null });
    expect((await get().refusal(subject, { sessionId: other.sessionId, message: { content: "hello" } })).info.reason).toBe("AGENT_NOT_FOUND");
    expect((await get().refusal(subject, { sessionId: "", message: { content: "hello" } })).info.reason).toBe("INVALID_ARGUMENT");
    expect(get().bench.agents.deliveries).toEqual([]);
  });

  it("takes and answers JSON", async () => {
    const { subject } = await get().agent();
    const body = toJsonString(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId: get().sessionId, message: { content: "grüß dich" } }));
    const answer = await get().ask(subject, body, { "content-type": "application/json; charset=utf-8" });
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(fromJsonString(SendMessageResponseSchema, text(answer)).response?.content).toBe("grüß dich");
    const short = await get().ask(subject, JSON.stringify({ session_id: get().sessionId, content: "short" }), { "content-type": "application/json" });
    expect(JSON.parse(text(short))).toMatchObject({ response: { content: "short" } });
  });

  it("does what is asked without an answer", async () => {
    const { subject } = await get().agent();
    get().client.publish(subject, get().request({ message: { content: "one way" } }));
    await vi.waitFor(() => expect(get().bench.agents.deliveries).toMatchObject([{ message: { content: "one way" } }]), { interval: 2 });
    get().client.publish(subject, Uint8Array.of(0xff));
    // The next one is served whatever became of that.
    expect((await get().send(subject, { message: { content: "next" } })).response.response?.content).toBe("next");
  });

  it("reaches agents that are not in memory over the subject of all", async () => {
    const { agentId } = get().bench.agents.put(get().bench.echo, { sessionId: get().sessionId }, { state: "READY" }).record;
    const { response } = await get().send(`${PREFIX}.agents.call`, { agentId, message: { content: "wake up" } });
    expect(response.response?.content).toBe("wake up");
    expect((await get().refusal(`${PREFIX}.agents.call`, { message: { content: "who?" } })).info.reason).toBe("INVALID_ARGUMENT");
    expect((await get().send(`${PREFIX}.agents.call`, { message: { content: "by header" } }, { "sirsi-agent-id": agentId })).response.response?.content).toBe("by header");
  });

  it("is counted by kind and status", async () => {
    const { subject } = await get().agent();
    await get().send(subject, { message: { content: "hello" } });
    await get().refusal(`${PREFIX}.agents.call`, { message: { content: "who?" } });
    const lines = (await get().metrics.text()).split("\n");
    expect(lines.filter((line) => line.startsWith("sirsi_nats_requests_total{"))).toEqual(['sirsi_nats_requests_total{subject="agent",code="OK"} 1', 'sirsi_nats_requests_total{subject="call",code="INVALID_ARGUMENT"} 1']);
    expect(lines).toContain('sirsi_nats_seconds_count{subject="agent"} 1');
  });
}

function headerContract(get: Get): void {
  const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

  it("Nats-Msg-Id is the message's id when it has none, so that a repeat takes effect once", async () => {
    const { subject } = await get().agent();
    expect((await get().send(subject, { message: { content: "a" } }, { "Nats-Msg-Id": "order-7" })).response.messageId).toBe("order-7");
    expect((await get().send(subject, { message: { messageId: "mine", content: "a" } }, { "nats-msg-id": "order-8" })).response.messageId).toBe("mine");
    expect((await get().refusal(subject, { message: { content: "a" } }, { "Nats-Msg-Id": "has a space" })).info.reason).toBe("INVALID_ARGUMENT");
  });

  it("traceparent and the caller's patience go along", async () => {
    const { subject } = await get().agent();
    await get().send(subject, { message: { content: "a" } }, { traceparent: TRACE, "sirsi-timeout-ms": "1500" });
    await get().send(subject, { message: { content: "a" } }, { traceparent: "nonsense" });
    const now = get().bench.clock.monotonic();
    expect(get().bench.agents.deliveries).toMatchObject([{ traceparent: TRACE, deadline: now + 1_500 }, { traceparent: "", deadline: null }]);
  });

  it.each(["0", "-5", "1e3", "soon", "86400001", "99999999999"])("a patience of %s is refused", async (patience) => {
    const { subject } = await get().agent();
    const { headers, info } = await get().refusal(subject, { message: { content: "a" } }, { "sirsi-timeout-ms": patience });
    expect([info.reason, headers["Nats-Service-Error-Code"]]).toEqual(["INVALID_ARGUMENT", "3"]);
    expect(headers["Nats-Service-Error"]).toContain("sirsi-timeout-ms");
  });

  it("a CloudEvent's attributes are in the message's metadata, which may say otherwise itself", async () => {
    const { subject } = await get().agent();
    await get().send(subject, { message: { content: "a", metadata: { "ce-source": "mine" } } }, { "ce-id": "7", "ce-type": "order.placed", "ce-subject": "Gr%C3%BC%C3%9Fe", "CE-Odd": "100%", "ce-source": "theirs" });
    expect(get().bench.agents.deliveries[0]?.message.metadata).toEqual({ "ce-id": "7", "ce-type": "order.placed", "ce-subject": "Grüße", "ce-odd": "100%", "ce-source": "mine" });
  });

  it.each(["text/plain", "application/xml"])("a content-type %s is refused", async (type) => {
    const { subject } = await get().agent();
    const { headers } = await get().refusal(subject, { message: { content: "a" } }, { "content-type": type });
    expect(headers).toMatchObject({ "sirsi-error": "INVALID_ARGUMENT", "content-type": "application/protobuf" });
    expect(headers["Nats-Service-Error"]).toContain("application/protobuf or application/json");
  });
}

function errorContract(get: Get, buses: () => Buses): void {
  it("have the headers of NATS services, and the status of gRPC as their body", async () => {
    const { agentId, subject } = await get().agent();
    get().bench.agents.answer = () => {
      throw new SirsiError("MAILBOX_FULL", "it has\nno room", { retryAfterMs: 250, metadata: { depth: "9" } });
    };
    const { headers, info, status } = await get().refusal(subject, { agentId, message: { content: "a" } });
    expect(headers).toEqual({
      "content-type": "application/protobuf",
      "Nats-Service-Error": "it has no room. Wait for the retry delay and send again; send more slowly.",
      "Nats-Service-Error-Code": "8",
      "sirsi-error": "MAILBOX_FULL",
      "sirsi-retry-after-ms": "250",
    });
    expect(status).toMatchObject({ code: 8, message: expect.stringContaining("it has\nno room") });
    expect(info).toMatchObject({ reason: "MAILBOX_FULL", domain: "sirsi", metadata: { depth: "9" } });
    expect(status.details.map((detail) => anyUnpack(detail, RetryInfoSchema)?.retryDelay?.nanos)).toContain(250_000_000);
  });

  it("are told in JSON to who asks in JSON", async () => {
    const { subject } = await get().agent();
    const ask = async (body: string) => refused(await get().ask(subject, body, { "content-type": "application/json" }));
    for (const body of ["", "{", "[]", '"x"', '{"sessionId": 5}', '{"nobody": "knows"}', '{"content": 7}', "\u0000"]) {
      const { headers, info } = await ask(body);
      expect([body, headers["content-type"], info.reason]).toEqual([body, "application/json", "INVALID_ARGUMENT"]);
    }
  });

  it("of the host itself tell a reference and nothing else", async () => {
    const { subject } = await get().agent();
    get().bench.agents.answer = () => {
      throw new TypeError("secret of the house");
    };
    const { headers, info, status } = await get().refusal(subject, { message: { content: "a" } });
    expect([info.reason, headers["Nats-Service-Error-Code"]]).toEqual(["INTERNAL", "13"]);
    expect(JSON.stringify([headers, status.message])).not.toContain("secret");
    expect(info.metadata["reference"]).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("come for bytes that are no request", async () => {
    const { subject } = await get().agent();
    expect(refused(await get().ask(subject, Uint8Array.of(0xff, 0x01))).info.reason).toBe("INVALID_ARGUMENT");
  });

  it("come for requests and replies over the host's limit", async () => {
    const tight = await GatewayRig.open(await buses().host(), buses().client, { gateway: { prefix: "tight", limits: { messageMaxBytes: 1_000 } } });
    const { agentId } = await tight.agent();
    tight.bench.agents.answer = (delivery) => ({ ...echo(delivery), response: create(MessageSchema, { content: "x".repeat(2_000) }) });
    await tight.bus.flush();
    const over = await tight.refusal(`tight.agent.${agentId}`, { message: { content: "x".repeat(2_000) } });
    expect([over.info.reason, over.info.metadata]).toEqual(["PAYLOAD_TOO_LARGE", { limit: "grpc.message_max_bytes", limit_bytes: "1000" }]);
    expect(tight.bench.agents.deliveries).toHaveLength(0);
    const reply = await tight.refusal(`tight.agent.${agentId}`, { message: { content: "x" } });
    expect([reply.info.reason, reply.headers["Nats-Service-Error"]]).toEqual(["PAYLOAD_TOO_LARGE", expect.stringContaining("the reply has")]);
    await tight.gateway.close();
  });
}

function presenceContract(get: Get, buses: () => Buses): void {
  it("nobody answers for an agent that is not here", async () => {
    const { agentId, subject } = await get().agent();
    await get().send(subject, { message: { content: "a" } });
    get().presence.left(agentId);
    await get().bus.flush();
    await expect(get().send(subject, { message: { content: "a" } })).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
    get().presence.came(agentId, get().sessionId);
    get().presence.came(agentId, get().sessionId);
    await get().bus.flush();
    await get().send(subject, { message: { content: "a" } });
    expect(get().bench.agents.deliveries).toHaveLength(2);
  });

  it("a message in hand is answered after its agent has left", async () => {
    const { agentId, subject } = await get().agent();
    const gate = new Deferred<void>();
    get().bench.agents.answer = async (delivery) => {
      await gate.promise;
      return echo(delivery);
    };
    const asked = get().send(subject, { message: { content: "slow" } });
    await vi.waitFor(() => expect(get().bench.agents.deliveries).toHaveLength(1), { interval: 2 });
    get().presence.left(agentId);
    gate.resolve();
    expect((await asked).response.response?.content).toBe("slow");
  });

  it("a message goes to one host while two have the agent", async () => {
    const { agentId, subject } = await get().agent();
    const other = await GatewayRig.open(await buses().host(), buses().client, { bench: get().bench });
    other.presence.came(agentId, get().sessionId);
    await other.bus.flush();
    const contents = Array.from({ length: 20 }, (_, at) => `message ${at}`);
    await Promise.all(contents.map((content) => get().send(subject, { message: { content } })));
    expect(get().bench.agents.deliveries.map(({ message }) => message.content).toSorted()).toEqual(contents.toSorted());
    await other.gateway.close();
  });
}

function endContract(get: Get): void {
  async function begin() {
    const { agentId, subject } = await get().agent();
    const gate = new Deferred<void>();
    const signals: (AbortSignal | null)[] = [];
    get().bench.agents.answer = async (delivery) => {
      signals.push(delivery.signal);
      await gate.promise;
      return echo(delivery);
    };
    const agent = get().ask(subject, get().request({ message: { content: "a" } }));
    const call = get().ask(`${PREFIX}.agents.call`, get().request({ agentId, message: { content: "b" } }));
    await vi.waitFor(() => expect(signals).toHaveLength(2), { interval: 2 });
    return { agent, call, gate, signals, subject };
  }

  it("drain leaves to other hosts what they can do, and waits for that; agents that are here keep their subjects", async () => {
    const { agent, call, gate, subject } = await begin();
    let drained = false;
    const draining = get().gateway.drain(60_000).then(() => (drained = true));
    await get().bus.flush();
    await expect(get().send(`${PREFIX}.agents.call`, { message: { content: "c" } })).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
    const late = get().ask(subject, get().request({ message: { content: "d" } }));
    expect(drained).toBe(false);
    gate.resolve();
    await Promise.all([agent, call, late, draining]);
    expect(get().bench.agents.deliveries.map(({ message }) => message.content).toSorted()).toEqual(["a", "b", "d"]);
  });

  it("drain waits no longer than it may", async () => {
    const { agent, call, gate } = await begin();
    const draining = get().gateway.drain(1_000);
    await get().bus.flush();
    get().bench.clock.advance(1_000);
    await draining;
    gate.resolve();
    await Promise.all([agent, call]);
  });

  it("close tells those who wait to come back, and their agents that nobody waits", async () => {
    const { agent, call, signals, subject } = await begin();
    await get().gateway.close();
    for (const answer of [await agent, await call]) expect(refused(answer).headers).toMatchObject({ "sirsi-error": "SHUTTING_DOWN", "sirsi-retry-after-ms": "1000", "Nats-Service-Error-Code": "14" });
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true]);
    get().presence.came(newId(0), get().sessionId);
    await expect(get().send(subject, {})).rejects.toMatchObject({ code: "BUS_NO_RESPONDERS" });
  });
}
