import { create } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, it } from "vitest";
import type { HostEvent } from "../../../runtime/agent/agents.ts";
import { ConverseRequestSchema, MessageType, StreamEventsRequestSchema } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { ConverseResponse } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { RpcCode, SirsiError } from "../../../runtime/core/errors.ts";
import type { ErrorCode } from "../../../runtime/core/errors.ts";
import { newId } from "../../../runtime/core/ids.ts";
import { echo } from "../../support/fake-agents.ts";
import { call, codeOf, collect, refusal, serviceBench, wrongFields } from "../../support/service-bench.ts";
import type { Fields, ServiceBench } from "../../support/service-bench.ts";

let bench: ServiceBench;
let ids: { sessionId: string; agentId: string };
beforeEach(async () => {
  bench = await serviceBench();
  const { sessionId } = bench.session;
  ids = { sessionId, agentId: bench.agents.put(bench.echo, { sessionId }, { state: "READY" }).record.agentId };
});

describe("Converse", () => {
  type Said = Fields<typeof ConverseRequestSchema>;
  async function* say(...requests: Said[]) {
    for (const request of requests) yield await Promise.resolve(create(ConverseRequestSchema, request));
  }
  const converse = (requests: Said[], signal = new AbortController().signal) => bench.service.converse(say(...requests), call({ signal }));
  const inShort = ({ messageId, kind }: ConverseResponse) => {
    if (kind.case === "response") return `${messageId}: ${kind.value.response?.content}`;
    return kind.case === "partial" ? `${messageId}~ ${kind.value.content}` : `${messageId}! ${kind.value?.reason}`;
  };
  const message = (messageId: string, content = messageId) => ({ message: { messageId, content } });

  it("answers requests in their order, the ids needed once", async () => {
    const responses = await collect(converse([{ ...ids, ...message("a") }, message("b"), { sessionId: ids.sessionId, ...message("c") }]));
    expect(responses.map(inShort)).toEqual(["a: a", "b: b", "c: c"]);
  });

  it("makes an id where the client chose none", async () => {
    const [response] = await collect(converse([{ ...ids, message: { content: "hi" } }]));
    expect(response!.messageId).toBe(bench.agents.deliveries[0]!.message.messageId);
    expect(response!.messageId).not.toBe("");
  });

  it("forwards previews while the agent works, and before the answer", async () => {
    const seen = new Deferred<void>();
    bench.agents.answer = async (delivery) => {
      delivery.onPartial!("he");
      await seen.promise;
      delivery.onPartial!("hell");
      delivery.onPartial!("hello");
      return echo(delivery);
    };
    const responses: string[] = [];
    for await (const response of converse([{ ...ids, ...message("a", "hello!") }])) {
      responses.push(inShort(response));
      if (response.kind.case === "partial") expect(response.kind.value).toMatchObject({ messageId: "a", type: MessageType.RESPONSE });
      seen.resolve();
    }
    expect(responses).toEqual(["a~ he", "a~ hell", "a~ hello", "a: hello!"]);
  });

  it("drops the oldest previews of a client that reads too slowly, never the answer", async () => {
    bench.agents.answer = (delivery) => {
      for (let n = 0; n < 3_000; n++) delivery.onPartial!(String(n));
      return echo(delivery);
    };
    const responses = (await collect(converse([{ ...ids, ...message("a") }]))).map(inShort);
    expect(responses).toHaveLength(1_025);
    expect([responses[0], responses.at(-2), responses.at(-1)]).toEqual(["a~ 1976", "a~ 2999", "a: a"]);
  });

  it("answers a message that fails with an error and goes on", async () => {
    bench.agents.answer = (delivery) => (delivery.message.messageId === "b" ? Promise.reject(new SirsiError("GUEST_TRAP", "it trapped")) : echo(delivery));
    const responses = await collect(converse([{ ...ids, ...message("a") }, message("b"), { message: { messageId: "no good" } }, {}, { agentId: newId(1), ...message("d") }, { sessionId: newId(1), ...message("e") }, message("c")]));
    expect(responses.map(inShort)).toEqual(["a: a", "b! GUEST_TRAP", "no good! INVALID_ARGUMENT", "! INVALID_ARGUMENT", "d! INVALID_ARGUMENT", "e! INVALID_ARGUMENT", "c: c"]);
    expect(responses[1]!.kind.value).toMatchObject({ code: RpcCode.INTERNAL, message: "it trapped" });
  });

  it("ends with a status when the first request names no session or agent that there is", async () => {
    expect(wrongFields(await refusal(collect(converse([message("a")]))))).toEqual(["agent_id", "session_id"]);
    expect(await codeOf(collect(converse([{ ...ids, sessionId: newId(1) }])))).toBe("SESSION_NOT_FOUND");
    expect(await codeOf(collect(converse([{ ...ids, agentId: newId(1) }])))).toBe("AGENT_NOT_FOUND");
    bench.clock.advance(3_600_000);
    expect(await codeOf(collect(converse([{ ...ids, ...message("a") }])))).toBe("SESSION_EXPIRED");
  });

  it.each(["AGENT_TERMINATED", "SHUTTING_DOWN", "CANCELLED"] satisfies ErrorCode[])("ends with a status on %s, which further messages would only get again", async (code) => {
    bench.agents.answer = () => Promise.reject(new SirsiError(code, "no more"));
    expect(await codeOf(collect(converse([{ ...ids, ...message("a") }, message("b")])))).toBe(code);
    expect(bench.agents.deliveries).toHaveLength(1);
  });

  it("ends with a status when the session ends in the middle", async () => {
    const stream = converse([{ ...ids, ...message("a") }, message("b")])[Symbol.asyncIterator]();
    expect(inShort((await stream.next()).value)).toBe("a: a");
    bench.clock.advance(3_600_000);
    expect(await codeOf(stream.next())).toBe("SESSION_EXPIRED");
  });

  it("ends with a status when the caller is gone, whatever the message ended with", async () => {
    const controller = new AbortController();
    bench.agents.answer = () => {
      controller.abort();
      return Promise.reject(new SirsiError("DEADLINE_EXCEEDED", "too late"));
    };
    expect(await codeOf(collect(converse([{ ...ids, ...message("a") }], controller.signal)))).toBe("DEADLINE_EXCEEDED");
  });

  it("ends when the client has nothing more to say", async () => {
    expect(await collect(converse([]))).toEqual([]);
  });
});

