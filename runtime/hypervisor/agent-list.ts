/** ListAgents: filtered, in the order of their spawns, in pages that stay true while agents come and go. */
import { create } from "@bufbuild/protobuf";
import type { Agents, AgentView } from "../agent/agents.ts";
import { ListAgentsResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { AgentFilters, type Filtering } from "./agent-filter.ts";
import { agentMessage } from "./agent-message.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { pageSize } from "./agent-service-deps.ts";
import { pageToken, readPageToken } from "./page-token.ts";
import type { AgentServiceApi } from "./service-api.ts";

const PAGE_SIZE_DEFAULT = 100;
/** Agents looked at in one go when they are counted. */
const LOOK = 500;

export function agentListCalls({ sessions, agents, limits, clock }: AgentServiceDeps): Pick<AgentServiceApi, "listAgents"> {
  const filters = new AgentFilters(limits.filterMaxChars, clock);
  return {
    async listAgents(request) {
      const { sessionId } = request;
      const wrong = new FieldViolations();
      wrong.requireId(sessionId, "session_id");
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      wrong.throwIfAny();
      await sessions.find(sessionId);
      const scope = ["agents", sessionId, request.filter];
      const after = idOf(readPageToken(scope, request.pageToken));
      const filtering = filters.begin(request.filter);
      const listing = filtering.empty ? await listed(agents, sessionId, after, limit) : await filtered(agents, sessionId, after, limit, filtering);
      const last = listing.page.at(-1);
      return create(ListAgentsResponseSchema, {
        agents: listing.page.map(agentMessage),
        nextPageToken: last === undefined || !listing.more ? "" : pageToken(scope, [last.record.agentId]),
        totalSize: listing.total,
      });
    },
  };
}

interface Listing {
  readonly page: readonly AgentView[];
  readonly more: boolean;
  readonly total: number;
}

/** Reads no more than the page, and one to know whether there are more. */
async function listed(agents: Agents, sessionId: string, after: string, limit: number): Promise<Listing> {
  const found: AgentView[] = [];
  for (let from: string | null = after; from !== null && found.length <= limit; ) {
    const { views, next }: Awaited<ReturnType<Agents["list"]>> = await agents.list(sessionId, from, limit + 1 - found.length);
    found.push(...views);
    from = next;
  }
  return { page: found.slice(0, limit), more: found.length > limit, total: await agents.countOf(sessionId) };
}

/** Looks at all of them, for the total is of those that match. */
async function filtered(agents: Agents, sessionId: string, after: string, limit: number, filtering: Filtering): Promise<Listing> {
  const page: AgentView[] = [];
  let total = 0;
  let beyond = 0;
  for (let from: string | null = ""; from !== null; ) {
    const { views, next }: Awaited<ReturnType<Agents["list"]>> = await agents.list(sessionId, from, LOOK);
    const matching = await filtering.matching(views);
    total += matching.length;
    for (const view of matching) {
      if (view.record.agentId <= after) continue;
      if (page.length < limit) page.push(view);
      else beyond++;
    }
    from = next;
  }
  return { page, more: beyond > 0, total };
}

/** A page begins after an agent's id, which never changes, so the agent may be gone by then. */
function idOf(position: readonly (string | number)[] | null): string {
  if (position === null) return "";
  const [agentId] = position;
  if (typeof agentId !== "string" || position.length !== 1) throw new SirsiError("PAGE_TOKEN_INVALID", "page_token holds no place in a listing of agents; start again without one");
  return agentId;
}
