/** What the agent service stands on, and the questions that most of its calls ask first. */
import type { Agents, AgentView } from "../agent/agents.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { FieldViolations } from "../core/field-violations.ts";
import type { HostLimits } from "../core/limits.ts";
import type { Manifest } from "../module/revision.ts";
import type { Logger } from "../observe/logger.ts";
import type { SessionEvents, Sessions } from "../session/index.ts";
import type { Conversations } from "../session/context/index.ts";
import type { AgentRecord } from "../store/store.ts";
import type { MessageRates } from "./message-rates.ts";

/** What kinds of agents there are. */
export interface AgentTypes {
  /** Manifests of the active revisions, by name. */
  available(): readonly Manifest[];
  /** What a new agent of `name` or `name@version` gets; AGENT_TYPE_NOT_FOUND, MODULE_RETIRED. */
  resolve(agentType: string): { readonly manifest: Manifest };
}

export type HealthWord = "healthy" | "degraded" | "unhealthy" | "unknown";

export interface ComponentReading {
  readonly status: HealthWord;
  readonly message: string;
  readonly details: Readonly<Record<string, string>>;
}

export interface SystemReading {
  readonly cpuUsagePercent: number;
  readonly memoryUsagePercent: number;
  readonly uptimeSeconds: number;
  readonly customMetrics: Readonly<Record<string, number>>;
}

export interface AgentServiceDeps {
  readonly sessions: Sessions;
  readonly agents: Agents;
  readonly events: Pick<SessionEvents, "follow">;
  /** Of all hosts; null when there are none but the store's. */
  readonly conversations: Conversations | null;
  /** Null: clients may send as fast as they can. */
  readonly messageRates: MessageRates | null;
  readonly types: AgentTypes;
  readonly clock: Clock;
  readonly limits: HostLimits;
  /** The host's parts by name: store, bus, shards, modules, … */
  readonly healthProbe: () => Promise<Readonly<Record<string, ComponentReading>>>;
  readonly systemMetrics: () => SystemReading;
  readonly log: Logger;
}

/** An agent of this session, whatever its state; AGENT_NOT_FOUND, also for one of another session. */
export async function agentOf(deps: Pick<AgentServiceDeps, "agents">, sessionId: string, agentId: string): Promise<AgentView> {
  const view = await deps.agents.find(agentId);
  if (view !== null && view.record.sessionId === sessionId) return view;
  throw agentNotFound(sessionId, agentId);
}

/** The same of its record alone. At once for an agent in use. */
export function agentRecordOf(deps: Pick<AgentServiceDeps, "agents">, sessionId: string, agentId: string): AgentRecord | Promise<AgentRecord> {
  const found = deps.agents.recordOf(agentId);
  return found instanceof Promise ? found.then((record) => ofSession(record, sessionId, agentId)) : ofSession(found, sessionId, agentId);
}

function ofSession(record: AgentRecord | null, sessionId: string, agentId: string): AgentRecord {
  if (record?.sessionId === sessionId) return record;
  throw agentNotFound(sessionId, agentId);
}

function agentNotFound(sessionId: string, agentId: string): SirsiError {
  return new SirsiError("AGENT_NOT_FOUND", `session ${sessionId} has no agent ${agentId}; list the agents it has, or create one`, {
    metadata: { session_id: sessionId, agent_id: agentId },
  });
}

const PAGE_SIZE_MAX = 1_000;

/** The page size to use; a wrong one is added to `wrong`. */
export function pageSize(asked: number, fallback: number, wrong: FieldViolations): number {
  wrong.requireWithin(asked, 0, PAGE_SIZE_MAX, "page_size", `0 for ${fallback}`);
  return asked === 0 ? fallback : asked;
}
