/** The bus over a real nats-server: what every bus keeps, and what only this one can do. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { BusMessage } from "../../runtime/bus/index.ts";
import { openNatsBus } from "../../runtime/bus/nats/index.ts";
import { ManualClock } from "../../runtime/core/clock.ts";
import type { SirsiError } from "../../runtime/core/errors.ts";
import { silentLogger } from "../../runtime/observe/index.ts";
import { busContract } from "../support/bus-contract.ts";
import { startNats, type RunningServer } from "../support/running-server.ts";

let server: RunningServer;
beforeAll(async () => {
  server = await startNats();
});
afterAll(() => server.stop());

async function open() {
  const clock = new ManualClock();
  const reported: { error: SirsiError; subject: string }[] = [];
  const bus = await openNatsBus({ clock, log: silentLogger, servers: [server.url], onError: (error, subject) => void reported.push({ error, subject }) });
  return { bus, clock, reported, dispose: () => bus.close() };
}

busContract("the NATS bus", open);

it("hands out messages that hold on to their own bytes alone, whatever came with them", async () => {
  const { bus, dispose } = await open();
  const seen: BusMessage[] = [];
  bus.subscribe("a", (message) => void seen.push(message));
  for (let n = 0; n < 3; n++) bus.publish("a", Uint8Array.of(n, n));
  await bus.flush();
  expect(seen.map(({ data }) => data)).toEqual([Uint8Array.of(0, 0), Uint8Array.of(1, 1), Uint8Array.of(2, 2)]);
  expect(seen.map(({ data }) => data.buffer.byteLength)).toEqual([2, 2, 2]);
  await dispose();
});
