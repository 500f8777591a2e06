/** sirsi deadletter: list, show, retry, drop. */
import { Option } from "commander";
import type { Command } from "commander";
import { create } from "@bufbuild/protobuf";
import { DropDeadLetterResponseSchema, GetDeadLetterResponseSchema, ListDeadLettersResponseSchema, RetryDeadLetterResponseSchema } from "../../client/index.ts";
import type { DeadLetter } from "../../client/index.ts";
import { addCommand, addGroup } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import { limitOption, listAll } from "../paging.ts";
import type { LimitOption } from "../paging.ts";
import { cell, cleanText, fields, table, time } from "../text.ts";

interface ListOptions extends LimitOption {
  readonly agent?: string;
  readonly session?: string;
}

export function addDeadLetterCommands(program: Command, shell: Shell): void {
  const group = addGroup(program, "deadletter", "Messages that were given up: look at them, send them again, drop them", ["deadletter list", "deadletter retry LETTER"]);
  addList(group, shell);
  addShow(group, shell);
  addRetry(group, shell);
  addDrop(group, shell);
}

function addList(group: Command, shell: Shell): void {
  addCommand<ListOptions>(group, shell, {
    usage: "list",
    summary: "List dead letters, newest first",
    options: [new Option("--agent <agent>", "only those for this agent"), new Option("-s, --session <id>", "only those of this session"), limitOption()],
    examples: ["deadletter list", "deadletter list --agent AGENT --limit 10", "deadletter list -o json"],
    async run(invocation) {
      const { agent, session, limit } = invocation.options;
      const { items, nextPageToken } = await listAll<DeadLetter>(limit, async (pageSize, beforeId) => {
        const { deadLetters } = await invocation.client.operator.listDeadLetters({ agentId: agent ?? "", sessionId: session ?? "", beforeId, pageSize }, invocation.call);
        return { items: deadLetters, nextPageToken: deadLetters.length < pageSize ? "" : (deadLetters.at(-1)?.deadLetterId ?? "") };
      });
      const rows = items.map((letter) => [letter.deadLetterId, letter.agentId, letter.reason, String(letter.attempts), time(letter.deadAt), letter.content]);
      const response = create(ListDeadLettersResponseSchema, { deadLetters: items });
      const human = () => (items.length === 0 ? "no dead letters\n" : table(["LETTER", "AGENT", "REASON", "ATTEMPTS", "GIVEN UP", "CONTENT"], rows));
      invocation.show(ListDeadLettersResponseSchema, response, human, items.map(({ deadLetterId }) => deadLetterId));
      if (nextPageToken !== "") invocation.note("there may be more; raise --limit");
    },
  });
}

function addShow(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "show <letter>",
    summary: "Show a dead letter: the message, and why it was given up",
    examples: ["deadletter show LETTER", "deadletter show LETTER -o json"],
    async run(invocation) {
      const response = await invocation.client.operator.getDeadLetter({ deadLetterId: invocation.arg(0) }, invocation.call);
      invocation.show(GetDeadLetterResponseSchema, response, () => letterText(response.deadLetter), [invocation.arg(0)]);
    },
  });
}

function addRetry(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "retry <letter>",
    summary: "Send a dead letter to its agent again and print the reply",
    more: "It goes under its own message id, so it takes effect at most once. When the agent takes it the letter is gone; when it fails again the letter stays.",
    examples: ["deadletter retry LETTER", "deadletter retry LETTER --timeout 2m"],
    async run(invocation) {
      const response = await invocation.client.operator.retryDeadLetter({ deadLetterId: invocation.arg(0) }, invocation.call);
      const { content, errorMessage } = response;
      invocation.show(RetryDeadLetterResponseSchema, response, () => (content === "" ? "" : `${cleanText(content).trimEnd()}\n`), content === "" ? [] : [cleanText(content)]);
      if (errorMessage === "") {
        invocation.note(`the agent took the message; dead letter ${cell(invocation.arg(0))} is gone`);
        return EXIT.ok;
      }
      invocation.note(`the agent took the message and answered with an error: ${cell(errorMessage)}; dead letter ${cell(invocation.arg(0))} is gone`);
      return EXIT.guest;
    },
  });
}

function addDrop(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "drop <letter>",
    summary: "Remove a dead letter for good",
    examples: ["deadletter drop LETTER", "for LETTER in $(sirsi deadletter list --agent AGENT --quiet); do sirsi deadletter drop $LETTER; done"],
    async run(invocation) {
      const response = await invocation.client.operator.dropDeadLetter({ deadLetterId: invocation.arg(0) }, invocation.call);
      if (invocation.json) invocation.show(DropDeadLetterResponseSchema, response, () => "", []);
      else invocation.note(`dropped dead letter ${cell(invocation.arg(0))}`);
    },
  });
}

function letterText(letter: DeadLetter | undefined): string {
  if (letter === undefined) return "";
  return fields([
    ["letter", letter.deadLetterId],
    ["agent", letter.agentId],
    ["session", letter.sessionId],
    ["from", letter.sourceAgentId === "" ? "a client" : `agent ${letter.sourceAgentId}`],
    ["message", letter.messageId],
    ["reason", letter.reason],
    ["why", letter.explanation],
    ["attempts", String(letter.attempts)],
    ["given up", time(letter.deadAt)],
    ["content", letter.content],
  ]);
}
