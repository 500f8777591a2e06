/** The host's parts as GetSystemHealth shows them. */
import type { AgentHouse } from "../agent/index.ts";
import type { Bus } from "../bus/bus.ts";
import type { ModuleRegistry } from "../module/index.ts";
import type { ShardPool } from "../sandbox/index.ts";
import type { ComponentReading, SystemReading } from "./agent-service-deps.ts";
import type { ComponentLook, Look } from "./readiness.ts";
import type { SystemUsage } from "./system-usage.ts";

interface Parts {
  readonly bus: Bus;
  readonly pool: ShardPool;
  readonly modules: ModuleRegistry;
}

export function healthOf(look: Look, { bus, pool, modules }: Parts, house: AgentHouse): Readonly<Record<string, ComponentReading>> {
  return {
    store: fromLook(look.store, "a write was read back"),
    shards: { ...fromLook(look.guest, "a guest answered"), details: { shards: String(pool.shards.length), instances: String(pool.instances), probe_ms: look.guest.tookMs.toFixed(3) } },
    bus: { status: bus.status === "connected" ? "healthy" : "unhealthy", message: bus.status, details: {} },
    modules: modulesHealth(modules),
    agents: agentsHealth(house),
  };
}

function fromLook(look: ComponentLook, good: string): ComponentReading {
  return { status: look.ok ? "healthy" : "unhealthy", message: look.ok ? good : look.message, details: { probe_ms: look.tookMs.toFixed(3) } };
}

function modulesHealth(modules: ModuleRegistry): ComponentReading {
  const views = modules.list();
  const active = views.filter(({ active }) => active !== null).length;
  const troubled = views.filter(({ lastError }) => lastError !== null);
  const details = { active: String(active), ...Object.fromEntries(troubled.map(({ name, lastError }) => [name, lastError?.message ?? ""])) };
  if (troubled.length > 0) return { status: "degraded", message: `${troubled.length} of ${views.length} modules have a file that was not taken; \`sirsi module list\` tells why`, details };
  return { status: "healthy", message: `${active} modules are active`, details };
}

function agentsHealth(house: AgentHouse): ComponentReading {
  let restarting = 0;
  let quarantined = 0;
  for (const { phase } of house.residents()) {
    if (phase.kind === "restarting") restarting++;
    if (phase.kind === "quarantined") quarantined++;
  }
  const details = { agents: String(house.count), restarting: String(restarting), quarantined: String(quarantined) };
  const troubled = restarting + quarantined;
  return troubled === 0 ? { status: "healthy", message: `${house.count} agents`, details } : { status: "degraded", message: `${troubled} of ${house.count} agents are in ERROR`, details };
}

export function readSystem(usage: SystemUsage, { pool }: Pick<Parts, "pool">, house: AgentHouse): SystemReading {
  return {
    cpuUsagePercent: usage.cpuPercent,
    memoryUsagePercent: usage.memoryPercent,
    uptimeSeconds: usage.uptimeSeconds,
    customMetrics: {
      agents: house.count,
      agents_resident: house.residentCount,
      instances: pool.instances,
      shards: pool.shards.length,
      resident_bytes: process.memoryUsage.rss(),
      steps_waiting: pool.shards.reduce((sum, { pendingCalls }) => sum + pendingCalls, 0),
    },
  };
}
