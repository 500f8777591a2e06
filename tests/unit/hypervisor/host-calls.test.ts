import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { DrainHostRequestSchema, GetFleetRequestSchema, GetHostRequestSchema, ListHostsRequestSchema, MoveAgentRequestSchema, UndrainHostRequestSchema } from "../../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { DrainProgress } from "../../../runtime/fleet/departures.ts";
import type { FleetOperator, HostView } from "../../../runtime/fleet/fleet-operator.ts";
import { hostCalls } from "../../../runtime/hypervisor/operator/host-calls.ts";
import { SoloHost } from "../../../runtime/hypervisor/operator/solo-host.ts";
import { hostEntry } from "../../support/host-entry.ts";
import { AGENT } from "../../support/operator-bench.ts";
import { call, collect, codeOf, refusal, wrongFields } from "../../support/service-bench.ts";

const PROGRESS: DrainProgress = { moved: 1, left: 2, failed: 1, done: false, pauseP50Ms: 1.5, pauseP99Ms: 2.5, pauseMaxMs: 3.5, elapsedMs: 10.4, lastFailure: "agent a: it waits" };

interface FleetBench {
  readonly calls: ReturnType<typeof hostCalls>;
  hosts: HostView[];
  readonly asked: unknown[];
}

function fleetBench(): FleetBench {
  const bench = {
    hosts: [
      { entry: hostEntry("a", { zone: "z1", labels: { disk: "ssd" } }), agents: 20, self: false },
      { entry: hostEntry("b", { state: "draining" }), agents: 7, self: true },
    ] as HostView[],
    asked: [] as unknown[],
  };
  const fleet: FleetOperator = {
    inFleet: true,
    hosts: () => Promise.resolve(bench.hosts),
    async *drain(hostId) {
      bench.asked.push(["drain", hostId]);
      yield PROGRESS;
      yield { ...PROGRESS, moved: 3, left: 0, failed: 0, done: true };
    },
    undrain(hostId) {
      bench.asked.push(["undrain", hostId]);
      bench.hosts = bench.hosts.map((host) => ({ ...host, entry: { ...host.entry, state: "active" } }));
      return Promise.resolve();
    },
    move(agentId, toHostId) {
      bench.asked.push(["move", agentId, toHostId]);
      return Promise.resolve({ hostId: toHostId ?? "id-of-gone", stayed: false, pauseMs: 4.5 });
    },
    describe: () =>
      Promise.resolve({
        hosts: bench.hosts,
        orphans: 5,
        servers: { store: "", context: "cannot be reached" },
        modules: [
          { module: "echo", digest: "d1", version: "1.0.0", generation: 2, differingHosts: ["b"] },
          { module: "gone", digest: null, version: "", generation: 3, differingHosts: [] },
        ],
      }),
  };
  return Object.assign(bench, { calls: hostCalls(fleet) });
}

