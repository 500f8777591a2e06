/** A host as an operator runs it: `sirsi serve` in a process of its own, on free ports of the loopback. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, copyFileSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const START_MS = 60_000;
const STOP_MS = 15_000;

/** Copies built agents into a module directory of their own. */
export function moduleFolder(folder: string, names: readonly string[]): string {
  const modules = join(folder, "modules");
  mkdirSync(modules, { recursive: true });
  for (const name of names) copyFileSync(join(ROOT, "modules", `${name}.wasm`), join(modules, `${name}.wasm`));
  return modules;
}

export class ServedHost {
  readonly address: string;
  readonly pid: number;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, address: string) {
    this.#process = process;
    this.address = address;
    this.pid = process.pid ?? -1;
  }

  static async start(folder: string, modules: readonly string[], nodeArgs: readonly string[] = []): Promise<ServedHost> {
    const readyFile = join(folder, "ready.json");
    const listen = "127.0.0.1:0";
    const args = ["serve", "--data-dir", join(folder, "data"), "--modules", moduleFolder(folder, modules), "--grpc-listen", listen, "--http-listen", listen, "--ready-file", readyFile, "--log-level", "warn"];
    const logFile = join(folder, "host.log");
    const log = openSync(logFile, "w");
    const child = spawn(process.execPath, [...nodeArgs, join(ROOT, "runtime/cli/main.ts"), ...args], { cwd: folder, stdio: ["ignore", "ignore", log] });
    closeSync(log);
    const deadline = systemClock.monotonic() + START_MS;
    while (systemClock.monotonic() < deadline && child.exitCode === null) {
      const ready = readReady(readyFile);
      if (ready !== null) return new ServedHost(child, ready.grpc);
      await pause(20);
    }
    child.kill("SIGKILL");
    throw new SirsiError("INTERNAL", `the host did not become ready (exit code ${String(child.exitCode)}); its log ends: ${readFileSync(logFile, "utf8").slice(-2_000)}`);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => this.#process.once("exit", () => resolve()));
    this.#process.kill("SIGTERM");
    const timer = systemClock.after(STOP_MS, () => this.#process.kill("SIGKILL"));
    await ended;
    timer.cancel();
  }
}

function readReady(path: string): { readonly grpc: string } | null {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as { grpc: string };
  } catch {
    return null;
  }
}
