/**
 * Answers what other hosts ask (host-link.ts). Each question is about agents of this host;
 * one about an agent of another is refused with AGENT_FENCED, which says whose it is.
 *
 * Invariants
 * - C1 Every question gets one answer, unless it is one too many or the bus loses it.
 * - C2 The same spawn asked for again while it is under way is one spawn.
 * - C3 A host that is not sure of its lease answers AGENT_FENCED to everything (D5).
 */
import { type MessageInitShape, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Agents, Delivery, SpawnSpec } from "../agent/agents.ts";
import type { Bus, BusMessage, Subscription } from "../bus/bus.ts";
import { SuggestionContextSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { type DeliverQuestion, type DrainQuestion, HostAnswerSchema, type HostQuestion, HostQuestionSchema, type ModuleAnswer, type ModuleQuestion, type MoveAnswer, type MoveQuestion, type SpawnQuestion } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Logger } from "../observe/index.ts";
import type { AgentRecord } from "../store/store.ts";
import { lookOf } from "./agent-look.ts";
import type { DrainProgress } from "./departures.ts";
import type { Fleet } from "./fleet.ts";
import { hostErrorOf } from "./host-error.ts";
import { cancelSubject, controlSubject } from "./host-link.ts";

type AnswerInit = NonNullable<MessageInitShape<typeof HostAnswerSchema>["answer"]>;
type Plain<T> = Omit<T, "$typeName" | "$unknown">;

/** This host's own agents: a question is never passed on to a third host. */
export interface ControlledAgents extends Agents {
  has(agentId: string): boolean;
  release(agentId: string): Promise<void>;
  /** Those of them that are in memory; nobody waits for it. */
  restart(agentIds: readonly string[], reason: string): void;
  /** To memory, and on with what is in hand. */
  bring(agentId: string): Promise<void>;
  /** Whether its commit took the outbox entry. */
  sendEntry(agentId: string, sessionId: string, delivery: Delivery): Promise<{ readonly reply: Awaited<ReturnType<Agents["send"]>>; readonly taken: boolean }>;
}

export interface HostControlConfig {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly prefix: string;
  readonly fleet: Fleet;
  readonly log: Logger;
  readonly agents: ControlledAgents;
  readonly move: (question: MoveQuestion) => Promise<Plain<MoveAnswer>>;
  readonly takeModule: (question: ModuleQuestion) => Promise<ModuleAnswer>;
  readonly lookForOrphans: () => void;
  /** How far it is; null for an undrain. */
  readonly drain: (question: DrainQuestion) => Promise<DrainProgress | null>;
}

export class HostControl {
  readonly #config: HostControlConfig;
  readonly #cancellable = new Map<string, AbortController>();
  readonly #spawning = new Map<string, Promise<void>>();
  #subscriptions: Subscription[] = [];

  constructor(config: HostControlConfig) {
    this.#config = config;
    this.listen();
  }

  /** Under this host's id; again when that has changed. */
  listen(): void {
    const { bus, fleet, prefix } = this.#config;
    this.close();
    const { hostId } = fleet.self;
    this.#subscriptions = [
      bus.subscribe(controlSubject(prefix, hostId), (message) => void this.#answer(message)),
      bus.subscribe(cancelSubject(prefix, hostId), ({ data }) => this.#cancellable.get(new TextDecoder().decode(data))?.abort()),
    ];
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close();
    this.#subscriptions = [];
  }

  /** C1. Never rejects. */
  async #answer(message: BusMessage): Promise<void> {
    let cancelToken = "";
    try {
      const question = fromBinary(HostQuestionSchema, message.data);
      ({ cancelToken } = question);
      const stop = new AbortController();
      if (cancelToken !== "") this.#cancellable.set(cancelToken, stop);
      this.#requireHeld();
      const answer = await this.#perform(question, stop.signal);
      this.#requireHeld();
      this.#respond(message, answer === null ? {} : { answer });
    } catch (thrown) {
      this.#respond(message, { error: hostErrorOf(SirsiError.from(thrown)) });
    } finally {
      this.#cancellable.delete(cancelToken);
    }
  }

