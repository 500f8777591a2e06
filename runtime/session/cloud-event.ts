/**
 * An event's attributes as CloudEvents 1.0 has them, in the headers of its message, so that
 * others can route events without knowing what is in them.
 */
import type { HostEvent } from "../agent/agents.ts";

/** What may not stand in a header as it is: all but visible ASCII, and the marks of the encoding itself. */
const UNSAFE = /[^\x21-\x7e]|["%]/gu;

export function cloudEventHeaders(event: HostEvent, eventId: string, at: number, prefix: string): Readonly<Record<string, string>> {
  const session = `/${prefix}/session/${event.sessionId}`;
  return {
    "ce-specversion": "1.0",
    "ce-id": eventId,
    "ce-source": event.sourceAgentId === "" ? session : `${session}/agent/${event.sourceAgentId}`,
    "ce-type": headerText(event.type),
    "ce-time": new Date(at).toISOString(),
    ...(event.traceparent !== "" && { traceparent: headerText(event.traceparent) }),
  };
}

/** By CloudEvents' rule for headers: bytes of UTF-8, percent-encoded. */
function headerText(text: string): string {
  return text.replace(UNSAFE, (char) => Array.from(new TextEncoder().encode(char), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""));
}
