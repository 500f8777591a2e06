/** How the servers are that a fleet rests on, as operators are told. */
import type { Bus } from "../bus/bus.ts";
import type { EventStream } from "../bus/event-stream.ts";
import { SirsiError } from "../core/errors.ts";
import type { SharedContext } from "../session/context/index.ts";
import type { Store } from "../store/store.ts";

export interface FleetServers {
  readonly store: Pick<Store, "probe">;
  readonly bus: Pick<Bus, "status">;
  readonly events: Pick<EventStream, "state">;
  /** Told of only when it is a server. */
  readonly context: Pick<SharedContext, "status" | "reason">;
}

/** By what each is for: what is wrong with it, empty for nothing. */
export async function troublesOf({ store, bus, events, context }: FleetServers): Promise<Readonly<Record<string, string>>> {
  return {
    store: await storeTrouble(store),
    bus: bus.status === "connected" ? "" : `the NATS bus is ${bus.status}`,
    events: eventsTrouble(events),
    ...(context.status !== "in-process" && { context: context.status === "connected" ? "" : `Redis is out of reach (${context.reason})` }),
  };
}

/** Empty while events are kept. */
export function eventsTrouble({ state }: Pick<EventStream, "state">): string {
  return state.kind === "open" ? "" : `events are not kept in JetStream: ${state.reason}`;
}

async function storeTrouble(store: Pick<Store, "probe">): Promise<string> {
  try {
    await store.probe();
    return "";
  } catch (thrown) {
    return SirsiError.from(thrown).message;
  }
}
