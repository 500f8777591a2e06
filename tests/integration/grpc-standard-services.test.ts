import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { create, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { makeGenericClientConstructor, credentials, status, type Client, type ServiceError } from "@grpc/grpc-js";
import { service as healthService } from "grpc-health-check";
import { describe, expect, it } from "vitest";
import {
  ConverseRequestSchema,
  ConverseResponseSchema,
  GetAgentRequestSchema,
  GetAgentResponseSchema,
  StreamEventsRequestSchema,
  StreamEventsResponseSchema,
} from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { HEALTH_SERVICES } from "../../runtime/gateway/grpc/index.ts";
import type { HostStatus } from "../../runtime/hypervisor/service-api.ts";
import { AGENT_METHODS, call, describeFailure, failureOf, newClient, startGateway } from "../support/grpc-gateway.ts";

const { converse, getAgent, streamEvents } = AGENT_METHODS;
const bytes = (buffer: Buffer) => buffer;
const agentRequest = create(GetAgentRequestSchema);

type HealthReply = { status: string };
interface HealthClient extends Client {
  check(request: { service: string }, done: (error: ServiceError | null, reply?: HealthReply) => void): void;
  watch(request: { service: string }): AsyncIterable<HealthReply> & NodeJS.EventEmitter & { cancel(): void };
}
const HealthConstructor = makeGenericClientConstructor(healthService, "Health");
const healthClient = (address: string) => new HealthConstructor(address, credentials.createInsecure()) as unknown as HealthClient;

function health(client: HealthClient, service: string): Promise<string> {
  return new Promise((resolve) => client.check({ service }, (error, reply) => resolve(error === null ? (reply?.status ?? "") : status[error.code])));
}

describe("the health service", () => {
  it("says NOT_SERVING until it is told otherwise, service by service", async () => {
    await using test = await startGateway();
    const client = healthClient(test.address);
    const all = () => Promise.all(HEALTH_SERVICES.map((name) => health(client, name)));
    expect(HEALTH_SERVICES).toEqual(["", "sirsi.agent.v1.AgentService", "sirsi.hypervisor.v1.HypervisorService"]);
    expect(await all()).toEqual(["NOT_SERVING", "NOT_SERVING", "NOT_SERVING"]);
    test.gateway.setServing("", "SERVING");
    test.gateway.setServing("sirsi.agent.v1.AgentService", "SERVING");
    expect(await all()).toEqual(["SERVING", "SERVING", "NOT_SERVING"]);
    test.gateway.setServing("", "NOT_SERVING");
    expect(await health(client, "")).toBe("NOT_SERVING");
    expect(await health(client, "nobody")).toBe("NOT_FOUND");
    client.close();
  });

  it("tells those who watch of every change, and of a drain before the connection ends", async () => {
    await using test = await startGateway();
    const client = healthClient(test.address);
    const watch = client.watch({ service: "" });
    const seen: string[] = [];
    const ended = new Deferred<number>();
    watch.on("data", (reply: HealthReply) => {
      seen.push(reply.status);
      if (seen.length === 1) test.gateway.setServing("", "SERVING");
      if (seen.length === 2) void test.gateway.drain(60_000);
    });
    watch.on("error", (error: ServiceError) => ended.resolve(error.code));
    expect(await ended.promise).toBe(status.UNAVAILABLE);
    expect(seen).toEqual(["NOT_SERVING", "SERVING", "NOT_SERVING"]);
    client.close();
  });
});

/** The reflection protocol by hand: field 4 asks for a symbol's file, 7 for all services. */
function askReflection(client: Client, version: string, field: number, text: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stream = client.makeBidiStreamRequest(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, bytes, bytes);
    stream.on("data", resolve);
    stream.on("error", reject);
    stream.write(Buffer.from(new BinaryWriter().tag(field, WireType.LengthDelimited).string(text).finish()));
    stream.end();
  });
}

/** Every value of a length-delimited field. */
function fieldOf(message: Uint8Array, field: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const [at, wire] = reader.tag();
    if (at === field) found.push(reader.bytes());
    else reader.skip(wire, at);
  }
  return found;
}

