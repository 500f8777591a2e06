/** node scripts/services/main.ts start|stop|status|install [SERVICE…]: servers for development; see service.ts. */
import { natsService } from "./nats.ts";
import { postgresService } from "./postgres.ts";
import { redisService } from "./redis.ts";
import { forget, remember, rememberedRecord, ServiceFault, startInNewDirectory, type Service } from "./service.ts";

const SERVICES: readonly Service[] = [natsService, postgresService, redisService];
const USAGE = `usage: node scripts/services/main.ts start|stop|status|install [${SERVICES.map(({ name }) => name).join("|")}…]`;

async function start(service: Service): Promise<string> {
  const known = await rememberedRecord(service.name);
  if (known !== null && (await service.isRunning(known))) return known.url;
  if (known !== null) await service.stop(known);
  const record = await startInNewDirectory(service);
  await remember(record);
  return record.url;
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

const COMMANDS: Readonly<Record<string, (service: Service) => Promise<string>>> = {
  start,
  stop,
  status,
  install: (service) => service.ensureInstalled(),
};

async function main([command = "", ...names]: readonly string[]): Promise<void> {
  const run = COMMANDS[command];
  const chosen = names.length === 0 ? SERVICES : SERVICES.filter(({ name }) => names.includes(name));
  const unknown = names.filter((name) => !SERVICES.some((service) => service.name === name));
  if (run === undefined || unknown.length > 0) {
    process.stderr.write(`${unknown.length > 0 ? `there is no service ${unknown.join(", ")}\n` : ""}${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  for (const service of chosen) {
    try {
      process.stdout.write(`${service.name} ${await run(service)}\n`);
    } catch (thrown) {
      // The others are told too: whoever mends it mends all at once.
      if (!(thrown instanceof ServiceFault)) throw thrown;
      process.stderr.write(`${service.name}: ${thrown.message}\n`);
      process.exitCode = 1;
    }
  }
}

await main(process.argv.slice(2));
