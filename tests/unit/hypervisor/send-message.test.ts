import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { beforeEach, describe, expect, it } from "vitest";
import { ActionSchema, MessageMetricsSchema, MessageType, Priority, SendMessageRequestSchema, SuggestionSchema, SuggestionType } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { MessageOptionsSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { isId, newId } from "../../../runtime/core/ids.ts";
import type { CallContext } from "../../../runtime/hypervisor/service-api.ts";
import { echo } from "../../support/fake-agents.ts";
import { call, codeOf, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
let agentId: string;
beforeEach(async () => {
  bench = await serviceBench();
  agentId = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId }, { state: "READY" }).record.agentId;
});

type Asked = Fields<typeof SendMessageRequestSchema>;

function send(message: Asked["message"] = { content: "hi" }, changes: Asked = {}, context: Partial<CallContext> = {}) {
  return bench.service.sendMessage(create(SendMessageRequestSchema, { sessionId: bench.session.sessionId, agentId, ...(message === undefined ? {} : { message }), ...changes }), call(context));
}

const delivered = () => bench.agents.deliveries.at(-1)!;

describe("what the client leaves out", () => {
  it("is filled in: id, type, time, priority", async () => {
    const { messageId, response, replayed } = await send();
    expect(isId(messageId)).toBe(true);
    expect(response).toMatchObject({ content: "hi", type: MessageType.RESPONSE });
    expect(replayed).toBe(false);
    const { message, priority, deadline, sourceAgentId, context } = delivered();
    expect(message).toMatchObject({ messageId, type: MessageType.TEXT, content: "hi" });
    expect(timestampMs(message.timestamp!)).toBe(bench.clock.now());
    expect([priority, deadline, sourceAgentId, context]).toEqual([Priority.NORMAL, null, "", {}]);
  });

  it("and what it says is kept", async () => {
    const timestamp = timestampFromMs(1_000);
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const { messageId } = await send(
      { messageId: "my-id/1", type: MessageType.QUERY, content: "", metadata: { a: "1" }, timestamp },
      { options: { priority: Priority.CRITICAL, context: { c: "1" } } },
      { traceparent },
    );
    expect(messageId).toBe("my-id/1");
    const { message, priority, context, traceparent: seen } = delivered();
    expect(message).toMatchObject({ messageId: "my-id/1", type: MessageType.QUERY, metadata: { a: "1" }, timestamp });
    expect([priority, context, seen]).toEqual([Priority.CRITICAL, { c: "1" }, traceparent]);
  });

  it("is not filled in by copying: the agent gets the very message that was decoded", async () => {
    const request = create(SendMessageRequestSchema, { sessionId: bench.session.sessionId, agentId, message: { content: "hi" } });
    await bench.service.sendMessage(request, call());
    expect(delivered().message).toBe(request.message);
  });

  it("attachments get their size, and a size that is wrong is refused", async () => {
    const data = (size: bigint) => ({ content: "", attachments: [{ name: "a", sizeBytes: size, content: { case: "data" as const, value: new Uint8Array(5) } }, { name: "b", sizeBytes: 77n, content: { case: "url" as const, value: "https://example.com" } }] });
    await send(data(0n));
    expect(delivered().message.attachments.map(({ sizeBytes }) => sizeBytes)).toEqual([5n, 77n]);
    await send(data(5n));
    const error = await refusal(send(data(4n)));
    expect(wrongFields(error)).toEqual(["message.attachments[0].size_bytes"]);
    expect(error.message).toContain("says 4, and data has 5");
    expect(wrongFields(await refusal(send({ attachments: [{ sizeBytes: -1n }] })))).toEqual(["message.attachments[0].size_bytes"]);
  });
});

