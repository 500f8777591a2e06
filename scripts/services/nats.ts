/** A NATS server with JetStream. Any version from 2.9, which is Debian 12's, will do. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage, findProgram } from "./package-install.ts";
import { converse, holdsProcess, launch, putAway } from "./server-process.ts";
import { freePort, ServiceFault, type Service, type ServiceRecord, type StartOptions } from "./service.ts";

const TITLE = "nats-server";

const configOf = (directory: string): string => join(directory, "nats-server.conf");
const pidFileOf = (directory: string): string => join(directory, "server.pid");

function ensureInstalled(): Promise<string> {
  return ensurePackage({ title: TITLE, debian: "nats-server", homebrew: "nats-server", systemService: "nats-server", find: async () => findProgram("nats-server") });
}

/** It greets who connects, once everything of it is up; with TLS too. */
async function isReady(port: number): Promise<boolean> {
  const greeting = await converse(port, "", (said) => said.includes("\r\n"));
  return greeting !== null && greeting.startsWith("INFO {");
}

async function run(directory: string, port: number): Promise<ServiceRecord> {
  const program = await ensureInstalled();
  const pid = await launch({ title: TITLE, program, args: ["--config", configOf(directory)], directory, port, isReady: () => isReady(port) });
  return { name: "nats", url: `nats://127.0.0.1:${port}`, host: "127.0.0.1", port, pid, directory };
}

async function start({ directory, port: wanted, config = "" }: StartOptions): Promise<ServiceRecord> {
  const port = wanted ?? (await freePort());
  // A line of its own takes the place of ours: `jetstream: false` for a server without it.
  const jetstream = /^jetstream\b/m.test(config) ? "" : `jetstream { store_dir: ${JSON.stringify(join(directory, "jetstream"))} }`;
  const lines = [config, `listen: "127.0.0.1:${port}"`, `pid_file: ${JSON.stringify(pidFileOf(directory))}`, jetstream];
  await writeFile(configOf(directory), `${lines.join("\n")}\n`, { mode: 0o600 });
  return await run(directory, port);
}

async function restart({ directory }: ServiceRecord): Promise<ServiceRecord> {
  const port = /^listen: "127\.0\.0\.1:(\d+)"$/m.exec(await readFile(configOf(directory), "utf8"))?.[1];
  if (port === undefined) throw new ServiceFault(`${configOf(directory)} names no port; it is not the directory of a server that was started here.`);
  return await run(directory, Number(port));
}

const isRunning = (record: ServiceRecord): Promise<boolean> => holdsProcess(pidFileOf(record.directory), record);

async function stop(record: ServiceRecord): Promise<void> {
  await putAway(record, await isRunning(record), "SIGTERM", TITLE);
}

export const natsService: Service = { name: "nats", purpose: "the bus between hosts, with JetStream", ensureInstalled, start, restart, isRunning, stop };
