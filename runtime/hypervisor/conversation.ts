/**
 * Converse: a conversation with one agent over one stream.
 *
 * Requests are answered one after the other, so a client that sends faster than the
 * agent answers waits in its transport, not in our memory. A message that fails is
 * answered with a ConverseError and the stream goes on; what makes every further
 * message fail too (no session, no agent, the caller gone) ends the stream.
 */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ConverseResponseSchema, MessageType } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { ConverseRequest, ConverseResponse, SendMessageResponse } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import { requireIds } from "./agent-calls.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { agentOf } from "./agent-service-deps.ts";
import type { Deliveries, Outgoing } from "./delivery.ts";
import type { AgentServiceApi, CallContext } from "./service-api.ts";

/** Previews that may wait for a slow client; older ones make room. */
const PARTIALS_MAX = 1_024;

const ENDS_STREAM: ReadonlySet<ErrorCode> = new Set(["SESSION_NOT_FOUND", "SESSION_EXPIRED", "SESSION_TERMINATED", "AGENT_NOT_FOUND", "AGENT_TERMINATED", "SHUTTING_DOWN", "CANCELLED"]);

type Outcome = { readonly kind: "answered"; readonly response: SendMessageResponse } | { readonly kind: "failed"; readonly error: SirsiError };

export function conversationCalls(deps: AgentServiceDeps, deliveries: Deliveries): Pick<AgentServiceApi, "converse"> {
  return {
    async *converse(requests, context) {
      let partner: Pick<Outgoing, "sessionId" | "agentId"> | null = null;
      for await (const request of requests) {
        if (partner === null) {
          partner = { sessionId: request.sessionId, agentId: request.agentId };
          requireIds(partner.sessionId, partner.agentId);
          await deps.sessions.requireActive(partner.sessionId);
          await agentOf(deps, partner.sessionId, partner.agentId);
        }
        yield* answer(deps.clock, deliveries, partner, request, context);
      }
    },
  };
}

async function* answer(clock: Clock, deliveries: Deliveries, partner: Pick<Outgoing, "sessionId" | "agentId">, request: ConverseRequest, context: CallContext): AsyncGenerator<ConverseResponse> {
  const partials: string[] = [];
  let news = new Deferred<null>();
  const outcome = attempt(deliveries, partner, request, context, (content) => {
    if (partials.length === PARTIALS_MAX) partials.shift();
    partials.push(content);
    news.resolve(null);
  });
  for (;;) {
    // Known once the message was completed, and so before its first preview.
    const messageId = request.message?.messageId ?? "";
    const content = partials.shift();
    if (content !== undefined) {
      const partial = { content, messageId, type: MessageType.RESPONSE, timestamp: timestampFromMs(clock.now()) };
      yield create(ConverseResponseSchema, { messageId, kind: { case: "partial", value: partial } });
      continue;
    }
    const end = await Promise.race([outcome, news.promise]);
    if (end === null) {
      news = new Deferred();
    } else if (partials.length === 0) {
      yield finalResponse(end, request.message?.messageId ?? "", context);
      return;
    }
  }
}

/** Never rejects. */
async function attempt(deliveries: Deliveries, partner: Pick<Outgoing, "sessionId" | "agentId">, request: ConverseRequest, context: CallContext, onPartial: (content: string) => void): Promise<Outcome> {
  const outgoing: Outgoing = { ...partner, message: request.message, options: request.options };
  try {
    requireSamePartner(partner, request);
    const message = deliveries.complete(outgoing);
    return { kind: "answered", response: await deliveries.deliver(outgoing, message, context, onPartial) };
  } catch (thrown) {
    return { kind: "failed", error: SirsiError.from(thrown) };
  }
}

function requireSamePartner(partner: Pick<Outgoing, "sessionId" | "agentId">, request: ConverseRequest): void {
  const sameSession = request.sessionId === "" || request.sessionId === partner.sessionId;
  if (sameSession && (request.agentId === "" || request.agentId === partner.agentId)) return;
  const field = sameSession ? "agent_id" : "session_id";
  throw new SirsiError("INVALID_ARGUMENT", `${field} differs from that of the stream's first request; leave it empty, or open another stream`, {
    fields: [{ field, description: "differs from that of the stream's first request" }],
  });
}

function finalResponse(outcome: Outcome, messageId: string, context: CallContext): ConverseResponse {
  if (outcome.kind === "answered") return create(ConverseResponseSchema, { messageId, kind: { case: "response", value: outcome.response } });
  const { error } = outcome;
  if (ENDS_STREAM.has(error.code) || context.signal.aborted) throw error;
  return create(ConverseResponseSchema, { messageId, kind: { case: "error", value: { code: error.rpcCode, reason: error.code, message: error.message } } });
}
