/** What only an agent's own host knows of it, as it travels. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AgentView } from "../agent/agents.ts";
import type { AgentLook, AgentLookSchema } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { AgentStateName } from "../store/store.ts";

export function lookOf({ record, counters, mailboxDepth, activeOperations, health, memoryBytes, latency, restarts, idle }: AgentView): MessageInitShape<typeof AgentLookSchema> {
  return {
    agentId: record.agentId,
    state: record.state,
    statusMessage: record.statusMessage,
    mailboxDepth: BigInt(mailboxDepth),
    activeOperations: BigInt(activeOperations),
    health,
    memoryBytes: BigInt(memoryBytes),
    latencyP50Ms: latency.p50Ms,
    latencyP99Ms: latency.p99Ms,
    latencyMaxMs: latency.maxMs,
    restarts: BigInt(restarts),
    idle,
    messagesProcessed: BigInt(counters.messagesProcessed),
    operationsCompleted: BigInt(counters.operationsCompleted),
    errorsEncountered: BigInt(counters.errorsEncountered),
    responseTimeTotalMs: counters.responseTimeTotalMs,
    lastActivityAt: counters.lastActivityAt,
  };
}

/** A view from the store, completed. */
export function withLook(view: AgentView, look: AgentLook): AgentView {
  return {
    ...view,
    record: { ...view.record, state: isState(look.state) ? look.state : view.record.state, statusMessage: look.statusMessage },
    counters: {
      messagesProcessed: Number(look.messagesProcessed),
      operationsCompleted: Number(look.operationsCompleted),
      errorsEncountered: Number(look.errorsEncountered),
      responseTimeTotalMs: look.responseTimeTotalMs,
      lastActivityAt: look.lastActivityAt,
    },
    mailboxDepth: Number(look.mailboxDepth),
    activeOperations: Number(look.activeOperations),
    health: isHealth(look.health) ? look.health : "unknown",
    memoryBytes: Number(look.memoryBytes),
    latency: { p50Ms: look.latencyP50Ms, p99Ms: look.latencyP99Ms, maxMs: look.latencyMaxMs },
    restarts: Number(look.restarts),
    idle: look.idle,
  };
}

const STATES: ReadonlySet<string> = new Set<AgentStateName>(["INITIALIZING", "READY", "BUSY", "ERROR", "TERMINATED"]);

function isState(text: string): text is AgentStateName {
  return STATES.has(text);
}

function isHealth(text: string): text is AgentView["health"] {
  return text === "healthy" || text === "degraded" || text === "unhealthy" || text === "unknown";
}
