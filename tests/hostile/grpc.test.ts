/** Bad requests to a real host over real connections: each gets one clear, typed status, and the host goes on. */
import { create, type DescMethod, toBinary } from "@bufbuild/protobuf";
import { type Client, status } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import { SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { HypervisorService } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { grpcDefinition } from "../../runtime/contract/grpc-definition.ts";
import { RpcCode } from "../../runtime/core/errors.ts";
import { AGENT_METHODS, call, failureOf, frame, METHODS, newClient, RawClient, rawFailure } from "../support/grpc-gateway.ts";
import { Mutator } from "../support/mutation.ts";
import { runHost, type TestHost } from "../support/running-host.ts";
import { guestModule, HOSTILE_MODULES, truncatedModule } from "../support/wat.ts";

const { createSession, createAgent, sendMessage, getAgent, getSession, deleteSession, listAgents, updateAgent, deleteAgent, getSuggestions, getAgentStatus, listMessages } = AGENT_METHODS;
const { installModule, getModule } = grpcDefinition(HypervisorService);
const UNKNOWN_ID = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";
const MIB = 1024 * 1024;

let host: TestHost;
let client: Client;
let raw: RawClient;
let sessionId: string;
let neighbour: string;
let counted = 0;

interface Method<Request, Response> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Response;
}

const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;

/** A call with a request of plain fields; those that its message does not have are left out. */
function ask<Request, Response>(method: Method<Request, Response>, fields: object): Promise<Response> {
  const desc = METHODS.find((each) => pathOf(each) === method.path);
  return call(client, method, create(desc!.input, fields as never) as Request);
}

beforeAll(async () => {
  host = await runHost({ modules: ["echo", "counter"] });
  client = newClient(host.grpcAddress, { "grpc.max_send_message_length": -1 });
  raw = new RawClient(host.grpcAddress);
  const { session } = (await ask(createSession, { userId: "u" })) as { session: { sessionId: string } };
  ({ sessionId } = session);
  const { agent } = (await ask(createAgent, { sessionId, agentType: "counter" })) as { agent: { agentId: string } };
  neighbour = agent.agentId;
}, 180_000);

afterAll(async () => {
  client.close();
  await raw[Symbol.asyncDispose]();
  await host[Symbol.asyncDispose]();
});

afterEach(async () => {
  const { response } = (await ask(sendMessage, { sessionId, agentId: neighbour, message: { content: "increment" } })) as { response?: { content: string } };
  expect(response?.content).toBe(String(++counted));
});

