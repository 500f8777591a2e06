import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { connect } from "nats";
import { afterEach, describe, expect, it } from "vitest";
import { natsService } from "../../scripts/services/nats.ts";
import { postgresService, runSql } from "../../scripts/services/postgres.ts";
import { redisService } from "../../scripts/services/redis.ts";
import { converse } from "../../scripts/services/server-process.ts";
import { isAlive, ServiceFault, startInNewDirectory, type Service, type ServiceRecord } from "../../scripts/services/service.ts";
import { RunningServer } from "../support/running-server.ts";

const MAIN = fileURLToPath(new URL("../../scripts/services/main.ts", import.meta.url));

interface Case {
  readonly service: Service;
  readonly config: string;
  /** What the server says its setting is. */
  readonly setting: (record: ServiceRecord) => Promise<unknown>;
  readonly expected: unknown;
  /** It refuses to start with this, and how it says so. */
  readonly wrong: string;
  readonly complaint: string;
}

const greeting = async ({ port }: ServiceRecord) => JSON.parse((await converse(port, "", (said) => said.includes("\r\n")))!.slice("INFO ".length)) as Record<string, unknown>;
const redis = (port: number, ...lines: readonly string[]) => converse(port, `${lines.join("\r\n")}\r\n`, (said) => said.endsWith("\r\n"));

const CASES: readonly Case[] = [
  { service: natsService, config: "max_payload: 4096", setting: async (record) => (await greeting(record))["max_payload"], expected: 4096, wrong: "max_payload: {", complaint: "Parse error" },
  { service: postgresService, config: "work_mem = 5MB", setting: (record) => runSql(record, "sirsi", "SHOW work_mem"), expected: "5MB", wrong: "work_mem = much", complaint: "work_mem" },
  {
    service: redisService,
    config: "maxmemory 5mb",
    setting: ({ port, url }) => redis(port, `AUTH ${new URL(url).password}`, "CONFIG GET maxmemory"),
    expected: expect.stringContaining("5242880"),
    wrong: "maxmemory much",
    complaint: "maxmemory",
  },
];

const started: RunningServer[] = [];
afterEach(async () => {
  for (const server of started.splice(0)) await server.stop();
});

async function start(service: Service, config = ""): Promise<RunningServer> {
  const server = await RunningServer.start(service, { config });
  started.push(server);
  return server;
}

describe.each(CASES)("the service $service.name", ({ service, config, setting, expected, wrong, complaint }) => {
  it("runs beside others, each on a port and in a directory of its own, with the settings it was given", async () => {
    const [one, other] = await Promise.all([start(service, config), start(service, config)]);
    expect(one.port).not.toBe(other.port);
    expect(await setting(one.record)).toEqual(expected);
    expect(await Promise.all([service.isRunning(one.record), service.isRunning(other.record)])).toEqual([true, true]);
    await service.stop(one.record);
    expect([await service.isRunning(one.record), existsSync(one.directory), isAlive(one.pid)]).toEqual([false, false, false]);
    expect(await setting(other.record)).toEqual(expected);
  });

  it("starts again where it was after it was killed, with its settings, and may be stopped twice", async () => {
    const server = await start(service, config);
    const before = server.record;
    await server.kill();
    expect(await service.isRunning(before)).toBe(false);
    await server.restart();
    expect([server.url, server.pid]).toEqual([before.url, expect.any(Number)]);
    expect(server.pid).not.toBe(before.pid);
    expect(await setting(server.record)).toEqual(expected);
    await server.kill();
    await service.stop(server.record);
    await service.stop(server.record);
    expect(existsSync(server.directory)).toBe(false);
  });

  it("says what its log says when it cannot start", async () => {
    const fault = await startInNewDirectory(service, { config: wrong }).catch((thrown: unknown) => thrown);
    expect(fault).toBeInstanceOf(ServiceFault);
    expect((fault as ServiceFault).message).toMatch(/ended before it took connections/);
    expect((fault as ServiceFault).message).toContain(complaint);
  });
});

it("PostgreSQL has all that was in it after it was killed", async () => {
  const server = await start(postgresService);
  await runSql(server.record, "sirsi", "CREATE TABLE kept AS SELECT 7 AS n");
  await server.kill();
  await server.restart();
  expect(await runSql(server.record, "sirsi", "SELECT n FROM kept")).toBe("7");
});

it("NATS has JetStream, and its streams after it was killed", async () => {
  const server = await start(natsService);
  const open = async () => {
    const connection = await connect({ servers: server.url });
    return { connection, streams: (await connection.jetstreamManager()).streams };
  };
  const first = await open();
  await first.streams.add({ name: "kept", subjects: ["kept"] });
  await first.connection.jetstream().publish("kept", Uint8Array.of(7));
  await first.connection.close();
  await server.kill();
  await server.restart();
  const second = await open();
  expect((await second.streams.info("kept")).state.messages).toBe(1);
  await second.connection.close();
});

it("Redis lets nobody in without its password", async () => {
  const server = await start(redisService);
  expect(await redis(server.port, "PING")).toMatch(/^-NOAUTH/);
  expect(await redis(server.port, "AUTH guess")).toMatch(/^-WRONGPASS/);
});

describe("the services' command line", () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });

  it.each([[[]], [["begin", "postgres"]], [["start", "oracle"]]])("says how it is used when told %j", (args) => {
    const { status, stderr } = run(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining("usage: node scripts/services/main.ts start|stop|status|install [nats|postgres|redis…]")]);
  });

  it("says where the servers' programs are", () => {
    const { status, stdout } = run("install");
    expect(status).toBe(0);
    const lines = stdout.trim().split("\n").map((line) => line.split(" "));
    expect(lines.map(([name]) => name)).toEqual(["nats", "postgres", "redis"]);
    for (const [, place] of lines) expect(existsSync(place!)).toBe(true);
  });
});
