/** A server as a process of its own: it outlives who started it, and writes to the log in its directory. */
import { spawn } from "node:child_process";
import { open, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { isAlive, ServiceFault, until, type ServiceRecord } from "./service.ts";

const START_MS = 60_000;
const STOP_MS = 30_000;

interface Launch {
  /** As people call it. */
  readonly title: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly directory: string;
  readonly port: number;
  /** Who it runs as; null for ourselves. */
  readonly owner?: { readonly uid: number; readonly gid: number } | null;
  readonly isReady: () => Promise<boolean>;
  /** Begins anew when it ends before it was ready. Default: that is a failure. */
  readonly persistent?: boolean;
}

const logOf = (directory: string): string => join(directory, "server.log");

async function lastOfLog(directory: string): Promise<string> {
  const log = await readFile(logOf(directory), "utf8").catch(() => "");
  return log.trim().split("\n").slice(-8).join("\n");
}

/** Gives the process id once it takes connections. */
export async function launch({ title, program, args, directory, port, owner = null, isReady, persistent = false }: Launch): Promise<number> {
  const log = await open(logOf(directory), "a", 0o600);
  const begin = () => {
    const started = spawn(program, args, { cwd: directory, detached: true, stdio: ["ignore", log.fd, log.fd], ...owner });
    // That it could not be started shows as a process that has ended.
    started.on("error", () => undefined);
    started.unref();
    return started;
  };
  let child = begin();
  const ended = (): boolean => child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
  try {
    const ready = async (): Promise<boolean> => {
      if (ended() && persistent) child = begin();
      return ended() || (await isReady());
    };
    await until(ready, START_MS, async () => `${title} does not take connections on port ${port}; its log ends with:\n${await lastOfLog(directory)}`);
    if (ended()) throw new ServiceFault(`${title} (${program}) ended before it took connections on port ${port}; its log ends with:\n${await lastOfLog(directory)}`);
  } catch (thrown) {
    child.kill("SIGKILL");
    throw thrown;
  } finally {
    await log.close();
  }
  return child.pid as number;
}

/** Whether a file that the server keeps names this process, and the process is there. */
export async function holdsProcess(file: string, { pid }: ServiceRecord): Promise<boolean> {
  const [first] = (await readFile(file, "utf8").catch(() => "")).split("\n");
  return first === String(pid) && isAlive(pid);
}

/** Ends what runs with the signal that the server takes for an orderly end, and removes its directory. */
export async function putAway({ pid, directory }: ServiceRecord, runs: boolean, signal: NodeJS.Signals, title: string): Promise<void> {
  if (runs) {
    process.kill(pid, signal);
    await until(() => !isAlive(pid), STOP_MS, () => `${title} (process ${pid}) does not stop; look at ${logOf(directory)}.`);
  }
  await rm(directory, { recursive: true, force: true });
}

/** What a server says to `said` until it has said enough; null when it does not within `timeoutMs`. */
export function converse(port: number, said: string, enough: (answer: string) => boolean, timeoutMs = 1_000): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    const finish = (result: string | null): void => {
      socket.destroy();
      resolve(result);
    };
    socket.setTimeout(timeoutMs, () => finish(null));
    socket.on("error", () => finish(null)).on("close", () => finish(null));
    socket.setEncoding("utf8").on("data", (chunk: string) => {
      answer += chunk;
      if (enough(answer)) finish(answer);
    });
    socket.write(said);
  });
}
