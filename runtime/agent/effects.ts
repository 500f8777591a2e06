/**
 * A step's effects on the world: events and messages that it emitted. They are read
 * before the commit, so that a malformed one fails the step, and let go after it (D1).
 */
import { decodeGuestEmit } from "../contract/guest-codec.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";

export type Effect =
  | { readonly kind: "event"; readonly eventType: string; readonly topic: string; readonly payload: Uint8Array; readonly attributes: Readonly<Record<string, string>> }
  | { readonly kind: "message"; readonly agentId: string; readonly message: Message };

/** Guests name events in lower case, so that none passes for one of the host's. */
const EVENT_TYPE = /^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$/;
const TOPIC = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const NAME_MAX_CHARS = 128;
const ATTRIBUTES_MAX = 64;

function refuse(why: string): SirsiError {
  return new SirsiError("GUEST_PROTOCOL", `the guest emitted ${why}`);
}

/** Null for a preview, which `onPartial` has had. Throws GUEST_PROTOCOL. */
export function readEmit(bytes: Uint8Array, onPartial: ((content: string) => void) | null): Effect | null {
  const emit = decodeGuestEmit(bytes);
  switch (emit.case) {
    case "partial":
      onPartial?.(emit.value.content);
      return null;
    case "event": {
      const { eventType, topic, payload, attributes } = emit.value;
      if (!EVENT_TYPE.test(eventType) || eventType.length > NAME_MAX_CHARS) {
        throw refuse(`an event of type ${JSON.stringify(eventType.slice(0, 60))}; types are lower-case words, dots and underscores, at most ${NAME_MAX_CHARS} characters`);
      }
      if (topic !== "" && (!TOPIC.test(topic) || topic.length > NAME_MAX_CHARS)) {
        throw refuse(`an event on topic ${JSON.stringify(topic.slice(0, 60))}; topics are words of letters, digits, - and _ joined by dots, without wildcards`);
      }
      if (Object.keys(attributes).length > ATTRIBUTES_MAX) throw refuse(`an event with more than ${ATTRIBUTES_MAX} attributes`);
      return { kind: "event", eventType, topic, payload: payload.slice(), attributes };
    }
    case "message": {
      const { agentId, message } = emit.value;
      if (message === undefined || agentId === "") throw refuse("a message without a receiver or without content");
      return { kind: "message", agentId, message };
    }
    case undefined:
      throw refuse("something that is neither an event, a message nor a preview");
  }
}
