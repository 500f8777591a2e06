/** The one host process at a time: started, slowed, starved of disk, killed; its log kept. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { execPath } from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { processEnvironment } from "../../runtime/config/index.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import type { HostOrders, HostReady } from "./crash-host.ts";

const ENTRY = fileURLToPath(new URL("crash-host.ts", import.meta.url));
const LOG_CHARS = 400_000;
/** What may be written of any file while the disk is full. */
const FULL_BYTES = 4_096;

export interface HostEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class HostUnderTest {
  readonly #child: ChildProcess;
  readonly #started = systemClock.monotonic();
  #log = "";
  #end: HostEnd | null = null;
  readonly ended: Promise<HostEnd>;
  /** Its gRPC address and the time from the start to serving; null when it ended before. */
  readonly ready: Promise<{ readonly address: string; readonly tookMs: number } | null>;

  constructor(orders: HostOrders) {
    const env = Object.fromEntries(Object.entries(processEnvironment()).filter(([name]) => !name.startsWith("SIRSI_")));
    this.#child = spawn(execPath, [ENTRY, JSON.stringify(orders)], { env, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdin?.on("error", () => {});
    // Read here, not written to a file: a full disk is not to reach the log.
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.#log = (this.#log + text).slice(-LOG_CHARS)));
    this.ended = new Promise((resolve) => this.#child.once("close", (code, signal) => resolve((this.#end = { code, signal }))));
    this.ready = this.#untilReady();
  }

  async #untilReady(): Promise<{ readonly address: string; readonly tookMs: number } | null> {
    const { stdout } = this.#child;
    if (stdout === null) return null;
    const lines = createInterface(stdout);
    const line = new Promise<string>((resolve) => {
      lines.on("line", (text) => {
        // What the host logs goes there as well; readiness is a line of its own.
        if (text.startsWith('{"grpc":')) resolve(text);
        else this.#log = `${this.#log}${text}\n`.slice(-LOG_CHARS);
      });
    });
    const first = await Promise.race([line, this.ended]);
    if (typeof first !== "string") return null;
    return { address: (JSON.parse(first) as HostReady).grpc, tookMs: systemClock.monotonic() - this.#started };
  }

  get log(): string {
    return this.#log;
  }

  /** Null while it runs. */
  get end(): HostEnd | null {
    return this.#end;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  kill(): Promise<HostEnd> {
    this.#child.kill("SIGKILL");
    return this.ended;
  }

  /** As when the machine was asleep. */
  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  /** No file can grow any more: writes fail as on a disk that is full. False when the system cannot do that. */
  fillDisk(): boolean {
    return this.#limitFiles(String(FULL_BYTES));
  }

  emptyDisk(): boolean {
    return this.#limitFiles("unlimited");
  }

  #limitFiles(bytes: string): boolean {
    if (this.#end !== null) return true;
    return spawnSync("prlimit", ["--pid", String(this.pid), `--fsize=${bytes}:`]).status === 0;
  }
}
