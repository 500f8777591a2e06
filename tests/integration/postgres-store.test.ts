import { afterAll, beforeAll } from "vitest";
import { PostgresServer } from "../support/postgres-server.ts";
import { storeContract } from "../support/store-contract.ts";

let server: PostgresServer;
beforeAll(async () => {
  server = await PostgresServer.start();
});
afterAll(() => server.stop());

storeContract("the Postgres store", async () => {
  const database = await server.newDatabase();
  const store = await server.open(database);
  return { store, dispose: () => store.close() };
});
