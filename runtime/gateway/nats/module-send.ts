/**
 * One message to a new or a named agent of a module: `<prefix>.module.<name>.send`.
 *
 * The session and, for an agent that is there, its id stand in the request or in the
 * headers `sirsi-session-id` and `sirsi-agent-id`. Without an agent's id one is made in the
 * session. The answer's headers always tell whose it is, an error's too: an agent that was
 * made stays when its first message fails, unless that message could never have been sent.
 *
 * Without a content-type, the body of a request that has `sirsi-session-id` is the content
 * itself, and that of any other is JSON: what people type into `nats request`.
 */
import { create } from "@bufbuild/protobuf";
import { CreateAgentRequestSchema, DeleteAgentRequestSchema, type SendMessageRequest, type SendMessageResponse } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { BoundedCache } from "../../core/bounded-cache.ts";
import { SirsiError } from "../../core/errors.ts";
import type { AgentServiceApi, CallContext } from "../../hypervisor/service-api.ts";
import type { CallHeaders } from "./call-headers.ts";
import type { NatsCall } from "./call-desk.ts";
import { type Format, formatOf, unknownFormat } from "./formats.ts";

export type ModuleSendApi = Pick<AgentServiceApi, "createAgent" | "deleteAgent" | "getAgent" | "sendMessage">;

const AGENT_HEADER = "sirsi-agent-id";
/** Agents whose module is known: it never changes. */
const KNOWN_MAX = 16_384;

export function moduleFormat({ contentType, sessionId }: CallHeaders): Format {
  if (contentType === "") return sessionId === "" ? "json" : "text";
  const format = formatOf(contentType);
  if (format === null) throw unknownFormat(contentType, ["protobuf", "json", "text"]);
  return format;
}

export class ModuleSend {
  readonly #api: ModuleSendApi;
  readonly #moduleOf = new BoundedCache<string, string>(KNOWN_MAX);

  constructor(api: ModuleSendApi) {
    this.#api = api;
  }

  async send(module: string, { context, replyHeaders, request }: NatsCall): Promise<SendMessageResponse> {
    if (request.agentId === "") return await this.#sendToNew(module, request, context, replyHeaders);
    await this.#requireOf(module, request, context);
    replyHeaders[AGENT_HEADER] = request.agentId;
    return await this.#api.sendMessage(request, context);
  }

  async #sendToNew(module: string, request: SendMessageRequest, context: CallContext, replyHeaders: Record<string, string>): Promise<SendMessageResponse> {
    const { sessionId } = request;
    if (request.message === undefined) throw new SirsiError("INVALID_ARGUMENT", "message must be set", { fields: [{ field: "message", description: "must be set" }] });
    const { agent } = await this.#api.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType: module }), context);
    const agentId = agent?.agentId ?? "";
    request.agentId = agentId;
    this.#moduleOf.set(agentId, module);
    replyHeaders[AGENT_HEADER] = agentId;
    try {
      return await this.#api.sendMessage(request, context);
    } catch (thrown) {
      if (SirsiError.from(thrown).code === "INVALID_ARGUMENT") {
        delete replyHeaders[AGENT_HEADER];
        await this.#api.deleteAgent(create(DeleteAgentRequestSchema, { sessionId, agentId }), context);
      }
      throw thrown;
    }
  }

  async #requireOf(module: string, { agentId, sessionId }: SendMessageRequest, context: CallContext): Promise<void> {
    const known = this.#moduleOf.get(agentId) ?? (await this.#lookUp(sessionId, agentId, context));
    if (known === module) return;
    const description = `is an agent of ${known}, and the subject is that of ${module}; send to the subject of its module`;
    throw new SirsiError("INVALID_ARGUMENT", `agent ${agentId} ${description}`, { fields: [{ field: "agent_id", description }] });
  }

  /** AGENT_NOT_FOUND, also for one of another session. */
  async #lookUp(sessionId: string, agentId: string, context: CallContext): Promise<string> {
    const { agent } = await this.#api.getAgent({ $typeName: "sirsi.agent.v1.GetAgentRequest", sessionId, agentId }, context);
    const module = agent?.agentType ?? "";
    this.#moduleOf.set(agentId, module);
    return module;
  }
}
