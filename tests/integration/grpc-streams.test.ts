import { once } from "node:events";
import { constants } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { status, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import {
  ConverseRequestSchema,
  ConverseResponseSchema,
  GetAgentRequestSchema,
  StreamEventsRequestSchema,
  StreamEventsResponseSchema,
  type ConverseRequest,
  type ConverseResponse,
  type StreamEventsResponse,
} from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { AgentServiceApi } from "../../runtime/hypervisor/service-api.ts";
import { AGENT_METHODS, RawClient, call, describeFailure, frame, rawFailure, startGateway, type TestGateway } from "../support/grpc-gateway.ts";

const { converse, getAgent, streamEvents } = AGENT_METHODS;
const event = (sequence: number, bytes = 0) => create(StreamEventsResponseSchema, { event: { sequence: BigInt(sequence), eventType: "x".repeat(bytes) } });

const withEvents = (handle: AgentServiceApi["streamEvents"]) => startGateway({ agent: { streamEvents: handle } });

function follow(test: TestGateway, deadline?: number): ClientReadableStream<StreamEventsResponse> {
  const options = deadline === undefined ? {} : { deadline };
  return test.client.makeServerStreamRequest(streamEvents.path, streamEvents.requestSerialize, streamEvents.responseDeserialize, create(StreamEventsRequestSchema), options);
}

/** All sequences that came, and how the stream ended: null for well. */
async function collect(stream: AsyncIterable<StreamEventsResponse>): Promise<{ sequences: number[]; error: ServiceError | null }> {
  const sequences: number[] = [];
  try {
    for await (const reply of stream) sequences.push(Number(reply.event?.sequence));
    return { sequences, error: null };
  } catch (error) {
    return { sequences, error: error as ServiceError };
  }
}

describe("a server's stream", () => {
  it("brings every reply in order, then ends well", async () => {
    await using test = await withEvents(async function* () {
      for (let n = 1; n <= 500; n += 1) yield event(n);
    });
    expect(await collect(follow(test))).toEqual({ sequences: Array.from({ length: 500 }, (_, n) => n + 1), error: null });
  });

  it("ends with the handler's error after what it had yielded", async () => {
    await using test = await withEvents(async function* () {
      yield event(1);
      throw new SirsiError("EVENTS_NOT_KEPT", "gone");
    });
    const { sequences, error } = await collect(follow(test));
    expect(sequences).toEqual([1]);
    expect(describeFailure(error as ServiceError)).toMatchObject({ code: status.OUT_OF_RANGE, reason: "EVENTS_NOT_KEPT" });
  });

  it("ends with the error of a handler that refuses at once", async () => {
    await using test = await withEvents(() => {
      throw new SirsiError("SESSION_NOT_FOUND", "no session");
    });
    const { error } = await collect(follow(test));
    expect(describeFailure(error as ServiceError)).toMatchObject({ code: status.NOT_FOUND, reason: "SESSION_NOT_FOUND" });
  });

  it("waits for a client that reads slowly", async () => {
    let made = 0;
    const stopped = new Deferred<void>();
    await using test = await withEvents(async function* () {
      try {
        for (;;) yield event((made += 1), 10_000);
      } finally {
        stopped.resolve();
      }
    });
    await using raw = new RawClient(test.address);
    const stream = raw.open(streamEvents.path, frame(new Uint8Array()));
    await once(stream, "response");
    // Other calls go there and back until the stream has come to a halt.
    for (let before = -1; before !== made; ) {
      before = made;
      expect(made).toBeLessThan(1_000);
      for (let n = 0; n < 50; n += 1) await call(test.client, getAgent, create(GetAgentRequestSchema));
    }
    stream.close(constants.NGHTTP2_CANCEL);
    await stopped.promise;
  });

  it("that the client cancels ends the handler's iteration, though it waits for nothing but the signal", async () => {
    const [waiting, ended] = [new Deferred<void>(), new Deferred<unknown>()];
    await using test = await withEvents(async function* (_request, { signal }) {
      yield event(1);
      try {
        await new Promise((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason as Error));
          waiting.resolve();
        });
      } catch (error) {
        ended.resolve(error);
      }
    });
    const stream = follow(test);
    const collected = collect(stream);
    await waiting.promise;
    stream.cancel();
    expect(await ended.promise).toMatchObject({ code: "CANCELLED" });
    expect((await collected).error?.code).toBe(status.CANCELLED);
  });

  it("that the client cancels ends a handler that never looks at the signal", async () => {
    const ended = new Deferred<void>();
    await using test = await withEvents(async function* () {
      try {
        for (let n = 1; ; n += 1) yield event(n);
      } finally {
        ended.resolve();
      }
    });
    const stream = follow(test);
    stream.on("error", () => undefined);
    stream.once("data", () => stream.cancel());
    await ended.promise;
  });

  it("ends at its deadline", async () => {
    await using test = await withEvents(async function* (_request, { signal }) {
      yield event(1);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    const { error } = await collect(follow(test, systemClock.now() + 50));
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED);
  });

  it("refuses a malformed request", async () => {
    await using test = await startGateway();
    await using raw = new RawClient(test.address);
    expect(rawFailure(await raw.send(streamEvents.path, frame(Buffer.from([0x0a, 0xff]))))).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
    expect(test.calls).toEqual([]);
  });

  it("is compressed when it may be", async () => {
    await using test = await startGateway({
      compression: "gzip",
      agent: {
        async *streamEvents() {
          yield event(1);
          yield event(2, 5_000);
        },
      },
    });
    await using raw = new RawClient(test.address);
    const reply = await raw.send(streamEvents.path, frame(new Uint8Array()), { "grpc-accept-encoding": "gzip" });
    const second = 5 + reply.body.readUInt32BE(1);
    expect([reply.headers["grpc-encoding"], reply.body[0], reply.body[second]]).toEqual(["gzip", 0, 1]);
    expect((await collect(follow(test))).sequences).toEqual([1, 2]);
  });
});

