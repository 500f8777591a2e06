/** Where events are published. */
import type { HostEvent } from "../agent/agents.ts";

/** What a guest's topic may look like on the bus: tokens without wildcards or white space. */
const TOPIC = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;

/** Of one session, or, with `*`, of all. */
export function eventsSubject(prefix: string, sessionId: string): string {
  return `${prefix}.session.${sessionId}.events`;
}

/** Where those listen who asked for the event's topic; null when it has none that can be a subject. */
export function topicSubject(prefix: string, { sessionId, topic }: HostEvent): string | null {
  return topic !== "" && TOPIC.test(topic) ? `${prefix}.session.${sessionId}.topic.${topic}` : null;
}
