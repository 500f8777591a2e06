/** An event with its place in its session, and how it becomes a message. */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HostEvent } from "../agent/agents.ts";
import { AgentEventSchema } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";

export interface KeptEvent {
  readonly event: HostEvent;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** The session's own count of events since this host started, from 1. */
  readonly count: number;
}

/** Its id is made of session and sequence: the same for every reader, and nothing that would have to be kept. */
export function eventMessage({ event, at }: KeptEvent, sequence: bigint): AgentEvent {
  return create(AgentEventSchema, {
    eventType: event.type,
    sourceAgentId: event.sourceAgentId,
    targetAgentId: event.targetAgentId,
    eventId: `${event.sessionId}.${sequence}`,
    sessionId: event.sessionId,
    time: timestampFromMs(at),
    sequence,
    topic: event.topic,
    traceparent: event.traceparent,
    attributes: { ...event.attributes },
    ...(event.payload === null ? {} : { payload: { typeUrl: event.payload.typeUrl, value: event.payload.value } }),
  });
}

export function encodeEvent(message: AgentEvent): Uint8Array {
  return toBinary(AgentEventSchema, message);
}
