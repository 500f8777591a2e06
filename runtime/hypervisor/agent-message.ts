/** Agents, their types and their numbers as the messages of the contract. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { AgentView } from "../agent/agents.ts";
import { AgentMetricsSchema, AgentSchema, AgentState, AgentStatusSchema, AgentTypeSchema, CapabilitySchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Agent, AgentMetrics, AgentStatus, AgentType, Capability } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Manifest } from "../module/revision.ts";
import type { AgentStateName } from "../store/store.ts";

const STATES: Readonly<Record<AgentStateName, AgentState>> = {
  INITIALIZING: AgentState.INITIALIZING,
  READY: AgentState.READY,
  BUSY: AgentState.BUSY,
  ERROR: AgentState.ERROR,
  TERMINATED: AgentState.TERMINATED,
};

export function agentMessage({ record, manifest }: AgentView): Agent {
  return create(AgentSchema, {
    agentId: record.agentId,
    sessionId: record.sessionId,
    agentType: record.module,
    state: STATES[record.state],
    createdAt: timestampFromMs(record.createdAt),
    updatedAt: timestampFromMs(record.updatedAt),
    config: {
      parameters: { ...record.config.parameters },
      timeoutSeconds: record.config.timeoutSeconds,
      maxConcurrentOperations: record.config.maxConcurrentOperations,
      enableCaching: record.config.enableCaching,
      requiredCapabilities: [...record.config.requiredCapabilities],
    },
    metadata: { ...record.metadata },
    parentAgentId: record.parentAgentId ?? "",
    moduleVersion: manifest.version,
    moduleDigest: record.digest,
  });
}

export function capabilityMessages(manifest: Manifest): Capability[] {
  return manifest.offers.map((offer) =>
    create(CapabilitySchema, {
      capabilityId: offer.capabilityId,
      name: offer.name,
      description: offer.description,
      parameters: offer.parameters.map(({ name, type, description, required }) => ({ name, type, description, required })),
    }),
  );
}

export function agentTypeMessage(manifest: Manifest): AgentType {
  return create(AgentTypeSchema, {
    typeId: manifest.name,
    displayName: manifest.displayName,
    description: manifest.description,
    version: manifest.version,
    capabilities: capabilityMessages(manifest),
    defaultConfig: { ...manifest.defaultConfig },
  });
}

export function agentMetricsMessage(view: AgentView): AgentMetrics {
  const { counters, latency } = view;
  return create(AgentMetricsSchema, {
    messagesProcessed: BigInt(counters.messagesProcessed),
    operationsCompleted: BigInt(counters.operationsCompleted),
    errorsEncountered: BigInt(counters.errorsEncountered),
    averageResponseTimeMs: counters.messagesProcessed === 0 ? 0 : counters.responseTimeTotalMs / counters.messagesProcessed,
    lastReset: timestampFromMs(view.record.createdAt),
    customMetrics: {
      latency_p50_ms: latency.p50Ms,
      latency_p99_ms: latency.p99Ms,
      latency_max_ms: latency.maxMs,
      mailbox_depth: view.mailboxDepth,
      memory_bytes: view.memoryBytes,
      restarts: view.restarts,
    },
  });
}

export function agentStatusMessage(view: AgentView): AgentStatus {
  const { record, counters } = view;
  return create(AgentStatusSchema, {
    state: STATES[record.state],
    statusMessage: record.statusMessage,
    ...(counters.lastActivityAt > 0 ? { lastActivity: timestampFromMs(counters.lastActivityAt) } : {}),
    activeOperations: view.activeOperations,
    statusDetails: {
      mailbox_depth: String(view.mailboxDepth),
      memory_bytes: String(view.memoryBytes),
      restarts: String(view.restarts),
      idle: String(view.idle),
      durability: view.manifest.durability,
      module_version: view.manifest.version,
      module_digest: record.digest,
    },
  });
}
