/** sirsi agent send and sirsi agent chat. */
import { createInterface } from "node:readline";
import { text as readText } from "node:stream/consumers";
import { Option } from "commander";
import type { Command } from "commander";
import { MessageType, Priority, SendMessageResponseSchema } from "../../client/index.ts";
import type { ConverseResponse, SendMessageResponse } from "../../client/index.ts";
import { systemClock } from "../../core/clock.ts";
import { RpcCode } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import { ClientError } from "../../client/index.ts";
import { readAttachment } from "../attachment.ts";
import { addCommand, pairOption, sessionOption, textOption } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT, exitCodeOfCall } from "../exit-codes.ts";
import type { ExitCode } from "../exit-codes.ts";
import { UsageError, failureOf, failureText } from "../failure.ts";
import type { Invocation, SessionOption } from "../invocation.ts";
import { suggestionText } from "../suggestion-text.ts";
import { bytes, cell, cleanText } from "../text.ts";

const PRIORITIES = ["low", "normal", "high", "critical"] as const;
const TYPES = ["text", "command", "query"] as const;

interface SendOptions extends SessionOption {
  readonly id?: string;
  readonly attach?: readonly string[];
  readonly priority?: (typeof PRIORITIES)[number];
  readonly type: (typeof TYPES)[number];
  readonly metadata?: Readonly<Record<string, string>>;
}

export function addTalkCommands(group: Command, shell: Shell): void {
  addCommand<SendOptions>(group, shell, {
    usage: "send <agent> [text...]",
    summary: "Send an agent one message and print its reply",
    more:
      "TEXT is the message; `-` takes it from standard input. A message takes effect at most once under its id, so " +
      "sending it again with the same --id is safe and answers the recorded reply. --timeout also bounds the agent's work.",
    options: [
      sessionOption(),
      new Option("--id <id>", "the message's id (default: a new one)"),
      textOption("--attach <file[:type]>", "attach a file, with its media type where the name does not tell"),
      new Option("--priority <level>", "how urgent it is").choices(PRIORITIES),
      new Option("--type <type>", "what kind of message it is").choices(TYPES).default("text"),
      pairOption("--metadata", "a fact about the message"),
    ],
    examples: ["agent send AGENT hello there", "agent send AGENT inventory --attach terraform.tfstate:application/json", "cat question.txt | sirsi agent send AGENT - --id q-1 --timeout 2m"],
    run: send,
  });

  addCommand<SessionOption>(group, shell, {
    usage: "chat <agent>",
    summary: "Talk with an agent, line by line",
    more: "Each line is a message. End with /quit or the end of input. When lines come from a pipe, the exit code is that of the last one that failed.",
    options: [sessionOption()],
    examples: ["agent chat AGENT", "printf 'one\\ntwo\\n' | sirsi agent chat AGENT"],
    run: chat,
  });
}

async function send(invocation: Invocation<SendOptions>): Promise<void> {
  const { session, id, attach, priority, type, metadata, timeout } = invocation.options;
  const words = invocation.rest(1);
  const content = words.length === 1 && words[0] === "-" ? await readText(invocation.terminal.stdin) : words.join(" ");
  if (content === "" && attach === undefined) throw new UsageError("there is nothing to send", "Give TEXT, `-` for standard input, or --attach FILE.");
  const attachments = (attach ?? []).map((argument) => readAttachment(argument, invocation.terminal.cwd));
  const response = await invocation.client.agents.sendMessage(
    {
      sessionId: await invocation.session(session),
      agentId: invocation.arg(0),
      message: { messageId: id ?? newId(systemClock.now()), type: MessageType[type.toUpperCase() as "TEXT"], content, metadata: { ...metadata }, attachments },
      options: {
        priority: priority === undefined ? Priority.UNSPECIFIED : Priority[priority.toUpperCase() as "LOW"],
        timeoutSeconds: Math.ceil((timeout ?? 0) / 1_000),
      },
    },
    invocation.call,
  );
  invocation.show(SendMessageResponseSchema, response, () => replyText(response), response.response?.content ? [cleanText(response.response.content)] : []);
  if (response.replayed) invocation.note(`this is the recorded reply to ${cell(response.messageId)}; the message took effect before`);
}

function replyText(response: SendMessageResponse): string {
  const reply = response.response;
  const parts = [reply?.content ? `${cleanText(reply.content).trimEnd()}\n` : ""];
  for (const attachment of reply?.attachments ?? []) parts.push(`attached: ${cell(attachment.name)} (${cell(attachment.mimeType)}, ${bytes(Number(attachment.sizeBytes))})\n`);
  if (response.suggestions.length > 0) parts.push(`\n${suggestionText(response.suggestions)}`);
  return parts.join("");
}

async function chat(invocation: Invocation<SessionOption>): Promise<ExitCode> {
  const sessionId = await invocation.session(invocation.options.session);
  const agentId = invocation.arg(0);
  const { stdin, stdinIsTerminal: interactive } = invocation.terminal;
  const conversation = invocation.client.agents.converse({ signal: invocation.signal });
  const answers = conversation[Symbol.asyncIterator]();
  let exitCode: ExitCode = EXIT.ok;
  const prompt = () => {
    if (interactive) invocation.terminal.stderr.write("> ");
  };
  prompt();
  for await (const line of createInterface({ input: stdin, signal: invocation.signal })) {
    if (line.trim() === "/quit") break;
    if (line.trim() !== "") {
      const messageId = newId(systemClock.now());
      // A conversation that is over says why on its answers.
      await conversation.send({ sessionId, agentId, message: { messageId, type: MessageType.TEXT, content: line } }).catch(() => undefined);
      exitCode = (await answer(invocation, answers)) ?? exitCode;
    }
    prompt();
  }
  conversation.end();
  if (invocation.signal.aborted) return EXIT.interrupted;
  await answers.return?.();
  return interactive ? EXIT.ok : exitCode;
}

/** Prints what comes until the message is answered; its exit code when it failed, else null. */
async function answer(invocation: Invocation, answers: AsyncIterator<ConverseResponse>): Promise<ExitCode | null> {
  for (;;) {
    const { done, value } = await answers.next();
    if (done === true) throw new ClientError(RpcCode.UNAVAILABLE, "the host ended the conversation");
    const { kind } = value;
    if (kind.case === "partial") {
      if (invocation.terminal.stderr.isTerminal) invocation.note(`… ${cell(kind.value.content)}`);
    } else if (kind.case === "response") {
      invocation.show(SendMessageResponseSchema, kind.value, () => replyText(kind.value), [cleanText(kind.value.response?.content ?? "")]);
      return null;
    } else if (kind.case === "error") {
      const error = new ClientError(kind.value.code, kind.value.message, { reason: kind.value.reason });
      invocation.terminal.stderr.write(failureText(failureOf(error, invocation.address)));
      return exitCodeOfCall(error.rpcCode, error.reason, false);
    }
  }
}
