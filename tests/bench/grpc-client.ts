/**
 * The one client of all gRPC figures, in a process of its own: the same code against the
 * host and against the bare server. It looks at every answer.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import {
  CreateAgentRequestSchema,
  CreateAgentResponseSchema,
  DeleteAgentRequestSchema,
  SendMessageResponseSchema,
} from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { answerParent } from "./bench-child.ts";
import { RequestMill } from "./messages.ts";
import { flow, quantile, timeEach } from "./rounds.ts";
import { RAW_PATH, SEND_PATH, SERVICE_PATH } from "./grpc-paths.ts";
import { requireRight } from "./section.ts";

export interface Partners {
  readonly address: string;
  readonly sessionId: string;
  /** Asked in turn; a slot of the flow has one of them. */
  readonly agentIds: readonly string[];
}

export type ClientAsk =
  /** Messages to echo agents, or to whatever says back what it hears. */
  | { readonly kind: "echo"; readonly to: Partners; readonly raw: boolean; readonly content: string; readonly inFlight: number; readonly ms: number }
  /** "increment" to counters: one in flight for each. */
  | { readonly kind: "count"; readonly to: Partners; readonly inFlight: number; readonly ms: number }
  /** Creates agents one after the other, and deletes them when the time is over. */
  | { readonly kind: "create"; readonly to: Omit<Partners, "agentIds">; readonly agentType: string; readonly ms: number };

export interface ClientReport {
  readonly count: number;
  readonly perSecond: number;
  /** Milliseconds of one call, when they were made one after the other; else 0. */
  readonly p50: number;
  readonly p99: number;
}

const asIs = (bytes: Buffer) => bytes;
const clients = new Map<string, Client>();
/** What each counter must have counted. */
const counts = new Map<string, number>();

function clientOf(address: string): Client {
  let client = clients.get(address);
  if (client === undefined) {
    client = new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1, "grpc.enable_channelz": 0 });
    clients.set(address, client);
  }
  return client;
}

function call(client: Client, path: string, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, asIs, asIs, bytes, new Metadata(), {}, (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error("no answer"))));
  });
}

function report(took: readonly number[], ms: number): ClientReport {
  return { count: took.length, perSecond: (took.length * 1000) / ms, p50: quantile(took, 0.5), p99: quantile(took, 0.99) };
}

async function repeat(inFlight: number, ms: number, once: (slot: number) => Promise<unknown>): Promise<ClientReport> {
  if (inFlight === 1) return report(await timeEach(ms, () => once(0)), ms);
  return { ...(await flow(ms, inFlight, once)), p50: 0, p99: 0 };
}

async function echo({ to, raw, content, inFlight, ms }: Extract<ClientAsk, { kind: "echo" }>): Promise<ClientReport> {
  const client = clientOf(to.address);
  const mills = to.agentIds.map((agentId) => new RequestMill(to.sessionId, agentId, content, "bench"));
  const said = Buffer.from(content);
  return await repeat(inFlight, ms, async (slot) => {
    const { id, bytes } = (mills[slot % mills.length] as RequestMill).next();
    const answer = await call(client, raw ? RAW_PATH : SEND_PATH, bytes);
    requireRight(answer.includes(id, 0, "latin1") && answer.includes(said), () => `the reply to ${id} does not hold what was sent`);
  });
}

async function count({ to, inFlight, ms }: Extract<ClientAsk, { kind: "count" }>): Promise<ClientReport> {
  const client = clientOf(to.address);
  const mills = to.agentIds.map((agentId) => new RequestMill(to.sessionId, agentId, "increment", "count"));
  return await repeat(inFlight, ms, async (slot) => {
    const agentId = to.agentIds[slot] as string;
    const expected = (counts.get(agentId) ?? 0) + 1;
    const answer = fromBinary(SendMessageResponseSchema, await call(client, SEND_PATH, (mills[slot] as RequestMill).next().bytes));
    requireRight(answer.response?.content === String(expected), () => `counter ${agentId} said ${answer.response?.content ?? "nothing"} and not ${expected}`);
    counts.set(agentId, expected);
  });
}

async function createAgents({ to, agentType, ms }: Extract<ClientAsk, { kind: "create" }>): Promise<ClientReport> {
  const { address, sessionId } = to;
  const client = clientOf(address);
  const request = Buffer.from(toBinary(CreateAgentRequestSchema, create(CreateAgentRequestSchema, { sessionId, agentType })));
  const answers: Buffer[] = [];
  const took = await timeEach(ms, async () => void answers.push(await call(client, `${SERVICE_PATH}/CreateAgent`, request)), 900);
  const ids = answers.map((answer) => fromBinary(CreateAgentResponseSchema, answer).agent?.agentId ?? "");
  requireRight(new Set(ids).size === took.length && !ids.includes(""), () => "agents were created without ids of their own");
  await Promise.all(ids.map((agentId) => call(client, `${SERVICE_PATH}/DeleteAgent`, Buffer.from(toBinary(DeleteAgentRequestSchema, create(DeleteAgentRequestSchema, { sessionId, agentId }))))));
  return report(took, ms);
}

answerParent((ask: ClientAsk) => {
  switch (ask.kind) {
    case "echo":
      return echo(ask);
    case "count":
      return count(ask);
    case "create":
      return createAgents(ask);
  }
});
