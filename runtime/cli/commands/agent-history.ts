/** sirsi agent history, inspect, fork and release: an agent as its commits left it. */
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Option } from "commander";
import type { Command } from "commander";
import { ForkAgentResponseSchema, InspectStateResponseSchema, ListCommitsResponseSchema } from "../../client/index.ts";
import type { Commit, SavedState } from "../../client/index.ts";
import { parseCount } from "../arguments.ts";
import { addCommand } from "../command.ts";
import type { Shell } from "../command.ts";
import { EXIT } from "../exit-codes.ts";
import type { ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import type { Invocation } from "../invocation.ts";
import { limitOption, listAll } from "../paging.ts";
import type { LimitOption } from "../paging.ts";
import { inspectionText } from "../state-text.ts";
import { bytes, cell, table, time } from "../text.ts";

interface AtOption {
  readonly at?: number;
}

export function addHistoryCommands(group: Command, shell: Shell): void {
  addHistory(group, shell);
  addInspect(group, shell);
  addFork(group, shell);
  addRelease(group, shell);
}

function atOption(): Option {
  return new Option("--at <sequence>", "the commit (default: the newest)").argParser(parseCount);
}

function addHistory(group: Command, shell: Shell): void {
  addCommand<LimitOption & { readonly before?: number }>(group, shell, {
    usage: "history <agent>",
    summary: "List an agent's commits, newest first",
    more: "How far back they go is the setting durability.history_commits.",
    options: [new Option("--before <sequence>", "only commits below this one").argParser(parseCount), limitOption()],
    examples: ["agent history AGENT", "agent history AGENT --before 100 --limit 20"],
    async run(invocation) {
      const { limit, before } = invocation.options;
      const agentId = invocation.arg(0);
      const { items, nextPageToken } = await listAll<Commit>(limit, async (pageSize, token) => {
        const beforeSequence = token === "" ? BigInt(before ?? 0) : BigInt(token);
        const { commits } = await invocation.client.operator.listCommits({ agentId, beforeSequence, pageSize }, invocation.call);
        return { items: commits, nextPageToken: commits.length < pageSize ? "" : String(commits.at(-1)?.sequence ?? "") };
      });
      const rows = items.map((commit) => [
        String(commit.sequence),
        commit.cause,
        commit.causeId,
        time(commit.committedAt),
        commit.digest.slice(0, 12),
        commit.stateKind,
        bytes(Number(commit.stateBytes)),
      ]);
      const human = () => (items.length === 0 ? "no commits are kept\n" : table(["COMMIT", "CAUSE", "OF", "AT", "REVISION", "STATE", "SIZE"], rows));
      invocation.show(ListCommitsResponseSchema, create(ListCommitsResponseSchema, { commits: items }), human, items.map(({ sequence }) => String(sequence)));
      if (nextPageToken !== "") invocation.note("there may be more; raise --limit");
    },
  });
}

function addInspect(group: Command, shell: Shell): void {
  addCommand<AtOption & { readonly out?: string }>(group, shell, {
    usage: "inspect <agent>",
    summary: "Rebuild an agent's state as a commit left it, and look into it",
    more:
      "Shows where its memory differs from the image that every agent of its revision begins with, its globals, and what its save() says. " +
      "This is done on a copy: the agent itself works on and notices nothing. In the middle of a wait an agent cannot save.",
    options: [atOption(), new Option("--out <file>", "write the saved bytes to a file")],
    examples: ["agent inspect AGENT", "agent inspect AGENT --at 41", "agent inspect AGENT --at 41 --out state.bin", "agent inspect AGENT -o json"],
    run: inspect,
  });
}

async function inspect(invocation: Invocation<AtOption & { readonly out?: string }>): Promise<ExitCode> {
  const { at, out } = invocation.options;
  const response = await invocation.client.operator.inspectState({ agentId: invocation.arg(0), atSequence: BigInt(at ?? 0) }, invocation.call);
  invocation.show(InspectStateResponseSchema, response, () => inspectionText(response), [String(response.sequence)]);
  if (out === undefined) return EXIT.ok;
  if (response.saved === undefined) {
    invocation.note(`nothing was written to ${cell(out)}: ${cell(response.saveError)}`);
    return EXIT.failure;
  }
  writeState(resolve(invocation.terminal.cwd, out), response.saved);
  invocation.note(`wrote ${bytes(response.saved.state.length)} to ${cell(out)}`);
  return EXIT.ok;
}

function writeState(path: string, { state }: SavedState): void {
  try {
    writeFileSync(path, state);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`the file ${path} cannot be written (${reason})`, "Name a file in a directory that you may write to.");
  }
}

function addFork(group: Command, shell: Shell): void {
  addCommand<AtOption>(group, shell, {
    usage: "fork <agent>",
    summary: "Start a new agent from a state of another",
    more:
      "It has the same session, module, revision and configuration, an id of its own, and begins with an empty conversation, no timers and no parent. " +
      "Its metadata has sirsi.forked_from. A state in the middle of a wait cannot be forked.",
    options: [atOption()],
    examples: ["agent fork AGENT", "agent fork AGENT --at 41"],
    async run(invocation) {
      const response = await invocation.client.operator.forkAgent({ agentId: invocation.arg(0), atSequence: BigInt(invocation.options.at ?? 0) }, invocation.call);
      invocation.show(ForkAgentResponseSchema, response, () => `${cell(response.agentId)}\n`, [response.agentId]);
      if (!invocation.json) invocation.note(`next: sirsi agent send ${cell(response.agentId)} "hello"`);
    },
  });
}

function addRelease(group: Command, shell: Shell): void {
  addCommand(group, shell, {
    usage: "release <agent>",
    summary: "Let a quarantined agent work again",
    more: "What waited in its mailbox is taken up as it was kept. Mend what made it fail first: `sirsi agent status` tells its last error.",
    examples: ["agent release AGENT"],
    async run(invocation) {
      await invocation.client.operator.releaseAgent({ agentId: invocation.arg(0) }, invocation.call);
      invocation.note(`agent ${cell(invocation.arg(0))} works again`);
    },
  });
}
