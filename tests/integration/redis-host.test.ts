/** Hosts that share a Redis: what they have of it, and that they do as well without. */
import { Redis } from "ioredis";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ClientError } from "../../runtime/client/index.ts";
import { ExchangeSchema, HealthStatus } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { startRedis, type RunningServer } from "../support/running-server.ts";
import { runHost, type TestHost } from "../support/running-host.ts";

let server: RunningServer;
let redis: Redis;
const hosts: TestHost[] = [];

beforeEach(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  // It is killed in one of the tests.
  redis.on("error", () => undefined);
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host[Symbol.asyncDispose]();
  redis.disconnect();
  await server.stop();
});

async function run(env: Readonly<Record<string, string>>): Promise<TestHost> {
  const host = await runHost({ modules: ["counter"], env: { SIRSI_CONTEXT_REDIS_URL: server.url, ...env } });
  hosts.push(host);
  await vi.waitFor(async () => expect(await contextOf(host)).toBe(HealthStatus.HEALTHY), { timeout: 10_000, interval: 10 });
  return host;
}

async function contextOf({ client }: TestHost): Promise<HealthStatus | undefined> {
  return (await client.agents.getSystemHealth({ includeMetrics: false })).health?.components["context"]?.status;
}

async function spawn({ client }: TestHost) {
  const { session } = await client.agents.createSession({ userId: "ada" });
  const sessionId = session?.sessionId ?? "";
  const { agent } = await client.agents.createAgent({ sessionId, agentType: "counter" });
  return { sessionId, agentId: agent?.agentId ?? "" };
}

type Place = Awaited<ReturnType<typeof spawn>>;
const send = ({ client }: TestHost, place: Place, content: string) => client.agents.sendMessage({ ...place, message: { content } }, { retries: 0 });
const shown = async ({ client }: TestHost, place: Place) => (await client.agents.listMessages(place)).exchanges.map(({ message }) => message?.content);

it("the conversation of an agent that sleeps is read from Redis when it is all there, and from the store otherwise", async () => {
  const host = await run({ SIRSI_AGENTS_MAX_RESIDENT: "1" });
  const place = await spawn(host);
  for (const content of ["add 1", "add 2"]) await send(host, place, content);
  const key = `sirsi.agents:conversation:${place.agentId}`;
  await vi.waitFor(async () => expect(await redis.llen(key)).toBe(2), { timeout: 10_000, interval: 5 });
  expect(await redis.pttl(key)).toBeGreaterThan(86_000_000);
  // Another agent takes its place in memory.
  await send(host, await spawn(host), "get");

  // What is in Redis is told from what is in the store by a mark.
  const newest = (await redis.lindexBuffer(key, 0))!;
  const exchange = fromBinary(ExchangeSchema, newest.subarray(2));
  await redis.lset(key, 0, Buffer.concat([Buffer.from("2:"), toBinary(ExchangeSchema, create(ExchangeSchema, { ...exchange, message: { ...exchange.message!, content: "from Redis" } }))]));
  await vi.waitFor(async () => expect(await shown(host, place)).toEqual(["from Redis", "add 1"]), { timeout: 10_000, interval: 20 });

  await redis.lpop(key);
  expect(await shown(host, place)).toEqual(["add 2", "add 1"]);
  await server.kill();
  await vi.waitFor(async () => expect(await contextOf(host)).toBe(HealthStatus.DEGRADED), { timeout: 10_000, interval: 10 });
  expect(await shown(host, place)).toEqual(["add 2", "add 1"]);
  await send(host, place, "add 3");
  expect((await send(host, place, "get")).response?.content).toBe("6");
  await server.restart();
  await vi.waitFor(async () => expect(await contextOf(host)).toBe(HealthStatus.HEALTHY), { timeout: 10_000, interval: 10 });
  expect(await shown(host, place)).toEqual(["get", "add 3", "add 2", "add 1"]);
});

it("a user has one limit on all hosts, and none is lifted when Redis is gone", async () => {
  const env = { SIRSI_LIMITS_MESSAGES_PER_MINUTE_PER_USER: "2" };
  const [one, other] = [await run(env), await run(env)];
  const [here, there] = [await spawn(one), await spawn(other)];
  for (let n = 0; n < 2; n++) await send(one, here, "add 1");
  const error: unknown = await send(one, here, "add 1").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject({ reason: "OVERLOADED", retryAfterMs: expect.any(Number) });
  // By itself, the other one would grant two.
  let granted = 0;
  while (await send(other, there, "add 1").then(() => true, () => false)) granted += 1;
  expect(granted).toBeLessThan(2);
  await server.kill();
  await expect(send(one, here, "add 1")).rejects.toMatchObject({ reason: "OVERLOADED" });
  expect((await send(other, there, "get")).response?.content).toBe(String(granted));
});