describe("the calls about hosts, in a fleet", () => {
  it("list every live host with what it carries, and mark the one that answers", async () => {
    const { hosts } = await fleetBench().calls.listHosts(create(ListHostsRequestSchema), call());
    expect(hosts).toMatchObject([
      { hostId: "id-of-a", name: "a", zone: "z1", labels: { disk: "ssd" }, grpcAddress: "127.0.0.1:50051", httpAddress: "127.0.0.1:8080", version: "1.2.3", state: "active", joinedAt: timestampFromMs(1_000), leaseLeftMs: 2_500n, agents: 20n, residentAgents: 3n, residentBytes: 4_096n, capacity: 8_000n, cpu: 0.25, self: false },
      { name: "b", state: "draining", agents: 7n, self: true },
    ]);
  });

  it("find a host by id, by name, and without either the one that answers", async () => {
    const { calls } = fleetBench();
    const nameOf = async (host: string) => (await calls.getHost(create(GetHostRequestSchema, { host }), call())).host?.name;
    expect([await nameOf("id-of-a"), await nameOf("a"), await nameOf("")]).toEqual(["a", "a", "b"]);
  });

  it("tell which hosts there are when the one that is named is not", async () => {
    const { calls } = fleetBench();
    const error = await refusal(calls.getHost(create(GetHostRequestSchema, { host: "c" }), call()));
    expect([error.code, error.message]).toEqual(["HOST_NOT_FOUND", "no live host has the id or the name c; there are a, b"]);
    expect(await codeOf(calls.undrainHost(create(UndrainHostRequestSchema, { host: "c" }), call()))).toBe("HOST_NOT_FOUND");
    expect(await codeOf(calls.moveAgent(create(MoveAgentRequestSchema, { agentId: AGENT, host: "c" }), call()))).toBe("HOST_NOT_FOUND");
    expect(await codeOf(collect(calls.drainHost(create(DrainHostRequestSchema, { host: "c" }), call())))).toBe("HOST_NOT_FOUND");
    expect(wrongFields(await refusal(calls.getHost(create(GetHostRequestSchema, { host: "x".repeat(257) }), call())))).toEqual(["host"]);
  });

  it("say that a host which was buried joins again, instead of nothing", async () => {
    const bench = fleetBench();
    bench.hosts = bench.hosts.filter(({ self }) => !self);
    expect((await refusal(bench.calls.getHost(create(GetHostRequestSchema), call()))).message).toMatch(/lost its place in the fleet and joins again/);
  });

  it("drain tells how far it is until it is done", async () => {
    const bench = fleetBench();
    const told = await collect(bench.calls.drainHost(create(DrainHostRequestSchema, { host: "a" }), call()));
    expect(bench.asked).toEqual([["drain", "id-of-a"]]);
    expect(told).toMatchObject([
      { moved: 1n, left: 2n, failed: 1n, done: false, pauseP50Ms: 1.5, pauseP99Ms: 2.5, pauseMaxMs: 3.5, elapsedMs: 10n, lastFailure: "agent a: it waits" },
      { moved: 3n, left: 0n, done: true },
    ]);
  });

  it("drain stops telling when the caller has gone", async () => {
    const told = await collect(fleetBench().calls.drainHost(create(DrainHostRequestSchema), call({ signal: AbortSignal.abort() })));
    expect(told).toHaveLength(1);
  });

  it("undrain answers with the host as it is then", async () => {
    const bench = fleetBench();
    const { host } = await bench.calls.undrainHost(create(UndrainHostRequestSchema, { host: "b" }), call());
    expect([bench.asked, host?.state]).toEqual([[["undrain", "id-of-b"]], "active"]);
  });

  it("move an agent to a host, or to where placement wants it", async () => {
    const bench = fleetBench();
    const move = (host: string) => bench.calls.moveAgent(create(MoveAgentRequestSchema, { agentId: AGENT, host }), call());
    expect(await move("a")).toMatchObject({ host: { name: "a" }, stayed: false, pauseMs: 4.5 });
    // The host that took it has died meanwhile.
    expect(await move("")).toMatchObject({ host: { hostId: "id-of-gone", name: "" } });
    expect(bench.asked).toEqual([
      ["move", AGENT, "id-of-a"],
      ["move", AGENT, null],
    ]);
    expect(wrongFields(await refusal(bench.calls.moveAgent(create(MoveAgentRequestSchema, { agentId: "x" }), call())))).toEqual(["agent_id"]);
  });

  it("tell the fleet: its hosts, its servers, its modules and who differs", async () => {
    expect(await fleetBench().calls.getFleet(create(GetFleetRequestSchema), call())).toMatchObject({
      inFleet: true,
      hosts: [{ name: "a" }, { name: "b" }],
      orphans: 5n,
      servers: { store: "", context: "cannot be reached" },
      modules: [
        { module: "echo", digest: "d1", version: "1.0.0", generation: 2n, differingHosts: ["b"] },
        { module: "gone", digest: "", generation: 3n },
      ],
    });
  });
});

describe("the calls about hosts, of a host in no fleet", () => {
  const calls = hostCalls(new SoloHost({ entry: () => hostEntry("alone", { leaseLeftMs: 0 }), agents: () => 9 }));

  it("show the host itself", async () => {
    expect(await calls.listHosts(create(ListHostsRequestSchema), call())).toMatchObject({ hosts: [{ name: "alone", agents: 9n, self: true }] });
    expect(await calls.getHost(create(GetHostRequestSchema), call())).toMatchObject({ host: { name: "alone", state: "active" } });
    expect(await calls.getFleet(create(GetFleetRequestSchema), call())).toMatchObject({ inFleet: false, hosts: [{ name: "alone" }], orphans: 0n, modules: [] });
  });

  it("refuse what needs another host, and say how to get one", async () => {
    const refused = [
      refusal(collect(calls.drainHost(create(DrainHostRequestSchema), call()))),
      refusal(calls.undrainHost(create(UndrainHostRequestSchema), call())),
      refusal(calls.moveAgent(create(MoveAgentRequestSchema, { agentId: AGENT }), call())),
    ];
    for (const error of await Promise.all(refused)) {
      expect(error).toBeInstanceOf(SirsiError);
      expect([error.code, error.message]).toEqual(["NOT_IN_FLEET", expect.stringMatching(/there is no other host; set store\.url .* `sirsi serve --fleet`/)]);
    }
  });
});
