import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";
import { GetSystemHealthRequestSchema, HealthStatus } from "../../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { HealthWord } from "../../../runtime/hypervisor/agent-service-deps.ts";
import { call, serviceBench } from "../../support/service-bench.ts";

const ask = (includeMetrics: boolean) => create(GetSystemHealthRequestSchema, { includeMetrics });

it.each([
  [[], HealthStatus.UNKNOWN],
  [["healthy", "healthy"], HealthStatus.HEALTHY],
  [["healthy", "unknown"], HealthStatus.UNKNOWN],
  [["unknown", "degraded", "healthy"], HealthStatus.DEGRADED],
  [["degraded", "unhealthy", "unknown"], HealthStatus.UNHEALTHY],
] as [HealthWord[], HealthStatus][])("parts that are %j make the whole %s", async (words, expected) => {
  const bench = await serviceBench();
  for (const [at, status] of words.entries()) bench.health[`part${at}`] = { status, message: `is ${status}`, details: { at: String(at) } };
  const { health, metrics } = await bench.service.getSystemHealth(ask(false), call());
  expect(health!.overallStatus).toBe(expected);
  expect(Object.values(health!.components).map(({ message }) => message)).toEqual(words.map((status) => `is ${status}`));
  expect(timestampMs(health!.lastCheck!)).toBe(bench.clock.now());
  expect(metrics).toBeUndefined();
});

it("tells the host's numbers when they are asked for", async () => {
  const bench = await serviceBench();
  bench.agents.put(bench.echo, { sessionId: bench.session.sessionId });
  const { metrics } = await bench.service.getSystemHealth(ask(true), call());
  expect(metrics).toMatchObject({ activeSessions: 1, totalAgents: 1, cpuUsagePercent: 12, memoryUsagePercent: 34, uptimeSeconds: 56n });
  expect(metrics!.customMetrics).toEqual({ sessions_opened: 1, suggestions_dropped: 0 });
});

it("takes a probe that fails for an answer", async () => {
  const bench = await serviceBench({ healthProbe: () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the disk is gone")) });
  const { health } = await bench.service.getSystemHealth(ask(false), call());
  expect(health!.overallStatus).toBe(HealthStatus.UNHEALTHY);
  expect(health!.components["host"]!.message).toContain("the disk is gone");
});
