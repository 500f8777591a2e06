/** An event of any host of the fleet, as it comes over the bus or out of the stream. */
import { fromBinary } from "@bufbuild/protobuf";
import { AgentEventSchema } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";

export interface HeardEvent {
  readonly message: AgentEvent;
  readonly bytes: number;
  /** Its session ended with it. */
  readonly isLast: boolean;
}

/** Null for what is no event: anybody with access to the bus may publish there. */
export function hearEvent(data: Uint8Array, sequence: bigint): HeardEvent | null {
  try {
    const message = fromBinary(AgentEventSchema, data);
    message.sequence = sequence;
    return { message, bytes: data.length, isLast: message.eventType === "SESSION_ENDED" };
  } catch {
    return null;
  }
}

/** Nothing happened in a session before it was made. */
export function isFirstEvent(data: Uint8Array): boolean {
  return hearEvent(data, 0n)?.message.eventType === "SESSION_CREATED";
}
