/** A host as an operator runs it: `sirsi serve` in a process of its own, on free ports of the loopback. */
import { spawn } from "node:child_process";
import { execPath } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { processEnvironment } from "../runtime/config/index.ts";
import { SirsiError } from "../runtime/core/errors.ts";

const MAIN = fileURLToPath(new URL("../runtime/cli/main.ts", import.meta.url));

export interface HostProcessOptions {
  /** Where the process runs: no sirsi.toml of somebody else is found there. */
  readonly cwd: string;
  readonly dataDir: string;
  readonly modulesDir: string;
  /** Settings of the host: SIRSI_…; those of the caller's environment are not passed on. Default: free ports. */
  readonly env?: Readonly<Record<string, string>>;
  /** More of the command line, such as `--fleet`. */
  readonly args?: readonly string[];
  /** Of Node itself, before the program. */
  readonly nodeArgs?: readonly string[];
  /** Kills it, also while it is still starting. */
  readonly signal?: AbortSignal;
}

export interface HostEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface HostProcess extends AsyncDisposable {
  /** host:port */
  readonly grpcAddress: string;
  readonly httpAddress: string;
  readonly pid: number;
  readonly ended: Promise<HostEnd>;
  /** What it has logged so far. */
  log(): string;
  /** Sends a signal and resolves when the process has ended. */
  end(signal: "SIGTERM" | "SIGKILL"): Promise<HostEnd>;
}

/** Resolves when the host is ready; rejects with its log when it ends before. */
export async function startHostProcess(options: HostProcessOptions): Promise<HostProcess> {
  const settings = { SIRSI_GRPC_LISTEN: "127.0.0.1:0", SIRSI_HTTP_LISTEN: "127.0.0.1:0", ...options.env };
  const args = ["serve", "--output", "json", "--data-dir", options.dataDir, "--modules", options.modulesDir, ...(options.args ?? [])];
  const child = spawn(execPath, [...(options.nodeArgs ?? []), MAIN, ...args], { cwd: options.cwd, env: { ...foreignEnvironment(), ...settings }, stdio: ["ignore", "pipe", "pipe"] });
  const kill = () => void child.kill("SIGKILL");
  options.signal?.addEventListener("abort", kill, { once: true });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const ended = new Promise<HostEnd>((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  void ended.then(() => options.signal?.removeEventListener("abort", kill));
  const line = new Promise<string>((resolve) => createInterface(child.stdout).once("line", resolve));
  const first = await Promise.race([line, ended]);
  if (typeof first !== "string") throw new SirsiError("INTERNAL", `the host ended with ${first.signal ?? first.code} before it was ready; its log:\n${log.slice(-4_000)}`);
  const { grpc, http, pid } = JSON.parse(first) as { readonly grpc: string; readonly http: string; readonly pid: number };
  const end = (signal: "SIGTERM" | "SIGKILL") => {
    child.kill(signal);
    return ended;
  };
  return {
    grpcAddress: grpc,
    httpAddress: http,
    pid,
    ended,
    log: () => log,
    end,
    async [Symbol.asyncDispose]() {
      await end("SIGKILL");
    },
  };
}

function foreignEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(processEnvironment()).filter(([name]) => !name.startsWith("SIRSI_")));
}
