/**
 * One NATS micro service, as ADR-32 of NATS has it, on any bus: it answers `$SRV.PING`,
 * `$SRV.INFO` and `$SRV.STATS`, each also with `.<name>` and `.<name>.<id>` behind it, with
 * JSON of the types `io.nats.micro.v1.*_response`, and keeps count of what its endpoint does.
 *
 * States: serving, draining (out of discovery; what has arrived is finished), closed.
 */
import type { Bus, BusMessage, Subscription } from "../../bus/bus.ts";
import type { Clock } from "../../core/clock.ts";

/** How an endpoint's request ended. */
export interface RequestEnd {
  /** "code:description"; null for a good end. */
  readonly error: string | null;
  readonly elapsedMs: number;
}

export interface MicroEndpoint {
  readonly name: string;
  readonly subject: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Never rejects. */
  readonly handle: (message: BusMessage) => Promise<RequestEnd>;
}

export interface MicroServiceConfig {
  readonly bus: Bus;
  readonly clock: Clock;
  /** Letters, digits, `-` and `_`. */
  readonly name: string;
  /** Its own, among all services of this name. */
  readonly id: string;
  /** SemVer. */
  readonly version: string;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoint: MicroEndpoint;
}

type Verb = "PING" | "INFO" | "STATS";

/** What services share when they say nothing else. */
const QUEUE = "q";
const NANOS_PER_MS = 1_000_000;

export class MicroService {
  readonly #config: MicroServiceConfig;
  readonly #started: string;
  readonly #discovery: readonly Subscription[];
  readonly #work: Subscription;
  #requests = 0;
  #errors = 0;
  #lastError: string | null = null;
  #processingMs = 0;

  constructor(config: MicroServiceConfig) {
    const { bus, clock, endpoint, id, name } = config;
    this.#config = config;
    this.#started = new Date(clock.now()).toISOString();
    // Who finds it can call it.
    this.#work = bus.subscribe(endpoint.subject, (message) => this.#handle(message), { queue: QUEUE });
    const listen = (verb: Verb): Subscription[] => [`$SRV.${verb}`, `$SRV.${verb}.${name}`, `$SRV.${verb}.${name}.${id}`].map((subject) => bus.subscribe(subject, (message) => this.#tell(verb, message)));
    this.#discovery = [...listen("PING"), ...listen("INFO"), ...listen("STATS")];
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#discovery, this.#work].map((subscription) => subscription.drain()));
  }

  close(): void {
    for (const subscription of [...this.#discovery, this.#work]) subscription.close();
  }

  async #handle(message: BusMessage): Promise<void> {
    const { elapsedMs, error } = await this.#config.endpoint.handle(message);
    this.#requests += 1;
    this.#processingMs += elapsedMs;
    if (error === null) return;
    this.#errors += 1;
    this.#lastError = error;
  }

  #tell(verb: Verb, message: BusMessage): void {
    message.respond(Buffer.from(JSON.stringify(this.#describe(verb))));
  }

  #describe(verb: Verb): object {
    const { description, endpoint, id, metadata, name, version } = this.#config;
    const self = { name, id, version, metadata };
    const place = { name: endpoint.name, subject: endpoint.subject, queue_group: QUEUE };
    switch (verb) {
      case "PING":
        return { type: "io.nats.micro.v1.ping_response", ...self };
      case "INFO":
        return { type: "io.nats.micro.v1.info_response", ...self, description, endpoints: [{ ...place, metadata: endpoint.metadata }] };
      case "STATS":
        return { type: "io.nats.micro.v1.stats_response", ...self, started: this.#started, endpoints: [{ ...place, ...this.#counts() }] };
    }
  }

  #counts(): object {
    return {
      num_requests: this.#requests,
      num_errors: this.#errors,
      ...(this.#lastError !== null && { last_error: this.#lastError }),
      processing_time: Math.round(this.#processingMs * NANOS_PER_MS),
      average_processing_time: this.#requests === 0 ? 0 : Math.round((this.#processingMs * NANOS_PER_MS) / this.#requests),
    };
  }
}
