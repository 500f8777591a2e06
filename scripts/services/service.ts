/**
 * Servers for development and tests: real ones, from the machine's own packages, on free
 * ports of the loopback, each with a directory of its own that goes when it stops.
 *
 * One file a server. A server is described by a record of plain data, so that what one
 * command started another can look at and stop. Its port, its password and its settings
 * are put down in its directory, so that it can be started there again.
 */
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export interface ServiceRecord {
  readonly name: string;
  /** How clients reach it; may hold a password. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  /** Everything of the server: data, log, keys. */
  readonly directory: string;
}

export interface StartOptions {
  /** An empty directory of the server's own. */
  readonly directory: string;
  /** A free one is chosen when it is left out. */
  readonly port?: number;
  /** More of the server's configuration, in its own language; it goes before what is set here. */
  readonly config?: string;
}

export interface Service {
  readonly name: string;
  /** One line for people: what it is for. */
  readonly purpose: string;
  /** Where its program is. Installs it when it is missing and it may, or rejects with how to get it. */
  ensureInstalled(): Promise<string>;
  /** Resolves when the server takes connections. Makes sure that it is installed. */
  start(options: StartOptions): Promise<ServiceRecord>;
  /** Again in its directory, on its port and with what it kept, after it ended. */
  restart(record: ServiceRecord): Promise<ServiceRecord>;
  /** Whether it is this server that runs, and not another process by its id. */
  isRunning(record: ServiceRecord): Promise<boolean>;
  /** In an orderly way; resolves when it is gone, its directory too. Repeatable. */
  stop(record: ServiceRecord): Promise<void>;
}

export class ServiceFault extends Error {
  override readonly name = "ServiceFault";
}

const STARTED = fileURLToPath(new URL("../../.sirsi/services/", import.meta.url));

function recordFile(name: string): string {
  return join(STARTED, `${name}.json`);
}

/** What the command line started; null when nothing was. */
export async function rememberedRecord(name: string): Promise<ServiceRecord | null> {
  try {
    return JSON.parse(await readFile(recordFile(name), "utf8")) as ServiceRecord;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw thrown;
  }
}

export async function remember(record: ServiceRecord): Promise<void> {
  const file = recordFile(record.name);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
}

export async function forget(name: string): Promise<void> {
  await rm(recordFile(name), { force: true });
}

/** Starts it in a directory of its own, which goes when that fails. */
export async function startInNewDirectory(service: Service, options: Omit<StartOptions, "directory"> = {}): Promise<ServiceRecord> {
  const directory = await mkdtemp(join(tmpdir(), `sirsi-${service.name}-`));
  try {
    return await service.start({ ...options, directory });
  } catch (thrown) {
    await rm(directory, { recursive: true, force: true });
    throw thrown;
  }
}

/** Free now; nothing holds it until the server takes it. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function newPassword(): string {
  return randomBytes(18).toString("base64url");
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Looks again and again until `met`; a ServiceFault with `otherwise` after `timeoutMs`. */
export async function until(met: () => boolean | Promise<boolean>, timeoutMs: number, otherwise: () => string | Promise<string>): Promise<void> {
  for (const end = performance.now() + timeoutMs; !(await met()); await sleep(10)) {
    if (performance.now() > end) throw new ServiceFault(await otherwise());
  }
}
