/** docs/operate.md, "Backing up a fleet": a dump of the running fleet, restored into an empty database and opened by a host that has nothing of its own. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import type { SirsiClient } from "../../runtime/client/index.ts";
import { postgresService } from "../../scripts/services/postgres.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { runHost, type TestHost } from "../support/running-host.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

const execute = promisify(execFile);
const NAP_MS = 1_500;

let postgres: PostgresServer;
let nats: RunningServer;
let dump: string;
beforeAll(async () => {
  [postgres, nats] = await Promise.all([PostgresServer.start(), startNats()]);
  dump = mkdtempSync(join(tmpdir(), "sirsi-dump-"));
}, 120_000);
afterAll(async () => {
  await Promise.all([postgres.stop(), nats.stop()]);
  rmSync(dump, { recursive: true });
});

const hostOn = (database: string, modules: readonly string[]): Promise<TestHost> =>
  runHost({ modules, env: { SIRSI_STORE_URL: postgres.urlOf(database), SIRSI_EVENT_BUS_SERVERS: nats.url, SIRSI_EVENT_BUS_TOPIC_PREFIX: database, SIRSI_FLEET_LEASE_MS: "1000" } });

async function tool(name: string, ...args: readonly string[]): Promise<void> {
  await execute(join(await postgresService.ensureInstalled(), name), [...args]);
}

interface Place {
  readonly sessionId: string;
  readonly agentId: string;
}

async function spawn({ agents }: SirsiClient, sessionId: string, agentType: string): Promise<Place> {
  const { agent } = await agents.createAgent({ sessionId, agentType });
  return { sessionId, agentId: agent?.agentId ?? "" };
}

async function say({ agents }: SirsiClient, place: Place, content: string, messageId: string): Promise<string> {
  return (await agents.sendMessage({ ...place, message: { messageId, content } }, { deadlineMs: 60_000 })).response?.content ?? "";
}

const audited = async ({ operator }: SirsiClient) => (await operator.auditHost({})).audit;

it("a dump of the running fleet is one moment of it: agents, waits, modules and books go on from there", async () => {
  const database = await postgres.newDatabase();
  const before = await hostOn(database, ["counter", "relay"]);
  const { session } = await before.client.agents.createSession({ userId: "ada" });
  const sessionId = session?.sessionId ?? "";
  const [counter, relay] = [await spawn(before.client, sessionId, "counter"), await spawn(before.client, sessionId, "relay")];
  await say(before.client, counter, "add 5", "m-1");
  const nap = say(before.client, relay, `sleep ${NAP_MS}`, "nap");
  await vi.waitFor(async () => expect(await audited(before.client)).toMatchObject({ pending: 1n }), { interval: 10, timeout: NAP_MS });
  await tool("pg_dump", "--format=custom", `--file=${join(dump, "sirsi.dump")}`, postgres.urlOf(database));
  await say(before.client, counter, "add 7", "m-2");
  expect(await nap).toBe(`slept ${NAP_MS} ms`);
  await before[Symbol.asyncDispose]();

  const restored = await postgres.newDatabase("bare");
  await tool("pg_restore", "--clean", "--if-exists", `--dbname=${postgres.urlOf(restored)}`, join(dump, "sirsi.dump"));
  await using after = await hostOn(restored, []);
  expect(await say(after.client, counter, "get", "m-3")).toBe("5");
  // What was answered after the dump has not happened; under its id it happens once.
  expect(await say(after.client, counter, "add 7", "m-2")).toBe(await say(after.client, counter, "add 7", "m-2"));
  expect(await say(after.client, counter, "get", "m-4")).toBe("12");
  // The wait that was dumped goes on and ends.
  expect(await say(after.client, relay, `sleep ${NAP_MS}`, "nap")).toBe(`slept ${NAP_MS} ms`);
  expect(await audited(after.client)).toMatchObject({ balanced: true, pending: 0n, findings: [] });
}, 120_000);
