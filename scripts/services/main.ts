/** `node scripts/services/main.ts start|stop|status NAME`: a server for development, kept between commands. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argv, exit, kill, stderr, stdout } from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { natsService } from "./nats.ts";
import type { Service } from "./service.ts";

const SERVICES: readonly Service[] = [natsService];
const STATE = fileURLToPath(new URL("../../.cache/services/", import.meta.url));

/** What a start leaves behind for the stop. */
interface Note {
  readonly url: string;
  readonly pid: number;
}

function noteFile(service: Service): string {
  return join(STATE, `${service.name}.json`);
}

/** The server that an earlier start left running. */
function running(service: Service): Note | null {
  try {
    const note = JSON.parse(readFileSync(noteFile(service), "utf8")) as Note;
    kill(note.pid, 0);
    return note;
  } catch {
    return null;
  }
}

async function start(service: Service): Promise<string> {
  const present = running(service);
  if (present !== null) return `${service.name} runs at ${present.url}`;
  const { url, pid } = await service.start({ directory: join(STATE, service.name), detached: true });
  mkdirSync(STATE, { recursive: true });
  writeFileSync(noteFile(service), JSON.stringify({ url, pid } satisfies Note));
  return `${service.name} runs at ${url}`;
}

async function stop(service: Service): Promise<string> {
  const present = running(service);
  if (present !== null) kill(present.pid, "SIGTERM");
  while (running(service) !== null) await pause(20);
  rmSync(noteFile(service), { force: true });
  return present === null ? `${service.name} does not run` : `${service.name} is stopped; its data are kept in ${join(STATE, service.name)}`;
}

async function status(service: Service): Promise<string> {
  const present = running(service);
  return present === null ? `${service.name} does not run` : `${service.name} runs at ${present.url}, process ${present.pid}`;
}

const COMMANDS = new Map(Object.entries({ start, stop, status }));

async function main([verb = "", name = ""]: readonly string[]): Promise<number> {
  const command = COMMANDS.get(verb);
  const service = SERVICES.find((one) => one.name === name);
  if (command === undefined || service === undefined) {
    stderr.write(`usage: node scripts/services/main.ts ${[...COMMANDS.keys()].join("|")} ${SERVICES.map((one) => one.name).join("|")}\n`);
    return 2;
  }
  try {
    stdout.write(`${await command(service)}\n`);
    return 0;
  } catch (thrown) {
    stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
    return 1;
  }
}

exit(await main(argv.slice(2)));