describe("StreamEvents", () => {
  const stream = (changes: Fields<typeof StreamEventsRequestSchema> = {}, signal = new AbortController().signal) =>
    bench.service.streamEvents(create(StreamEventsRequestSchema, { sessionId: ids.sessionId, ...changes }), call({ signal }));
  const happen = (type: string): HostEvent => ({ type, sessionId: ids.sessionId, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes: {}, traceparent: "" });

  it("follows from a sequence to the session's end, only the types that are asked for", async () => {
    bench.events.publish(happen("A"));
    const all = collect(stream({ fromSequence: 1n }));
    const some = collect(stream({ fromSequence: 1n, eventTypes: ["SESSION_ENDED", "B"] }));
    bench.events.publish(happen("B"));
    await bench.sessions.end(ids.sessionId);
    expect((await all).map(({ event }) => event!.eventType)).toEqual(["SESSION_CREATED", "A", "B", "SESSION_ENDED"]);
    expect((await some).map(({ event }) => event!.eventType)).toEqual(["B", "SESSION_ENDED"]);
  });

  it("ends at once on a session that is over", async () => {
    await bench.sessions.end(ids.sessionId);
    expect(await collect(stream())).toEqual([]);
  });

  it("is cancelled with its call", async () => {
    const controller = new AbortController();
    const following = codeOf(collect(stream({}, controller.signal)));
    await Promise.resolve();
    controller.abort();
    expect(await following).toBe("CANCELLED");
  });

  it("names every wrong field, and refuses what is not kept and what there is not", async () => {
    const error = await refusal(collect(stream({ sessionId: "x", fromSequence: -1n, eventTypes: ["", ...Array.from({ length: 200 }, () => "A")] })));
    expect(wrongFields(error)).toEqual(["event_types", "event_types", "from_sequence", "session_id"]);
    expect(await codeOf(collect(stream({ sessionId: newId(1) })))).toBe("SESSION_NOT_FOUND");
    for (let n = 0; n < 1_001; n++) bench.events.publish(happen("A"));
    expect(await codeOf(collect(stream({ fromSequence: 1n })))).toBe("EVENTS_NOT_KEPT");
  });
});
