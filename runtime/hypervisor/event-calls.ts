/** StreamEvents. */
import { create } from "@bufbuild/protobuf";
import { StreamEventsResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { FieldViolations } from "../core/field-violations.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import type { AgentServiceApi } from "./service-api.ts";

const EVENT_TYPES_MAX = 100;
const EVENT_TYPE_MAX_CHARS = 128;

export function eventCalls({ sessions, events }: AgentServiceDeps): Pick<AgentServiceApi, "streamEvents"> {
  return {
    async *streamEvents({ sessionId, eventTypes, fromSequence }, { signal }) {
      const wrong = new FieldViolations();
      wrong.requireId(sessionId, "session_id");
      wrong.require(eventTypes.length <= EVENT_TYPES_MAX, "event_types", `may have ${EVENT_TYPES_MAX} entries; got ${eventTypes.length}`);
      wrong.require(eventTypes.every((type) => type !== "" && type.length <= EVENT_TYPE_MAX_CHARS), "event_types", `names have 1 to ${EVENT_TYPE_MAX_CHARS} characters`);
      wrong.require(fromSequence >= 0n, "from_sequence", `must be 0 (live events only) or a sequence; got ${fromSequence}`);
      wrong.throwIfAny();
      const session = await sessions.find(sessionId);
      const following = events.follow(sessionId, { types: eventTypes, fromSequence, live: !sessions.isOver(session), signal });
      for await (const event of following) yield create(StreamEventsResponseSchema, { event });
    },
  };
}
