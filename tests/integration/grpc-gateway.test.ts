import { gunzipSync, gzipSync } from "node:zlib";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Metadata, compressionAlgorithms, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import {
  GetAgentRequestSchema,
  GetAgentResponseSchema,
  SendMessageRequestSchema,
  SendMessageResponseSchema,
} from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { AgentServiceApi, CallContext } from "../../runtime/hypervisor/service-api.ts";
import { AGENT_METHODS, METHODS, RawClient, call, failureOf, frame, headers, newClient, rawFailure, startGateway } from "../support/grpc-gateway.ts";

const { getAgent, sendMessage } = AGENT_METHODS;
const agentRequest = (init: MessageInitShape<typeof GetAgentRequestSchema> = {}) => create(GetAgentRequestSchema, init);
const textRequest = (content: string) => create(SendMessageRequestSchema, { message: { content } });
const echo: AgentServiceApi["sendMessage"] = (request) => Promise.resolve(create(SendMessageResponseSchema, request.message === undefined ? {} : { response: request.message }));

/** A gateway whose GetAgent does this. */
const withGetAgent = (handle: AgentServiceApi["getAgent"]) => startGateway({ agent: { getAgent: handle } });
const failing = (error: unknown) =>
  withGetAgent(() => {
    throw error;
  });

