/** Agents without guests: what the layers above the agent layer are tested against. */
import { create } from "@bufbuild/protobuf";
import type { AgentChanges, AgentPage, Agents, AgentView, Delivery, Reply, SpawnSpec } from "../../runtime/agent/agents.ts";
import { MessageMetricsSchema, MessageSchema, MessageType } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Suggestion, SuggestionContext } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { newId } from "../../runtime/core/ids.ts";
import type { Manifest } from "../../runtime/module/revision.ts";

export function manifest(name: string, changes: Partial<Manifest> = {}): Manifest {
  return {
    name,
    version: "1.0.0",
    abi: 1,
    displayName: `The ${name} agent`,
    description: `Does ${name}.`,
    durability: "wait",
    stateSchema: 1,
    onSwap: "migrate",
    restart: "permanent",
    supervision: "one_for_one",
    offers: [{ capabilityId: `${name}.do`, name: "Do", description: "Does it.", parameters: [{ name: "what", type: "string", description: "", required: true }] }],
    requests: [],
    defaultConfig: { mode: "plain" },
    topics: [],
    placement: { labels: {} },
    limits: {},
    ...changes,
  };
}

type Answer = (delivery: Delivery, agentId: string) => Promise<Reply> | Reply;

export class FakeAgents implements Agents {
  readonly views = new Map<string, AgentView>();
  readonly manifests = new Map<string, Manifest>();
  readonly deliveries: Delivery[] = [];
  readonly stops: { readonly agentId: string; readonly reason: string }[] = [];
  readonly suggestCalls: { readonly context: SuggestionContext; readonly max: number; readonly deadline: number | null }[] = [];
  readonly clock: Clock;
  /** What a message gets; by default an echo. */
  answer: Answer = (delivery) => echo(delivery);
  suggestions: readonly Suggestion[] = [];
  recorded: { readonly sequence: number; readonly body: Uint8Array }[] = [];
  /** Awaited by every spawn, once the agent is listed as INITIALIZING. */
  spawning: () => Promise<void> = () => Promise.resolve();
  stopping: (agentId: string) => Promise<void> = () => Promise.resolve();

  constructor(clock: Clock, ...manifests: readonly Manifest[]) {
    this.clock = clock;
    for (const one of manifests) this.manifests.set(one.name, one);
  }

  get count(): number {
    return [...this.views.values()].filter(({ record }) => record.state !== "TERMINATED").length;
  }

  async spawn(spec: SpawnSpec): Promise<AgentView> {
    const found = this.manifests.get(spec.agentType.split("@")[0] ?? "");
    if (found === undefined) throw new SirsiError("AGENT_TYPE_NOT_FOUND", `no module ${spec.agentType}`);
    const view = this.put(found, spec);
    try {
      await this.spawning();
    } catch (thrown) {
      this.views.delete(view.record.agentId);
      throw thrown;
    }
    return this.change(view.record.agentId, { state: "READY" });
  }

  /** An agent as it is at the start of its spawn. */
  put(of: Manifest, spec: Pick<SpawnSpec, "sessionId"> & Partial<SpawnSpec>, record: Partial<AgentView["record"]> = {}): AgentView {
    const now = this.clock.now();
    const view: AgentView = {
      record: {
        agentId: spec.agentId ?? newId(now),
        sessionId: spec.sessionId,
        module: of.name,
        digest: "d".repeat(64),
        state: "INITIALIZING",
        parentAgentId: spec.parentAgentId ?? null,
        createdAt: now,
        updatedAt: now,
        metadata: spec.metadata ?? {},
        config: spec.config ?? { parameters: {}, timeoutSeconds: 0, maxConcurrentOperations: 0, enableCaching: false, requiredCapabilities: [] },
        context: spec.context ?? {},
        statusMessage: "",
        ...record,
      },
      manifest: of,
      counters: { messagesProcessed: 4, operationsCompleted: 5, errorsEncountered: 1, responseTimeTotalMs: 10, lastActivityAt: now },
      mailboxDepth: 2,
      activeOperations: 1,
      health: "healthy",
      memoryBytes: 65_536,
      latency: { p50Ms: 2, p99Ms: 3, maxMs: 4 },
      restarts: 0,
      idle: false,
    };
    this.views.set(view.record.agentId, view);
    return view;
  }

  change(agentId: string, record: Partial<AgentView["record"]>): AgentView {
    const before = this.views.get(agentId)!;
    const after = { ...before, record: { ...before.record, ...record } };
    this.views.set(agentId, after);
    return after;
  }

  find(agentId: string): AgentView | null {
    return this.views.get(agentId) ?? null;
  }

  recordOf(agentId: string): AgentView["record"] | null {
    return this.views.get(agentId)?.record ?? null;
  }

  ofSession(sessionId: string): readonly AgentView[] {
    return [...this.views.values()].filter(({ record }) => record.sessionId === sessionId && record.state !== "TERMINATED");
  }

  countOf(sessionId: string): number {
    return this.ofSession(sessionId).length;
  }

  list(sessionId: string, afterAgentId: string, limit: number): Promise<AgentPage> {
    const all = this.ofSession(sessionId)
      .filter(({ record }) => record.agentId > afterAgentId)
      .toSorted((a, b) => (a.record.agentId < b.record.agentId ? -1 : 1));
    const views = all.slice(0, limit);
    return Promise.resolve({ views, next: all.length > limit ? (views.at(-1)?.record.agentId ?? null) : null });
  }

  async send(agentId: string, delivery: Delivery): Promise<Reply> {
    this.deliveries.push(delivery);
    if (this.views.get(agentId)?.record.state === "TERMINATED") throw new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended`);
    return await this.answer(delivery, agentId);
  }

  suggest(_agentId: string, context: SuggestionContext, max: number, deadline: number | null): Promise<readonly Suggestion[]> {
    this.suggestCalls.push({ context, max, deadline });
    return Promise.resolve(this.suggestions);
  }

  update(agentId: string, changes: AgentChanges): Promise<AgentView> {
    return Promise.resolve(this.change(agentId, { ...changes, updatedAt: this.clock.now() }));
  }

  async stop(agentId: string, reason: string): Promise<void> {
    this.stops.push({ agentId, reason });
    await this.stopping(agentId);
    if (this.views.has(agentId)) this.change(agentId, { state: "TERMINATED", statusMessage: reason });
  }

  exchanges(_agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]> {
    return Promise.resolve(this.recorded.filter(({ sequence }) => sequence < beforeSequence).toSorted((a, b) => b.sequence - a.sequence).slice(0, limit));
  }
}

export function echo(delivery: Delivery, suggestions: readonly Suggestion[] = []): Reply {
  return {
    messageId: delivery.message.messageId,
    response: create(MessageSchema, { messageId: `re-${delivery.message.messageId}`, type: MessageType.RESPONSE, content: delivery.message.content }),
    suggestions,
    metrics: create(MessageMetricsSchema),
    replayed: false,
  };
}
