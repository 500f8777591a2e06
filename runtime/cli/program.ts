/** The whole command tree. */
import { Command, Option } from "commander";
import { parseDuration, parseHostAddress } from "./arguments.ts";
import { describe } from "./command.ts";
import type { Shell } from "./command.ts";
import { addAgentCommands } from "./commands/agent.ts";
import { addAuditCommands } from "./commands/audit.ts";
import { addCompletionCommand } from "./commands/completion.ts";
import { addConfigCommands } from "./commands/config.ts";
import { addDeadLetterCommands } from "./commands/dead-letter.ts";
import { addDoctorCommand } from "./commands/doctor.ts";
import { addEventsCommand } from "./commands/events.ts";
import { addFleetCommands } from "./commands/fleet.ts";
import { addHealthCommand } from "./commands/health.ts";
import { addHostCommands } from "./commands/host.ts";
import { addModuleCommands } from "./commands/module.ts";
import { addServeCommand } from "./commands/serve.ts";
import type { StartHost } from "./commands/serve.ts";
import { addSessionCommands } from "./commands/session.ts";
import { EXIT } from "./exit-codes.ts";
import { packageVersion } from "./version.ts";

export function buildProgram(shell: Shell, loadHost: () => Promise<StartHost>): Command {
  const program = new Command("sirsi");
  program
    .exitOverride()
    .configureOutput({ writeOut: (text) => shell.terminal.stdout.write(text), writeErr: (text) => shell.terminal.stderr.write(text) })
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("run the command with --help for its options and examples")
    .version(packageVersion(), "-V, --version", "print the version")
    .addOption(new Option("--address <host:port>", "the host to talk to (default: SIRSI_ADDRESS, else 127.0.0.1:50051)").argParser(parseHostAddress))
    .addOption(new Option("-o, --output <format>", "how results are printed").choices(["table", "json"]).default("table"))
    .addOption(new Option("--timeout <duration>", "how long to wait for an answer, such as 500ms, 10s or 2m (default: 30s)").argParser(parseDuration))
    .addOption(new Option("-q, --quiet", "print ids or the bare result, and no notes"))
    .addOption(new Option("--no-color", "no colours; the variable NO_COLOR does the same"));
  describe(program, {
    summary: "A hypervisor for agents that live in WebAssembly",
    examples: ["serve", "session create", "agent create echo", "agent send AGENT hello"],
  });
  addServeCommand(program, shell, loadHost);
  addHealthCommand(program, shell);
  addSessionCommands(program, shell);
  addAgentCommands(program, shell);
  addModuleCommands(program, shell);
  addHostCommands(program, shell);
  addFleetCommands(program, shell);
  addDeadLetterCommands(program, shell);
  addAuditCommands(program, shell);
  addEventsCommand(program, shell);
  addDoctorCommand(program, shell);
  addConfigCommands(program, shell);
  addCompletionCommand(program, shell);
  return program;
}

/** A shell that runs nothing, for reading the tree. */
export function idleShell(): Shell {
  const out = { write: () => undefined, isTerminal: false };
  return {
    terminal: { stdin: process.stdin, stdinIsTerminal: false, stdout: out, stderr: out, env: {}, cwd: "/", onSignal: () => () => undefined, exit: () => undefined },
    signal: new AbortController().signal,
    exitCode: EXIT.ok,
    options: {},
    lastWill: () => undefined,
  };
}
