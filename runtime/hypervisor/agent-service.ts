/** AgentService without a transport: every RPC, from checked request to response. */
import { agentCalls } from "./agent-calls.ts";
import { agentListCalls } from "./agent-list.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { conversationCalls } from "./conversation.ts";
import { Deliveries } from "./delivery.ts";
import { eventCalls } from "./event-calls.ts";
import { healthCalls } from "./health-calls.ts";
import { messageCalls } from "./message-calls.ts";
import type { AgentServiceApi } from "./service-api.ts";
import { sessionCalls } from "./session-calls.ts";
import { SuggestionGuard } from "./suggestion-guard.ts";

/** Handlers take requests as their own: what a client left out is filled in in place. */
export function createAgentService(deps: AgentServiceDeps): AgentServiceApi {
  const guard = new SuggestionGuard();
  const deliveries = new Deliveries(deps, guard);
  return {
    ...sessionCalls(deps),
    ...agentCalls(deps),
    ...agentListCalls(deps),
    ...messageCalls(deps, deliveries, guard),
    ...conversationCalls(deps, deliveries),
    ...eventCalls(deps),
    ...healthCalls(deps, guard),
  };
}
