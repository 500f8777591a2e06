/** Host, bare server and client, each in a process of its own, and agents to talk to. */
import { SirsiClient } from "../../runtime/client/index.ts";
import { BenchChild } from "./bench-child.ts";
import type { ClientAsk, ClientReport, Partners } from "./grpc-client.ts";
import type { Plan } from "./section.ts";
import { ServedHost } from "./served-host.ts";

export class GrpcRig {
  readonly host: ServedHost;
  readonly bare: BenchChild;
  readonly bareAddress: string;
  readonly sessionId: string;
  readonly #client: BenchChild;
  readonly #admin: SirsiClient;

  private constructor(parts: { host: ServedHost; bare: BenchChild; bareAddress: string; client: BenchChild; admin: SirsiClient; sessionId: string }) {
    this.host = parts.host;
    this.bare = parts.bare;
    this.bareAddress = parts.bareAddress;
    this.sessionId = parts.sessionId;
    this.#client = parts.client;
    this.#admin = parts.admin;
  }

  static async open(plan: Plan): Promise<GrpcRig> {
    const bare = new BenchChild(new URL("./bare-grpc-server.ts", import.meta.url));
    const client = new BenchChild(new URL("./grpc-client.ts", import.meta.url));
    const host = await ServedHost.start(plan.folder, ["echo", "counter"]);
    const { address: bareAddress } = await bare.ask<{ address: string }>({});
    const admin = new SirsiClient({ address: host.address });
    const { session } = await admin.agents.createSession({ userId: "bench" });
    return new GrpcRig({ host, bare, bareAddress, client, admin, sessionId: session?.sessionId ?? "" });
  }

  async agents(agentType: string, count: number): Promise<Partners> {
    const { sessionId } = this;
    const created = await Promise.all(Array.from({ length: count }, () => this.#admin.agents.createAgent({ sessionId, agentType })));
    return { address: this.host.address, sessionId, agentIds: created.map(({ agent }) => agent?.agentId ?? "") };
  }

  /** The bare server in the agents' place: the same bytes go to it. */
  bareLike(partners: Partners): Partners {
    return { ...partners, address: this.bareAddress };
  }

  run(ask: ClientAsk): Promise<ClientReport> {
    return this.#client.ask<ClientReport>(ask);
  }

  async close(): Promise<void> {
    this.#admin.close();
    await Promise.all([this.host.stop(), this.bare.end(), this.#client.end()]);
  }
}
