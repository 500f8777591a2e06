/**
 * Which agents hear which topics of their sessions, by id: an agent that sleeps hears
 * too. One subscription for a topic, however many hear it.
 */
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";

/** Subscribes to a session's topic; returns how to stop. */
export type HearTopic = (sessionId: string, topic: string, hear: (event: AgentEvent) => void) => () => void;

interface Topic {
  readonly agentIds: Set<string>;
  readonly off: () => void;
}

export class TopicHearers {
  readonly #hearTopic: HearTopic;
  readonly #tell: (agentId: string, event: AgentEvent) => void;
  readonly #topics = new Map<string, Topic>();
  readonly #keysOf = new Map<string, readonly string[]>();

  /** `tell` passes an event on to one agent; it must not throw. */
  constructor(hearTopic: HearTopic, tell: (agentId: string, event: AgentEvent) => void) {
    this.#hearTopic = hearTopic;
    this.#tell = tell;
  }

  /** From here on the agent hears these topics and no others. */
  set(agentId: string, sessionId: string, topics: readonly string[]): void {
    this.drop(agentId);
    if (topics.length === 0) return;
    const keys = topics.map((topic) => `${sessionId}/${topic}`);
    this.#keysOf.set(agentId, keys);
    for (const [at, topic] of topics.entries()) this.#hearersOf(keys[at] ?? "", sessionId, topic).add(agentId);
  }

  #hearersOf(key: string, sessionId: string, topic: string): Set<string> {
    let known = this.#topics.get(key);
    if (known === undefined) {
      const agentIds = new Set<string>();
      const hear = (event: AgentEvent): void => {
        for (const agentId of agentIds) if (agentId !== event.sourceAgentId) this.#tell(agentId, event);
      };
      known = { agentIds, off: this.#hearTopic(sessionId, topic, hear) };
      this.#topics.set(key, known);
    }
    return known.agentIds;
  }

  drop(agentId: string): void {
    for (const key of this.#keysOf.get(agentId) ?? []) {
      const topic = this.#topics.get(key);
      topic?.agentIds.delete(agentId);
      if (topic?.agentIds.size !== 0) continue;
      topic.off();
      this.#topics.delete(key);
    }
    this.#keysOf.delete(agentId);
  }

  /** Nobody hears anything until it is set anew. */
  dropAll(): void {
    for (const { off } of this.#topics.values()) off();
    this.#topics.clear();
    this.#keysOf.clear();
  }
}
