/** An agent service on fakes and a clock that the test holds. */
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { createAgentService } from "../../runtime/hypervisor/agent-service.ts";
import { MessageRates } from "../../runtime/hypervisor/message-rates.ts";
import type { Config } from "../../runtime/config/index.ts";
import type { AgentServiceDeps, ComponentReading } from "../../runtime/hypervisor/agent-service-deps.ts";
import type { AgentServiceApi, CallContext } from "../../runtime/hypervisor/service-api.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { ErrorCode } from "../../runtime/core/errors.ts";
import { DEFAULT_HOST_LIMITS } from "../../runtime/core/limits.ts";
import type { HostLimits } from "../../runtime/core/limits.ts";
import { silentLogger } from "../../runtime/observe/logger.ts";
import { EventLog, openSessions } from "../../runtime/session/index.ts";
import type { Conversations } from "../../runtime/session/context/index.ts";
import { MemoryRates } from "../../runtime/session/context/memory/memory-rates.ts";
import type { SessionSettings, Sessions } from "../../runtime/session/index.ts";
import type { Manifest } from "../../runtime/module/revision.ts";
import type { SessionRecord } from "../../runtime/store/store.ts";
import { FakeAgents, manifest } from "./fake-agents.ts";
import { SessionShelf } from "./session-shelf.ts";

export const SETTINGS: SessionSettings = { defaultTimeoutSeconds: 3_600, graceSeconds: 30, retentionSeconds: 86_400, sweepIntervalSeconds: 5 };

/** What a message may be made of, field by field. */
export type Fields<Schema extends DescMessage> = Exclude<MessageInitShape<Schema>, { readonly $typeName: string }>;

export interface ServiceBench {
  readonly service: AgentServiceApi;
  readonly sessions: Sessions;
  readonly agents: FakeAgents;
  readonly events: EventLog;
  readonly shelf: SessionShelf;
  readonly clock: ManualClock;
  readonly echo: Manifest;
  readonly session: SessionRecord;
  readonly health: Record<string, ComponentReading>;
  readonly logged: Record<string, unknown>[];
}

export interface BenchOptions {
  readonly limits?: Partial<HostLimits>;
  readonly maxAgents?: number;
  readonly enableLogging?: boolean;
  readonly healthProbe?: AgentServiceDeps["healthProbe"];
  readonly conversations?: Conversations;
  readonly messageRates?: Config["messageRates"];
}

export async function serviceBench(options: BenchOptions = {}): Promise<ServiceBench> {
  const clock = new ManualClock();
  const echo = manifest("echo");
  const agents = new FakeAgents(clock, echo, manifest("aws"));
  const shelf = new SessionShelf();
  const limits: HostLimits = { ...DEFAULT_HOST_LIMITS, ...options.limits };
  const bus = { publish: () => {}, hasSubscribers: () => false };
  const events = new EventLog({ bus, prefix: "test", clock, eventsKept: limits.eventsKept, log: silentLogger, metrics: null });
  const sessions = await openSessions({ store: shelf, agents, events, clock, settings: SETTINGS, limits, log: silentLogger });
  const health: Record<string, ComponentReading> = {};
  const logged: Record<string, unknown>[] = [];
  const service = createAgentService({
    sessions,
    agents,
    events,
    conversations: options.conversations ?? null,
    messageRates: options.messageRates === undefined ? null : MessageRates.of(new MemoryRates(clock), options.messageRates),
    types: {
      available: () => [...agents.manifests.values()],
      resolve: (agentType) => {
        const found = agents.manifests.get(agentType.split("@")[0] ?? "");
        if (found === undefined) throw new SirsiError("AGENT_TYPE_NOT_FOUND", `no module ${agentType}`);
        return { manifest: found };
      },
    },
    clock,
    limits,
    healthProbe: options.healthProbe ?? (() => Promise.resolve(health)),
    systemMetrics: () => ({ cpuUsagePercent: 12, memoryUsagePercent: 34, uptimeSeconds: 56.7, customMetrics: { sessions_opened: 1 } }),
    log: { ...silentLogger, info: (fields: unknown) => void logged.push(fields as Record<string, unknown>) },
  });
  const session = await sessions.create({
    userId: "ada",
    context: {},
    maxAgents: options.maxAgents ?? 0,
    timeoutSeconds: 0,
    enableLogging: options.enableLogging ?? false,
    preferences: {},
    profile: null,
  });
  return { service, sessions, agents, events, shelf, clock, echo, session, health, logged };
}

export function call(changes: Partial<CallContext> = {}): CallContext {
  return { deadline: null, signal: new AbortController().signal, traceparent: "", ...changes };
}

/** The error that a call ends with. */
export async function refusal(promise: Promise<unknown>): Promise<SirsiError> {
  const thrown = await promise.then(
    (value) => ({ value }),
    (reason: unknown) => reason,
  );
  if (thrown instanceof SirsiError) return thrown;
  throw new SirsiError("INTERNAL", `the call did not end with a SirsiError but with ${JSON.stringify(thrown, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value))}`);
}

export async function codeOf(promise: Promise<unknown>): Promise<ErrorCode> {
  return (await refusal(promise)).code;
}

export function wrongFields(error: SirsiError): string[] {
  return (error.details.fields ?? []).map(({ field }) => field).toSorted();
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
