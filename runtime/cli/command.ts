/** How a command is declared; help, completion and docs/cli.md are made from the same declarations. */
import { Option } from "commander";
import type { Command } from "commander";
import { collectPair, collectText } from "./arguments.ts";
import { EXIT } from "./exit-codes.ts";
import type { ExitCode } from "./exit-codes.ts";
import { Invocation } from "./invocation.ts";
import type { GlobalOptions } from "./invocation.ts";
import type { Terminal } from "./terminal.ts";

export interface CommandSpec<Options extends object> {
  /** Name and arguments: "send <agent> [text...]". */
  readonly usage: string;
  readonly summary: string;
  /** More than the summary says; empty for none. */
  readonly more?: string;
  readonly options?: readonly Option[];
  /** Without the leading "sirsi", unless there is something before it. */
  readonly examples: readonly string[];
  /** Answers the exit code; nothing means 0. */
  readonly run: (invocation: Invocation<Options>) => Promise<ExitCode | void> | ExitCode | void;
}

/** Where a parsed command is run and leaves its exit code. */
export interface Shell {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  exitCode: ExitCode;
  /** Of the command that was reached, for telling its failure. */
  options: GlobalOptions;
  /** Run before the second signal ends the process. */
  lastWill: () => void;
}

const examplesOf = new WeakMap<Command, readonly string[]>();

/** As a person types them. */
export function commandExamples(command: Command): readonly string[] {
  return (examplesOf.get(command) ?? []).map((example) => (example.includes("sirsi ") ? example : `sirsi ${example}`));
}

export function addCommand<Options extends object = object>(parent: Command, shell: Shell, spec: CommandSpec<Options>): Command {
  const command = describe(parent.command(spec.usage), spec);
  for (const option of spec.options ?? []) command.addOption(option);
  command.allowExcessArguments(false);
  command.action(async (...received: unknown[]) => {
    const args = received.slice(0, -2) as Invocation["args"];
    const options = command.optsWithGlobals<Options & GlobalOptions>();
    shell.options = options;
    const invocation = new Invocation<Options>(shell.terminal, args, options, shell.signal);
    try {
      shell.exitCode = (await spec.run(invocation)) ?? EXIT.ok;
    } finally {
      invocation.close();
    }
  });
  return command;
}

/** A command that only holds others. */
export function addGroup(parent: Command, name: string, summary: string, examples: readonly string[]): Command {
  return describe(parent.command(name), { summary, examples });
}

export function describe(command: Command, spec: { readonly summary: string; readonly more?: string; readonly examples: readonly string[] }): Command {
  examplesOf.set(command, spec.examples);
  command.summary(spec.summary).description(spec.more === undefined ? spec.summary : `${spec.summary}\n\n${spec.more}`);
  return command.addHelpText("after", () => `\nExamples:\n${commandExamples(command).map((example) => `  $ ${example}`).join("\n")}\n`);
}

export function sessionOption(): Option {
  return new Option("-s, --session <id>", "the session (default: SIRSI_SESSION, else the only active one)");
}

/** A repeatable NAME=VALUE option. */
export function pairOption(flag: string, meaning: string): Option {
  return new Option(`${flag} <name=value>`, `${meaning}; may be repeated`).argParser(collectPair);
}

/** A repeatable option. */
export function textOption(flags: string, meaning: string): Option {
  return new Option(flags, `${meaning}; may be repeated`).argParser(collectText);
}