describe.each(["v1", "v1alpha"])("reflection %s", (version) => {
  it("lists the services", async () => {
    await using test = await startGateway();
    const reply = await askReflection(test.client, version, 7, "*");
    const names = fieldOf(fieldOf(reply, 6)[0] as Uint8Array, 1).map((service) => Buffer.from(fieldOf(service, 1)[0] as Uint8Array).toString());
    expect(names.toSorted()).toEqual(["grpc.health.v1.Health", "sirsi.agent.v1.AgentService", "sirsi.hypervisor.v1.HypervisorService"]);
  });

  it.each([
    ["sirsi.agent.v1.AgentService.SendMessage", "sirsi/agent/v1/agent_service.proto"],
    ["sirsi.agent.v1.AgentEvent", "sirsi/agent/v1/events.proto"],
    ["sirsi.hypervisor.v1.Module", "sirsi/hypervisor/v1/hypervisor_service.proto"],
    ["google.protobuf.Timestamp", "google/protobuf/timestamp.proto"],
    ["grpc.health.v1.HealthCheckRequest", "grpc_health_v1.proto"],
  ])("finds the file of %s with all that it needs", async (symbol, name) => {
    await using test = await startGateway();
    const reply = await askReflection(test.client, version, 4, symbol);
    const files = fieldOf(fieldOf(reply, 4)[0] as Uint8Array, 1).map((file) => fromBinary(FileDescriptorProtoSchema, file));
    expect(files[0]?.name).toBe(name);
    const there = new Set(files.map((file) => file.name));
    for (const needed of files[0]?.dependency ?? []) expect(there).toContain(needed);
  });

  it("says so when it knows no such symbol", async () => {
    await using test = await startGateway();
    const reply = await askReflection(test.client, version, 4, "nobody.Knows");
    expect(Buffer.from(fieldOf(reply, 7)[0] as Uint8Array).toString()).toContain("nobody.Knows");
  });
});

describe("channelz", () => {
  const path = "/grpc.channelz.v1.Channelz/GetServers";
  const servers = (client: Client) => call(client, { path, requestSerialize: bytes, responseDeserialize: bytes }, Buffer.alloc(0));

  it("is there when it is switched on", async () => {
    await using test = await startGateway({ channelz: true });
    expect(fieldOf(await servers(test.client), 1).length).toBeGreaterThan(0);
  });

  it("is not there otherwise", async () => {
    await using test = await startGateway();
    await expect(servers(test.client)).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });
});

