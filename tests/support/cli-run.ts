/** The command line run inside the test's process, with a terminal the test holds. */
import { PassThrough } from "node:stream";
import type { StartHost } from "../../runtime/cli/commands/serve.ts";
import { runCli } from "../../runtime/cli/run.ts";
import type { Clock } from "../../runtime/core/clock.ts";
import { ManualClock } from "../../runtime/core/clock.ts";

export interface CliOptions {
  readonly stdin?: string | PassThrough;
  readonly stdinIsTerminal?: boolean;
  readonly stderrIsTerminal?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly startHost?: StartHost;
  readonly clock?: Clock;
}

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliRun {
  readonly result: Promise<CliResult>;
  /** As a signal to the process does. */
  signal(): void;
  /** What the process was ended with at once; null while it was not. */
  exited(): number | null;
  /** Resolves when standard output and error together contain the text. */
  printed(text: string): Promise<void>;
}

export function startCli(argv: readonly string[], options: CliOptions = {}): CliRun {
  const written = { stdout: "", stderr: "" };
  const handlers = new Set<() => void>();
  const watchers = new Set<() => void>();
  let exited: number | null = null;
  const out = (name: "stdout" | "stderr", isTerminal: boolean) => ({
    isTerminal,
    write(text: string) {
      written[name] += text;
      for (const watcher of watchers) watcher();
    },
  });
  const stdin = options.stdin instanceof PassThrough ? options.stdin : new PassThrough().end(options.stdin ?? "");
  const code = runCli(
    argv,
    {
      stdin,
      stdinIsTerminal: options.stdinIsTerminal ?? false,
      stdout: out("stdout", false),
      stderr: out("stderr", options.stderrIsTerminal ?? false),
      env: options.env ?? {},
      cwd: options.cwd ?? "/",
      onSignal(handler) {
        handlers.add(handler);
        return () => void handlers.delete(handler);
      },
      exit: (status) => {
        exited = status;
      },
    },
    () => (options.startHost === undefined ? Promise.reject(new Error("this test starts no host")) : Promise.resolve(options.startHost)),
    options.clock ?? new ManualClock(),
  );
  return {
    result: code.then((status) => ({ code: status, ...written })),
    signal: () => {
      for (const handler of handlers) handler();
    },
    exited: () => exited,
    printed: (text) =>
      new Promise((resolve) => {
        const watcher = () => {
          if (!(written.stdout + written.stderr).includes(text)) return;
          watchers.delete(watcher);
          resolve();
        };
        watchers.add(watcher);
        watcher();
      }),
  };
}

export function cli(argv: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(argv, options).result;
}