describe("a unary call", () => {
  it("reaches the function of its name, for every method of both services", async () => {
    await using test = await startGateway();
    const unary = METHODS.filter(({ methodKind }) => methodKind === "unary");
    for (const method of unary) {
      const path = `/${method.parent.typeName}/${method.name}`;
      await call(test.client, { path, requestSerialize: () => Buffer.alloc(0), responseDeserialize: (bytes) => bytes }, null);
    }
    expect(test.calls).toEqual(unary.map(({ localName }) => localName));
    expect(unary.length).toBeGreaterThan(15);
  });

  it("carries the request there and the reply back", async () => {
    await using test = await startGateway({ agent: { sendMessage: echo } });
    const reply = await call(test.client, sendMessage, textRequest("grüß Gott 👋"));
    expect(reply.response?.content).toBe("grüß Gott 👋");
  });

  it("tells the caller's deadline on the host's clock, or that there is none", async () => {
    const seen: (number | null)[] = [];
    await using test = await withGetAgent((_request, { deadline }) => {
      seen.push(deadline);
      return Promise.resolve(create(GetAgentResponseSchema));
    });
    const before = systemClock.monotonic();
    await call(test.client, getAgent, agentRequest());
    await call(test.client, getAgent, agentRequest(), undefined, { deadline: systemClock.now() + 60_000 });
    expect(seen[0]).toBeNull();
    expect((seen[1] as number) - before).toBeGreaterThan(50_000);
  });

  it("passes a well-formed traceparent on, and no other", async () => {
    const seen: string[] = [];
    await using test = await withGetAgent((_request, { traceparent }) => {
      seen.push(traceparent);
      return Promise.resolve(create(GetAgentResponseSchema));
    });
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await call(test.client, getAgent, agentRequest(), headers({ traceparent }));
    await call(test.client, getAgent, agentRequest(), headers({ traceparent: "nonsense" }));
    await call(test.client, getAgent, agentRequest());
    expect(seen).toEqual([traceparent, "", ""]);
  });

  it("aborts its signal when the caller cancels", async () => {
    const [arrived, aborted] = [new Deferred<void>(), new Deferred<unknown>()];
    await using test = await withGetAgent((_request, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve(signal.reason));
      arrived.resolve();
      return new Promise(() => undefined);
    });
    const failed = new Deferred<number>();
    const running = test.client.makeUnaryRequest(getAgent.path, getAgent.requestSerialize, getAgent.responseDeserialize, agentRequest(), (error) => failed.resolve(error?.code ?? 0));
    await arrived.promise;
    running.cancel();
    expect(await failed.promise).toBe(status.CANCELLED);
    expect(await aborted.promise).toMatchObject({ code: "CANCELLED" });
  });

  it("ends with DEADLINE_EXCEEDED at its deadline, and its signal says so", async () => {
    const aborted = new Deferred<unknown>();
    await using test = await withGetAgent((_request, { signal }) => {
      signal.addEventListener("abort", () => aborted.resolve(signal.reason));
      return new Promise(() => undefined);
    });
    const failure = await failureOf(call(test.client, getAgent, agentRequest(), undefined, { deadline: systemClock.now() + 50 }));
    expect(failure.code).toBe(status.DEADLINE_EXCEEDED);
    expect(await aborted.promise).toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("that was answered never aborts its signal, and its context can be copied", async () => {
    const contexts: CallContext[] = [];
    const test = await withGetAgent((_request, context) => {
      contexts.push({ ...context });
      return Promise.resolve(create(GetAgentResponseSchema));
    });
    await call(test.client, getAgent, agentRequest());
    await call(test.client, getAgent, agentRequest());
    await test[Symbol.asyncDispose]();
    expect(contexts.map(({ signal }) => signal.aborted)).toEqual([false, false]);
  });
});

describe("a failed call", () => {
  it("says what, what next, and the details for programs", async () => {
    await using test = await failing(
      new SirsiError("INVALID_ARGUMENT", "page_size is -1.", {
        metadata: { given: "-1" },
        fields: [{ field: "page_size", description: "below 0" }],
        preconditions: [{ type: "x", subject: "session", description: "y" }],
        retryAfterMs: 1_500,
      }),
    );
    expect(await failureOf(call(test.client, getAgent, agentRequest()))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      text: "page_size is -1. Correct the field that the error names.",
      reason: "INVALID_ARGUMENT",
      facts: { given: "-1" },
      fields: ["page_size"],
      preconditions: ["session"],
      retryAfterMs: 1_500,
    });
  });

  it("says when to come again wherever the same request may succeed later", async () => {
    await using away = await failing(new SirsiError("BUS_UNAVAILABLE", "The bus is away. Try again."));
    const { retryAfterMs } = await failureOf(call(away.client, getAgent, agentRequest()));
    expect(retryAfterMs).toBeGreaterThan(0);
  });

  it("travels with the status that the error chose for itself", async () => {
    await using test = await failing(new SirsiError("GUEST_ERROR", "no such bucket", { rpc: status.NOT_FOUND }));
    expect(await failureOf(call(test.client, getAgent, agentRequest()))).toMatchObject({ code: status.NOT_FOUND, reason: "GUEST_ERROR" });
  });

  it("by a fault of the host tells a reference and nothing of its insides; the log has the rest", async () => {
    await using test = await failing(new TypeError("cannot read /srv/secret/path of undefined"));
    const failure = await failureOf(call(test.client, getAgent, agentRequest()));
    expect(failure).toMatchObject({ code: status.INTERNAL, reason: "INTERNAL" });
    expect(failure.text).not.toMatch(/secret|undefined/);
    expect(failure.text).toContain(failure.facts["reference"]);
    const line = test.log.find(({ reference }) => reference === failure.facts["reference"]);
    expect(line).toMatchObject({ level: 50, method: getAgent.path, err: { message: expect.stringContaining("/srv/secret/path") as string } });
  });

  it("by a promise that rejects is told like one that throws", async () => {
    await using test = await withGetAgent(() => Promise.reject(new SirsiError("AGENT_NOT_FOUND", "no agent a")));
    expect(await failureOf(call(test.client, getAgent, agentRequest()))).toMatchObject({ code: status.NOT_FOUND, text: expect.stringMatching(/^no agent a\. List/) as string });
  });

  it.each([
    ["very long", "x".repeat(100_000)],
    ["long, each letter taking nine bytes", "語".repeat(5_000)],
    ["not well-formed", `a\ud800b${"x".repeat(998)}\ud83d\ude00`],
    ["full of control characters", "a\r\nb\u0000c%"],
  ])("with a message that is %s still arrives, small enough for any client", async (_kind, message) => {
    const fields = Array.from({ length: 100 }, (_, n) => ({ field: `f${n}`, description: "d".repeat(1_000) }));
    await using test = await failing(new SirsiError("INVALID_ARGUMENT", message, { metadata: { long: "y".repeat(50_000) }, fields }));
    const failure = await failureOf(call(test.client, getAgent, agentRequest()));
    expect(failure).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
    expect(failure.text.slice(0, 1)).toBe(message.slice(0, 1));
    expect(encodeURI(failure.text).length).toBeLessThanOrEqual(2_048);
    expect(failure.detailsBytes).toBeLessThanOrEqual(4_096);
  });

  it("whose reply cannot be encoded is a fault of the host", async () => {
    await using test = await withGetAgent(() => Promise.resolve({ ...create(GetAgentResponseSchema), agent: { agentId: 7 } } as never));
    expect(await failureOf(call(test.client, getAgent, agentRequest()))).toMatchObject({ code: status.INTERNAL, reason: "INTERNAL" });
  });
});

