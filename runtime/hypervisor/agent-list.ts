/** ListAgents: filtered, in creation order, in pages that stay true while agents come and go. */
import { create } from "@bufbuild/protobuf";
import type { AgentView } from "../agent/agents.ts";
import { ListAgentsResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { AgentFilters } from "./agent-filter.ts";
import { agentMessage } from "./agent-message.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { pageSize } from "./agent-service-deps.ts";
import { pageToken, readPageToken } from "./page-token.ts";
import type { AgentServiceApi } from "./service-api.ts";

const PAGE_SIZE_DEFAULT = 100;

export function agentListCalls({ sessions, agents, limits, clock }: AgentServiceDeps): Pick<AgentServiceApi, "listAgents"> {
  const filters = new AgentFilters(limits.filterMaxChars, clock);
  return {
    async listAgents(request) {
      const wrong = new FieldViolations();
      wrong.requireId(request.sessionId, "session_id");
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      wrong.throwIfAny();
      await sessions.find(request.sessionId);
      const scope = ["agents", request.sessionId, request.filter];
      const after = positionOf(readPageToken(scope, request.pageToken));
      const matching = await filters.apply(request.filter, inOrder(agents.ofSession(request.sessionId)));
      const first = after === null ? 0 : firstAfter(matching, after);
      const page = matching.slice(first, first + limit);
      const last = page.at(-1);
      return create(ListAgentsResponseSchema, {
        agents: page.map(agentMessage),
        nextPageToken: last === undefined || first + limit >= matching.length ? "" : pageToken(scope, [last.record.createdAt, last.record.agentId]),
        totalSize: matching.length,
      });
    },
  };
}

/** Where an agent stands in its session's listing. It never moves, so a page can begin after an agent that is gone. */
interface Position {
  readonly createdAt: number;
  readonly agentId: string;
}

function before(a: Position, b: Position): boolean {
  return a.createdAt < b.createdAt || (a.createdAt === b.createdAt && a.agentId < b.agentId);
}

/** By (createdAt, agentId). They come in creation order, which is the same unless the machine's clock went back. */
function inOrder(views: readonly AgentView[]): readonly AgentView[] {
  const ordered = views.every((view, at) => {
    const previous = views[at - 1];
    return previous === undefined || before(previous.record, view.record);
  });
  return ordered ? views : views.toSorted((a, b) => (before(a.record, b.record) ? -1 : 1));
}

function firstAfter(views: readonly AgentView[], after: Position): number {
  const first = views.findIndex((view) => before(after, view.record));
  return first === -1 ? views.length : first;
}

function positionOf(position: readonly (string | number)[] | null): Position | null {
  if (position === null) return null;
  const [createdAt, agentId] = position;
  if (typeof createdAt !== "number" || typeof agentId !== "string") throw new SirsiError("PAGE_TOKEN_INVALID", "page_token holds no place in a listing of agents; start again without one");
  return { createdAt, agentId };
}
