/**
 * What agents have for each other: questions, messages, events. Whoever it is for is
 * woken when it sleeps, and reached through the fleet when another host has it.
 */
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { type Message, Priority } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { isMessageId, newId } from "../core/ids.ts";
import type { DeadLetter, StoredOutboxEntry } from "../store/store.ts";
import type { Agent } from "./agent.ts";
import type { Delivery, HostEvent, Reply } from "./agents.ts";
import { wasRefused } from "./delivery-fate.ts";
import { type HouseFleet, ownerIn, type Received } from "./house-fleet.ts";
import type { HouseGround } from "./house-ground.ts";
import type { EventEffect } from "./outbox-courier.ts";

export interface SwitchboardConfig {
  readonly ground: Pick<HouseGround, "clock" | "log" | "publish">;
  /** The agent when it is in memory, for use in this turn. */
  readonly use: (agentId: string) => Agent | null;
  readonly activate: (agentId: string) => Promise<Agent>;
  /** Hands a message to an agent in memory, also while the host drains. */
  readonly pass: (agent: Agent, delivery: Delivery) => Promise<Reply>;
  /** Null: all agents that there are belong to this host. */
  readonly fleet: Pick<HouseFleet, "knownElsewhere" | "remote"> | null;
}

/** Events that wait for their sleeping hearers; later ones are dropped, as a full mailbox drops them. */
const HEARD_MAX = 10_000;
const BYTES_VALUE = "type.googleapis.com/google.protobuf.BytesValue";

export class Switchboard {
  readonly #config: SwitchboardConfig;
  #heard = 0;

  constructor(config: SwitchboardConfig) {
    this.#config = config;
  }

  /** To an agent of this session. Whether another ended here or lives in another session is nothing to those who ask. */
  async send(agentId: string, sessionId: string, delivery: Delivery): Promise<Reply> {
    const { fleet } = this.#config;
    if (fleet === null) return await this.#sendHere(agentId, sessionId, delivery);
    if (this.#knownElsewhere(agentId)) return await fleet.remote.send(agentId, sessionId, delivery);
    try {
      return await this.#sendHere(agentId, sessionId, delivery);
    } catch (thrown) {
      // It is elsewhere, or went there with the message unread or the step in a wait: under its id it has effect once.
      if (SirsiError.from(thrown).code !== "AGENT_FENCED") throw thrown;
      return await fleet.remote.send(agentId, sessionId, delivery);
    }
  }

  /** It is not here, and another host had it a moment ago. */
  #knownElsewhere(agentId: string): boolean {
    const { fleet, use } = this.#config;
    return fleet?.knownElsewhere?.(agentId) === true && use(agentId) === null;
  }

