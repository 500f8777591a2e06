/** A Redis server that keeps nothing on disk: what hosts have in it can be rebuilt. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage, findProgram } from "./package-install.ts";
import { converse, holdsProcess, launch, putAway } from "./server-process.ts";
import { freePort, newPassword, type Service, type ServiceRecord, type StartOptions } from "./service.ts";

const TITLE = "redis-server";

interface Plan {
  readonly port: number;
  readonly password: string;
}

const configOf = (directory: string): string => join(directory, "redis.conf");
const planFile = (directory: string): string => join(directory, "plan.json");
const pidFileOf = (directory: string): string => join(directory, "server.pid");

function ensureInstalled(): Promise<string> {
  return ensurePackage({ title: TITLE, debian: "redis-server", homebrew: "redis", systemService: "redis-server", find: async () => findProgram("redis-server") });
}

async function isReady({ port, password }: Plan): Promise<boolean> {
  const answer = await converse(port, `AUTH ${password}\r\nPING\r\n`, (said) => said.split("\r\n").length > 2);
  return answer === "+OK\r\n+PONG\r\n";
}

async function run(directory: string, plan: Plan): Promise<ServiceRecord> {
  const program = await ensureInstalled();
  const { port, password } = plan;
  const pid = await launch({ title: TITLE, program, args: [configOf(directory)], directory, port, isReady: () => isReady(plan) });
  return { name: "redis", url: `redis://:${password}@127.0.0.1:${port}/0`, host: "127.0.0.1", port, pid, directory };
}

async function start({ directory, port, config = "" }: StartOptions): Promise<ServiceRecord> {
  const plan: Plan = { port: port ?? (await freePort()), password: newPassword() };
  const lines = ['save ""', "appendonly no", config, "bind 127.0.0.1", `port ${plan.port}`, `requirepass ${plan.password}`, `dir ${JSON.stringify(directory)}`, `pidfile ${JSON.stringify(pidFileOf(directory))}`];
  await writeFile(configOf(directory), `${lines.join("\n")}\n`, { mode: 0o600 });
  await writeFile(planFile(directory), JSON.stringify(plan), { mode: 0o600 });
  return await run(directory, plan);
}

async function restart({ directory }: ServiceRecord): Promise<ServiceRecord> {
  return await run(directory, JSON.parse(await readFile(planFile(directory), "utf8")) as Plan);
}

const isRunning = (record: ServiceRecord): Promise<boolean> => holdsProcess(pidFileOf(record.directory), record);

async function stop(record: ServiceRecord): Promise<void> {
  await putAway(record, await isRunning(record), "SIGTERM", TITLE);
}

export const redisService: Service = { name: "redis", purpose: "the shared context of a fleet", ensureInstalled, start, restart, isRunning, stop };
