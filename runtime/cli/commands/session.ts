/** sirsi session: create, list, show, extend, delete. */
import { userInfo } from "node:os";
import { create } from "@bufbuild/protobuf";
import { Option } from "commander";
import type { Command } from "commander";
import {
  AgentStateSchema,
  CreateSessionResponseSchema,
  ExtendSessionResponseSchema,
  GetSessionResponseSchema,
  ListSessionsResponseSchema,
  SessionState,
  SessionStateSchema,
} from "../../client/index.ts";
import type { Session } from "../../client/index.ts";
import { parseCount, parseDuration } from "../arguments.ts";
import { addCommand, addGroup, pairOption } from "../command.ts";
import type { Shell } from "../command.ts";
import { listAll, limitOption } from "../paging.ts";
import type { LimitOption } from "../paging.ts";
import { cell, fields, pairs, table, time } from "../text.ts";
import { valueName } from "../value-name.ts";

interface CreateOptions {
  readonly user?: string;
  readonly name?: string;
  readonly lifetime?: number;
  readonly maxAgents?: number;
  readonly context?: Readonly<Record<string, string>>;
}

interface ListOptions extends LimitOption {
  readonly user?: string;
  readonly all?: boolean;
}

const ALL_STATES = [SessionState.ACTIVE, SessionState.SUSPENDED, SessionState.EXPIRED, SessionState.TERMINATED];

export function addSessionCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "session", "Open, list, extend and end sessions", ["session create --user ada", "session list"]);
  addCreate(group, shell);
  addList(group, shell);
  addShow(group, shell);
  addExtend(group, shell);
  addDelete(group, shell);
}

function addCreate(group: Command, shell: Shell): void {
  addCommand<CreateOptions>(group, shell, {
    usage: "create",
    summary: "Open a session",
    options: [
      new Option("-u, --user <id>", "whose session it is (default: your name on this machine)"),
      new Option("--name <text>", "the user's name as people read it"),
      new Option("--lifetime <duration>", "how long it lives, such as 30m (default: the host's)").argParser(parseDuration),
      new Option("--max-agents <count>", "how many agents it may have (default: the host's)").argParser(parseCount),
      pairOption("--context", "a fact that its agents can read"),
    ],
    examples: ["session create", "session create --user ada --lifetime 2h", "export SIRSI_SESSION=$(sirsi session create --quiet)"],
    async run(invocation) {
      const { user, name, lifetime, maxAgents, context } = invocation.options;
      const response = await invocation.client.agents.createSession(
        {
          userId: user ?? userInfo().username,
          context: { ...context },
          config: { timeoutSeconds: Math.ceil((lifetime ?? 0) / 1_000), maxAgents: maxAgents ?? 0 },
          ...(name === undefined ? {} : { userProfile: { displayName: name } }),
        },
        invocation.call,
      );
      const id = response.session?.sessionId ?? "";
      invocation.show(CreateSessionResponseSchema, response, () => sessionFields(response.session), [id]);
      if (!invocation.json) invocation.note(`next: sirsi agent create TYPE --session ${id}   (types: ${response.availableAgentTypes.map((type) => type.typeId).join(", ") || "none yet"})`);
    },
  });
}

function addList(group: Command, shell: Shell): void {
  addCommand<ListOptions>(group, shell, {
    usage: "list",
    summary: "List sessions, newest first",
    options: [new Option("-u, --user <id>", "only this user's"), new Option("-a, --all", "expired and ended ones too"), limitOption()],
    examples: ["session list", "session list --all -o json"],
    async run(invocation) {
      const { user, all, limit } = invocation.options;
      const { items, nextPageToken } = await listAll(limit, async (pageSize, pageToken) => {
        const page = await invocation.client.agents.listSessions({ userId: user ?? "", states: all === true ? ALL_STATES : [], pageSize, pageToken }, invocation.call);
        return { items: page.sessions, nextPageToken: page.nextPageToken };
      });
      const response = create(ListSessionsResponseSchema, { sessions: items, nextPageToken });
      const rows = items.map((session) => [session.sessionId, session.userId, valueName(SessionStateSchema, session.state), time(session.expiresAt)]);
      invocation.show(ListSessionsResponseSchema, response, () => table(["SESSION", "USER", "STATE", "EXPIRES"], rows), items.map((session) => session.sessionId));
      if (nextPageToken !== "") invocation.note("there are more; raise --limit");
    },
  });
}

function addShow(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "show [session]",
    summary: "Show a session and its agents",
    examples: ["session show", "session show 0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11"],
    async run(invocation) {
      const sessionId = await invocation.session(invocation.arg(0) || undefined);
      const response = await invocation.client.agents.getSession({ sessionId }, invocation.call);
      const rows = response.activeAgents.map((agent) => [agent.agentId, agent.agentType, valueName(AgentStateSchema, agent.state)]);
      const human = () => `${sessionFields(response.session)}\n${table(["AGENT", "TYPE", "STATE"], rows)}`;
      invocation.show(GetSessionResponseSchema, response, human, [sessionId]);
    },
  });
}

function addExtend(group: Command, shell: Shell): void {
  addCommand<{ readonly by?: number }>(group, shell, {
    usage: "extend [session]",
    summary: "Move a session's expiry",
    options: [new Option("--by <duration>", "from now, such as 1h (default: the session's own lifetime)").argParser(parseDuration)],
    examples: ["session extend --by 1h"],
    async run(invocation) {
      const sessionId = await invocation.session(invocation.arg(0) || undefined);
      const extendSeconds = Math.ceil((invocation.options.by ?? 0) / 1_000);
      const response = await invocation.client.agents.extendSession({ sessionId, extendSeconds }, invocation.call);
      invocation.show(ExtendSessionResponseSchema, response, () => sessionFields(response.session), [sessionId]);
    },
  });
}

function addDelete(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "delete <session>",
    summary: "End a session and all its agents",
    examples: ["session delete 0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11"],
    async run(invocation) {
      const sessionId = invocation.arg(0);
      await invocation.client.agents.deleteSession({ sessionId }, invocation.call);
      invocation.note(`ended session ${cell(sessionId)} and its agents`);
    },
  });
}

function sessionFields(session: Session | undefined): string {
  if (session === undefined) return "";
  return fields([
    ["session", session.sessionId],
    ["user", session.userProfile?.displayName ? `${session.userId} (${session.userProfile.displayName})` : session.userId],
    ["state", valueName(SessionStateSchema, session.state)],
    ["created", time(session.createdAt)],
    ["expires", time(session.expiresAt)],
    ["max agents", String(session.config?.maxAgents ?? "")],
    ["metadata", pairs(session.metadata)],
  ]);
}
