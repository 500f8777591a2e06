import { expect, it } from "vitest";
import type { EventStreamState } from "../../../runtime/bus/index.ts";
import { openMetrics } from "../../../runtime/observe/index.ts";
import { busHealth, collectBus, streamHealth } from "../../../runtime/hypervisor/bus-health.ts";

const NONE = { appended: 0, repeated: 0, lost: 0, waiting: 0 };

it("the bus is well while it is connected, and tells what it lost", () => {
  expect(busHealth({ status: "connected" })).toEqual({ status: "healthy", message: "connected", details: {} });
  expect(busHealth({ status: "reconnecting", counts: { disconnects: 2, dropped: 3, answersLost: 4 } })).toEqual({ status: "unhealthy", message: "reconnecting", details: { disconnects: "2", dropped: "3", answers_lost: "4" } });
});

it.each<[EventStreamState, string, string]>([
  [{ kind: "open", name: "x", replicas: 3 }, "healthy", "kept in JetStream"],
  [{ kind: "opening", reason: "no leader" }, "degraded", "events wait for their stream: no leader"],
  [{ kind: "unusable", reason: "no JetStream" }, "degraded", "events are not kept in JetStream: no JetStream; they go to those who follow at the time"],
])("the stream of events: %o", (state, status, message) => {
  expect(streamHealth({ state, counts: { ...NONE, waiting: 7 } })).toMatchObject({ status, message, details: { waiting: "7", lost: "0" } });
});

it("Prometheus sees counts rise, and how the stream is", async () => {
  const metrics = openMetrics({ processMetrics: false });
  const bus = { status: "connected" as const, counts: { disconnects: 1, dropped: 0, answersLost: 2 } };
  const stream = { state: { kind: "open", name: "x", replicas: 1 } as EventStreamState, counts: { ...NONE, lost: 3, waiting: 4 } };
  collectBus(metrics, bus, stream);
  await metrics.text();
  bus.counts = { ...bus.counts, disconnects: 5 };
  stream.state = { kind: "opening", reason: "" };
  const text = await metrics.text();
  for (const line of ["sirsi_bus_disconnects_total 5", "sirsi_bus_answers_lost_total 2", "sirsi_events_lost_total 3", "sirsi_events_waiting 4", "sirsi_events_kept 0"]) expect(text).toContain(`${line}\n`);
});

it("a bus within the process and a host without a stream count nothing", async () => {
  const metrics = openMetrics({ processMetrics: false });
  collectBus(metrics, { status: "connected" }, null);
  expect(await metrics.text()).not.toMatch(/^sirsi_(bus|events)_\w+ [^0]/m);
});