const answerEach: AgentServiceApi["converse"] = async function* (requests) {
  for await (const request of requests) yield create(ConverseResponseSchema, { messageId: request.message?.messageId ?? "" });
};

function talk(test: TestGateway) {
  const stream = test.client.makeBidiStreamRequest(converse.path, converse.requestSerialize, converse.responseDeserialize);
  const replies: string[] = [];
  const ended = new Deferred<ServiceError | null>();
  const changed: (() => void)[] = [];
  stream.on("data", (reply: ConverseResponse) => {
    replies.push(reply.messageId);
    for (const wake of changed.splice(0)) wake();
  });
  stream.on("error", (error: ServiceError) => ended.resolve(error));
  stream.on("end", () => ended.resolve(null));
  return {
    stream,
    replies,
    ended: ended.promise,
    say: (messageId: string) => stream.write(create(ConverseRequestSchema, { message: { messageId } })),
    async heard(count: number): Promise<void> {
      while (replies.length < count) await new Promise<void>((resolve) => changed.push(resolve));
    },
  };
}

describe("a conversation", () => {
  it("answers while the client still speaks, and ends when the client has done so", async () => {
    await using test = await startGateway({ agent: { converse: answerEach } });
    const talking = talk(test);
    talking.say("1");
    await talking.heard(1);
    for (const id of ["2", "3"]) talking.say(id);
    talking.stream.end();
    expect(await talking.ended).toBeNull();
    expect(talking.replies).toEqual(["1", "2", "3"]);
  });

  it("reads no further than the handler asks", async () => {
    const [go, taken] = [new Deferred<void>(), [] as string[]];
    await using test = await startGateway({
      agent: {
        async *converse(requests) {
          await go.promise;
          for await (const request of requests) {
            taken.push(request.message?.messageId ?? "");
            yield create(ConverseResponseSchema, { messageId: request.message?.messageId ?? "" });
          }
        },
      },
    });
    const talking = talk(test);
    for (let n = 0; n < 200; n += 1) talking.say(`${n}`);
    talking.stream.end();
    go.resolve();
    expect(await talking.ended).toBeNull();
    expect(talking.replies).toEqual(Array.from({ length: 200 }, (_, n) => `${n}`));
  });

  it("tells the handler of a malformed message, and ends with it", async () => {
    await using test = await startGateway({ agent: { converse: answerEach } });
    await using raw = new RawClient(test.address);
    const good = frame(toBinary(ConverseRequestSchema, create(ConverseRequestSchema, { message: { messageId: "1" } })));
    const reply = await raw.send(converse.path, Buffer.concat([good, frame(Buffer.from([0x0a, 0xff]))]));
    expect(reply.body.length).toBeGreaterThan(5);
    expect(rawFailure(reply)).toMatchObject({ code: status.INVALID_ARGUMENT, reason: "INVALID_ARGUMENT" });
  });

  it("that the client cancels throws into the handler, which waits for the next message", async () => {
    const ended = new Deferred<unknown>();
    await using test = await startGateway({
      agent: {
        async *converse(requests) {
          try {
            yield* answerEach(requests, { deadline: null, signal: new AbortController().signal, traceparent: "" });
          } catch (error) {
            ended.resolve(error);
            throw error;
          }
        },
      },
    });
    const talking = talk(test);
    talking.say("1");
    await talking.heard(1);
    talking.stream.cancel();
    expect(await ended.promise).toMatchObject({ code: "CANCELLED" });
    expect((await talking.ended)?.code).toBe(status.CANCELLED);
  });

  it("may be ended by the handler while the client would still speak", async () => {
    await using test = await startGateway({
      agent: {
        async *converse(requests: AsyncIterable<ConverseRequest>) {
          for await (const request of requests) {
            yield create(ConverseResponseSchema, { messageId: `${request.message?.messageId} and goodbye` });
            return;
          }
        },
      },
    });
    const talking = talk(test);
    talking.say("1");
    expect(await talking.ended).toBeNull();
    expect(talking.replies).toEqual(["1 and goodbye"]);
  });
});
