import { describe, expect, it } from "vitest";
import { collectFleet } from "../../../runtime/hypervisor/fleet-gauges.ts";
import { openMetrics } from "../../../runtime/observe/index.ts";
import { hostEntry } from "../../support/host-entry.ts";

describe("the gauges of a fleet", () => {
  it("tell who is live, whether this host may answer, and whether the bus is there, as it is now", async () => {
    const metrics = openMetrics({ processMetrics: false });
    const fleet = { held: true, hosts: [hostEntry("a"), hostEntry("b"), hostEntry("c", { state: "draining" })] };
    const bus = { status: "connected" as "connected" | "reconnecting" };
    collectFleet(metrics, fleet, bus);
    const lines = async () => (await metrics.text()).split("\n").filter((line) => line.startsWith("sirsi_fleet_"));
    expect((await lines()).toSorted()).toEqual(["sirsi_fleet_bus_connected 1", 'sirsi_fleet_hosts{state="active"} 2', 'sirsi_fleet_hosts{state="draining"} 1', "sirsi_fleet_lease_held 1"]);
    fleet.held = false;
    fleet.hosts = [];
    bus.status = "reconnecting";
    expect((await lines()).toSorted()).toEqual(["sirsi_fleet_bus_connected 0", "sirsi_fleet_lease_held 0"]);
  });
});
