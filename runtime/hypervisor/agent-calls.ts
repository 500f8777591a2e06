/** The calls of AgentService about one agent. */
import { create } from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import type { AgentView } from "../agent/agents.ts";
import { CreateAgentResponseSchema, GetAgentResponseSchema, GetAgentStatusResponseSchema, UpdateAgentResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { CreateAgentRequest, UpdateAgentRequest } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import type { SessionRecord } from "../store/store.ts";
import { checkCapabilities, checkConfig, checkMetadata, recordedConfig } from "./agent-config.ts";
import { agentMessage, agentMetricsMessage, agentStatusMessage, capabilityMessages } from "./agent-message.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { agentOf } from "./agent-service-deps.ts";
import { agentChanges } from "./agent-update.ts";
import type { AgentServiceApi, CallContext } from "./service-api.ts";
import { hasRoom } from "./spawn-room.ts";

const AGENT_TYPE_MAX_CHARS = 256;

type AgentCalls = Pick<AgentServiceApi, "createAgent" | "getAgent" | "updateAgent" | "deleteAgent" | "getAgentStatus">;

export function agentCalls(deps: AgentServiceDeps): AgentCalls {
  const { sessions, agents } = deps;

  /** For calls that only look or tidy up: the session may have closed. */
  const reach = async (sessionId: string, agentId: string): Promise<AgentView> => {
    requireIds(sessionId, agentId);
    await sessions.find(sessionId);
    return await agentOf(deps, sessionId, agentId);
  };

  return {
    async createAgent(request, context) {
      checkCreate(request, deps);
      const session = await sessions.requireActive(request.sessionId);
      const { manifest } = deps.types.resolve(request.agentType);
      const wrong = new FieldViolations();
      checkCapabilities(request.config?.requiredCapabilities ?? [], manifest, "config.required_capabilities", wrong);
      wrong.throwIfAny();
      if (request.parentAgentId !== "") requireLive(await agentOf(deps, request.sessionId, request.parentAgentId));
      while (!hasRoom(agents, session)) await agents.countOf(session.sessionId);
      const view = await spawn(deps, session, request, context);
      return create(CreateAgentResponseSchema, { agent: agentMessage(view), capabilities: capabilityMessages(view.manifest) });
    },

    async getAgent({ sessionId, agentId }) {
      const view = await reach(sessionId, agentId);
      return create(GetAgentResponseSchema, { agent: agentMessage(view), metrics: agentMetricsMessage(view) });
    },

    async updateAgent(request) {
      requireIds(request.sessionId, request.agentId);
      await sessions.requireActive(request.sessionId);
      const view = requireLive(await agentOf(deps, request.sessionId, request.agentId));
      const changes = checkedChanges(view, request, deps);
      const changed = Object.keys(changes).length === 0 ? view : await agents.update(request.agentId, changes);
      return create(UpdateAgentResponseSchema, { agent: agentMessage(changed) });
    },

    async deleteAgent({ sessionId, agentId }) {
      await reach(sessionId, agentId);
      await agents.stop(agentId, "it was deleted");
      return create(EmptySchema);
    },

    async getAgentStatus({ sessionId, agentId }) {
      const view = await reach(sessionId, agentId);
      return create(GetAgentStatusResponseSchema, {
        status: agentStatusMessage(view),
        metrics: agentMetricsMessage(view),
        activeCapabilities: view.record.state === "TERMINATED" ? [] : capabilityMessages(view.manifest),
        healthStatus: view.health,
      });
    },
  };
}

export function requireIds(sessionId: string, agentId: string): void {
  const wrong = new FieldViolations();
  wrong.requireId(sessionId, "session_id");
  wrong.requireId(agentId, "agent_id");
  wrong.throwIfAny();
}

function checkCreate(request: CreateAgentRequest, { limits }: AgentServiceDeps): void {
  const wrong = new FieldViolations();
  wrong.requireId(request.sessionId, "session_id");
  if (request.agentType === "") wrong.add("agent_type", "must be set: a module's name, or name@version");
  else wrong.require(request.agentType.length <= AGENT_TYPE_MAX_CHARS, "agent_type", `may have ${AGENT_TYPE_MAX_CHARS} characters; got ${request.agentType.length}`);
  checkConfig(recordedConfig(request.config), limits.mapMaxEntries, "config", wrong);
  wrong.requireMap(request.context, limits.mapMaxEntries, "context");
  checkMetadata(request.metadata, limits.mapMaxEntries, "metadata", wrong);
  if (request.parentAgentId !== "") wrong.requireId(request.parentAgentId, "parent_agent_id");
  wrong.throwIfAny();
}

/** A session that closed while the agent was made does not keep it. */
async function spawn(deps: AgentServiceDeps, session: SessionRecord, request: CreateAgentRequest, context: CallContext): Promise<AgentView> {
  const view = await deps.agents.spawn({
    sessionId: session.sessionId,
    agentType: request.agentType,
    config: recordedConfig(request.config),
    context: request.context,
    parentAgentId: request.parentAgentId === "" ? null : request.parentAgentId,
    metadata: request.metadata,
    deadline: context.deadline,
  });
  try {
    await deps.sessions.requireActive(session.sessionId);
  } catch (thrown) {
    await deps.agents.stop(view.record.agentId, "its session closed while it was made");
    throw thrown;
  }
  return view;
}

function requireLive(view: AgentView): AgentView {
  if (view.record.state !== "TERMINATED") return view;
  const { agentId, statusMessage } = view.record;
  throw new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended${statusMessage === "" ? "" : ` (${statusMessage})`}; create a new one`, { metadata: { agent_id: agentId } });
}

function checkedChanges(view: AgentView, request: UpdateAgentRequest, { limits }: AgentServiceDeps): ReturnType<typeof agentChanges> {
  const wrong = new FieldViolations();
  if (request.agent === undefined) wrong.add("agent", "must be set: the values that update_mask names");
  const paths = request.updateMask?.paths ?? [];
  wrong.require(paths.length <= limits.mapMaxEntries, "update_mask", `may have ${limits.mapMaxEntries} paths; got ${paths.length}`);
  wrong.throwIfAny();
  const changes = request.agent === undefined ? {} : agentChanges(view.record, request.agent, paths, wrong);
  if (changes.metadata !== undefined) checkMetadata(changes.metadata, limits.mapMaxEntries, "agent.metadata", wrong);
  if (changes.config !== undefined) {
    checkConfig(changes.config, limits.mapMaxEntries, "agent.config", wrong);
    checkCapabilities(changes.config.requiredCapabilities, view.manifest, "agent.config.required_capabilities", wrong);
  }
  wrong.throwIfAny();
  return changes;
}
