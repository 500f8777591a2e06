/** The operator's calls about hosts and their fleet. A host is named by its id or its name; the one that answers need not be. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  DrainHostResponseSchema,
  FleetModuleSchema,
  GetFleetResponseSchema,
  GetHostResponseSchema,
  HostSchema,
  ListHostsResponseSchema,
  MoveAgentResponseSchema,
  UndrainHostResponseSchema,
} from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { DrainHostResponse, FleetModule, Host } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../core/errors.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { DrainProgress } from "../../fleet/departures.ts";
import type { FleetModuleView, FleetOperator, HostView } from "../../fleet/fleet-operator.ts";
import type { HypervisorServiceApi } from "../service-api.ts";
import { requireAgentId } from "./operator-deps.ts";

export type HostCalls = Pick<HypervisorServiceApi, "listHosts" | "getHost" | "drainHost" | "undrainHost" | "moveAgent" | "getFleet">;

const NAME_MAX_CHARS = 256;

export function hostCalls(fleet: FleetOperator): HostCalls {
  return {
    async listHosts() {
      return create(ListHostsResponseSchema, { hosts: (await fleet.hosts()).map(hostMessage) });
    },

    async getHost({ host }) {
      return create(GetHostResponseSchema, { host: hostMessage(await named(fleet, host)) });
    },

    async *drainHost({ host }, { signal }) {
      const { entry } = await named(fleet, host);
      for await (const progress of fleet.drain(entry.hostId)) {
        yield drainMessage(progress);
        if (signal.aborted) return;
      }
    },

    async undrainHost({ host }) {
      const { entry } = await named(fleet, host);
      await fleet.undrain(entry.hostId);
      return create(UndrainHostResponseSchema, { host: hostMessage(await named(fleet, entry.hostId)) });
    },

    async moveAgent({ agentId, host }) {
      requireAgentId(agentId);
      const to = host === "" ? null : (await named(fleet, host)).entry.hostId;
      const { hostId, pauseMs, stayed } = await fleet.move(agentId, to);
      const there = (await fleet.hosts()).find(({ entry }) => entry.hostId === hostId);
      return create(MoveAgentResponseSchema, { host: there === undefined ? create(HostSchema, { hostId }) : hostMessage(there), pauseMs, stayed });
    },

    async getFleet() {
      const { hosts, modules, orphans, servers } = await fleet.describe();
      return create(GetFleetResponseSchema, {
        inFleet: fleet.inFleet,
        hosts: hosts.map(hostMessage),
        orphans: BigInt(orphans),
        servers,
        modules: modules.map(moduleMessage),
      });
    },
  };
}

/** Empty for the host that answers. */
async function named(fleet: FleetOperator, host: string): Promise<HostView> {
  const wrong = new FieldViolations();
  wrong.require(host.length <= NAME_MAX_CHARS, "host", `may have ${NAME_MAX_CHARS} characters; got ${host.length}`);
  wrong.throwIfAny();
  const hosts = await fleet.hosts();
  const found = hosts.find(({ entry, self }) => (host === "" ? self : entry.hostId === host || entry.name === host));
  if (found !== undefined) return found;
  const names = hosts.map(({ entry }) => entry.name).join(", ");
  const what = host === "" ? "this host has lost its place in the fleet and joins again; try again in a moment" : `no live host has the id or the name ${host}; there are ${names === "" ? "none" : names}`;
  throw new SirsiError("HOST_NOT_FOUND", what, { metadata: { host } });
}

function hostMessage({ agents, entry, self }: HostView): Host {
  const { hostId, name, zone, labels, grpcAddress, httpAddress, version, state, joinedAt, leaseLeftMs, load, capacity } = entry;
  return create(HostSchema, {
    hostId,
    name,
    zone,
    labels,
    grpcAddress,
    httpAddress,
    version,
    state,
    joinedAt: timestampFromMs(joinedAt),
    leaseLeftMs: whole(leaseLeftMs),
    agents: BigInt(agents),
    residentAgents: BigInt(load.resident),
    residentBytes: whole(load.residentBytes),
    capacity: BigInt(capacity),
    cpu: load.cpu,
    self,
  });
}

function whole(value: number): bigint {
  return BigInt(Math.round(value));
}

function drainMessage({ moved, left, failed, done, pauseP50Ms, pauseP99Ms, pauseMaxMs, elapsedMs, lastFailure }: DrainProgress): DrainHostResponse {
  return create(DrainHostResponseSchema, { moved: BigInt(moved), left: BigInt(left), failed: BigInt(failed), done, pauseP50Ms, pauseP99Ms, pauseMaxMs, elapsedMs: whole(elapsedMs), lastFailure });
}

function moduleMessage({ module, digest, version, generation, differingHosts }: FleetModuleView): FleetModule {
  return create(FleetModuleSchema, { module, digest: digest ?? "", version, generation: BigInt(generation), differingHosts: [...differingHosts] });
}