describe("a drain", () => {
  it("refuses new calls with a time to come back, and lets those in hand finish", async () => {
    const [arrived, finish] = [new Deferred<void>(), new Deferred<void>()];
    await using test = await startGateway({
      agent: {
        async getAgent() {
          arrived.resolve();
          await finish.promise;
          return create(GetAgentResponseSchema, { agent: { agentId: "done" } });
        },
      },
    });
    const inHand = call(test.client, getAgent, agentRequest);
    await arrived.promise;
    const drained = test.gateway.drain(60_000);
    expect(await failureOf(call(test.client, getAgent, agentRequest))).toMatchObject({ code: status.UNAVAILABLE, reason: "SHUTTING_DOWN", retryAfterMs: 1_000 });
    finish.resolve();
    expect((await inHand).agent?.agentId).toBe("done");
    await drained;
    await expect(call(newClient(test.address), getAgent, agentRequest)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await test.gateway.drain(0);
  });

  it("cuts off what is not done in time", async () => {
    const clock = new ManualClock();
    const [arrived, aborted] = [new Deferred<void>(), new Deferred<unknown>()];
    await using test = await startGateway({
      clock,
      agent: {
        getAgent: (_request, { signal }) => {
          signal.addEventListener("abort", () => aborted.resolve(signal.reason));
          arrived.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    const inHand = call(test.client, getAgent, agentRequest).catch((error: ServiceError) => error.code);
    await arrived.promise;
    const drained = test.gateway.drain(5_000);
    clock.advance(4_999);
    expect((await failureOf(call(test.client, getAgent, agentRequest))).reason).toBe("SHUTTING_DOWN");
    clock.advance(1);
    await drained;
    expect(await aborted.promise).toMatchObject({ code: "CANCELLED" });
    expect(await inHand).not.toBe(status.OK);
    expect(test.log.some(({ msg, calls }) => calls === 1 && String(msg).includes("cut off"))).toBe(true);
  });

  it("sends followers of events away at once", async () => {
    const following = new Deferred<void>();
    await using test = await startGateway({
      agent: {
        async *streamEvents(_request, { signal }) {
          yield create(StreamEventsResponseSchema);
          following.resolve();
          await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
        },
      },
    });
    const stream = test.client.makeServerStreamRequest(streamEvents.path, streamEvents.requestSerialize, streamEvents.responseDeserialize, create(StreamEventsRequestSchema));
    const ended = new Deferred<ServiceError>();
    stream.on("data", () => undefined);
    stream.on("error", (error: ServiceError) => ended.resolve(error));
    await following.promise;
    await test.gateway.drain(60_000);
    expect(describeFailure(await ended.promise)).toMatchObject({ code: status.UNAVAILABLE, reason: "SHUTTING_DOWN", retryAfterMs: 1_000 });
  });

  it("lets a conversation answer what it has read, then ends it well", async () => {
    const [arrived, finish] = [new Deferred<void>(), new Deferred<void>()];
    await using test = await startGateway({
      agent: {
        async *converse(requests) {
          for await (const request of requests) {
            arrived.resolve();
            await finish.promise;
            yield create(ConverseResponseSchema, { messageId: request.message?.messageId ?? "" });
          }
        },
      },
    });
    const stream = test.client.makeBidiStreamRequest(converse.path, converse.requestSerialize, converse.responseDeserialize);
    const [replies, ended] = [[] as string[], new Deferred<number>()];
    stream.on("data", (reply: { messageId: string }) => replies.push(reply.messageId));
    stream.on("status", ({ code }: { code: number }) => ended.resolve(code));
    const say = (messageId: string) => stream.write(create(ConverseRequestSchema, { message: { messageId } }));
    say("1");
    await arrived.promise;
    const drained = test.gateway.drain(60_000);
    say("too late");
    // The refusal comes back after what was said before it has arrived.
    expect((await failureOf(call(test.client, getAgent, agentRequest))).reason).toBe("SHUTTING_DOWN");
    finish.resolve();
    await drained;
    expect([await ended.promise, replies]).toEqual([status.OK, ["1"]]);
  });

  it("is not undone by a late report of good health", async () => {
    await using test = await startGateway();
    const client = healthClient(test.address);
    test.gateway.setServing("", "SERVING");
    expect(await health(client, "")).toBe("SERVING");
    const watch = client.watch({ service: "" });
    const [seen, ended] = [[] as string[], new Deferred<void>()];
    watch.on("data", (reply: HealthReply) => {
      seen.push(reply.status);
      if (seen.length > 1) return;
      void test.gateway.drain(60_000);
      test.gateway.setServing("", "SERVING");
    });
    watch.on("error", () => ended.resolve());
    await ended.promise;
    expect(seen).toEqual(["SERVING", "NOT_SERVING"]);
    client.close();
  });
});

describe("a host", () => {
  it("that says it is draining gets no new calls either", async () => {
    const state: { -readonly [Key in keyof HostStatus]: HostStatus[Key] } = { notReady: "", draining: false };
    await using test = await startGateway({ status: () => state });
    await call(test.client, getAgent, agentRequest);
    state.draining = true;
    expect((await failureOf(call(test.client, getAgent, agentRequest))).reason).toBe("SHUTTING_DOWN");
  });

  it("that cannot have its port says so, and how to go on", async () => {
    await using test = await startGateway();
    await expect(startGateway({ listen: test.gateway.address })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(/cannot listen on 127\.0\.0\.1:\d+ .*--grpc-listen/) as string,
    });
  });

  it("closes at once, and again", async () => {
    const arrived = new Deferred<void>();
    const test = await startGateway({
      agent: {
        getAgent: () => {
          arrived.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    const inHand = call(test.client, getAgent, agentRequest).catch((error: ServiceError) => error.code);
    await arrived.promise;
    await Promise.all([test.gateway.close(), test.gateway.close()]);
    await test[Symbol.asyncDispose]();
    expect(await inHand).toBe(status.UNAVAILABLE);
  });
});
