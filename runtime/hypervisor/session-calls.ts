/** The calls of AgentService about sessions. */
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { CreateSessionResponseSchema, ExtendSessionResponseSchema, GetSessionResponseSchema, ListSessionsResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Session } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { requireId } from "../core/ids.ts";
import { checkUserId } from "../session/index.ts";
import type { SessionQuery, SessionRecord, SessionStateName } from "../store/store.ts";
import { agentMessage, agentTypeMessage } from "./agent-message.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { pageSize } from "./agent-service-deps.ts";
import { pageToken, readPageToken } from "./page-token.ts";
import type { AgentServiceApi } from "./service-api.ts";
import { sessionMessage, sessionStateName } from "./session-message.ts";

const PAGE_SIZE_DEFAULT = 100;
/** Agents that GetSession shows, those that were made first; ListAgents has the rest. */
const ACTIVE_AGENTS_MAX = 1_000;
const OPEN_STATES: readonly SessionStateName[] = ["ACTIVE", "SUSPENDED"];

type SessionCalls = Pick<AgentServiceApi, "createSession" | "getSession" | "deleteSession" | "listSessions" | "extendSession">;

export function sessionCalls(deps: AgentServiceDeps): SessionCalls {
  const { sessions, agents, types } = deps;
  const withUser = async (record: SessionRecord): Promise<Session> => sessionMessage(record, await sessions.users.get(record.userId));
  return {
    async createSession({ userId, context, config, userProfile }) {
      const record = await sessions.create({
        userId,
        context,
        maxAgents: config?.maxAgents ?? 0,
        timeoutSeconds: config?.timeoutSeconds ?? 0,
        enableLogging: config?.enableLogging ?? false,
        preferences: config?.preferences ?? {},
        profile: userProfile ?? null,
      });
      return create(CreateSessionResponseSchema, { session: await withUser(record), availableAgentTypes: types.available().map(agentTypeMessage) });
    },

    async getSession({ sessionId }) {
      const record = await sessions.find(requireId(sessionId, "session_id"));
      const { views } = await agents.list(sessionId, "", ACTIVE_AGENTS_MAX);
      return create(GetSessionResponseSchema, { session: await withUser(record), activeAgents: views.map(agentMessage) });
    },

    async deleteSession({ sessionId }) {
      await sessions.end(requireId(sessionId, "session_id"));
      return create(EmptySchema);
    },

    async extendSession({ sessionId, extendSeconds }) {
      const record = await sessions.extend(requireId(sessionId, "session_id"), extendSeconds);
      return create(ExtendSessionResponseSchema, { session: await withUser(record) });
    },

    async listSessions(request) {
      const wrong = new FieldViolations();
      if (request.userId !== "") checkUserId(request.userId, "user_id", wrong);
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      const named = request.states.map(sessionStateName);
      wrong.require(!named.includes(null), "states", "names a state that there is not; use ACTIVE, SUSPENDED, EXPIRED or TERMINATED");
      wrong.throwIfAny();
      const states = named.length === 0 ? OPEN_STATES : named.filter((state) => state !== null);
      const scope = ["sessions", request.userId, ...[...new Set(states)].toSorted()];
      const userId = request.userId === "" ? null : request.userId;
      // One more than asked for tells whether there is a next page.
      const found = await sessions.list({ userId, states, before: sessionPosition(readPageToken(scope, request.pageToken)), limit: limit + 1 });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      return create(ListSessionsResponseSchema, {
        sessions: await Promise.all(page.map(withUser)),
        nextPageToken: last === undefined || found.length <= limit ? "" : pageToken(scope, [last.createdAt, last.sessionId]),
      });
    },
  };
}

function sessionPosition(position: readonly (string | number)[] | null): SessionQuery["before"] {
  if (position === null) return null;
  const [createdAt, sessionId] = position;
  if (typeof createdAt !== "number" || typeof sessionId !== "string") throw new SirsiError("PAGE_TOKEN_INVALID", "page_token holds no place in a listing of sessions; start again without one");
  return { createdAt, sessionId };
}
