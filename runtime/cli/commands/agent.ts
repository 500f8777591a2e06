/** sirsi agent: types, create, list, show, status, suggest, delete. Talking is in agent-talk.ts, looking back in agent-history.ts. */
import { create } from "@bufbuild/protobuf";
import { Option } from "commander";
import type { Command } from "commander";
import {
  AgentStateSchema,
  CreateAgentResponseSchema,
  GetAgentResponseSchema,
  GetAgentStatusResponseSchema,
  GetSuggestionsResponseSchema,
  ListAgentsResponseSchema,
  ListModulesResponseSchema,
  ModuleState,
} from "../../client/index.ts";
import type { Agent, AgentMetrics } from "../../client/index.ts";
import { parseCount } from "../arguments.ts";
import { addCommand, addGroup, pairOption, sessionOption, textOption } from "../command.ts";
import type { Shell } from "../command.ts";
import type { SessionOption } from "../invocation.ts";
import { agentTypeRows } from "../agent-types.ts";
import { limitOption, listAll } from "../paging.ts";
import type { LimitOption } from "../paging.ts";
import { suggestionText } from "../suggestion-text.ts";
import { cell, fields, pairs, table, time } from "../text.ts";
import { valueName } from "../value-name.ts";
import { addHistoryCommands } from "./agent-history.ts";
import { addMoveCommand } from "./agent-move.ts";
import { addTalkCommands } from "./agent-talk.ts";

type Pairs = Readonly<Record<string, string>>;

interface CreateOptions extends SessionOption {
  readonly param?: Pairs;
  readonly context?: Pairs;
  readonly metadata?: Pairs;
  readonly parent?: string;
}

interface ListOptions extends SessionOption, LimitOption {
  readonly filter?: string;
}

interface SuggestOptions extends SessionOption {
  readonly about?: string;
  readonly data?: Pairs;
  readonly tag?: readonly string[];
  readonly max?: number;
}

export function addAgentCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "agent", "Spawn agents, talk to them, look at them", ["agent types", "agent create echo", "agent send AGENT hello"]);
  addTypes(group, shell);
  addCreate(group, shell);
  addList(group, shell);
  addShow(group, shell);
  addTalkCommands(group, shell);
  addSuggest(group, shell);
  addStatus(group, shell);
  addHistoryCommands(group, shell);
  addMoveCommand(group, shell);
  addDelete(group, shell);
}

function addTypes(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "types",
    summary: "List the agent types that can be spawned",
    examples: ["agent types"],
    async run(invocation) {
      const { modules } = await invocation.client.modules.listModules({}, invocation.call);
      const active = modules.filter((module) => module.state === ModuleState.ACTIVE);
      const response = create(ListModulesResponseSchema, { modules: active });
      const human = () => table(["TYPE", "VERSION", "NAME", "DESCRIPTION"], agentTypeRows(active));
      invocation.show(ListModulesResponseSchema, response, human, active.map((module) => module.name));
    },
  });
}

function addCreate(group: Command, shell: Shell): void {
  addCommand<CreateOptions>(group, shell, {
    usage: "create <type>",
    summary: "Spawn an agent",
    more: "TYPE is a module's name, or NAME@VERSION for one of its versions.",
    options: [
      sessionOption(),
      pairOption("--param", "a parameter of its configuration"),
      pairOption("--context", "a fact it can read"),
      pairOption("--metadata", "something to find it by"),
      new Option("--parent <agent>", "the agent it is a child of"),
    ],
    examples: ["agent create echo", "agent create aws --param region=eu-west-1 --metadata team=infra"],
    async run(invocation) {
      const { session, param, context, metadata, parent } = invocation.options;
      const response = await invocation.client.agents.createAgent(
        {
          sessionId: await invocation.session(session),
          agentType: invocation.arg(0),
          config: { parameters: { ...param } },
          context: { ...context },
          metadata: { ...metadata },
          parentAgentId: parent ?? "",
        },
        invocation.call,
      );
      const id = response.agent?.agentId ?? "";
      invocation.show(CreateAgentResponseSchema, response, () => agentFields(response.agent), [id]);
      if (!invocation.json) invocation.note(`next: sirsi agent send ${id} "hello"`);
    },
  });
}

function addList(group: Command, shell: Shell): void {
  addCommand<ListOptions>(group, shell, {
    usage: "list",
    summary: "List a session's agents",
    options: [sessionOption(), new Option("--filter <cel>", "a CEL expression over agent_id, agent_type, state, parent_agent_id, metadata, created_at, updated_at"), limitOption()],
    examples: ["agent list", `agent list --filter 'state == "READY" && agent_type == "aws"'`],
    async run(invocation) {
      const { session, filter, limit } = invocation.options;
      const sessionId = await invocation.session(session);
      let totalSize = 0;
      const { items, nextPageToken } = await listAll(limit, async (pageSize, pageToken) => {
        const page = await invocation.client.agents.listAgents({ sessionId, filter: filter ?? "", pageSize, pageToken }, invocation.call);
        totalSize = page.totalSize;
        return { items: page.agents, nextPageToken: page.nextPageToken };
      });
      const response = create(ListAgentsResponseSchema, { agents: items, nextPageToken, totalSize });
      const rows = items.map((agent) => [agent.agentId, agent.agentType, valueName(AgentStateSchema, agent.state), time(agent.createdAt), pairs(agent.metadata)]);
      invocation.show(ListAgentsResponseSchema, response, () => table(["AGENT", "TYPE", "STATE", "CREATED", "METADATA"], rows), items.map((agent) => agent.agentId));
      if (nextPageToken !== "") invocation.note(`${items.length} of ${totalSize}; raise --limit for more`);
    },
  });
}

