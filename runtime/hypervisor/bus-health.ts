/** The bus, and the stream that keeps events, as GetSystemHealth and Prometheus show them. */
import type { Bus } from "../bus/bus.ts";
import type { EventStream } from "../bus/event-stream.ts";
import { unreachable } from "../core/errors.ts";
import type { Metrics } from "../observe/index.ts";
import type { ComponentReading } from "./agent-service-deps.ts";
import { eventsTrouble } from "./fleet-servers.ts";

export type BusLook = Pick<Bus, "status" | "counts">;
export type StreamLook = Pick<EventStream, "state" | "counts">;

export function busHealth({ status, counts }: BusLook): ComponentReading {
  const details = counts === undefined ? {} : { disconnects: String(counts.disconnects), dropped: String(counts.dropped), answers_lost: String(counts.answersLost) };
  return { status: status === "connected" ? "healthy" : "unhealthy", message: status, details };
}

export function streamHealth({ state, counts }: StreamLook): ComponentReading {
  const details = { waiting: String(counts.waiting), repeated: String(counts.repeated), lost: String(counts.lost) };
  switch (state.kind) {
    case "open":
      return { status: "healthy", message: "kept in JetStream", details: { ...details, stream: state.name, replicas: String(state.replicas) } };
    case "opening":
      return { status: "degraded", message: `events wait for their stream: ${state.reason}`, details };
    case "unusable":
      return { status: "degraded", message: `${eventsTrouble({ state })}; they go to those who follow at the time`, details };
    default:
      return unreachable(state);
  }
}

export function collectBus(metrics: Metrics, bus: BusLook, stream: StreamLook | null): void {
  const follow = (read: () => number, add: (more: number) => void) => {
    let told = 0;
    return () => {
      const now = read();
      add(now - told);
      told = now;
    };
  };
  const rising = [
    ...(bus.counts === undefined
      ? []
      : [
          follow(() => bus.counts?.disconnects ?? 0, (more) => metrics.counter("sirsi_bus_disconnects_total").inc(more)),
          follow(() => bus.counts?.dropped ?? 0, (more) => metrics.counter("sirsi_bus_dropped_total").inc(more)),
          follow(() => bus.counts?.answersLost ?? 0, (more) => metrics.counter("sirsi_bus_answers_lost_total").inc(more)),
        ]),
    ...(stream === null
      ? []
      : [
          follow(() => stream.counts.repeated, (more) => metrics.counter("sirsi_events_repeated_total").inc(more)),
          follow(() => stream.counts.lost, (more) => metrics.counter("sirsi_events_lost_total").inc(more)),
        ]),
  ];
  metrics.onCollect(() => {
    for (const bringUp of rising) bringUp();
    if (stream === null) return;
    metrics.gauge("sirsi_events_waiting").set(stream.counts.waiting);
    metrics.gauge("sirsi_events_kept").set(stream.state.kind === "open" ? 1 : 0);
  });
}
