/** A nats-server with JetStream. Any version from 2.9, which is Debian's, will do. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process, { geteuid } from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { processEnvironment } from "../../runtime/config/index.ts";
import { SirsiError } from "../../runtime/core/errors.ts";

interface StartOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Where its data are; made when missing, and kept. Default: a temporary one, removed with the server. */
  readonly directory?: string;
  /** Let it outlive this process. Default: it ends with it. */
  readonly detached?: boolean;
}

export interface RunningService extends AsyncDisposable {
  /** What a client is given to connect. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  /** Ends it, removes a temporary directory, and resolves when it is gone. Repeatable. Default SIGTERM. */
  stop(signal?: "SIGTERM" | "SIGKILL"): Promise<void>;
}

export interface NatsStartOptions extends StartOptions {
  /** More of the server's configuration, in its own language: max_payload, authorization, tls, … */
  readonly config?: string;
}

const BINARY = "nats-server";
/** Where packages put servers, besides what PATH names. */
const USUAL_PLACES = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"];

export async function startNats(options: NatsStartOptions = {}): Promise<RunningService> {
  const binary = requireBinary();
  const temporary = options.directory === undefined;
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "sirsi-nats-"));
  mkdirSync(directory, { recursive: true });
  const log = join(directory, "nats-server.log");
  const config = join(directory, "nats-server.conf");
  const lines = [`listen: "127.0.0.1:${options.port ?? -1}"`, `log_file: ${JSON.stringify(log)}`, `jetstream { store_dir: ${JSON.stringify(join(directory, "jetstream"))} }`, options.config ?? ""];
  writeFileSync(config, lines.join("\n"), { mode: 0o600 });
  rmSync(log, { force: true });
  const child = spawn(binary, ["--config", config], { stdio: "ignore", detached: options.detached === true });
  const endWithUs = (): void => void child.kill("SIGKILL");
  if (options.detached !== true) process.once("exit", endWithUs);
  const ended = once(child, "exit");
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await ended;
    }
    process.off("exit", endWithUs);
    if (temporary) rmSync(directory, { recursive: true, force: true });
  };
  const port = await readyPort(log, () => child.exitCode !== null || child.signalCode !== null);
  if (port === null || child.pid === undefined) {
    const told = existsSync(log) ? readFileSync(log, "utf8").slice(-2_000) : "nothing was logged";
    await stop();
    throw new SirsiError("INTERNAL", `${binary} ended before it was ready: ${told}`);
  }
  child.unref();
  return { url: `nats://127.0.0.1:${port}`, port, pid: child.pid, directory, stop, [Symbol.asyncDispose]: () => stop() };
}

/** The port once the server takes connections; null when it ended before. */
async function readyPort(log: string, hasEnded: () => boolean): Promise<number | null> {
  while (!hasEnded()) {
    const text = existsSync(log) ? readFileSync(log, "utf8") : "";
    const port = /Listening for client connections on \S+:(\d+)/.exec(text)?.[1];
    if (port !== undefined && text.includes("Server is ready")) return Number(port);
    await pause(10);
  }
  return null;
}

/** The path of the server, which is installed when it is missing and this process may. */
function requireBinary(): string {
  const present = findBinary();
  if (present !== null) return present;
  if (geteuid?.() !== 0 || !succeeds("apt-get", "--version")) {
    throw new SirsiError("INTERNAL", `${BINARY} is not on this machine. Install it: apt-get install nats-server (as root), brew install nats-server, or a release from the project's site, and have it in PATH.`);
  }
  // Test files start at the same time, so each may find it missing: they wait for one another.
  const lock = ["-o", "DPkg::Lock::Timeout=300"];
  succeeds("apt-get", ...lock, "update");
  succeeds("apt-get", ...lock, "install", "--yes", "--no-install-recommends", BINARY);
  const installed = findBinary();
  if (installed === null) throw new SirsiError("INTERNAL", `apt-get could not install ${BINARY}. Run it by hand to see why: apt-get update && apt-get install ${BINARY}`);
  return installed;
}

function findBinary(): string | null {
  const places = [...(processEnvironment()["PATH"] ?? "").split(delimiter), ...USUAL_PLACES];
  return places.map((place) => join(place, BINARY)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function succeeds(command: string, ...args: readonly string[]): boolean {
  const env = { ...processEnvironment(), DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(command, args, { stdio: "ignore", env }).status === 0;
}