  async #sendHere(agentId: string, sessionId: string, delivery: Delivery): Promise<Reply> {
    const agent = await this.#reach(agentId, sessionId);
    if (agent === null) throw new SirsiError("AGENT_NOT_FOUND", `no agent of this session has the id ${agentId}`);
    return await this.#config.pass(agent, delivery);
  }

  async #reach(agentId: string, sessionId: string): Promise<Agent | null> {
    const { activate, use } = this.#config;
    try {
      const agent = use(agentId) ?? (await activate(agentId));
      return agent.sessionId === sessionId ? agent : null;
    } catch (thrown) {
      if (SirsiError.from(thrown).code === "AGENT_TERMINATED") return null;
      throw thrown;
    }
  }

  /** An emitted message of an agent that keeps no outbox: sent, and its reply dropped. */
  deliver({ agentId, message }: { readonly agentId: string; readonly message: Message }, from: { readonly agentId: string; readonly sessionId: string }): void {
    const { clock, publish } = this.#config.ground;
    const named = isMessageId(message.messageId) ? message : { ...message, messageId: newId(clock.now()) };
    this.send(agentId, from.sessionId, deliveryOf(named, from.agentId)).catch((thrown: unknown) => {
      const { code, message: why } = SirsiError.from(thrown);
      publish({ ...eventOf("ERROR_OCCURRED", { id: from.agentId, sessionId: from.sessionId }, { reason: code, message: why, message_id: named.messageId }), targetAgentId: agentId });
    });
  }

  /** A receiver that commits takes the entry out of the store by itself. */
  async deliverEntry(entry: StoredOutboxEntry, message: Message): Promise<"taken" | "kept"> {
    const { fleet } = this.#config;
    if (fleet !== null && this.#knownElsewhere(entry.target)) return await this.#deliverThere(fleet, entry, message);
    try {
      const { taken } = await this.take(entry.target, entry.sessionId, { ...deliveryOf(message, entry.key.agentId), outboxKey: entry.key });
      return taken ? "taken" : "kept";
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (wasKept(error)) return "kept";
      if (fleet === null || ownerIn(error) === null) throw error;
      return await this.#deliverThere(fleet, entry, message);
    }
  }

  async #deliverThere({ remote }: Pick<HouseFleet, "remote">, entry: StoredOutboxEntry, message: Message): Promise<"taken" | "kept"> {
    try {
      return await remote.deliverEntry(entry, message);
    } catch (thrown) {
      if (wasKept(SirsiError.from(thrown))) return "kept";
      throw thrown;
    }
  }

  /**
   * What another agent, or another host, has for an agent here, that must be of the session ("" for
   * any). An error with which an agent that commits nothing has dealt with an outbox entry says so.
   */
  async take(agentId: string, sessionId: string, delivery: Delivery): Promise<Received> {
    const { activate, pass, use } = this.#config;
    const agent = use(agentId) ?? (await activate(agentId));
    if (sessionId !== "" && agent.sessionId !== sessionId) throw new SirsiError("AGENT_NOT_FOUND", `no agent of the sender's session has the id ${agentId}`);
    try {
      const reply = await pass(agent, delivery);
      return { reply, taken: delivery.outboxKey !== null && agent.durable && !reply.replayed };
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (delivery.outboxKey === null || agent.durable || wasRefused(error)) throw error;
      throw new SirsiError(error.code, error.message, { ...error.details, metadata: { ...error.details.metadata, ...KEPT } });
    }
  }

  publishEntry({ key, sessionId }: StoredOutboxEntry, { eventType, topic, payload, attributes }: EventEffect): void {
    this.#config.ground.publish({ ...eventOf(eventType, { id: key.agentId, sessionId }, attributes), topic, payload: payload.length === 0 ? null : { typeUrl: BYTES_VALUE, value: payload } });
  }

  /** Its sender's session hears of a message that nobody will ever take. */
  tellUndelivered({ agentId, sessionId, sourceAgentId, reason, explanation, messageId, deadLetterId }: DeadLetter): void {
    this.#config.ground.publish({ ...eventOf("ERROR_OCCURRED", { id: sourceAgentId, sessionId }, { reason, message: explanation, message_id: messageId, dead_letter_id: deadLetterId }), targetAgentId: agentId });
  }

  /** An event on a topic that the agent hears. */
  hear(agentId: string, event: AgentEvent): void {
    const { activate, ground, use } = this.#config;
    const agent = use(agentId);
    if (agent !== null) {
      this.#tell(agent, event);
      return;
    }
    if (this.#heard >= HEARD_MAX) {
      ground.log.warn({ agentId, topic: event.topic }, "an event was dropped: too many wait for agents that sleep");
      return;
    }
    this.#heard++;
    activate(agentId)
      .then((woken) => this.#tell(woken, event))
      // Its owner hears the topic as well.
      .catch((thrown: unknown) => ownerIn(SirsiError.from(thrown)) !== null || ground.log.warn({ agentId, topic: event.topic, err: SirsiError.from(thrown).message }, "an event was dropped: its hearer could not be woken"))
      .finally(() => void this.#heard--);
  }

  #tell(agent: Agent, event: AgentEvent): void {
    if (!agent.hear(event)) this.#config.ground.log.warn({ agentId: agent.id, topic: event.topic }, "an event was dropped: the agent's mailbox is full, or it is set aside");
  }
}

const KEPT = { entry: "kept" } as const;

/** The entry's receiver has dealt with it, and commits nothing. */
function wasKept({ details }: SirsiError): boolean {
  return details.metadata?.["entry"] === KEPT.entry;
}

function deliveryOf(message: Message, sourceAgentId: string): Delivery {
  return { message, context: {}, priority: Priority.NORMAL, sourceAgentId, deadline: null, signal: null, traceparent: "", onPartial: null, outboxKey: null, deadLetterId: null };
}

export function eventOf(type: string, { id, sessionId }: { readonly id: string; readonly sessionId: string }, attributes: Readonly<Record<string, string>>): HostEvent {
  return { type, sessionId, sourceAgentId: id, targetAgentId: "", payload: null, topic: "", attributes, traceparent: "" };
}
