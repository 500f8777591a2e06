/** A message over NATS to an agent, against a bare NATS responder and a remote call of Moleculer, over the same server. */
import { connect, type NatsConnection } from "nats";
import { ServiceBroker } from "moleculer";
import { fromBinary } from "@bufbuild/protobuf";
import { SirsiClient } from "../../runtime/client/index.ts";
import { SendMessageResponseSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { FleetStage } from "../../scripts/fleet-demo/stage.ts";
import { BenchChild } from "./bench-child.ts";
import type { Figure } from "./figure.ts";
import { contentOf, RequestMill } from "./messages.ts";
import { flow, inTurns, ratioOf, readingOf } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const IN_FLIGHT = 64;
const THROUGHPUT = 0.7;
const DURABLE_THROUGHPUT = 0.4;
const BARE_SUBJECT = "bench.echo";
const TIMEOUT_MS = 30_000;

interface Target {
  readonly subject: string;
  readonly mill: RequestMill;
}

class NatsBench {
  readonly #stage = new FleetStage(["echo", "counter"], "");
  readonly #content: string;
  #connection: NatsConnection | null = null;
  #client: SirsiClient | null = null;
  #responder: BenchChild | null = null;
  #node: BenchChild | null = null;
  #broker: ServiceBroker | null = null;
  #sessionId = "";

  constructor(content: string) {
    this.#content = content;
  }

  async open(): Promise<void> {
    await this.#stage.startServers();
    const servers = this.#stage.urlOf("nats");
    this.#connection = await connect({ servers });
    this.#responder = new BenchChild(new URL("./bare-nats-responder.ts", import.meta.url));
    await this.#responder.ask({ servers, subject: BARE_SUBJECT });
    this.#node = new BenchChild(new URL("./moleculer-node.ts", import.meta.url));
    await this.#node.ask({ servers });
    this.#broker = new ServiceBroker({ nodeID: "bench-client", transporter: { type: "NATS", options: { url: servers } }, logger: false });
    await this.#broker.start();
    await this.#broker.waitForServices("bench");
    const host = await this.#stage.startHost("a", "a");
    this.#client = new SirsiClient({ address: host.grpcAddress, retries: 0 });
    const { session } = await this.#client.agents.createSession({ userId: "bench", config: { maxAgents: 1_000 } });
    this.#sessionId = session?.sessionId ?? "";
  }

  async agents(agentType: string): Promise<Target[]> {
    const made = Array.from({ length: IN_FLIGHT }, async (): Promise<Target> => {
      const answer = await this.#client?.agents.createAgent({ sessionId: this.#sessionId, agentType });
      const agentId = answer?.agent?.agentId ?? "";
      return { subject: `sirsi.agents.agent.${agentId}`, mill: new RequestMill(this.#sessionId, agentId, agentType === "counter" ? "increment" : this.#content, "nats") };
    });
    return await Promise.all(made);
  }

  async #request(subject: string, bytes: Uint8Array): Promise<Uint8Array> {
    const reply = await this.#connection?.request(subject, bytes, { timeout: TIMEOUT_MS });
    const fault = reply?.headers?.get("Nats-Service-Error") ?? "";
    requireRight(reply !== undefined && fault === "", () => fault);
    return reply?.data ?? new Uint8Array();
  }

  async toAgents(ms: number, targets: readonly Target[], right: (content: string) => boolean): Promise<number> {
    const { perSecond } = await flow(ms, IN_FLIGHT, async (slot) => {
      const { mill, subject } = targets[slot] as Target;
      const { bytes, id } = mill.next();
      const { messageId, response } = fromBinary(SendMessageResponseSchema, await this.#request(subject, bytes));
      requireRight(messageId === id && right(response?.content ?? ""), () => `message ${id} was answered with ${JSON.stringify(response?.content)} under ${messageId}`);
    });
    return perSecond;
  }

  /** The same bytes there and back, read by nobody. */
  async toResponder(ms: number, { mill }: Target): Promise<number> {
    const { perSecond } = await flow(ms, IN_FLIGHT, async () => {
      const { bytes } = mill.next();
      const answer = await this.#request(BARE_SUBJECT, bytes);
      requireRight(answer.length === bytes.length, () => `${bytes.length} bytes came back as ${answer.length}`);
    });
    return perSecond;
  }

  async toMoleculer(ms: number): Promise<number> {
    const content = this.#content;
    const { perSecond } = await flow(ms, IN_FLIGHT, async () => {
      const answer = await this.#broker?.call<{ readonly content: string }, { readonly content: string }>("bench.echo", { content });
      requireRight(answer?.content === content, () => `Moleculer answered ${JSON.stringify(answer)}`);
    });
    return perSecond;
  }

  async close(): Promise<void> {
    this.#client?.close();
    await this.#broker?.stop();
    await this.#connection?.close();
    await this.#responder?.end();
    await this.#node?.end();
    await this.#stage.stopHosts().catch(() => undefined);
    this.#stage.clear();
  }
}

function rate(what: string, ours: readonly number[], bareWhat: string, bare: readonly number[], atLeast: number | null, quick: boolean): Figure {
  return {
    what,
    ours: readingOf(ours, "/s"),
    bare: { what: bareWhat, reading: readingOf(bare, "/s") },
    compared: ratioOf(ours, bare),
    target: atLeast === null || quick ? null : { of: "compared", bound: "at least", value: atLeast },
  };
}

async function measure(plan: Plan): Promise<Figure[]> {
  const content = contentOf(plan.seed);
  const bench = new NatsBench(content);
  try {
    await bench.open();
    const [echoes, counters] = [await bench.agents("echo"), await bench.agents("counter")];
    const contenders = {
      bare: () => bench.toResponder(plan.roundMs, echoes[0] as Target),
      echo: () => bench.toAgents(plan.roundMs, echoes, (answer) => answer === content),
      counter: () => bench.toAgents(plan.roundMs, counters, (answer) => /^\d+$/.test(answer)),
      moleculer: () => bench.toMoleculer(plan.roundMs),
    };
    await inTurns(2, contenders);
    const { bare, counter, echo, moleculer } = await inTurns(plan.rounds, contenders);
    const bareWhat = "bare NATS responder, same bytes, unread";
    return [
      rate(`a message over NATS to echo, ${IN_FLIGHT} in flight to ${IN_FLIGHT} agents`, echo, bareWhat, bare, THROUGHPUT, plan.quick),
      rate(`a message over NATS to counter (durable, PostgreSQL), ${IN_FLIGHT} in flight to ${IN_FLIGHT} agents`, counter, bareWhat, bare, DURABLE_THROUGHPUT, plan.quick),
      rate(`a remote call of Moleculer over the same server, ${IN_FLIGHT} in flight (its service echoes)`, moleculer, bareWhat, bare, null, plan.quick),
      rate(`a message over NATS to echo, against Moleculer's call`, echo, "Moleculer, remote call", moleculer, null, plan.quick),
    ];
  } finally {
    await bench.close();
  }
}

export const natsSection: Section = {
  name: "nats",
  title: "A message over NATS",
  notMeasured: ["a network: everything is on the loopback", "TLS and logins", "several hosts: see the fleet"],
  maxMs: 240_000,
  run: measure,
};
