/**
 * Every metric of the host in one place. docs/metrics.md is made from this table,
 * and a test holds them to each other.
 */

/** From a tenth of a millisecond to a minute. */
const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

export interface MetricRow {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  readonly buckets?: readonly number[];
}

export const METRIC_TABLE = {
  sirsi_spawn_seconds: {
    type: "histogram",
    help: "Time to bring up an agent, from the request to READY.",
    labels: ["module"],
    buckets: SECONDS,
  },
  sirsi_message_seconds: {
    type: "histogram",
    help: "Time from a message's arrival to its answer, the wait in the mailbox included.",
    labels: ["module", "outcome"],
    buckets: SECONDS,
  },
  sirsi_step_seconds: {
    type: "histogram",
    help: "Time of one step of a guest, its waits included.",
    labels: ["module"],
    buckets: SECONDS,
  },
  sirsi_queue_depth: { type: "gauge", help: "Steps that wait for a shard.", labels: ["shard"] },
  sirsi_mailbox_messages: { type: "gauge", help: "Messages that wait in mailboxes.", labels: [] },
  sirsi_agents: { type: "gauge", help: "Agents in memory.", labels: ["module", "state"] },
  sirsi_agents_asleep: { type: "gauge", help: "Agents that are in the store alone.", labels: [] },
  sirsi_sessions: { type: "gauge", help: "Open sessions.", labels: [] },
  sirsi_module_info: {
    type: "gauge",
    help: "Always 1; its labels tell the active revision of each module.",
    labels: ["module", "version", "digest"],
  },
  sirsi_module_admissions_total: { type: "counter", help: "Module files that were looked at.", labels: ["outcome"] },
  sirsi_guest_memory_bytes: { type: "gauge", help: "Linear memory of the live instances.", labels: ["module"] },
  sirsi_guest_faults_total: {
    type: "counter",
    help: "Steps that ended an instance: trap, fuel, memory, deadline, limit or protocol.",
    labels: ["module", "kind"],
  },
  sirsi_fuel_total: { type: "counter", help: "Fuel that guests have used.", labels: ["module"] },
  sirsi_store_commit_seconds: { type: "histogram", help: "Time from asking for a commit to knowing it on disk.", labels: [], buckets: SECONDS },
  sirsi_grpc_requests_total: { type: "counter", help: "gRPC calls that ended, by status.", labels: ["method", "code"] },
  sirsi_grpc_seconds: { type: "histogram", help: "Time from a call's headers to its status; for streams, their whole life.", labels: ["method"], buckets: SECONDS },
  sirsi_nats_requests_total: { type: "counter", help: "Calls that came over NATS and ended, by kind of subject (agent, call, module) and status.", labels: ["subject", "code"] },
  sirsi_nats_seconds: { type: "histogram", help: "Time from a call's arrival over NATS to its answer.", labels: ["subject"], buckets: SECONDS },
  sirsi_events_total: { type: "counter", help: "Events of sessions; names that guests chose count as `guest`.", labels: ["type"] },
  sirsi_events_waiting: { type: "gauge", help: "Events of a fleet that the stream has not confirmed.", labels: [] },
  sirsi_events_kept: { type: "gauge", help: "Is 1 while a stream keeps the events of the fleet, so that followers may resume; else 0.", labels: [] },
  sirsi_events_repeated_total: { type: "counter", help: "Events that were sent to the stream again.", labels: [] },
  sirsi_events_lost_total: { type: "counter", help: "Events that never reached the stream, or found nobody to send them to.", labels: [] },
  sirsi_bus_disconnects_total: { type: "counter", help: "Connections to NATS that were lost.", labels: [] },
  sirsi_bus_dropped_total: { type: "counter", help: "Messages dropped because their subscriber on this host had too many in hand.", labels: [] },
  sirsi_bus_answers_lost_total: { type: "counter", help: "Answers that found no connection to NATS to go out on.", labels: [] },
  sirsi_swaps_total: { type: "counter", help: "Agents that were to move to another revision.", labels: ["module", "outcome"] },
  sirsi_fleet_hosts: { type: "gauge", help: "Live hosts of the fleet, as this one sees them.", labels: ["state"] },
  sirsi_fleet_lease_held: { type: "gauge", help: "Is 1 while this host is sure of its place in the fleet and may answer; else 0.", labels: [] },
  sirsi_fleet_bus_connected: { type: "gauge", help: "Is 1 while this host of a fleet is connected to NATS; else 0.", labels: [] },
} as const satisfies Record<string, MetricRow>;

export type MetricName = keyof typeof METRIC_TABLE;
type OfType<Type extends MetricRow["type"]> = { [N in MetricName]: (typeof METRIC_TABLE)[N]["type"] extends Type ? N : never }[MetricName];
export type CounterName = OfType<"counter">;
export type GaugeName = OfType<"gauge">;
export type HistogramName = OfType<"histogram">;

type Strings<Names extends readonly string[]> = { readonly [At in keyof Names]: string };
/** One string for each label, in the table's order. */
export type LabelValues<N extends MetricName> = Strings<(typeof METRIC_TABLE)[N]["labels"]>;
