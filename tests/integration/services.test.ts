import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { postgresService, restartPostgres, runSql } from "../../scripts/services/postgres.ts";
import { isAlive, until, type ServiceRecord } from "../../scripts/services/service.ts";

const MAIN = fileURLToPath(new URL("../../scripts/services/main.ts", import.meta.url));

describe("the PostgreSQL service", () => {
  const started: ServiceRecord[] = [];
  afterEach(async () => {
    for (const record of started.splice(0)) await postgresService.stop(record);
  });

  async function start(): Promise<ServiceRecord> {
    const directory = await mkdtemp(join(tmpdir(), "sirsi-postgres-"));
    try {
      const record = await postgresService.start({ directory, settings: { work_mem: "5MB" } });
      started.push(record);
      return record;
    } catch (thrown) {
      await rm(directory, { recursive: true, force: true });
      throw thrown;
    }
  }

  it("runs beside others, each on a port and in a directory of its own, with the settings it was given", async () => {
    const [one, other] = await Promise.all([start(), start()]);
    expect(one.port).not.toBe(other.port);
    expect(await runSql(one, "sirsi", "SHOW work_mem")).toBe("5MB");
    expect(await Promise.all([postgresService.isRunning(one), postgresService.isRunning(other)])).toEqual([true, true]);
    await postgresService.stop(one);
    expect([await postgresService.isRunning(one), existsSync(one.directory), isAlive(one.pid)]).toEqual([false, false, false]);
    expect(await runSql(other, "sirsi", "SELECT 1")).toBe("1");
  });

  it("starts again where it was after it was killed, with everything in it", async () => {
    const record = await start();
    await runSql(record, "sirsi", "CREATE TABLE kept AS SELECT 7 AS n");
    process.kill(record.pid, "SIGKILL");
    await until(() => !isAlive(record.pid), 10_000, () => "it does not die");
    expect(await postgresService.isRunning(record)).toBe(false);
    const again = await restartPostgres(record);
    started.splice(0, 1, again);
    expect(again.url).toBe(record.url);
    expect(await runSql(again, "sirsi", "SELECT n FROM kept")).toBe("7");
  });

  it("may be stopped twice, and when it has died", async () => {
    const record = await start();
    process.kill(record.pid, "SIGKILL");
    await until(() => !isAlive(record.pid), 10_000, () => "it does not die");
    await postgresService.stop(record);
    await postgresService.stop(record);
    expect(existsSync(record.directory)).toBe(false);
  });
});

describe("the services' command line", () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });

  it.each([[[]], [["begin", "postgres"]], [["start", "oracle"]]])("says how it is used when told %j", (args) => {
    const { status, stderr } = run(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining("usage: node scripts/services/main.ts start|stop|status")]);
  });
});
