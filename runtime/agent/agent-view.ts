/** One agent as others may look at it. */
import type { Manifest } from "../module/revision.ts";
import type { LatencyHistogram } from "../observe/index.ts";
import type { AgentCounters, AgentRecord } from "../store/store.ts";
import { type AgentPhase, phaseReason, publicState } from "./agent-state.ts";
import type { AgentView } from "./agents.ts";

export interface AgentLook {
  readonly record: AgentRecord;
  readonly manifest: Manifest;
  readonly phase: AgentPhase;
  readonly counters: AgentCounters;
  readonly mailboxDepth: number;
  readonly atWork: boolean;
  readonly memoryBytes: number;
  readonly latency: LatencyHistogram;
  readonly restarts: number;
  /** Why it failed last; empty when that is long ago. */
  readonly recentFault: string;
  /** Milliseconds since its last activity that make it idle. */
  readonly idleAfterMs: number;
  readonly now: number;
}

const NO_LATENCY = { p50Ms: 0, p99Ms: 0, maxMs: 0 } as const;

export function viewOf(look: AgentLook): AgentView {
  const { record, phase, counters, latency, recentFault } = look;
  return {
    record: { ...record, state: publicState(phase), statusMessage: phaseReason(phase) || recentFault },
    manifest: look.manifest,
    counters,
    mailboxDepth: look.mailboxDepth,
    activeOperations: look.atWork ? 1 : 0,
    health: healthOf(phase, recentFault),
    memoryBytes: look.memoryBytes,
    latency: latency.count === 0 ? NO_LATENCY : { p50Ms: latency.quantile(0.5), p99Ms: latency.quantile(0.99), maxMs: latency.maxMs },
    restarts: look.restarts,
    idle: !look.atWork && look.now - counters.lastActivityAt >= look.idleAfterMs,
  };
}

function healthOf(phase: AgentPhase, recentFault: string): AgentView["health"] {
  switch (phase.kind) {
    case "initializing":
      return "unknown";
    case "quarantined":
    case "terminated":
      return "unhealthy";
    case "restarting":
      return "degraded";
    case "ready":
    case "busy":
      return recentFault === "" ? "healthy" : "degraded";
  }
}
