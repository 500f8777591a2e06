/** The gRPC doors of the fleet's hosts. Each client uses all of them. */
import { SirsiClient } from "../../../runtime/client/index.ts";
import { systemClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { Draw } from "../draw.ts";
import type { Line } from "../host-line.ts";

/** How long a client goes past a door that gave no answer. */
const AVOID_MS = 1_500;

export class Doors {
  readonly #clients = new Map<string, SirsiClient>();

  /** Anew, so that nothing waits for a connection to be tried again. */
  open(name: string, address: string): void {
    this.#clients.get(name)?.close();
    this.#clients.set(name, new SirsiClient({ address, retries: 0 }));
  }

  get names(): readonly string[] {
    return [...this.#clients.keys()];
  }

  at(name: string): SirsiClient {
    const client = this.#clients.get(name);
    if (client === undefined) throw new SirsiError("INTERNAL", `the door of ${name} was never opened; correct the harness`);
    return client;
  }

  line(draw: Draw): Line {
    const avoided = new Map<SirsiClient, number>();
    return {
      client: async () => {
        const all = [...this.#clients.values()];
        const now = systemClock.monotonic();
        const open = all.filter((client) => (avoided.get(client) ?? 0) < now);
        return draw.one(open.length > 0 ? open : all);
      },
      avoid: (client) => void avoided.set(client, systemClock.monotonic() + AVOID_MS),
    };
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}
