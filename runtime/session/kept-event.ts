/** One event as the log keeps it: cheap to make, encoded only for who listens. */
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HostEvent } from "../agent/agents.ts";
import { AgentEventSchema } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import { newId } from "../core/ids.ts";

export class KeptEvent {
  readonly event: HostEvent;
  readonly at: number;
  /** The session's own count of events since this host started, from 1. */
  readonly count: number;
  #id = "";

  constructor(event: HostEvent, at: number, count: number) {
    this.event = event;
    this.at = at;
    this.count = count;
  }

  /** Made at the first need; the same for every reader. */
  get id(): string {
    if (this.#id === "") this.#id = newId(this.at);
    return this.#id;
  }

  /** Roughly what keeping it costs. */
  get bytes(): number {
    return 256 + (this.event.payload === null ? 0 : this.event.payload.value.length);
  }

  toMessage(sequence: bigint): AgentEvent {
    const { event } = this;
    return create(AgentEventSchema, {
      eventType: event.type,
      sourceAgentId: event.sourceAgentId,
      targetAgentId: event.targetAgentId,
      eventId: this.id,
      sessionId: event.sessionId,
      time: timestampFromMs(this.at),
      sequence,
      topic: event.topic,
      traceparent: event.traceparent,
      attributes: { ...event.attributes },
      ...(event.payload === null ? {} : { payload: { typeUrl: event.payload.typeUrl, value: event.payload.value } }),
    });
  }
}

export function encodeEvent(message: AgentEvent): Uint8Array {
  return toBinary(AgentEventSchema, message);
}
