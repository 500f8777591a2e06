/**
 * Keeps this process connected to one of several NATS servers.
 *
 * States: connected -> reconnecting -> connected, without end; from any to closed.
 *
 * L1 One connection at a time is in use. One that was lost is never used again:
 *    nothing that was published on it can come out of it later.
 * L2 `up` is called with a new connection before anybody else can publish on it,
 *    `down` once when it is lost; they alternate, and none comes after `close`.
 * L3 Attempts to connect again never end. Their pauses grow until a connection
 *    has lasted, so a server that takes connections and drops them is not hammered.
 * L4 A connection that no longer answers pings is given up, also while what was
 *    written to it cannot leave: the client would wait for that before it told.
 */
import { DebugEvents, Events, type NatsConnection } from "nats";
import { backoffMs } from "../../core/backoff.ts";
import type { Timer } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { dial } from "./dial.ts";
import type { NatsBusConfig } from "./nats-options.ts";

export interface LinkEvents {
  up(connection: NatsConnection): void;
  down(error: SirsiError): void;
  /** The server does not let this host publish there. Told some time after the attempt. */
  publishRefused(subject: string): void;
}

export class NatsLink {
  readonly #config: NatsBusConfig;
  readonly #events: LinkEvents;
  #connection: NatsConnection | null = null;
  #closed = false;
  #attempt = 0;
  #upSinceMs = 0;
  #pause: Timer | null = null;
  /** Why the last attempt failed; the same reason is told once. */
  #lastFailure = "";

  constructor(config: NatsBusConfig, events: LinkEvents) {
    this.#config = config;
    this.#events = events;
  }

  /** Null while there is none. */
  get connection(): NatsConnection | null {
    return this.#connection;
  }

  /** The first connection; called once. Throws the last failure when time is up, at once when no server can ever take us as we are. */
  async open(): Promise<void> {
    const { clock, connectTimeoutMs, backoff, random } = this.#config;
    const until = clock.monotonic() + connectTimeoutMs;
    // The clock's timers do not keep a process alive, and at its start nothing else may.
    const hold = setInterval(() => undefined, 60_000);
    try {
      for (let attempt = 0; ; attempt++) {
        const outcome = await this.#dialAny();
        if ("connection" in outcome) return this.#use(outcome.connection);
        const waitMs = backoffMs(backoff, attempt, random());
        if (outcome.hopeless || clock.monotonic() + waitMs >= until) throw outcome.error;
        await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
      }
    } finally {
      clearInterval(hold);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#pause?.cancel();
    const connection = this.#connection;
    this.#connection = null;
    await connection?.close();
  }

  /** Tries every server once, in an order of its own, so that the hosts of a fleet spread over a cluster. */
  async #dialAny(): Promise<{ readonly connection: NatsConnection } | { readonly error: SirsiError; readonly hopeless: boolean }> {
    const errors: SirsiError[] = [];
    for (const server of shuffled(this.#config.servers, this.#config.random)) {
      try {
        return { connection: await dial(server, this.#config) };
      } catch (thrown) {
        errors.push(SirsiError.from(thrown));
      }
      if (this.#closed) break;
    }
    const hopeless = errors.every(({ code }) => code === "CONFIG_INVALID");
    const error = errors.find(({ code }) => code === "CONFIG_INVALID") ?? errors[0];
    return { error: error ?? new SirsiError("BUS_UNAVAILABLE", "No NATS server was tried. Try again."), hopeless };
  }

  #use(connection: NatsConnection): void {
    const { clock, log } = this.#config;
    this.#connection = connection;
    this.#upSinceMs = clock.monotonic();
    this.#lastFailure = "";
    log.info({ server: connection.getServer(), serverVersion: connection.info?.version }, "connected to NATS");
    void connection.closed().then((reason) => this.#lose(connection, reason instanceof Error ? reason.message : "the server ended it"));
    void this.#follow(connection);
    this.#events.up(connection);
  }

  async #follow(connection: NatsConnection): Promise<void> {
    for await (const { type, data, permissionContext } of connection.status()) {
      if (type === DebugEvents.StaleConnection) {
        this.#lose(connection, "it no longer answers");
        await connection.close();
      } else if (type === Events.LDM) {
        this.#config.log.info({ server: connection.getServer() }, "the NATS server is about to stop; another one is taken when it does");
      } else if (type === Events.Error && permissionContext?.operation === "publish") {
        this.#events.publishRefused(permissionContext.subject);
      } else if (type === Events.Error && permissionContext === undefined) {
        this.#config.log.warn({ server: connection.getServer(), error: data }, "the NATS server reports an error");
      }
    }
  }

  #lose(connection: NatsConnection, reason: string): void {
    if (connection !== this.#connection) return;
    this.#connection = null;
    const { clock, log, backoff } = this.#config;
    log.warn({ server: connection.getServer(), reason }, "the connection to NATS is lost; connecting again");
    if (clock.monotonic() - this.#upSinceMs > backoff.maxMs) this.#attempt = 0;
    this.#events.down(new SirsiError("BUS_UNAVAILABLE", `The connection to the NATS server was lost (${reason}). Try again; the host connects again by itself.`));
    this.#retryLater();
  }

  #retryLater(): void {
    const { clock, backoff, random } = this.#config;
    this.#pause = clock.after(backoffMs(backoff, this.#attempt++, random()), () => void this.#retry());
  }

  async #retry(): Promise<void> {
    const outcome = await this.#dialAny();
    if (this.#closed) {
      if ("connection" in outcome) await outcome.connection.close();
      return;
    }
    if ("connection" in outcome) return this.#use(outcome.connection);
    this.#tell(outcome.error);
    this.#retryLater();
  }

  #tell(error: SirsiError): void {
    if (error.message === this.#lastFailure) return;
    this.#lastFailure = error.message;
    this.#config.log.warn({ attempt: this.#attempt, err: error.message }, "NATS is out of reach; trying on");
  }
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items.map((item) => ({ item, at: random() })).toSorted((a, b) => a.at - b.at).map(({ item }) => item);
}