describe("deadlines", () => {
  const SECONDS = { timeoutSeconds: 5 };
  it.each([
    ["the call's, when nothing else is said", 9_000, {}, 0, 9_000],
    ["the option's, when it is earlier", 9_000, SECONDS, 0, 5_000],
    ["the call's, when it is earlier", 4_000, SECONDS, 0, 4_000],
    ["the agent's own, without an option", null, {}, 7, 7_000],
    ["the option's before the agent's own", null, SECONDS, 3, 5_000],
    ["the call's, when it is earlier than the agent's own", 6_000, {}, 7, 6_000],
  ] as [string, number | null, Fields<typeof MessageOptionsSchema>, number, number][])("%s", async (_name, deadline, options, own, expected) => {
    bench.clock.advance(1_000);
    const { record } = bench.agents.find(agentId)!;
    bench.agents.change(agentId, { config: { ...record.config, timeoutSeconds: own } });
    const began = bench.clock.monotonic();
    await send({ content: "x" }, { options }, { deadline: deadline === null ? null : began + deadline });
    expect(delivered().deadline).toBe(began + expected);
  });

  it("the caller's signal goes with the message", async () => {
    const { signal } = new AbortController();
    await send({ content: "x" }, {}, { signal });
    expect(delivered().signal).toBe(signal);
  });
});

describe("the answer", () => {
  it("tells how long it took, unless the agent's layer measured it", async () => {
    bench.agents.answer = (delivery) => {
      bench.clock.advance(12);
      return echo(delivery);
    };
    expect((await send()).metrics!.processingTimeMs).toBe(12);
    bench.agents.answer = (delivery) => ({ ...echo(delivery), metrics: create(MessageMetricsSchema, { processingTimeMs: 3, tokensProcessed: 9n }) });
    expect((await send()).metrics).toMatchObject({ processingTimeMs: 3, tokensProcessed: 9n });
  });

  it("tells a recorded reply from a new one", async () => {
    bench.agents.answer = (delivery) => ({ ...echo(delivery), replayed: true });
    expect((await send()).replayed).toBe(true);
  });

  it("has only suggestions that clients can rely on", async () => {
    const action = create(ActionSchema, { actionType: "run", command: "go" });
    const suggestion = (init: Fields<typeof SuggestionSchema>) => create(SuggestionSchema, { suggestionId: "s", type: SuggestionType.QUERY, action, confidence: 0.5, priority: 2, ...init });
    const told = [
      suggestion({}),
      suggestion({ suggestionId: "", type: SuggestionType.UNSPECIFIED, confidence: 7, priority: 0 }),
      suggestion({ confidence: -1, priority: 9 }),
      suggestion({ confidence: Number.NaN, priority: -3, type: 77 as SuggestionType }),
      create(SuggestionSchema, {}),
      suggestion({ action: create(ActionSchema, { actionType: "", command: "go" }) }),
      suggestion({ action: create(ActionSchema, { actionType: "run", command: "" }) }),
    ];
    bench.agents.answer = (delivery) => echo(delivery, told);
    const { suggestions } = await send({ messageId: "m1", content: "" });
    expect(suggestions.map(({ suggestionId, type, confidence, priority }) => [suggestionId, type, confidence, priority])).toEqual([
      ["s", SuggestionType.QUERY, 0.5, 2],
      ["m1/2", SuggestionType.ACTION, 1, 3],
      ["s", SuggestionType.QUERY, 0, 5],
      ["s", SuggestionType.ACTION, 0, 1],
    ]);
    const { metrics } = await bench.service.getSystemHealth({ $typeName: "sirsi.agent.v1.GetSystemHealthRequest", includeMetrics: true }, call());
    expect(metrics!.customMetrics["suggestions_dropped"]).toBe(3);
  });
});

