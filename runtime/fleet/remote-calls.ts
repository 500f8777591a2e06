/** What one host asks of another about agents, in the words of the layers above. */
import { create } from "@bufbuild/protobuf";
import type { Bus } from "../bus/bus.ts";
import { MessageMetricsSchema, type Suggestion, type SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentLook, OutboxKey as OutboxKeyMessage } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { AgentChanges, Delivery, Reply, SpawnSpec } from "../agent/agents.ts";
import type { AgentRecord, OutboxKey } from "../store/store.ts";
import type { Answer, HostLink } from "./host-link.ts";

export interface RemoteReply extends Reply {
  /** The agent's commit took the outbox entry that it came from. */
  readonly taken: boolean;
}

export interface RemoteCallsConfig {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly prefix: string;
  readonly link: HostLink;
}

const QUICK_MS = 10_000;
const LOOK_MS = 1_000;

export class RemoteCalls {
  readonly #config: RemoteCallsConfig;

  constructor(config: RemoteCallsConfig) {
    this.#config = config;
  }

  /** `sessionId`: the agent must be of it; empty for any. */
  async deliver(hostId: string, agentId: string, sessionId: string, delivery: Delivery, askedBy: readonly string[]): Promise<RemoteReply> {
    const { link } = this.#config;
    const partials = delivery.onPartial === null ? null : this.#hearPartials(delivery.onPartial);
    try {
      const answer = await link.ask(
        hostId,
        {
          case: "deliver",
          value: {
            agentId,
            sessionId,
            message: delivery.message,
            context: { ...delivery.context },
            priority: delivery.priority,
            sourceAgentId: delivery.sourceAgentId,
            ...(delivery.outboxKey === null ? {} : { outboxKey: outboxKeyMessage(delivery.outboxKey) }),
            deadLetterId: delivery.deadLetterId ?? "",
            partialsTo: partials?.subject ?? "",
            askedBy: [...askedBy],
          },
        },
        { deadline: delivery.deadline, signal: delivery.signal, traceparent: delivery.traceparent, repeatable: true },
      );
      const { messageId, response, suggestions, metrics, replayed, taken } = valueOf(answer, "deliver");
      if (response === undefined) throw strange("a message without its reply");
      return { messageId, response, suggestions, metrics: metrics ?? create(MessageMetricsSchema), replayed, taken };
    } finally {
      partials?.close();
    }
  }

  /** Previews come over the bus, as far as they come. */
  #hearPartials(onPartial: (content: string) => void): { readonly subject: string; readonly close: () => void } {
    const { bus, clock, prefix } = this.#config;
    const subject = `${prefix}.partials.${newId(clock.now())}`;
    const subscription = bus.subscribe(subject, ({ data }) => onPartial(new TextDecoder().decode(data)));
    return { subject, close: () => subscription.close() };
  }

  async suggest(hostId: string, agentId: string, context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    const { link } = this.#config;
    const answer = await link.ask(hostId, { case: "suggest", value: { agentId, context, max } }, { deadline, signal, repeatable: true });
    return valueOf(answer, "suggest").suggestions;
  }

  /** The agent is made under `agentId`, once, however often it is asked for. */
  async spawn(hostId: string, agentId: string, spec: SpawnSpec): Promise<void> {
    const { link } = this.#config;
    const { sessionId, agentType, config, context, parentAgentId, metadata, deadline } = spec;
    await link.ask(
      hostId,
      { case: "spawn", value: { agentId, sessionId, agentType, config: configMessage(config), context: { ...context }, parentAgentId: parentAgentId ?? "", metadata: { ...metadata } } },
      { deadline, repeatable: true },
    );
  }

  async activate(hostId: string, agentId: string): Promise<void> {
    await this.#quick(hostId, { case: "activate", value: { agentId } });
  }

  async stop(hostId: string, agentId: string, reason: string): Promise<void> {
    const { link } = this.#config;
    await link.ask(hostId, { case: "stop", value: { agentId, reason } }, { deadline: null, repeatable: true });
  }

  async update(hostId: string, agentId: string, { metadata, config }: AgentChanges): Promise<void> {
    const changes = { setsMetadata: metadata !== undefined, metadata: { ...metadata }, ...(config === undefined ? {} : { config: configMessage(config) }) };
    await this.#quick(hostId, { case: "update", value: { agentId, ...changes } });
  }

  async release(hostId: string, agentId: string): Promise<void> {
    await this.#quick(hostId, { case: "release", value: { agentId } });
  }

  async restart(hostId: string, agentIds: readonly string[], reason: string): Promise<void> {
    await this.#quick(hostId, { case: "restart", value: { agentIds: [...agentIds], reason } });
  }

  /** Null when it is not in memory there, or that host does not say. */
  async look(hostId: string, agentId: string): Promise<AgentLook | null> {
    const { clock, link } = this.#config;
    try {
      const answer = await link.ask(hostId, { case: "look", value: { agentId } }, { deadline: clock.monotonic() + LOOK_MS, repeatable: false });
      const look = valueOf(answer, "look");
      return look.agentId === "" ? null : look;
    } catch {
      return null;
    }
  }

  async exchanges(hostId: string, agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]> {
    const before = Number.isFinite(beforeSequence) ? BigInt(beforeSequence) : 0n;
    const answer = await this.#quick(hostId, { case: "exchanges", value: { agentId, beforeSequence: before, limit } });
    return valueOf(answer, "exchanges").exchanges.map(({ sequence, body }) => ({ sequence: Number(sequence), body }));
  }

  async #quick(hostId: string, question: Parameters<HostLink["ask"]>[1]): Promise<Answer> {
    const { clock, link } = this.#config;
    return await link.ask(hostId, question, { deadline: clock.monotonic() + QUICK_MS, repeatable: true });
  }
}

type Told = Exclude<Answer, { case: undefined }>;
type ValueOf<Case extends Told["case"]> = Extract<Told, { case: Case }>["value"];

export function valueOf<Case extends Told["case"]>(answer: Answer, wanted: Case): ValueOf<Case> {
  if (answer.case === wanted) return answer.value as ValueOf<Case>;
  throw strange(`${String(answer.case)} in place of ${wanted}`);
}

function strange(what: string): SirsiError {
  return new SirsiError("INTERNAL", `another host of the fleet answered ${what}; are its version and this one's far apart?`);
}

function outboxKeyMessage({ agentId, commitSequence, index }: OutboxKey): Omit<OutboxKeyMessage, "$typeName"> {
  return { agentId, commitSequence: BigInt(commitSequence), index };
}

function configMessage({ parameters, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities }: AgentRecord["config"]) {
  return { parameters: { ...parameters }, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities: [...requiredCapabilities] };
}
