/** Carries out one command line and answers its exit code. Never rejects. */
import { styleText } from "node:util";
import { CommanderError } from "commander";
import { clientEnvironment } from "../config/index.ts";
import { systemClock } from "../core/clock.ts";
import type { Clock } from "../core/clock.ts";
import type { Shell } from "./command.ts";
import type { StartHost } from "./commands/serve.ts";
import { EXIT, exitCodeOf } from "./exit-codes.ts";
import type { ExitCode } from "./exit-codes.ts";
import { failureJson, failureOf, failureText } from "./failure.ts";
import { addressOf } from "./invocation.ts";
import { buildProgram } from "./program.ts";
import type { Terminal } from "./terminal.ts";

/** A terminal and npm may both deliver one Ctrl-C: signals this close together are one. */
const ONE_SIGNAL_MS = 500;

export async function runCli(argv: readonly string[], terminal: Terminal, loadHost: () => Promise<StartHost>, clock: Clock = systemClock): Promise<ExitCode> {
  const interruption = new AbortController();
  const shell: Shell = { terminal, signal: interruption.signal, exitCode: EXIT.ok, options: {}, lastWill: () => undefined };
  let firstAt: number | null = null;
  const forget = terminal.onSignal(() => {
    firstAt ??= clock.monotonic();
    interruption.abort();
    if (clock.monotonic() - firstAt < ONE_SIGNAL_MS) return;
    shell.lastWill();
    terminal.exit(EXIT.interrupted);
  });
  try {
    await buildProgram(shell, loadHost).parseAsync([...argv], { from: "user" });
    return shell.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (interruption.signal.aborted) return EXIT.interrupted;
    tell(error, shell);
    return exitCodeOf(error);
  } finally {
    forget();
  }
}

function tell(error: unknown, shell: Shell): void {
  const { stderr, env } = shell.terminal;
  const failure = failureOf(error, addressOf(shell.options, shell.terminal));
  if (shell.options.output === "json") {
    stderr.write(failureJson(failure));
    return;
  }
  const coloured = stderr.isTerminal && shell.options.color !== false && !clientEnvironment(env).noColor;
  const text = failureText(failure);
  stderr.write(coloured ? text.replace(/^error:/, styleText("red", "error:", { validateStream: false })) : text);
}
