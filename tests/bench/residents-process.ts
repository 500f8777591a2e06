/**
 * A process full of agents, or of bare instances of the same module, that tells what they weigh.
 * The agents live in a whole host, without its transport.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { create } from "@bufbuild/protobuf";
import { loadConfig } from "../../runtime/config/index.ts";
import {
  CreateAgentRequestSchema,
  CreateSessionRequestSchema,
  SendMessageRequestSchema,
} from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { type Host, openHost } from "../../runtime/hypervisor/host.ts";
import type { CallContext } from "../../runtime/hypervisor/service-api.ts";
import { builtRevision } from "../support/revisions.ts";
import { answerParent } from "./bench-child.ts";
import { residentBytes } from "./machine.ts";
import { benchMessage, nextMessageId } from "./messages.ts";
import { requireRight } from "./section.ts";
import { moduleFolder } from "./served-host.ts";
import { stubImports } from "./stub-imports.ts";

export interface ResidentsAsk {
  readonly kind: "bare" | "host";
  readonly agentType: string;
  readonly count: number;
  readonly folder: string;
}

export interface ResidentsReport {
  readonly spawnedMs: number;
  /** The most that was resident when all were there, and after all had answered. */
  readonly residentBytes: number;
  /** Of the process before the first of them. */
  readonly emptyBytes: number;
  readonly answeredMs: number;
}

const AT_ONCE = 64;
/** Nobody leaves memory: what is weighed is there. */
const RESIDENT_MAX = 15_000;
const SESSION_AGENTS = 1_000;
const CALL: CallContext = { deadline: null, signal: new AbortController().signal, traceparent: "" };

function resident(): number {
  return residentBytes(process.pid) ?? process.memoryUsage.rss();
}

async function eachOf<Item>(items: readonly Item[], act: (item: Item) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as Item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function bare({ agentType, count }: ResidentsAsk): Promise<ResidentsReport> {
  const { compiled } = await builtRevision(agentType);
  const imports = stubImports(compiled);
  const emptyBytes = resident();
  const started = systemClock.monotonic();
  const instances = Array.from({ length: count }, () => new WebAssembly.Instance(compiled, imports));
  const spawnedMs = systemClock.monotonic() - started;
  const weight = resident();
  requireRight(instances.length === count, () => "instances are missing");
  return { spawnedMs, residentBytes: weight, emptyBytes, answeredMs: 0 };
}

interface Resident {
  readonly sessionId: string;
  readonly agentId: string;
}

async function host(ask: ResidentsAsk): Promise<ResidentsReport> {
  const dataDir = join(ask.folder, "residents");
  mkdirSync(dataDir, { recursive: true });
  const config = loadConfig({ flags: { "--data-dir": dataDir, "--modules": moduleFolder(dataDir, [ask.agentType]), "--log-level": "error" }, env: { SIRSI_AGENTS_MAX_RESIDENT: String(RESIDENT_MAX), SIRSI_AGENTS_IDLE_AFTER_SECONDS: "86400" }, cwd: dataDir });
  const running = await openHost(config);
  try {
    await running.start();
    return await fill(running, ask);
  } finally {
    await running.close();
  }
}

async function fill({ agentService }: Host, { agentType, count }: ResidentsAsk): Promise<ResidentsReport> {
  const sessions = await Promise.all(
    Array.from({ length: Math.ceil(count / SESSION_AGENTS) }, async () => (await agentService.createSession(create(CreateSessionRequestSchema, { userId: "bench" }), CALL)).session?.sessionId ?? ""),
  );
  const emptyBytes = resident();
  const residents: Resident[] = [];
  const started = systemClock.monotonic();
  await eachOf(Array.from({ length: count }, (_, i) => sessions[i % sessions.length] as string), async (sessionId) => {
    const { agent } = await agentService.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType }), CALL);
    residents.push({ sessionId, agentId: agent?.agentId ?? "" });
  });
  const spawnedMs = systemClock.monotonic() - started;
  const spawned = resident();
  const asked = systemClock.monotonic();
  await eachOf(residents, async ({ sessionId, agentId }) => {
    const message = benchMessage(nextMessageId("resident"), "increment");
    const { response } = await agentService.sendMessage(create(SendMessageRequestSchema, { sessionId, agentId, message }), CALL);
    const expected = agentType === "counter" ? "1" : "increment";
    requireRight(response?.content === expected, () => `agent ${agentId} said ${response?.content ?? "nothing"} and not ${expected}`);
  });
  const answeredMs = systemClock.monotonic() - asked;
  requireRight(new Set(residents.map(({ agentId }) => agentId)).size === count, () => "two agents have one id");
  return { spawnedMs, residentBytes: Math.max(spawned, resident()), emptyBytes, answeredMs };
}

answerParent((ask: ResidentsAsk) => (ask.kind === "bare" ? bare(ask) : host(ask)));