  #respond(message: BusMessage, answer: MessageInitShape<typeof HostAnswerSchema>): void {
    try {
      message.respond(toBinary(HostAnswerSchema, create(HostAnswerSchema, answer)));
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      this.#config.log.warn({ err: error.message }, "an answer to another host could not be sent");
      if (error.code === "PAYLOAD_TOO_LARGE") this.#respond(message, { error: hostErrorOf(error) });
    }
  }

  #requireHeld(): void {
    if (this.#config.fleet.held) return;
    throw new SirsiError("AGENT_FENCED", `host ${this.#config.fleet.self.name} is not sure of its place in the fleet at the moment; send again, another host may answer`, { retryAfterMs: 250 });
  }

  async #perform({ question, timeoutMs, traceparent }: HostQuestion, signal: AbortSignal): Promise<AnswerInit | null> {
    const { agents, clock, drain, lookForOrphans, move, takeModule } = this.#config;
    const deadline = timeoutMs === 0n ? null : clock.monotonic() + Number(timeoutMs);
    switch (question.case) {
      case "deliver":
        return await this.#deliver(question.value, deadline, signal, traceparent);
      case "suggest": {
        const { agentId, context, max } = question.value;
        return { case: "suggest", value: { suggestions: [...(await agents.suggest(agentId, context ?? create(SuggestionContextSchema), max, deadline, signal))] } };
      }
      case "spawn":
        await this.#spawn(question.value, deadline);
        return null;
      case "activate":
        await agents.bring(question.value.agentId);
        return null;
      case "stop":
        await agents.stop(question.value.agentId, question.value.reason);
        return null;
      case "update": {
        const { agentId, config, metadata, setsMetadata } = question.value;
        await agents.update(agentId, { ...(setsMetadata ? { metadata } : {}), ...(config === undefined ? {} : { config: recordedConfig(config) }) });
        return null;
      }
      case "look": {
        const view = agents.has(question.value.agentId) ? await agents.find(question.value.agentId) : null;
        return { case: "look", value: view === null ? {} : lookOf(view) };
      }
      case "release":
        await agents.release(question.value.agentId);
        return null;
      case "exchanges": {
        const { agentId, beforeSequence, limit } = question.value;
        const found = await agents.exchanges(agentId, beforeSequence === 0n ? Infinity : Number(beforeSequence), limit);
        return { case: "exchanges", value: { exchanges: found.map(({ sequence, body }) => ({ sequence: BigInt(sequence), body })) } };
      }
      case "move":
        return { case: "move", value: await move(question.value) };
      case "module":
        return { case: "module", value: await takeModule(question.value) };
      case "drain": {
        const progress = await drain(question.value);
        return progress === null ? null : { case: "drain", value: drainAnswer(progress) };
      }
      case "restart":
        agents.restart(question.value.agentIds, question.value.reason);
        return null;
      case "orphans":
        lookForOrphans();
        return null;
      case undefined:
        throw new SirsiError("UNIMPLEMENTED", "this host does not know the question; it runs an older version than the host that asks");
    }
  }

  async #deliver({ agentId, sessionId, message, context, priority, sourceAgentId, outboxKey, deadLetterId, partialsTo, askedBy }: DeliverQuestion, deadline: number | null, signal: AbortSignal, traceparent: string): Promise<AnswerInit> {
    if (message === undefined) throw new SirsiError("INVALID_ARGUMENT", "a message for an agent must be set");
    const { reply, taken } = await this.#config.agents.sendEntry(agentId, sessionId, {
      message,
      context,
      priority,
      sourceAgentId,
      deadline,
      signal,
      traceparent,
      onPartial: partialsTo === "" ? null : (content) => this.#preview(partialsTo, content),
      outboxKey: outboxKey === undefined ? null : { agentId: outboxKey.agentId, commitSequence: Number(outboxKey.commitSequence), index: outboxKey.index },
      deadLetterId: deadLetterId === "" ? null : deadLetterId,
      askedBy,
    });
    const { messageId, response, suggestions, metrics, replayed } = reply;
    return { case: "deliver", value: { messageId, response, suggestions: [...suggestions], metrics, replayed, taken } };
  }

  /** A preview that is lost is no harm. */
  #preview(subject: string, content: string): void {
    try {
      this.#config.bus.publish(subject, new TextEncoder().encode(content));
    } catch (thrown) {
      this.#config.log.debug({ err: SirsiError.from(thrown).message }, "a preview could not be sent to the host that asked");
    }
  }

  /** C2. */
  async #spawn(question: SpawnQuestion, deadline: number | null): Promise<void> {
    const { agentId } = question;
    let spawning = this.#spawning.get(agentId);
    if (spawning === undefined) {
      spawning = this.#spawnOnce(specOf(question, deadline)).finally(() => this.#spawning.delete(agentId));
      this.#spawning.set(agentId, spawning);
    }
    await spawning;
  }

  async #spawnOnce(spec: SpawnSpec & { readonly agentId: string }): Promise<void> {
    const { agents } = this.#config;
    if ((await agents.find(spec.agentId)) === null) await agents.spawn(spec);
  }
}

function specOf({ agentId, sessionId, agentType, config, context, parentAgentId, metadata }: SpawnQuestion, deadline: number | null): SpawnSpec & { readonly agentId: string } {
  if (config === undefined) throw new SirsiError("INVALID_ARGUMENT", "the settings of an agent that is to be made must be set");
  return { agentId, sessionId, agentType, config: recordedConfig(config), context, parentAgentId: parentAgentId === "" ? null : parentAgentId, metadata, deadline };
}

function recordedConfig({ parameters, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities }: AgentRecord["config"]): AgentRecord["config"] {
  return { parameters, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities };
}

function drainAnswer({ moved, left, failed, elapsedMs, ...rest }: DrainProgress) {
  return { ...rest, moved: BigInt(moved), left: BigInt(left), failed: BigInt(failed), elapsedMs: BigInt(Math.round(elapsedMs)) };
}
