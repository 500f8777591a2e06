/** The host's parts as GetSystemHealth shows them. */
import type { AgentHouse } from "../agent/index.ts";
import type { ModuleRegistry } from "../module/index.ts";
import type { SharedContext } from "../session/context/index.ts";
import type { ShardPool } from "../sandbox/index.ts";
import type { ComponentReading, SystemReading } from "./agent-service-deps.ts";
import { type BusLook, busHealth, type StreamLook, streamHealth } from "./bus-health.ts";
import type { ComponentLook, Look } from "./readiness.ts";
import type { SystemUsage } from "./system-usage.ts";

/** Of what an agent says of itself. */
const SAID_MAX_CHARS = 200;

interface Parts {
  readonly bus: BusLook;
  readonly context: Pick<SharedContext, "status" | "reason" | "counts">;
  /** Null for a host in no fleet. */
  readonly events: StreamLook | null;
  readonly pool: ShardPool;
  readonly modules: ModuleRegistry;
}

export function healthOf(look: Look, { bus, context, events, pool, modules }: Parts, house: AgentHouse): Readonly<Record<string, ComponentReading>> {
  return {
    store: fromLook(look.store, "a write was read back"),
    shards: { ...fromLook(look.guest, "a guest answered"), details: { shards: String(pool.shards.length), instances: String(pool.instances), probe_ms: look.guest.tookMs.toFixed(3) } },
    bus: busHealth(bus),
    ...(context.status === "in-process" ? {} : { context: contextHealth(context) }),
    ...(events === null ? {} : { events: streamHealth(events) }),
    modules: modulesHealth(modules),
    agents: agentsHealth(house),
  };
}

function fromLook(look: ComponentLook, good: string): ComponentReading {
  return { status: look.ok ? "healthy" : "unhealthy", message: look.ok ? good : look.message, details: { probe_ms: look.tookMs.toFixed(3) } };
}

function contextHealth({ status, reason, counts }: Parts["context"]): ComponentReading {
  const details = { unanswered: String(counts.unanswered), dropped: String(counts.dropped) };
  if (status === "connected") return { status: "healthy", message: status, details };
  return { status: "degraded", message: `Redis is out of reach (${reason}): each host keeps rate limits by itself, and recent conversations come from the store`, details };
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
  const troubles = { restarting: 0, quarantined: 0, unwell: 0 };
  let said = "";
  for (const { id, phase, ownHealth } of house.residents()) {
    if (phase.kind === "restarting" || phase.kind === "quarantined") {
      troubles[phase.kind]++;
    } else if (ownHealth !== null && ownHealth.health !== "healthy") {
      troubles.unwell++;
      said ||= `agent ${id} says: ${ownHealth.message === "" ? ownHealth.health : ownHealth.message.slice(0, SAID_MAX_CHARS)}`;
    }
  }
  const details = { agents: String(house.count), resident: String(house.residentCount), ...Object.fromEntries(Object.entries(troubles).map(([name, count]) => [name, String(count)])) };
  const failed = troubles.restarting + troubles.quarantined;
  if (failed + troubles.unwell === 0) return { status: "healthy", message: `${house.count} agents`, details };
  const parts = [...(failed === 0 ? [] : [`${failed} of ${house.count} agents are in ERROR`]), ...(troubles.unwell === 0 ? [] : [`${troubles.unwell} are not well by their own word; ${said}`])];
  return { status: "degraded", message: parts.join("; "), details };
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