describe("a malformed request", () => {
  const body = frame(toBinary(GetAgentRequestSchema, agentRequest({ agentId: "a" })));

  it.each([
    ["bytes that are no message", frame(Buffer.from([0x0a, 0xff, 0xff])), {}, status.INVALID_ARGUMENT, "INVALID_ARGUMENT"],
    ["text that is not UTF-8", frame(Buffer.from([0x0a, 0x02, 0xc3, 0x28])), {}, status.INVALID_ARGUMENT, "INVALID_ARGUMENT"],
    ["bytes that do not unpack", frame(Buffer.from("not gzip"), { flag: 1 }), { "grpc-encoding": "gzip" }, status.INVALID_ARGUMENT, "INVALID_ARGUMENT"],
    ["an unknown encoding", frame(Buffer.from("?"), { flag: 1 }), { "grpc-encoding": "br" }, status.UNIMPLEMENTED, "UNIMPLEMENTED"],
    ["an impossible deadline", body, { "grpc-timeout": "soon" }, status.INVALID_ARGUMENT, "INVALID_ARGUMENT"],
    ["no message", Buffer.alloc(0), {}, status.UNIMPLEMENTED, "UNIMPLEMENTED"],
    ["half a message", body.subarray(0, body.length - 1), {}, status.UNIMPLEMENTED, "UNIMPLEMENTED"],
    ["two messages", Buffer.concat([body, body]), {}, status.UNIMPLEMENTED, "UNIMPLEMENTED"],
    ["a length beyond all limits", frame(Buffer.from("x"), { length: 0xffff_ffff }), {}, status.RESOURCE_EXHAUSTED, "PAYLOAD_TOO_LARGE"],
  ])("with %s is refused, and the next call is served", async (_kind, bytes, extra, code, reason) => {
    await using test = await startGateway();
    await using raw = new RawClient(test.address);
    expect(rawFailure(await raw.send(getAgent.path, bytes, extra))).toMatchObject({ code, reason });
    expect((await raw.send(getAgent.path, body)).trailers["grpc-status"]).toBe("0");
  });

  it("that is no gRPC at all is turned away", async () => {
    await using test = await startGateway();
    await using raw = new RawClient(test.address);
    expect((await raw.send(getAgent.path, body, { "content-type": "text/html" })).headers[":status"]).toBe(415);
    expect(test.calls).toEqual([]);
  });

  it("for an unknown method or service is UNIMPLEMENTED", async () => {
    await using test = await startGateway();
    await using raw = new RawClient(test.address);
    for (const path of ["/sirsi.agent.v1.AgentService/Nope", "/other.Service/Nope", "/"]) {
      expect(rawFailure(await raw.send(path, body)).code).toBe(status.UNIMPLEMENTED);
    }
  });

  it("cannot pass for one that the host itself marked", async () => {
    await using test = await startGateway();
    await using raw = new RawClient(test.address);
    expect((await raw.send(getAgent.path, body, { "sirsi-oversize-metadata": "1", "sirsi-accepts-gzip": "1" })).trailers["grpc-status"]).toBe("0");
  });
});

describe("a limit", () => {
  const limits = { messageMaxBytes: 10_000, metadataMaxBytes: 2_048 };

  it("on the request's size is told by its name and value", async () => {
    await using test = await startGateway({ limits });
    const failure = await failureOf(call(test.client, sendMessage, textRequest("x".repeat(20_000))));
    expect(failure).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: "PAYLOAD_TOO_LARGE", facts: { limit: "grpc.message_max_bytes", limit_bytes: "10000" } });
    expect(failure.text).toMatch(/^the request has 20\d\d\d bytes, more than the 10000 bytes that grpc.message_max_bytes allows\. Send less/);
    expect(test.calls).toEqual([]);
  });

  it("on the request's size holds for what it unpacks to", async () => {
    await using test = await startGateway({ limits });
    await using raw = new RawClient(test.address);
    const bomb = frame(gzipSync(Buffer.alloc(5_000_000)), { flag: 1 });
    expect(rawFailure(await raw.send(sendMessage.path, bomb, { "grpc-encoding": "gzip" }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      reason: "PAYLOAD_TOO_LARGE",
      text: expect.stringMatching(/^the request is larger than the 10000 bytes/) as string,
    });
  });

  it("on the reply's size is told too", async () => {
    const sendMessageBig: AgentServiceApi["sendMessage"] = () => Promise.resolve(create(SendMessageResponseSchema, { response: { content: "x".repeat(20_000) } }));
    await using test = await startGateway({ limits, agent: { sendMessage: sendMessageBig } });
    const failure = await failureOf(call(test.client, sendMessage, textRequest("")));
    expect(failure).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: "PAYLOAD_TOO_LARGE", text: expect.stringMatching(/^the reply has 200\d\d bytes/) as string });
  });

  it("on metadata is told when it is a little too much", async () => {
    await using test = await startGateway({ limits });
    const failure = await failureOf(call(test.client, getAgent, agentRequest(), headers({ large: "x".repeat(4_000) })));
    expect(failure).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: "PAYLOAD_TOO_LARGE", facts: { limit: "grpc.metadata_max_bytes", limit_bytes: "2048" } });
    expect(test.calls).toEqual([]);
  });

  it("on metadata counts every value of a repeated name", async () => {
    await using test = await startGateway({ limits });
    const metadata = new Metadata();
    for (let n = 0; n < 30; n += 1) metadata.add("again", "x".repeat(100));
    expect(await failureOf(call(test.client, getAgent, agentRequest(), metadata))).toMatchObject({ reason: "PAYLOAD_TOO_LARGE" });
  });

  it("on metadata breaks the stream when it is far too much, and the host goes on", async () => {
    await using test = await startGateway({ limits });
    const failure = await failureOf(call(test.client, getAgent, agentRequest(), headers({ large: "x".repeat(200_000) })));
    expect(failure.code).not.toBe(status.OK);
    expect(test.calls).toEqual([]);
    await call(test.client, getAgent, agentRequest());
    expect(test.calls).toEqual(["getAgent"]);
  });

  it("that is not reached is in nobody's way: 4 MiB less a little go both ways", async () => {
    await using test = await startGateway({ agent: { sendMessage: echo } });
    const client = newClient(test.address, { "grpc.max_receive_message_length": -1 });
    const content = "x".repeat(4 * 1024 * 1024 - 100);
    expect((await call(client, sendMessage, textRequest(content))).response?.content).toHaveLength(content.length);
    client.close();
  });
});

