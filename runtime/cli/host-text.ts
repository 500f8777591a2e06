/** How a host of a fleet looks to a person. */
import type { Host } from "../client/index.ts";
import { bytes, fields, pairs, table, time } from "./text.ts";

export function hostTable(hosts: readonly Host[]): string {
  const rows = hosts.map((host) => [
    host.self ? `${host.name} (asked)` : host.name,
    host.state,
    host.zone,
    String(host.agents),
    `${host.residentAgents}/${host.capacity}`,
    bytes(Number(host.residentBytes)),
    percent(host.cpu),
    host.version,
    host.grpcAddress,
  ]);
  return table(["HOST", "STATE", "ZONE", "AGENTS", "IN MEMORY", "SIZE", "CPU", "VERSION", "GRPC"], rows);
}

export function hostText(host: Host): string {
  return fields([
    ["host", host.name],
    ["id", host.hostId],
    ["state", host.state],
    ["zone", host.zone],
    ["labels", pairs(host.labels)],
    ["gRPC", host.grpcAddress],
    ["HTTP", host.httpAddress],
    ["version", host.version],
    ["joined", time(host.joinedAt)],
    ["lease", host.leaseLeftMs === 0n ? "" : `${host.leaseLeftMs} ms left`],
    ["agents", `${host.agents}, ${host.residentAgents} of them in memory; it takes ${host.capacity} there`],
    ["memory", bytes(Number(host.residentBytes))],
    ["cpu", percent(host.cpu)],
  ]);
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