describe("SendMessage refuses", () => {
  it("every wrong field at once", async () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`k${n}`, ""]));
    const error = await refusal(
      send(
        { messageId: "with space", type: 42 as MessageType, metadata: many, timestamp: { seconds: 1n, nanos: -1 }, attachments: Array.from({ length: 300 }, () => ({})) },
        { sessionId: "", agentId: "", options: { timeoutSeconds: -1, context: many, priority: 42 as Priority } },
      ),
    );
    expect(wrongFields(error)).toEqual([
      "agent_id",
      "message.attachments",
      "message.message_id",
      "message.metadata",
      "message.timestamp",
      "message.type",
      "options.context",
      "options.priority",
      "options.timeout_seconds",
      "session_id",
    ]);
    expect(bench.agents.deliveries).toEqual([]);
  });

  it("a request without a message", async () => {
    const request = create(SendMessageRequestSchema, { sessionId: bench.session.sessionId, agentId });
    expect(wrongFields(await refusal(bench.service.sendMessage(request, call())))).toEqual(["message"]);
  });

  it("sessions and agents that there are not, and those of others", async () => {
    expect(await codeOf(send({}, { sessionId: newId(1) }))).toBe("SESSION_NOT_FOUND");
    expect(await codeOf(send({}, { agentId: newId(1) }))).toBe("AGENT_NOT_FOUND");
    const foreign = bench.agents.put(bench.echo, { sessionId: newId(1) }).record.agentId;
    expect(await codeOf(send({}, { agentId: foreign }))).toBe("AGENT_NOT_FOUND");
    bench.agents.change(agentId, { state: "TERMINATED" });
    expect(await codeOf(send())).toBe("AGENT_TERMINATED");
  });

  it("an expired and an ended session", async () => {
    bench.clock.advance(3_600_000);
    expect(await codeOf(send())).toBe("SESSION_EXPIRED");
    await bench.sessions.end(bench.session.sessionId);
    expect(await codeOf(send())).toBe("SESSION_TERMINATED");
  });

  it("and passes on what the agent's layer refuses", async () => {
    bench.agents.answer = () => Promise.reject(new SirsiError("MAILBOX_FULL", "full", { retryAfterMs: 50 }));
    expect((await refusal(send())).details.retryAfterMs).toBe(50);
  });
});

it("a session that asked for logging has its messages logged, answered or not", async () => {
  bench = await serviceBench({ enableLogging: true });
  agentId = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId }, { state: "READY" }).record.agentId;
  await send({ messageId: "m1" });
  bench.agents.answer = () => Promise.reject(new SirsiError("GUEST_TRAP", "trapped"));
  await codeOf(send({ messageId: "m2" }));
  expect(bench.logged).toMatchObject([
    { messageId: "m1", agentId, outcome: "answered" },
    { messageId: "m2", agentId, outcome: "GUEST_TRAP" },
  ]);
});

describe("messages a minute", () => {
  const open = async (messageRates: { readonly perSession: number; readonly perUser: number }) => {
    bench = await serviceBench({ messageRates });
    agentId = bench.agents.put(bench.echo, { sessionId: bench.session.sessionId }, { state: "READY" }).record.agentId;
  };
  const sendTo = async (userId: string) => {
    const { sessionId } = await bench.sessions.create({ userId, context: {}, maxAgents: 0, timeoutSeconds: 0, enableLogging: false, preferences: {}, profile: null });
    const other = bench.agents.put(bench.echo, { sessionId }, { state: "READY" }).record.agentId;
    return () => send({ content: "hi" }, { sessionId, agentId: other });
  };

  it("of a session: those beyond are refused with when to come again, and never reach the agent", async () => {
    await open({ perSession: 3, perUser: 0 });
    const neighbour = await sendTo("ada");
    for (let n = 0; n < 3; n++) await send();
    const error = await refusal(send());
    expect(error).toMatchObject({ code: "OVERLOADED", retryable: true, details: { retryAfterMs: 20_000, metadata: { limit: "limits.messages_per_minute_per_session" } } });
    expect(bench.agents.deliveries).toHaveLength(3);
    await neighbour();
    bench.clock.advance(20_000);
    await send();
    expect(await codeOf(send())).toBe("OVERLOADED");
  });

  it("of a user: all of the user's sessions count together, and nobody else's", async () => {
    await open({ perSession: 0, perUser: 2 });
    const [second, stranger] = [await sendTo("ada"), await sendTo("grace")];
    await send();
    await second();
    expect((await refusal(send())).details.metadata).toEqual({ limit: "limits.messages_per_minute_per_user" });
    expect(await codeOf(second())).toBe("OVERLOADED");
    await stranger();
  });

  it("are not counted for what is refused anyway", async () => {
    await open({ perSession: 1, perUser: 1 });
    expect(await codeOf(send({ content: "hi" }, { agentId: newId(1) }))).toBe("AGENT_NOT_FOUND");
    expect(await codeOf(send({ type: 99 as MessageType }))).toBe("INVALID_ARGUMENT");
    await send();
  });
});