describe("malformed protobuf inside valid gRPC", () => {
  test.each(METHODS.map((method) => [pathOf(method), method] as const))("to %s is the caller's fault", async (path) => {
    const reply = await raw.send(path, frame(Uint8Array.of(0x0a, 0x7f, 0xff)));
    expect(rawFailure(reply)).toMatchObject({ code: RpcCode.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
  });

  test.each([
    ["a string that is no UTF-8", Uint8Array.of(0x0a, 0x02, 0xff, 0xfe)],
    ["a length without end", Uint8Array.of(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ["a field of another wire type", Uint8Array.of(0x08, 0x01, 0x1d, 0x00)],
    ["field number 0", Uint8Array.of(0x02, 0x00)],
  ])("%s", async (_what, bytes) => {
    expect(rawFailure(await raw.send(sendMessage.path, frame(bytes)))).toMatchObject({ code: RpcCode.INVALID_ARGUMENT });
  });

  test("as mutated bytes of a real request, two thousand times: never a fault of the host", async () => {
    const mutator = new Mutator();
    onTestFailed(() => {
      process.stderr.write(`\nrun it again with SIRSI_FUZZ_SEED=${mutator.seed}\n`);
    });
    const whole = toBinary(SendMessageRequestSchema, create(SendMessageRequestSchema, { sessionId, agentId: UNKNOWN_ID, message: { messageId: "m", content: "get", metadata: { a: "b" }, attachments: [{ name: "x", content: { case: "data", value: new Uint8Array(9) } }] }, options: { timeoutSeconds: 3, priority: 2, context: { c: "d" } } }));
    const codes = new Set<number>();
    for (let i = 0; i < 200; i++) {
      const replies = await Promise.all(Array.from({ length: 10 }, () => raw.send(sendMessage.path, frame(mutator.mutate(whole)))));
      for (const reply of replies) codes.add(rawFailure(reply).code);
    }
    expect([...codes].filter((code) => code !== RpcCode.INVALID_ARGUMENT && code !== RpcCode.NOT_FOUND)).toEqual([]);
    expect(codes.size).toBe(2);
  });
});

describe("a broken gRPC frame", () => {
  test.each([
    ["that says it is compressed when nothing is", frame(Uint8Array.of(1, 2, 3), { flag: 1 })],
    ["with an unknown flag", frame(new Uint8Array(0), { flag: 7 })],
    ["that is shorter than it says", frame(Uint8Array.of(1, 2, 3), { length: 100 })],
    ["that says it has four gigabytes", frame(Uint8Array.of(1, 2, 3), { length: 0xffff_ffff })],
    ["that ends in its head", Uint8Array.of(0, 0, 0)],
    ["that is not there", new Uint8Array(0)],
  ])("%s ends its own call alone, and not well", async (_what, body) => {
    const reply = await raw.send(getSession.path, body);
    const code = Number(reply.trailers["grpc-status"] ?? reply.headers["grpc-status"] ?? (reply.rstCode === 0 ? 0 : status.INTERNAL));
    expect(code).not.toBe(status.OK);
    expect(await ask(getSession, { sessionId })).toMatchObject({ session: { sessionId } });
  });
});

describe("a request that is too large", () => {
  test("10 MB of content is refused, with the limit and its name", async () => {
    const failure = await failureOf(ask(sendMessage, { sessionId, agentId: neighbour, message: { content: "x".repeat(10 * MIB) } }));
    expect(failure).toMatchObject({ code: RpcCode.RESOURCE_EXHAUSTED, reason: "PAYLOAD_TOO_LARGE", facts: { limit: "grpc.message_max_bytes", limit_bytes: String(4 * MIB) } });
  });

  test("10 MB of bytes that are no request at all are refused before they are looked at", async () => {
    const nonsense = { ...sendMessage, requestSerialize: () => Buffer.alloc(10 * MIB, 0xff) };
    expect(await failureOf(call(client, nonsense, null))).toMatchObject({ code: RpcCode.RESOURCE_EXHAUSTED, reason: "PAYLOAD_TOO_LARGE" });
  });

  test("many at a time, and the host's memory stays bounded", async () => {
    const before = process.memoryUsage().rss;
    const failures = await Promise.all(Array.from({ length: 12 }, () => failureOf(ask(sendMessage, { sessionId, agentId: neighbour, message: { content: "x".repeat(10 * MIB) } }))));
    expect(new Set(failures.map(({ reason }) => reason))).toEqual(new Set(["PAYLOAD_TOO_LARGE"]));
    expect(process.memoryUsage().rss - before).toBeLessThan(600 * MIB);
  });

  test("a map with more entries than it may have is refused by its field's name", async () => {
    const metadata = Object.fromEntries(Array.from({ length: 257 }, (_, i) => [`k${i}`, "v"]));
    const failure = await failureOf(ask(sendMessage, { sessionId, agentId: neighbour, message: { content: "get", metadata } }));
    expect(failure).toMatchObject({ code: RpcCode.INVALID_ARGUMENT, fields: ["message.metadata"] });
  });
});

describe("ids", () => {
  const BAD_IDS = ["", "nonsense", UNKNOWN_ID.toUpperCase(), `${UNKNOWN_ID} `, "../../etc/passwd", "'; drop table agents; --", "\u0000", "x".repeat(10_000)];

  test.each(BAD_IDS.map((id) => [JSON.stringify(id.slice(0, 40)), id] as const))("%s is told apart from an unknown one, by its field's name", async (_shown, id) => {
    for (const method of [getSession, deleteSession, listAgents, createAgent, getAgent, updateAgent, deleteAgent, sendMessage, getSuggestions, getAgentStatus, listMessages]) {
      const failure = await failureOf(ask(method as typeof getSession, { sessionId: id, agentId: UNKNOWN_ID, agentType: "echo", message: { content: "hi" } }));
      expect(failure).toMatchObject({ code: RpcCode.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
      expect(failure.fields).toContain("session_id");
    }
    const failure = await failureOf(ask(getAgent, { sessionId, agentId: id }));
    expect(failure).toMatchObject({ code: RpcCode.INVALID_ARGUMENT, fields: ["agent_id"] });
  });

  test.each(["a b", "x".repeat(129), "ünïcode", "\n"])("%j is no message id", async (messageId) => {
    const failure = await failureOf(ask(sendMessage, { sessionId, agentId: neighbour, message: { messageId, content: "get" } }));
    expect(failure).toMatchObject({ code: RpcCode.INVALID_ARGUMENT, fields: ["message.message_id"] });
  });

  test("that nobody has are not found, each by its own reason", async () => {
    expect(await failureOf(ask(getSession, { sessionId: UNKNOWN_ID }))).toMatchObject({ code: RpcCode.NOT_FOUND, reason: "SESSION_NOT_FOUND" });
    expect(await failureOf(ask(sendMessage, { sessionId: UNKNOWN_ID, agentId: neighbour, message: { content: "get" } }))).toMatchObject({ reason: "SESSION_NOT_FOUND" });
    for (const method of [getAgent, updateAgent, deleteAgent, sendMessage, getSuggestions, getAgentStatus, listMessages]) {
      const failure = await failureOf(ask(method as typeof getAgent, { sessionId, agentId: UNKNOWN_ID, message: { content: "hi" }, agent: {}, updateMask: { paths: ["metadata"] } }));
      expect(failure).toMatchObject({ code: RpcCode.NOT_FOUND, reason: "AGENT_NOT_FOUND" });
    }
    expect(await failureOf(ask(createAgent, { sessionId, agentType: "nothing" }))).toMatchObject({ code: RpcCode.NOT_FOUND, reason: "AGENT_TYPE_NOT_FOUND" });
    expect(await failureOf(ask(getModule, { name: "nothing" }))).toMatchObject({ code: RpcCode.NOT_FOUND, reason: "MODULE_NOT_FOUND" });
  });

  test("of an agent in another session are not found in this one", async () => {
    const { session } = (await ask(createSession, { userId: "somebody else" })) as { session: { sessionId: string } };
    for (const method of [getAgent, sendMessage, deleteAgent]) {
      expect(await failureOf(ask(method as typeof getAgent, { sessionId: session.sessionId, agentId: neighbour, message: { content: "reset" } }))).toMatchObject({ code: RpcCode.NOT_FOUND, reason: "AGENT_NOT_FOUND" });
    }
  });
});

describe("a session that has ended", () => {
  test("by its time refuses work as expired", async () => {
    const { session } = (await ask(createSession, { userId: "u", config: { timeoutSeconds: 1 } })) as { session: { sessionId: string } };
    const { agent } = (await ask(createAgent, { sessionId: session.sessionId, agentType: "echo" })) as { agent: { agentId: string } };
    const send = () => ask(sendMessage, { sessionId: session.sessionId, agentId: agent.agentId, message: { content: "still?" } });
    let over = false;
    while (!over) over = await send().then(() => false, () => true);
    expect(await failureOf(send())).toMatchObject({ code: RpcCode.FAILED_PRECONDITION, reason: "SESSION_EXPIRED" });
    expect(await failureOf(ask(createAgent, { sessionId: session.sessionId, agentType: "echo" }))).toMatchObject({ reason: "SESSION_EXPIRED" });
  });

  test("by its deletion is known no more, nor are its agents", async () => {
    const { session } = (await ask(createSession, { userId: "u" })) as { session: { sessionId: string } };
    const { agent } = (await ask(createAgent, { sessionId: session.sessionId, agentType: "echo" })) as { agent: { agentId: string } };
    await ask(deleteSession, { sessionId: session.sessionId });
    const failure = await failureOf(ask(sendMessage, { sessionId: session.sessionId, agentId: agent.agentId, message: { content: "hi" } }));
    expect(["SESSION_TERMINATED", "SESSION_NOT_FOUND"]).toContain(failure.reason);
  });
});

describe("a module over gRPC", () => {
  test.each([
    ["random bytes", () => new Uint8Array(1_000).fill(7)],
    ["a truncated module", truncatedModule],
    ["nothing", () => new Uint8Array(0)],
  ])("that is %s is refused, and what serves serves on", async (_what, wasm) => {
    const failure = await failureOf(ask(installModule, { wasm: wasm() }));
    expect(failure.code).toBe(RpcCode.INVALID_ARGUMENT);
    expect(["MODULE_REJECTED", "INVALID_ARGUMENT"]).toContain(failure.reason);
  });

  test.each([
    ["loops", "infiniteLoop", RpcCode.RESOURCE_EXHAUSTED, "GUEST_FUEL_EXHAUSTED"],
    ["traps", "traps", RpcCode.INTERNAL, "GUEST_TRAP"],
    ["lies", "pointerLies", RpcCode.INTERNAL, "GUEST_PROTOCOL"],
    ["traps when it starts", "startTraps", RpcCode.INTERNAL, "GUEST_TRAP"],
  ])("that %s is installed, and its agents fail alone", async (_what, kind, code, reason) => {
    const name = kind.toLowerCase();
    await ask(installModule, { wasm: HOSTILE_MODULES[kind]!({ name, limits: { fuelPerStep: 5_000_000 } }) });
    expect(await failureOf(ask(createAgent, { sessionId, agentType: name }))).toMatchObject({ code, reason });
  });

  test("that is well serves at once", async () => {
    await ask(installModule, { wasm: guestModule({ name: "tidy" }) });
    expect(await ask(createAgent, { sessionId, agentType: "tidy" })).toMatchObject({ agent: { agentType: "tidy" } });
  });
});
