/** The calls of AgentService about messages and suggestions. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { ExchangeSchema, GetSuggestionsResponseSchema, ListMessagesResponseSchema, SuggestionContextSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Exchange, SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { newId } from "../core/ids.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { agentOf, pageSize } from "./agent-service-deps.ts";
import type { Deliveries } from "./delivery.ts";
import { earlier } from "./delivery.ts";
import { pageToken, readPageToken } from "./page-token.ts";
import { recentExchanges } from "./recent-exchanges.ts";
import type { AgentServiceApi } from "./service-api.ts";
import type { SuggestionGuard } from "./suggestion-guard.ts";

const PAGE_SIZE_DEFAULT = 50;
const SUGGESTIONS_DEFAULT = 10;
const SUGGESTIONS_MAX = 100;
const CONTEXT_TYPE_MAX_CHARS = 256;

type MessageCalls = Pick<AgentServiceApi, "sendMessage" | "getSuggestions" | "listMessages">;

export function messageCalls(deps: AgentServiceDeps, deliveries: Deliveries, guard: SuggestionGuard): MessageCalls {
  const { sessions, agents, conversations, clock, limits } = deps;
  return {
    async sendMessage(request, context) {
      return await deliveries.deliver(request, deliveries.complete(request), context, null);
    },

    async getSuggestions(request, context) {
      const wrong = new FieldViolations();
      wrong.requireId(request.sessionId, "session_id");
      wrong.requireId(request.agentId, "agent_id");
      wrong.requireWithin(request.maxSuggestions, 0, SUGGESTIONS_MAX, "max_suggestions", `0 for ${SUGGESTIONS_DEFAULT}`);
      checkSuggestionContext(request.context, limits.mapMaxEntries, wrong);
      wrong.throwIfAny();
      await sessions.requireActive(request.sessionId);
      const { record } = await agentOf(deps, request.sessionId, request.agentId);
      const max = request.maxSuggestions === 0 ? SUGGESTIONS_DEFAULT : request.maxSuggestions;
      const { timeoutSeconds } = record.config;
      const deadline = earlier(context.deadline, timeoutSeconds === 0 ? null : clock.monotonic() + timeoutSeconds * 1_000);
      const suggestions = await agents.suggest(request.agentId, request.context ?? create(SuggestionContextSchema), max, deadline, context.signal);
      const contextId = newId(clock.now());
      return create(GetSuggestionsResponseSchema, { suggestions: guard.sound(suggestions, contextId).slice(0, max), contextId });
    },

    async listMessages(request) {
      const wrong = new FieldViolations();
      wrong.requireId(request.sessionId, "session_id");
      wrong.requireId(request.agentId, "agent_id");
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      wrong.throwIfAny();
      await sessions.find(request.sessionId);
      const view = await agentOf(deps, request.sessionId, request.agentId);
      const scope = ["messages", request.sessionId, request.agentId];
      const [beforeSequence = Infinity] = readPageToken(scope, request.pageToken) ?? [];
      const recent = conversations === null || beforeSequence !== Infinity ? null : await recentExchanges(conversations, view, limit + 1);
      const found = recent ?? (await agents.exchanges(request.agentId, Number(beforeSequence), limit + 1));
      const page = fitting(found.slice(0, limit), limits.messageMaxBytes);
      const last = page.at(-1);
      return create(ListMessagesResponseSchema, {
        exchanges: page.map(({ sequence, body }) => exchangeOf(request.agentId, sequence, body)),
        nextPageToken: last === undefined || page.length === found.length ? "" : pageToken(scope, [last.sequence]),
      });
    },
  };
}

function checkSuggestionContext(context: SuggestionContext | undefined, mapMaxEntries: number, wrong: FieldViolations): void {
  if (context === undefined) return;
  wrong.require(context.contextType.length <= CONTEXT_TYPE_MAX_CHARS, "context.context_type", `may have ${CONTEXT_TYPE_MAX_CHARS} characters; got ${context.contextType.length}`);
  wrong.requireMap(context.contextData, mapMaxEntries, "context.context_data");
  wrong.require(context.tags.length <= mapMaxEntries, "context.tags", `may have ${mapMaxEntries} entries; got ${context.tags.length}`);
}

interface StoredExchange {
  readonly sequence: number;
  readonly body: Uint8Array;
}

/** As many as fit into nine tenths of one response, and one at least. */
function fitting(exchanges: readonly StoredExchange[], messageMaxBytes: number): readonly StoredExchange[] {
  let bytes = 0;
  const tooMany = exchanges.findIndex(({ body }, at) => {
    bytes += body.length;
    return at > 0 && bytes > messageMaxBytes * 0.9;
  });
  return tooMany === -1 ? exchanges : exchanges.slice(0, tooMany);
}

function exchangeOf(agentId: string, sequence: number, body: Uint8Array): Exchange {
  try {
    const exchange = fromBinary(ExchangeSchema, body);
    exchange.sequence = BigInt(sequence);
    // As kept, a guest's own code follows the reason.
    [exchange.errorReason = ""] = exchange.errorReason.split(":");
    return exchange;
  } catch (cause) {
    throw new SirsiError("STORE_CORRUPT", `exchange ${sequence} of agent ${agentId} cannot be read; restore the data directory from a backup, or delete the agent`, { cause });
  }
}
