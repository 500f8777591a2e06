/**
 * Each active module revision as a NATS micro service of this host: name and version are the
 * manifest's, its endpoint takes messages for the module's agents. A revision that takes
 * another's place is a service of its own; both share the endpoint's queue, so nobody who
 * calls while they change finds it empty.
 */
import type { Bus } from "../../bus/bus.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import { newId } from "../../core/ids.ts";
import type { ModuleRegistry, RegistryEvent, Revision } from "../../module/index.ts";
import type { Logger } from "../../observe/index.ts";
import type { CallDesk, Service } from "./call-desk.ts";
import { MicroService, type RequestEnd } from "./micro-service.ts";
import { moduleFormat, type ModuleSend } from "./module-send.ts";

export interface ModuleServicesConfig {
  readonly bus: Bus;
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostName: string;
  readonly modules: Pick<ModuleRegistry, "list" | "subscribe">;
  readonly desk: CallDesk;
  readonly send: ModuleSend;
}

interface Shown {
  readonly service: MicroService;
  /** What it says of itself, its id left out. */
  readonly words: string;
}

export class ModuleServices {
  readonly #config: ModuleServicesConfig;
  readonly #shown = new Map<string, Shown>();
  readonly #drains = new Set<Promise<void>>();
  readonly #unsubscribe: () => void;

  constructor(config: ModuleServicesConfig) {
    this.#config = config;
    this.#unsubscribe = config.modules.subscribe((event) => this.#follow(event));
    for (const { active } of config.modules.list()) if (active !== null) this.#show(active);
  }

  /** Takes no more messages; resolves when those in hand are answered. */
  async drain(): Promise<void> {
    this.#unsubscribe();
    for (const module of this.#shown.keys()) this.#hide(module);
    await Promise.all(this.#drains);
  }

  close(): void {
    this.#unsubscribe();
    for (const { service } of this.#shown.values()) service.close();
    this.#shown.clear();
  }

  #follow(event: RegistryEvent): void {
    switch (event.kind) {
      case "activated":
      case "reverted":
        this.#show(event.to);
        return;
      case "retired":
        this.#hide(event.module);
        return;
      case "candidate":
      case "pending":
      case "rejected":
    }
  }

  #show({ digest, manifest }: Revision): void {
    const { bus, clock, hostName, log, prefix } = this.#config;
    const { abi, description, durability, name, version } = manifest;
    const metadata = { digest, abi: String(abi), durability, host: hostName };
    const words = JSON.stringify([version, description, metadata]);
    // Its sidecar or its grants changed, which nobody here is told of.
    if (this.#shown.get(name)?.words === words) return;
    try {
      const endpoint = { name: "send", subject: `${prefix}.module.${name}.send`, metadata: ENDPOINT, handle: this.#endpoint(name) };
      const service = new MicroService({ bus, clock, name, id: newId(clock.now()), version, description, metadata, endpoint });
      this.#hide(name);
      this.#shown.set(name, { service, words });
    } catch (thrown) {
      log.warn({ module: name, err: SirsiError.from(thrown).message }, "a module cannot be shown as a NATS service; over gRPC it can be used");
    }
  }

  #hide(module: string): void {
    const shown = this.#shown.get(module);
    if (shown === undefined) return;
    this.#shown.delete(module);
    const drained: Promise<void> = shown.service.drain().finally(() => this.#drains.delete(drained));
    this.#drains.add(drained);
  }

  #endpoint(module: string) {
    const { desk, send } = this.#config;
    const service: Service = { door: "module", format: moduleFormat, act: async (call) => await send.send(module, call) };
    return async (message: Parameters<CallDesk["serve"]>[0]): Promise<RequestEnd> => {
      const { elapsedMs, error } = await desk.serve(message, service);
      return { elapsedMs, error: error === null ? null : `${error.code}:${error.message}` };
    };
  }
}

const ENDPOINT = {
  request: "text with the header sirsi-session-id, else sirsi.agent.v1.SendMessageRequest as JSON or, with content-type application/protobuf, as bytes",
  response: "the same form; the header sirsi-agent-id names the agent",
} as const;
