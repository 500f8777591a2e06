import { describe, expect, it } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { type FleetServers, troublesOf } from "../../../runtime/hypervisor/fleet-servers.ts";
import { OpenFleet, type OpenFleetDeps } from "../../../runtime/hypervisor/operator/open-fleet.ts";
import { hostEntry } from "../../support/host-entry.ts";

const WELL: FleetServers = {
  store: { probe: () => Promise.resolve() },
  bus: { status: "connected" },
  events: { state: { kind: "open", name: "s", replicas: 1 } },
  context: { status: "connected", reason: "" },
};

describe("the servers of a fleet", () => {
  it("are told each by its purpose, with nothing when nothing is wrong", async () => {
    expect(await troublesOf(WELL)).toEqual({ store: "", bus: "", events: "", context: "" });
  });

  it("without Redis have no context", async () => {
    expect(Object.keys(await troublesOf({ ...WELL, context: { status: "in-process", reason: "" } }))).toEqual(["store", "bus", "events"]);
  });

  it("are told with what is wrong", async () => {
    const down: FleetServers = {
      store: { probe: () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the database is away")) },
      bus: { status: "reconnecting" },
      events: { state: { kind: "unusable", reason: "the server has no JetStream" } },
      context: { status: "away", reason: "connection refused" },
    };
    expect(await troublesOf(down)).toEqual({
      store: "the database is away",
      bus: "the NATS bus is reconnecting",
      events: "events are not kept in JetStream: the server has no JetStream",
      context: "Redis is out of reach (connection refused)",
    });
  });
});

describe("a fleet", () => {
  const deps = (count: () => Promise<ReadonlyMap<string, number>>): OpenFleetDeps =>
    ({
      host: { fleet: { self: hostEntry("a"), hosts: [hostEntry("a"), hostEntry("b")] } },
      store: { countByOwner: count },
      modules: { describe: () => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the database is away")) },
      servers: () => Promise.resolve({ store: "the database is away" }),
    }) as unknown as OpenFleetDeps;

  it("is shown while its database is away: who is live, and what is wrong", async () => {
    const fleet = new OpenFleet(deps(() => Promise.reject(new SirsiError("STORE_UNAVAILABLE", "the database is away"))));
    expect(await fleet.describe()).toMatchObject({ hosts: [{ entry: { name: "a" }, agents: 0, self: true }, { entry: { name: "b" }, self: false }], orphans: 0, modules: [], servers: { store: "the database is away" } });
    expect(await fleet.hosts()).toHaveLength(2);
  });

  it("hides no other failure", async () => {
    const fleet = new OpenFleet(deps(() => Promise.reject(new SirsiError("STORE_CORRUPT", "a row is no row"))));
    await expect(fleet.describe()).rejects.toMatchObject({ code: "STORE_CORRUPT" });
  });
});
