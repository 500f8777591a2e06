/** The events of a fleet over its NATS, with JetStream when the server has it. */
import { openJetStreamEvents, type NatsBus } from "../bus/nats/index.ts";
import { eventsSubject } from "./event-subjects.ts";
import { FleetEventLog, type FleetEventLogDeps } from "./fleet-event-log.ts";
import { isFirstEvent } from "./heard-event.ts";

export interface FleetEventsOptions extends Omit<FleetEventLogDeps, "bus" | "stream"> {
  readonly bus: NatsBus;
  /** Room of a stream that this host makes. Default 1 GiB. */
  readonly streamMaxBytes?: number;
}

/** How long opening waits to learn whether events are kept; after that it learns on the way. */
const LOOK_MS = 5_000;

/**
 * Never fails: without JetStream events are live only, and `stream.state` says why.
 * Closed after the last event was published, and `settled`, and before the bus.
 */
export async function openFleetEvents(options: FleetEventsOptions): Promise<FleetEventLog> {
  const { bus, prefix, clock, log, eventsKept, held, streamMaxBytes } = options;
  const stream = openJetStreamEvents({
    bus,
    clock,
    log,
    name: `${prefix.replaceAll(".", "_")}_events`,
    subjects: eventsSubject(prefix, "*"),
    maxPerSubject: eventsKept,
    ...(streamMaxBytes !== undefined && { maxBytes: streamMaxBytes }),
    mayAppend: held,
    isFirst: isFirstEvent,
  });
  const late = new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
  await Promise.race([stream.opened, late]);
  return new FleetEventLog({ ...options, stream });
}
