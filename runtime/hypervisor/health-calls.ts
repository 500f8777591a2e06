/** GetSystemHealth. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ComponentHealthSchema, GetSystemHealthResponseSchema, HealthStatus } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import type { AgentServiceDeps, ComponentReading, HealthWord } from "./agent-service-deps.ts";
import type { AgentServiceApi } from "./service-api.ts";
import type { SuggestionGuard } from "./suggestion-guard.ts";

const STATUS: Readonly<Record<HealthWord, HealthStatus>> = {
  healthy: HealthStatus.HEALTHY,
  degraded: HealthStatus.DEGRADED,
  unhealthy: HealthStatus.UNHEALTHY,
  unknown: HealthStatus.UNKNOWN,
};

/** From best to worst. What is not known is worse than well and better than known to be ill. */
const ORDER: readonly HealthWord[] = ["healthy", "unknown", "degraded", "unhealthy"];

export function healthCalls(deps: AgentServiceDeps, guard: SuggestionGuard): Pick<AgentServiceApi, "getSystemHealth"> {
  return {
    async getSystemHealth({ includeMetrics }) {
      const parts = Object.entries(await probe(deps));
      const worst = parts.reduce((rank, [, { status }]) => Math.max(rank, ORDER.indexOf(status)), 0);
      const components = Object.fromEntries(
        parts.map(([name, { status, message, details }]) => [name, create(ComponentHealthSchema, { status: STATUS[status], message, details: { ...details } })]),
      );
      return create(GetSystemHealthResponseSchema, {
        health: { overallStatus: STATUS[parts.length === 0 ? "unknown" : (ORDER[worst] ?? "unknown")], components, lastCheck: timestampFromMs(deps.clock.now()) },
        ...(includeMetrics ? { metrics: metricsOf(deps, guard) } : {}),
      });
    },
  };
}

/** Health is asked for when things go wrong, so a probe that fails is an answer too. */
async function probe({ healthProbe }: AgentServiceDeps): Promise<Readonly<Record<string, ComponentReading>>> {
  try {
    return await healthProbe();
  } catch (thrown) {
    return { host: { status: "unhealthy", message: `the host could not be probed: ${SirsiError.from(thrown).message}`, details: {} } };
  }
}

function metricsOf({ sessions, agents, systemMetrics }: AgentServiceDeps, guard: SuggestionGuard) {
  const { cpuUsagePercent, memoryUsagePercent, uptimeSeconds, customMetrics } = systemMetrics();
  return {
    activeSessions: sessions.openCount,
    totalAgents: agents.count,
    cpuUsagePercent,
    memoryUsagePercent,
    uptimeSeconds: BigInt(Math.floor(uptimeSeconds)),
    customMetrics: { ...customMetrics, suggestions_dropped: guard.dropped },
  };
}
