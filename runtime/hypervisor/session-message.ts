/** Sessions between the records of the store and the messages of the contract. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SessionSchema, SessionState } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Session } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { SessionRecord, SessionStateName, UserRecord } from "../store/store.ts";

const STATES: Readonly<Record<SessionStateName, SessionState>> = {
  ACTIVE: SessionState.ACTIVE,
  SUSPENDED: SessionState.SUSPENDED,
  EXPIRED: SessionState.EXPIRED,
  TERMINATED: SessionState.TERMINATED,
};

const NAMES = new Map(Object.entries(STATES).map(([name, state]) => [state, name as SessionStateName]));

/** null for UNSPECIFIED and for numbers that are no state. */
export function sessionStateName(state: SessionState): SessionStateName | null {
  return NAMES.get(state) ?? null;
}

export function sessionMessage(record: SessionRecord, user: UserRecord | null): Session {
  return create(SessionSchema, {
    sessionId: record.sessionId,
    userId: record.userId,
    state: STATES[record.state],
    createdAt: timestampFromMs(record.createdAt),
    updatedAt: timestampFromMs(record.updatedAt),
    expiresAt: timestampFromMs(record.expiresAt),
    metadata: { ...record.metadata },
    config: {
      maxAgents: record.config.maxAgents,
      timeoutSeconds: record.config.timeoutSeconds,
      enableLogging: record.config.enableLogging,
      preferences: { ...record.config.preferences },
    },
    ...(user === null ? {} : { userProfile: { displayName: user.displayName, preferences: { ...user.preferences } } }),
  });
}
