/**
 * What clients and tools on NATS see of a host: its agents under their subjects
 * (agent-subjects.ts), its modules as micro services (module-services.ts). docs/nats.md is
 * the same for those who write clients.
 *
 * States: serving; draining (others of the fleet take calls for modules and for agents
 * anywhere; agents that are still here keep their subjects until they leave); closed.
 */
import type { Presence } from "../../agent/index.ts";
import type { Bus, Subscription } from "../../bus/bus.ts";
import type { Clock } from "../../core/clock.ts";
import type { HostLimits } from "../../core/limits.ts";
import type { AgentServiceApi } from "../../hypervisor/service-api.ts";
import type { ModuleRegistry } from "../../module/index.ts";
import type { Logger, Metrics } from "../../observe/index.ts";
import { AgentSubjects, openCallSubject } from "./agent-subjects.ts";
import { CallDesk } from "./call-desk.ts";
import { ModuleSend } from "./module-send.ts";
import { ModuleServices } from "./module-services.ts";

export interface NatsGatewayOptions {
  readonly bus: Bus;
  /** What every subject starts with. */
  readonly prefix: string;
  readonly agentService: AgentServiceApi;
  readonly modules: Pick<ModuleRegistry, "list" | "subscribe">;
  /** Tells the listener of the agents that are here now, and from then on of each that comes and goes. */
  readonly onPresence: (listener: Presence) => void;
  readonly hostName: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly limits: Pick<HostLimits, "messageMaxBytes">;
}

export interface NatsGateway {
  /** Hands over to other hosts, and waits for what is in hand for at most `graceMs`. Repeatable. */
  drain(graceMs: number): Promise<void>;
  /** Closes now; who still waits is told to come back. Repeatable. */
  close(): Promise<void>;
}

/** How long the last answers may take to leave. */
const GOODBYE_MS = 1_000;

export function openNatsGateway(options: NatsGatewayOptions): NatsGateway {
  return new Gateway(options);
}

class Gateway implements NatsGateway {
  readonly #options: NatsGatewayOptions;
  readonly #desk: CallDesk;
  readonly #agents: AgentSubjects;
  readonly #anyAgent: Subscription;
  readonly #services: ModuleServices;
  #drained: Promise<void> | null = null;
  #closed: Promise<void> | null = null;

  constructor(options: NatsGatewayOptions) {
    this.#options = options;
    this.#desk = new CallDesk(options);
    const parts = { ...options, desk: this.#desk };
    this.#agents = new AgentSubjects(parts);
    options.onPresence(this.#agents);
    this.#anyAgent = openCallSubject(parts);
    this.#services = new ModuleServices({ ...parts, send: new ModuleSend(options.agentService) });
  }

  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#within(graceMs, Promise.all([this.#anyAgent.drain(), this.#services.drain()]));
    return this.#drained;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#anyAgent.close();
    this.#services.close();
    this.#agents.close();
    this.#desk.cutAll();
    // What the bus has not sent when it closes is lost. Without a connection there is nobody to wait for.
    await this.#within(GOODBYE_MS, this.#options.bus.flush().catch(() => undefined));
  }

  async #within(ms: number, done: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(ms, resolve);
      void done.finally(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