describe("compression", () => {
  const body = (content: string) => frame(toBinary(SendMessageRequestSchema, textRequest(content)));
  const accepting = { "grpc-accept-encoding": "identity,gzip" };

  it("of requests is understood", async () => {
    await using test = await startGateway({ agent: { sendMessage: echo } });
    const client = newClient(test.address, { "grpc.default_compression_algorithm": compressionAlgorithms.gzip });
    expect((await call(client, sendMessage, textRequest("x".repeat(5_000)))).response?.content).toHaveLength(5_000);
    client.close();
  });

  it("of replies is done when it is switched on, the caller accepts it and it is worth it", async () => {
    await using test = await startGateway({ agent: { sendMessage: echo }, compression: "gzip" });
    await using raw = new RawClient(test.address);
    const reply = await raw.send(sendMessage.path, body("x".repeat(5_000)), accepting);
    expect([reply.headers["grpc-encoding"], reply.body[0], reply.trailers["grpc-status"]]).toEqual(["gzip", 1, "0"]);
    expect(reply.body.readUInt32BE(1)).toBe(reply.body.length - 5);
    expect(fromBinary(SendMessageResponseSchema, gunzipSync(reply.body.subarray(5))).response?.content).toHaveLength(5_000);
    const small = await raw.send(sendMessage.path, body("x"), accepting);
    expect([small.headers["grpc-encoding"], small.body[0]]).toEqual(["identity", 0]);
    const plain = await raw.send(sendMessage.path, body("x".repeat(5_000)));
    expect([plain.headers["grpc-encoding"], plain.body[0]]).toEqual(["identity", 0]);
    expect((await call(test.client, sendMessage, textRequest("y".repeat(5_000)))).response?.content).toHaveLength(5_000);
  });

  it("of replies is not done unless it is switched on", async () => {
    await using test = await startGateway({ agent: { sendMessage: echo } });
    await using raw = new RawClient(test.address);
    const reply = await raw.send(sendMessage.path, body("x".repeat(5_000)), accepting);
    expect([reply.headers["grpc-encoding"], reply.body[0]]).toEqual(["identity", 0]);
  });
});

describe("every call", () => {
  it("is counted once, by method and status", async () => {
    const arrived = new Deferred<void>();
    const test = await startGateway({
      agent: {
        getAgent: (request) => (request.agentId === "" ? Promise.reject(new SirsiError("AGENT_NOT_FOUND", "no")) : Promise.resolve(create(GetAgentResponseSchema))),
        sendMessage: () => {
          arrived.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    await call(test.client, getAgent, agentRequest({ agentId: "a" }));
    await call(test.client, getAgent, agentRequest({ agentId: "a" }));
    await failureOf(call(test.client, getAgent, agentRequest()));
    const cancelled = failureOf(call(test.client, sendMessage, textRequest("")));
    await arrived.promise;
    test.client.close();
    await test.gateway.close();
    await cancelled;
    const text = await test.metrics.text();
    const counts = text.split("\n").filter((line) => line.startsWith("sirsi_grpc_requests_total{"));
    expect(counts.toSorted()).toEqual([
      'sirsi_grpc_requests_total{method="sirsi.agent.v1.AgentService/GetAgent",code="NOT_FOUND"} 1',
      'sirsi_grpc_requests_total{method="sirsi.agent.v1.AgentService/GetAgent",code="OK"} 2',
      'sirsi_grpc_requests_total{method="sirsi.agent.v1.AgentService/SendMessage",code="CANCELLED"} 1',
    ]);
    expect(text).toContain('sirsi_grpc_seconds_count{method="sirsi.agent.v1.AgentService/GetAgent"} 3');
  });
});
