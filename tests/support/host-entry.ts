/** A live host as the store of a fleet tells of it. */
import type { HostEntry } from "../../runtime/store/fleet-store.ts";

export function hostEntry(name: string, changes: Partial<HostEntry> = {}): HostEntry {
  return {
    hostId: `id-of-${name}`,
    name,
    zone: "",
    labels: {},
    grpcAddress: "127.0.0.1:50051",
    httpAddress: "127.0.0.1:8080",
    version: "1.2.3",
    capacity: 8_000,
    state: "active",
    load: { resident: 3, residentBytes: 4_096, cpu: 0.25 },
    joinedAt: 1_000,
    leaseLeftMs: 2_500,
    ...changes,
  };
}
