/** The bus over a real nats-server: what every bus keeps, and what only this one can do. */
import { afterAll, beforeAll } from "vitest";
import { openNatsBus } from "../../runtime/bus/nats/index.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { SirsiError } from "../../runtime/core/errors.ts";
import { silentLogger } from "../../runtime/observe/index.ts";
import { startNats } from "../../scripts/services/nats.ts";
import type { RunningService } from "../../scripts/services/service.ts";
import { busContract } from "../support/bus-contract.ts";

let server: RunningService;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server.stop());

busContract("the NATS bus", async () => {
  const clock = new ManualClock();
  const reported: { error: SirsiError; subject: string }[] = [];
  const bus = await openNatsBus({ clock, log: silentLogger, servers: [server.url], onError: (error, subject) => void reported.push({ error, subject }) });
  return { bus, clock, reported, dispose: () => bus.close() };
});
