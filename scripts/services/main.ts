/** node scripts/services/main.ts start|stop|status [SERVICE…]: servers for development; see service.ts. */
import { rm } from "node:fs/promises";
import { postgresService } from "./postgres.ts";
import { forget, makeDirectory, remember, rememberedRecord, ServiceFault, type Service } from "./service.ts";

const SERVICES: readonly Service[] = [postgresService];
const USAGE = `usage: node scripts/services/main.ts start|stop|status [${SERVICES.map(({ name }) => name).join("|")}…]`;

async function start(service: Service): Promise<string> {
  const known = await rememberedRecord(service.name);
  if (known !== null && (await service.isRunning(known))) return known.url;
  if (known !== null) await service.stop(known);
  const directory = await makeDirectory(service.name);
  try {
    const record = await service.start({ directory });
    await remember(record);
    return record.url;
  } catch (thrown) {
    await rm(directory, { recursive: true, force: true });
    throw thrown;
  }
}

async function stop(service: Service): Promise<string> {
  const known = await rememberedRecord(service.name);
  if (known === null) return "not running";
  const ran = await service.isRunning(known);
  await service.stop(known);
  await forget(service.name);
  return ran ? "stopped" : "not running";
}

async function status(service: Service): Promise<string> {
  const known = await rememberedRecord(service.name);
  if (known === null || !(await service.isRunning(known))) {
    process.exitCode = 1;
    return `not running (${service.purpose})`;
  }
  return `${known.url} process ${known.pid} in ${known.directory}`;
}

const COMMANDS: Readonly<Record<string, (service: Service) => Promise<string>>> = { start, stop, status };

async function main([command = "", ...names]: readonly string[]): Promise<void> {
  const run = COMMANDS[command];
  const chosen = names.length === 0 ? SERVICES : SERVICES.filter(({ name }) => names.includes(name));
  const unknown = names.filter((name) => !SERVICES.some((service) => service.name === name));
  if (run === undefined || unknown.length > 0) {
    process.stderr.write(`${unknown.length > 0 ? `there is no service ${unknown.join(", ")}\n` : ""}${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  for (const service of chosen) process.stdout.write(`${service.name} ${await run(service)}\n`);
}

try {
  await main(process.argv.slice(2));
} catch (thrown) {
  if (!(thrown instanceof ServiceFault)) throw thrown;
  process.stderr.write(`${thrown.message}\n`);
  process.exitCode = 1;
}
