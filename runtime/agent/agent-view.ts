/** One agent as others may look at it. */
import type { HealthResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { SirsiError } from "../core/errors.ts";
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
  /** What it answered when it was asked last; null when it never was, or said nothing. */
  readonly ownHealth: OwnHealth | null;
  /** Milliseconds since its last activity that make it idle. */
  readonly idleAfterMs: number;
  readonly now: number;
}

export interface OwnHealth {
  readonly health: AgentView["health"];
  readonly message: string;
}

/** What a guest answered to the question for its health, or why it gave no answer. */
export function ownHealthOf(answer: HealthResult | SirsiError | null): OwnHealth | null {
  if (answer === null) return null;
  if (answer instanceof SirsiError) return UNANSWERED.has(answer.code) ? { health: "unhealthy", message: `it gave no answer when it was asked for its health: ${answer.message}` } : null;
  const health = HEALTH_OF_STATUS[answer.status] ?? "unknown";
  return { health: health === "unknown" ? "healthy" : health, message: health === "healthy" ? "" : answer.message };
}

/** Anything else says nothing about the guest, or is told as a fault already. */
const UNANSWERED: ReadonlySet<string> = new Set(["DEADLINE_EXCEEDED", "GUEST_FUEL_EXHAUSTED"]);
const HEALTH_OF_STATUS: readonly AgentView["health"][] = ["unknown", "healthy", "degraded", "unhealthy", "unknown"];

const NO_LATENCY = { p50Ms: 0, p99Ms: 0, maxMs: 0 } as const;

export function viewOf(look: AgentLook): AgentView {
  const { record, phase, counters, latency, recentFault, ownHealth } = look;
  return {
    record: { ...record, state: publicState(phase), statusMessage: phaseReason(phase) || recentFault || (ownHealth?.message ?? "") },
    manifest: look.manifest,
    counters,
    mailboxDepth: look.mailboxDepth,
    activeOperations: look.atWork ? 1 : 0,
    health: healthOf(phase, recentFault, ownHealth),
    memoryBytes: look.memoryBytes,
    latency: latency.count === 0 ? NO_LATENCY : { p50Ms: latency.quantile(0.5), p99Ms: latency.quantile(0.99), maxMs: latency.maxMs },
    restarts: look.restarts,
    idle: !look.atWork && look.now - counters.lastActivityAt >= look.idleAfterMs,
  };
}

function healthOf(phase: AgentPhase, recentFault: string, own: OwnHealth | null): AgentView["health"] {
  switch (phase.kind) {
    case "initializing":
    case "left":
      return "unknown";
    case "quarantined":
    case "terminated":
      return "unhealthy";
    case "restarting":
      return "degraded";
    case "ready":
    case "busy":
      if (own !== null && own.health !== "healthy") return own.health;
      return recentFault === "" ? "healthy" : "degraded";
  }
}
