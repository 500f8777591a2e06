/**
 * What the headers of a NATS message say about a call. Names count without regard to case.
 *
 * | header | meaning |
 * |---|---|
 * | `content-type` | the form of the body; see formats.ts |
 * | `Nats-Msg-Id` | the message's id, when the message has none |
 * | `sirsi-session-id`, `sirsi-agent-id` | the same as the request's fields, when those are empty |
 * | `sirsi-timeout-ms` | how long the caller waits, from when the host reads it |
 * | `traceparent` | W3C trace context |
 * | `ce-…` | attributes of a CloudEvent: they go into the message's metadata under these names |
 */
import type { SendMessageRequest } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";

export interface CallHeaders {
  /** Lower case, without parameters; empty for none. */
  readonly contentType: string;
  readonly messageId: string;
  readonly sessionId: string;
  readonly agentId: string;
  /** Empty for none, and for one that is not of the form. */
  readonly traceparent: string;
  /** As given; empty for none. */
  readonly timeout: string;
  readonly cloudEvent: Readonly<Record<string, string>>;
}

const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}/;
const TIMEOUT_MAX_MS = 86_400_000;

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

const NONE: CallHeaders = Object.freeze({ contentType: "", messageId: "", sessionId: "", agentId: "", traceparent: "", timeout: "", cloudEvent: Object.freeze({}) });

/** Never throws: what it finds wrong is said when it is needed. */
export function readCallHeaders(headers: Readonly<Record<string, string>>): CallHeaders {
  let found: Mutable<CallHeaders> | null = null;
  for (const name in headers) {
    found ??= { ...NONE };
    read(name.toLowerCase(), headers[name] ?? "", found);
  }
  return found ?? NONE;
}

function read(name: string, value: string, into: Mutable<CallHeaders>): void {
  switch (name) {
    case "content-type":
      into.contentType = (value.split(";", 1)[0] ?? "").trim().toLowerCase();
      return;
    case "nats-msg-id":
      into.messageId = value;
      return;
    case "sirsi-session-id":
      into.sessionId = value;
      return;
    case "sirsi-agent-id":
      into.agentId = value;
      return;
    case "sirsi-timeout-ms":
      into.timeout = value;
      return;
    case "traceparent":
      if (TRACEPARENT.test(value)) into.traceparent = value;
      return;
    default:
      if (name.startsWith("ce-")) into.cloudEvent = { ...into.cloudEvent, [name]: percentDecoded(value) };
  }
}

/** By CloudEvents' rule for headers; as it is when it does not follow it. */
function percentDecoded(value: string): string {
  if (!value.includes("%")) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** When the caller stops waiting, on the monotonic clock; null for never. INVALID_ARGUMENT. */
export function deadlineIn({ timeout }: CallHeaders, clock: Clock): number | null {
  if (timeout === "") return null;
  const ms = /^\d{1,8}$/.test(timeout) ? Number(timeout) : 0;
  if (ms >= 1 && ms <= TIMEOUT_MAX_MS) return clock.monotonic() + ms;
  const description = `must be whole milliseconds from 1 to ${TIMEOUT_MAX_MS}; got ${JSON.stringify(timeout.slice(0, 40))}`;
  throw new SirsiError("INVALID_ARGUMENT", `the header sirsi-timeout-ms ${description}`, { fields: [{ field: "sirsi-timeout-ms", description }] });
}

/** Fills in, in place, what the request leaves to its headers. */
export function applyHeaders(request: SendMessageRequest, { agentId, cloudEvent, messageId, sessionId }: CallHeaders): void {
  if (request.sessionId === "") request.sessionId = sessionId;
  if (request.agentId === "") request.agentId = agentId;
  const { message } = request;
  if (message === undefined) return;
  if (message.messageId === "") message.messageId = messageId;
  for (const name in cloudEvent) if (!Object.hasOwn(message.metadata, name)) message.metadata[name] = cloudEvent[name] ?? "";
}