function addShow(group: Command, shell: Shell): void {
  addCommand<SessionOption>(group, shell, {
    usage: "show <agent>",
    summary: "Show an agent: what it is and what it has done",
    options: [sessionOption()],
    examples: ["agent show 0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11"],
    async run(invocation) {
      const sessionId = await invocation.session(invocation.options.session);
      const response = await invocation.client.agents.getAgent({ sessionId, agentId: invocation.arg(0) }, invocation.call);
      invocation.show(GetAgentResponseSchema, response, () => agentFields(response.agent) + metricFields(response.metrics), [invocation.arg(0)]);
    },
  });
}

function addSuggest(group: Command, shell: Shell): void {
  addCommand<SuggestOptions>(group, shell, {
    usage: "suggest <agent>",
    summary: "Ask an agent what it would suggest",
    options: [
      sessionOption(),
      new Option("--about <type>", "the kind of context, such as cost"),
      pairOption("--data", "a fact of the context"),
      textOption("--tag <tag>", "a tag of the context"),
      new Option("--max <count>", "the most suggestions (default: 10)").argParser(parseCount),
    ],
    examples: ["agent suggest AGENT", "agent suggest AGENT --about cost --tag production --max 3"],
    async run(invocation) {
      const { session, about, data, tag, max } = invocation.options;
      const response = await invocation.client.agents.getSuggestions(
        {
          sessionId: await invocation.session(session),
          agentId: invocation.arg(0),
          context: { contextType: about ?? "", contextData: { ...data }, tags: [...(tag ?? [])] },
          maxSuggestions: max ?? 0,
        },
        invocation.call,
      );
      const ids = response.suggestions.map((suggestion) => suggestion.suggestionId);
      invocation.show(GetSuggestionsResponseSchema, response, () => suggestionText(response.suggestions) || "no suggestions\n", ids);
    },
  });
}

function addStatus(group: Command, shell: Shell): void {
  addCommand<SessionOption>(group, shell, {
    usage: "status <agent>",
    summary: "Show how an agent is now",
    options: [sessionOption()],
    examples: ["agent status AGENT", "agent status AGENT -o json"],
    async run(invocation) {
      const sessionId = await invocation.session(invocation.options.session);
      const response = await invocation.client.agents.getAgentStatus({ sessionId, agentId: invocation.arg(0) }, invocation.call);
      const human = () =>
        fields([
          ["state", valueName(AgentStateSchema, response.status?.state ?? 0)],
          ["health", response.healthStatus],
          ["message", response.status?.statusMessage ?? ""],
          ["last activity", time(response.status?.lastActivity)],
          ["in progress", String(response.status?.activeOperations ?? 0)],
          ["details", pairs(response.status?.statusDetails ?? {})],
          ["capabilities", response.activeCapabilities.map((capability) => capability.capabilityId).join(", ")],
        ]) + metricFields(response.metrics);
      invocation.show(GetAgentStatusResponseSchema, response, human, [valueName(AgentStateSchema, response.status?.state ?? 0)]);
    },
  });
}

function addDelete(group: Command, shell: Shell): void {
  addCommand<SessionOption>(group, shell, {
    usage: "delete <agent>",
    summary: "End an agent",
    options: [sessionOption()],
    examples: ["agent delete AGENT"],
    async run(invocation) {
      const sessionId = await invocation.session(invocation.options.session);
      await invocation.client.agents.deleteAgent({ sessionId, agentId: invocation.arg(0) }, invocation.call);
      invocation.note(`ended agent ${cell(invocation.arg(0))}`);
    },
  });
}

function agentFields(agent: Agent | undefined): string {
  if (agent === undefined) return "";
  return fields([
    ["agent", agent.agentId],
    ["type", agent.moduleVersion === "" ? agent.agentType : `${agent.agentType}@${agent.moduleVersion}`],
    ["revision", agent.moduleDigest.slice(0, 12)],
    ["state", valueName(AgentStateSchema, agent.state)],
    ["session", agent.sessionId],
    ["parent", agent.parentAgentId],
    ["created", time(agent.createdAt)],
    ["updated", time(agent.updatedAt)],
    ["parameters", pairs(agent.config?.parameters ?? {})],
    ["metadata", pairs(agent.metadata)],
  ]);
}

function metricFields(metrics: AgentMetrics | undefined): string {
  if (metrics === undefined) return "";
  return `\n${fields([
    ["messages", String(metrics.messagesProcessed)],
    ["operations", String(metrics.operationsCompleted)],
    ["errors", String(metrics.errorsEncountered)],
    ["average time", `${metrics.averageResponseTimeMs.toFixed(1)} ms`],
    ["more", pairs(metrics.customMetrics)],
  ])}`;
}
