/** Gauges of a host's place in its fleet, read when Prometheus asks. */
import type { Bus } from "../bus/bus.ts";
import type { Fleet } from "../fleet/index.ts";
import type { Metrics } from "../observe/index.ts";

export function collectFleet(metrics: Metrics, fleet: Pick<Fleet, "held" | "hosts">, bus: Pick<Bus, "status">): void {
  metrics.onCollect(() => {
    metrics.gauge("sirsi_fleet_lease_held").set(fleet.held ? 1 : 0);
    metrics.gauge("sirsi_fleet_bus_connected").set(bus.status === "connected" ? 1 : 0);
    metrics.clear("sirsi_fleet_hosts");
    for (const { state } of fleet.hosts) metrics.gauge("sirsi_fleet_hosts", state).set(fleet.hosts.filter((host) => host.state === state).length);
  });
}
