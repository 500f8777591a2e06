/** Agents that are in the store alone, as others may look at them. */
import type { Manifest } from "../module/revision.ts";
import type { StoredAgent } from "../store/store.ts";
import type { AgentView } from "./agents.ts";

/** `manifest` is that of its revision. */
export function sleepingView({ record, counters }: StoredAgent, manifest: Manifest): AgentView {
  const set = record.state === "ERROR" || record.state === "TERMINATED";
  return {
    record,
    manifest,
    counters,
    mailboxDepth: 0,
    activeOperations: 0,
    health: set ? "unhealthy" : "healthy",
    memoryBytes: 0,
    latency: { p50Ms: 0, p99Ms: 0, maxMs: 0 },
    restarts: 0,
    idle: true,
  };
}

/** Its revision cannot be had, for `reason`: it is there, and cannot work. */
export function unreachableView(stored: StoredAgent, reason: string): AgentView {
  const { record } = stored;
  const statusMessage = `its revision ${record.digest.slice(0, 12)} cannot be had: ${reason}`;
  const state = record.state === "TERMINATED" ? "TERMINATED" : "ERROR";
  return { ...sleepingView({ ...stored, record: { ...record, state, statusMessage } }, noManifest(record.module)), health: "unhealthy" };
}

/** What is known of a module whose file is not there. */
function noManifest(name: string): Manifest {
  return {
    name,
    version: "",
    abi: 1,
    displayName: name,
    description: "",
    durability: "wait",
    stateSchema: 0,
    onSwap: "keep",
    restart: "permanent",
    supervision: "one_for_one",
    offers: [],
    requests: [],
    defaultConfig: {},
    topics: [],
    placement: { labels: {} },
    limits: {},
  };
}
