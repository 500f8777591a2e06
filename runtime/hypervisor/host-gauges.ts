/** Gauges that are read from the host's state when Prometheus asks. */
import type { AgentHouse } from "../agent/index.ts";
import type { ModuleRegistry } from "../module/index.ts";
import type { Metrics } from "../observe/index.ts";
import type { ShardPool } from "../sandbox/index.ts";
import type { Sessions } from "../session/index.ts";

interface Parts {
  readonly metrics: Metrics;
  readonly pool: ShardPool;
  readonly modules: ModuleRegistry;
}

export function collectGauges({ metrics, pool, modules }: Parts, house: AgentHouse, sessions: Sessions): void {
  metrics.onCollect(() => {
    metrics.gauge("sirsi_sessions").set(sessions.openCount);
    for (const { index, pendingCalls } of pool.shards) metrics.gauge("sirsi_queue_depth", String(index)).set(pendingCalls);
    metrics.clear("sirsi_module_info");
    for (const { name, active } of modules.list()) {
      if (active !== null) metrics.gauge("sirsi_module_info", name, active.manifest.version, active.digest).set(1);
    }
    collectAgents(metrics, house);
  });
}

function collectAgents(metrics: Metrics, house: AgentHouse): void {
  const byState = new Map<string, { readonly module: string; readonly state: string; count: number }>();
  const memory = new Map<string, number>();
  let waiting = 0;
  for (const agent of house.residents()) {
    const { record, mailboxDepth, memoryBytes } = agent.view();
    const key = `${record.module} ${record.state}`;
    const entry = byState.get(key) ?? { module: record.module, state: record.state, count: 0 };
    entry.count++;
    byState.set(key, entry);
    memory.set(record.module, (memory.get(record.module) ?? 0) + memoryBytes);
    waiting += mailboxDepth;
  }
  metrics.clear("sirsi_agents");
  metrics.clear("sirsi_guest_memory_bytes");
  for (const { module, state, count } of byState.values()) metrics.gauge("sirsi_agents", module, state).set(count);
  for (const [module, bytes] of memory) metrics.gauge("sirsi_guest_memory_bytes", module).set(bytes);
  metrics.gauge("sirsi_mailbox_messages").set(waiting);
  metrics.gauge("sirsi_agents_asleep").set(Math.max(0, house.count - house.residentCount));
}
