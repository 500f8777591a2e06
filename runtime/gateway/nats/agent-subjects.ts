/**
 * The subjects that agents are reached by:
 *
 * * `<prefix>.agent.<agentId>`: the host that owns the agent listens, while the agent is in
 *   memory. The body is a SendMessageRequest whose agent_id is empty or the same; the rest
 *   is as in gRPC's SendMessage. Nobody listening means that the agent sleeps, moves, or is
 *   not there.
 * * `<prefix>.agents.call`: one of all hosts; the request names the agent, which is woken.
 *
 * An agent that moves is for a moment listened for on two hosts. Their subscriptions are of
 * one queue, so each message still goes to one of them, and its service passes on what
 * belongs elsewhere.
 */
import type { Presence } from "../../agent/index.ts";
import type { Bus, BusHandler, Subscription } from "../../bus/bus.ts";
import { SirsiError } from "../../core/errors.ts";
import type { AgentServiceApi } from "../../hypervisor/service-api.ts";
import type { Logger } from "../../observe/index.ts";
import type { CallHeaders } from "./call-headers.ts";
import type { CallDesk, NatsCall, Service } from "./call-desk.ts";
import { type Format, formatOf, unknownFormat } from "./formats.ts";

const OWNER_QUEUE = "owner";
const HOSTS_QUEUE = "hosts";

export interface AgentSubjectsConfig {
  readonly bus: Bus;
  readonly prefix: string;
  readonly desk: CallDesk;
  readonly agentService: Pick<AgentServiceApi, "sendMessage">;
  readonly log: Logger;
}

function messageFormat({ contentType }: CallHeaders): Format {
  const format = contentType === "" ? "protobuf" : formatOf(contentType);
  if (format === null || format === "text") throw unknownFormat(contentType, ["protobuf", "json"]);
  return format;
}

/** Keeps one subscription for each agent that is here. */
export class AgentSubjects implements Presence {
  readonly #config: AgentSubjectsConfig;
  readonly #start: string;
  readonly #hear: BusHandler;
  readonly #subscriptions = new Map<string, Subscription>();
  #closed = false;

  constructor(config: AgentSubjectsConfig) {
    const { agentService, desk } = config;
    this.#config = config;
    this.#start = `${config.prefix}.agent.`;
    // One handler for all: the subject tells which agent is meant.
    this.#hear = async (message) => {
      const agentId = message.subject.slice(this.#start.length);
      const act = async ({ context, request }: NatsCall) => {
        requireSame(request.agentId, agentId);
        request.agentId = agentId;
        return await agentService.sendMessage(request, context);
      };
      await desk.serve(message, { door: "agent", format: messageFormat, act });
    };
  }

  get count(): number {
    return this.#subscriptions.size;
  }

  came(agentId: string): void {
    if (this.#closed || this.#subscriptions.has(agentId)) return;
    const { bus, log } = this.#config;
    try {
      this.#subscriptions.set(agentId, bus.subscribe(this.#start + agentId, this.#hear, { queue: OWNER_QUEUE }));
    } catch (thrown) {
      log.warn({ agentId, err: SirsiError.from(thrown).message }, "an agent cannot be reached over NATS under its own subject; over gRPC it can");
    }
  }

  /** What was on its way to it is still answered: it is woken again, or the message passed on to where it is. */
  left(agentId: string): void {
    const subscription = this.#subscriptions.get(agentId);
    this.#subscriptions.delete(agentId);
    void subscription?.drain();
  }

  close(): void {
    this.#closed = true;
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
  }
}

function requireSame(named: string, meant: string): void {
  if (named === "" || named === meant) return;
  const description = `is ${JSON.stringify(named.slice(0, 60))}, and the subject is that of ${meant}; leave it empty or make them agree`;
  throw new SirsiError("INVALID_ARGUMENT", `agent_id ${description}`, { fields: [{ field: "agent_id", description }] });
}

/** Listens for messages to agents anywhere. */
export function openCallSubject({ agentService, bus, desk, prefix }: AgentSubjectsConfig): Subscription {
  const service: Service = { door: "call", format: messageFormat, act: async ({ context, request }) => await agentService.sendMessage(request, context) };
  const hear: BusHandler = async (message) => {
    await desk.serve(message, service);
  };
  return bus.subscribe(`${prefix}.agents.call`, hear, { queue: HOSTS_QUEUE });
}
