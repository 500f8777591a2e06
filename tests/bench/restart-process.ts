/** A whole host without its transport, that is killed while a part of its agents waits, and one that comes after it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { loadConfig } from "../../runtime/config/index.ts";
import { CreateAgentRequestSchema, CreateSessionRequestSchema, GetAgentRequestSchema, SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { AuditHostRequestSchema } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { type Host, openHost } from "../../runtime/hypervisor/host.ts";
import type { CallContext } from "../../runtime/hypervisor/service-api.ts";
import { builtFixture } from "../support/built-agents.ts";
import { revised } from "../support/revised.ts";
import { answerParent } from "./bench-child.ts";
import { benchMessage, nextMessageId } from "./messages.ts";
import { requireRight } from "./section.ts";

export type RestartAsk =
  /** Makes the agents, and has the first of them wait; answers when all of them do. */
  | { readonly kind: "fill"; readonly folder: string; readonly agents: number; readonly waiting: number; readonly sleepMs: number }
  /** `startedAt`: when the process was started, on the wall clock. */
  | { readonly kind: "restart"; readonly folder: string; readonly startedAt: number };

export interface RestartReport {
  /** From the start of the process until an agent had answered. */
  readonly servingMs: number;
  /** From the start of the process until every step that waited has ended. */
  readonly resumedMs: number;
}

interface Place {
  readonly sessionId: string;
  readonly agentId: string;
}

interface Made {
  readonly waiting: readonly Place[];
  readonly idle: readonly Place[];
}

const MODULE = "sleeper";
const AT_ONCE = 64;
const SESSION_AGENTS = 1_000;
const LOOK_MS = 5;
const CALL: CallContext = { deadline: null, signal: new AbortController().signal, traceparent: "" };

async function open(folder: string): Promise<Host> {
  const dataDir = join(folder, "data");
  const config = loadConfig({ flags: { "--data-dir": dataDir, "--modules": join(folder, "modules"), "--log-level": "error" }, env: { SIRSI_AGENT_SERVICE_MAX_CONCURRENT_AGENTS: "100000" }, cwd: folder });
  const host = await openHost(config);
  await host.start();
  return host;
}

async function eachOf<Item>(items: readonly Item[], act: (item: Item) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as Item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function say({ agentService }: Host, { sessionId, agentId }: Place, content: string): Promise<string> {
  const message = benchMessage(nextMessageId(`at-${process.pid}`), content);
  const { response } = await agentService.sendMessage(create(SendMessageRequestSchema, { sessionId, agentId, message, options: { timeoutSeconds: 600 } }), CALL);
  return response?.content ?? "";
}

async function fill({ folder, agents, waiting, sleepMs }: Extract<RestartAsk, { kind: "fill" }>): Promise<null> {
  mkdirSync(join(folder, "modules"), { recursive: true });
  mkdirSync(join(folder, "data"), { recursive: true });
  const bytes = readFileSync((await builtFixture("mischief")).file);
  writeFileSync(join(folder, "modules", `${MODULE}.wasm`), revised(bytes, { name: MODULE, durability: "wait", topics: [] }));
  const host = await open(folder);
  const { agentService } = host;
  const sessions = await Promise.all(
    Array.from({ length: Math.ceil(agents / SESSION_AGENTS) }, async () => (await agentService.createSession(create(CreateSessionRequestSchema, { userId: "bench" }), CALL)).session?.sessionId ?? ""),
  );
  const places: Place[] = [];
  await eachOf(Array.from({ length: agents }, (_, n) => sessions[n % sessions.length] as string), async (sessionId) => {
    const { agent } = await agentService.createAgent(create(CreateAgentRequestSchema, { sessionId, agentType: MODULE }), CALL);
    places.push({ sessionId, agentId: agent?.agentId ?? "" });
  });
  const made: Made = { waiting: places.slice(0, waiting), idle: places.slice(waiting) };
  await eachOf(made.idle.slice(0, waiting), (place) => say(host, place, "add 1"));
  // They answer a process that is no more.
  for (const place of made.waiting) void say(host, place, `add 1; sleep ${sleepMs}; add 1`).catch(() => undefined);
  writeFileSync(join(folder, "made.json"), JSON.stringify(made));
  await untilTheyWait(host, waiting);
  return null;
}

/** A wait is one that a kill leaves behind when the store has it: as many as there are messages begun on and not done. */
async function untilTheyWait({ hypervisorService }: Host, waiting: number): Promise<void> {
  for (let most = 0n; most < BigInt(waiting); ) {
    const { audit } = await hypervisorService.auditHost(create(AuditHostRequestSchema, {}), CALL);
    const pending = audit?.pending ?? 0n;
    requireRight(pending >= most, () => "an agent was awake before all slept: the machine is too slow for this sleep");
    most = pending;
    await pause(LOOK_MS);
  }
}

async function processedBy({ agentService }: Host, place: Place): Promise<bigint> {
  const { metrics } = await agentService.getAgent(create(GetAgentRequestSchema, place), CALL);
  return metrics?.messagesProcessed ?? 0n;
}

async function restart({ folder, startedAt }: Extract<RestartAsk, { kind: "restart" }>): Promise<RestartReport> {
  const { waiting, idle } = JSON.parse(readFileSync(join(folder, "made.json"), "utf8")) as Made;
  const host = await open(folder);
  const said = await say(host, idle[0] as Place, "total");
  const servingMs = systemClock.now() - startedAt;
  requireRight(said === "1", () => `an agent said ${said} and not 1 after the restart`);
  // Nobody addresses those that wait: the host goes on with them by itself.
  for (const place of waiting) while ((await processedBy(host, place)) === 0n) await pause(LOOK_MS);
  const resumedMs = systemClock.now() - startedAt;
  await eachOf(waiting, async (place) => {
    const total = await say(host, place, "total");
    requireRight(total === "2", () => `an agent that had waited said ${total} and not 2`);
  });
  await host.close();
  return { servingMs, resumedMs };
}

answerParent((ask: RestartAsk): Promise<unknown> => {
  switch (ask.kind) {
    case "fill":
      return fill(ask);
    case "restart":
      return restart(ask);
    default:
      throw new SirsiError("INTERNAL", "a question that the restart's process does not know");
  }
});
