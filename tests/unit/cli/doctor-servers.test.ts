import { createServer, type AddressInfo, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { serverChecks } from "../../../runtime/cli/doctor-servers.ts";
import { loadConfig } from "../../../runtime/config/index.ts";

let server: Server;
let here = "";
/** Where nothing listens any more. */
let gone = "";

async function listening(): Promise<Server> {
  const opened = createServer();
  await new Promise<void>((resolve) => opened.listen(0, "127.0.0.1", resolve));
  return opened;
}
const addressOf = (of: Server) => `127.0.0.1:${(of.address() as AddressInfo).port}`;

beforeAll(async () => {
  server = await listening();
  here = addressOf(server);
  const passing = await listening();
  gone = addressOf(passing);
  await new Promise((resolve) => passing.close(resolve));
});
afterAll(() => server.close());

const check = (store: string, nats: string, redis = "") =>
  serverChecks(loadConfig({ cwd: "/", env: { SIRSI_STORE_URL: store === "" ? "" : `postgres://u:hunter2@${store}/db`, SIRSI_EVENT_BUS_SERVERS: nats, SIRSI_CONTEXT_REDIS_URL: redis } }));

describe("the doctor, of a fleet's servers", () => {
  it("asks for none when the host is on its own", async () => {
    expect(await check("", "")).toEqual([]);
  });

  it("is content when something listens at all of them", async () => {
    const checks = await check(here, `nats://${here}`, `redis://:hunter2@${here}/0`);
    expect(checks.map(({ name, result }) => [name, result])).toEqual([["database", "ok"], ["NATS", "ok"], ["Redis", "ok"]]);
    expect(JSON.stringify(checks)).not.toContain("hunter2");
  });

  it("fails without the database or NATS, and warns without Redis or a part of a cluster", async () => {
    expect(await check(gone, `nats://${gone}`, `redis://${gone}`)).toMatchObject([
      { name: "database", result: "failed", finding: `${gone}: ECONNREFUSED`, next: "Start it, or correct store.url." },
      { name: "NATS", result: "failed", next: "Start it, or correct event_bus.servers." },
      { name: "Redis", result: "warning", next: "Start it, or correct context.redis_url." },
    ]);
    expect(await check(`${gone},${here}`, `nats://${here}`)).toMatchObject([{ name: "database", result: "warning", finding: `something listens at ${here}; ${gone}: ECONNREFUSED` }, { name: "NATS", result: "ok" }]);
  });

  it("says what is wrong with a URL that names no database", async () => {
    const checks = await serverChecks(loadConfig({ cwd: "/", env: { SIRSI_STORE_URL: `postgres://u:hunter2@${here}`, SIRSI_EVENT_BUS_SERVERS: `nats://${here}` } }));
    expect(checks[0]).toMatchObject({ name: "database", result: "failed", finding: expect.stringContaining("it names no database") });
    expect(JSON.stringify(checks)).not.toContain("hunter2");
  });
});
