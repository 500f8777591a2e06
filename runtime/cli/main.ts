#!/usr/bin/env node
/** The process of the `sirsi` command. */
import { processEnvironment } from "../config/index.ts";
import { runCli } from "./run.ts";
import type { TextOut } from "./terminal.ts";
import { packageVersion } from "./version.ts";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

function out(stream: NodeJS.WriteStream): TextOut {
  // A reader that has seen enough, such as `head`, is no error.
  stream.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  return { write: (text) => void stream.write(text), isTerminal: stream.isTTY };
}

process.exitCode = await runCli(
  process.argv.slice(2),
  {
    stdin: process.stdin,
    stdinIsTerminal: process.stdin.isTTY,
    stdout: out(process.stdout),
    stderr: out(process.stderr),
    env: processEnvironment(),
    cwd: process.cwd(),
    onSignal(handler) {
      for (const signal of SIGNALS) process.on(signal, handler);
      return () => {
        for (const signal of SIGNALS) process.off(signal, handler);
      };
    },
    exit: (code) => process.exit(code),
  },
  async () => {
    const { startHost } = await import("../gateway/start-host.ts");
    return (config) => startHost(config, packageVersion());
  },
);
// Standard input may still be open, and what is left is the caller's to read.
process.stdin.unref?.();
