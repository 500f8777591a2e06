/** Hosts that publish and follow events over one NATS, each on a connection of its own. */
import { expect, vi } from "vitest";
import type { HostEvent } from "../../runtime/agent/agents.ts";
import type { NatsBus, NatsBusOptions } from "../../runtime/bus/nats/index.ts";
import type { AgentEvent } from "../../runtime/contract/gen/sirsi/agent/v1/events_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import { silentLogger } from "../../runtime/observe/index.ts";
import { openFleetEvents, type FleetEventLog, type FleetEventsOptions } from "../../runtime/session/index.ts";
import type { NatsRig } from "./nats-rig.ts";

export const PREFIX = "test.agents";
export const STREAM = "test_agents_events";

export interface EventHost {
  readonly bus: NatsBus;
  readonly events: FleetEventLog;
  /** What the bus complains of, as "subject: code". */
  readonly reported: string[];
}

export async function openEventHost(rig: NatsRig, url: string, changes: Partial<FleetEventsOptions> = {}, connection: Partial<NatsBusOptions> = {}): Promise<EventHost> {
  const { bus, reported } = await rig.open(url, connection);
  const events = await openFleetEvents({ bus, prefix: PREFIX, clock: systemClock, eventsKept: 1_000, held: () => true, log: silentLogger, metrics: null, ...changes });
  return { bus, events, reported };
}

export const newSession = () => newId(systemClock.now());

export function happening(sessionId: string, type: string, changes: Partial<HostEvent> = {}): HostEvent {
  return { type, sessionId, sourceAgentId: "", targetAgentId: "", payload: null, topic: "", attributes: {}, traceparent: "", ...changes };
}

export function follow({ events }: EventHost, sessionId: string, fromSequence = 0n, changes: { readonly types?: readonly string[]; readonly live?: boolean; readonly signal?: AbortSignal } = {}): AsyncIterableIterator<AgentEvent> {
  return events.follow(sessionId, { types: [], fromSequence, live: true, signal: null, ...changes });
}

export async function take(following: AsyncIterator<AgentEvent>, count: number): Promise<AgentEvent[]> {
  const taken: AgentEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await following.next();
    if (done === true) break;
    taken.push(value);
  }
  return taken;
}

/** What is already on its way; resolves when it is kept. */
export const kept = (...hosts: readonly EventHost[]) => Promise.all(hosts.map(({ events }) => vi.waitFor(() => expect(events.stream.counts.waiting).toBe(0), { timeout: 10_000, interval: 5 })));

export const types = (events: readonly AgentEvent[]) => events.map(({ eventType }) => eventType);
export const sequences = (events: readonly AgentEvent[]) => events.map(({ sequence }) => sequence);

export function expectRising(events: readonly AgentEvent[]): void {
  const seen = sequences(events);
  expect(seen).toEqual([...new Set(seen)].toSorted((a, b) => (a < b ? -1 : 1)));
}
