/**
 * Sessions of a fleet: any host may change one, so each tells the others. A notice that
 * gets lost is made up for by the next sweep (sessions.ts).
 */
import type { Bus, Subscription } from "../bus/bus.ts";
import type { SessionFleet } from "../session/index.ts";
import { SirsiError } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import type { Logger } from "../observe/index.ts";
import type { FleetStore } from "../store/fleet-store.ts";
import type { Fleet } from "./fleet.ts";
import { ANYWHERE, place } from "./placement.ts";

export interface SessionNoticesConfig {
  readonly bus: Bus;
  readonly prefix: string;
  readonly fleet: Fleet;
  readonly store: Pick<FleetStore, "listDueSessions">;
  readonly log: Logger;
}

const HOST_HEADER = "sirsi-host";

export class SessionNotices {
  readonly #config: SessionNoticesConfig;
  readonly #subject: string;
  #subscription: Subscription | null = null;

  constructor(config: SessionNoticesConfig) {
    this.#config = config;
    this.#subject = `${config.prefix}.sessions.changed`;
  }

  /** What Sessions are opened with. */
  get forSessions(): SessionFleet {
    const { fleet, store } = this.#config;
    return {
      changed: (sessionId) => this.#tell(sessionId),
      mine: (sessionId) => place(sessionId, fleet.hosts, ANYWHERE)?.hostId === fleet.self.hostId,
      due: (before, limit) => store.listDueSessions(before, limit),
    };
  }

  #tell(sessionId: string): void {
    const { bus, fleet, log } = this.#config;
    try {
      bus.publish(this.#subject, new TextEncoder().encode(sessionId), { headers: { [HOST_HEADER]: fleet.self.hostId } });
    } catch (thrown) {
      log.debug({ sessionId, err: SirsiError.from(thrown).message }, "the other hosts could not be told of a session's change; their next sweep finds it");
    }
  }

  listen(changedElsewhere: (sessionId: string) => void): void {
    const { bus, fleet } = this.#config;
    this.#subscription = bus.subscribe(this.#subject, ({ data, headers }) => {
      const sessionId = new TextDecoder().decode(data);
      if (headers[HOST_HEADER] !== fleet.self.hostId && isId(sessionId)) changedElsewhere(sessionId);
    });
  }

  close(): void {
    this.#subscription?.close();
  }
}
