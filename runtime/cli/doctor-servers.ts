/** Whether the servers of a fleet can be reached from this machine. Nothing is logged in to and nothing is changed. */
import { connect } from "node:net";
import type { Config } from "../config/index.ts";
import { SirsiError } from "../core/errors.ts";
import { parseConnectionUrl } from "../store/postgres/connection-url.ts";

export interface Check {
  readonly name: string;
  readonly result: "ok" | "warning" | "failed";
  readonly finding: string;
  /** What to do; empty when nothing need be done. */
  readonly next: string;
}

interface Address {
  readonly host: string;
  readonly port: number;
}

const CONNECT_MS = 2_000;
const NATS_PORT = 4222;
const REDIS_PORT = 6379;

/** None for a host of its own. */
export async function serverChecks({ bus, context, store }: Config): Promise<readonly Check[]> {
  const checks: Promise<Check>[] = [];
  if (store.url !== null) checks.push(databaseCheck(store.url));
  if (bus.servers.length > 0) checks.push(reachCheck("NATS", bus.servers.map((url) => addressOf(url, NATS_PORT)), "event_bus.servers", "failed"));
  if (context.redisUrl !== null) checks.push(reachCheck("Redis", [addressOf(context.redisUrl, REDIS_PORT)], "context.redis_url", "warning"));
  return await Promise.all(checks);
}

async function databaseCheck(url: string): Promise<Check> {
  try {
    return await reachCheck("database", parseConnectionUrl(url).servers, "store.url", "failed");
  } catch (thrown) {
    return { name: "database", result: "failed", finding: SirsiError.from(thrown).message, next: "Correct store.url." };
  }
}

/** `missing`: what it means when none can be reached. */
async function reachCheck(name: string, addresses: readonly Address[], setting: string, missing: "warning" | "failed"): Promise<Check> {
  const tried = await Promise.all(addresses.map(async (address) => ({ text: `${address.host}:${address.port}`, problem: await connectProblem(address) })));
  const lost = tried.filter(({ problem }) => problem !== "");
  const next = `Start ${lost.length === 1 ? "it" : "them"}, or correct ${setting}.`;
  const told = lost.map(({ text, problem }) => `${text}: ${problem}`).join(", ");
  if (lost.length === tried.length) return { name, result: missing, finding: told, next };
  const there = `something listens at ${tried.filter(({ problem }) => problem === "").map(({ text }) => text).join(", ")}`;
  return lost.length === 0 ? { name, result: "ok", finding: there, next: "" } : { name, result: "warning", finding: `${there}; ${told}`, next };
}

function addressOf(url: string, port: number): Address {
  const parsed = URL.parse(url);
  return { host: (parsed?.hostname ?? "").replace(/^\[|\]$/g, ""), port: Number(parsed?.port) || port };
}

/** The system's error code, or words; empty when the address takes connections. */
function connectProblem({ host, port }: Address): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_MS });
    const finish = (problem: string) => {
      socket.destroy();
      resolve(problem);
    };
    socket.once("connect", () => finish(""));
    socket.once("timeout", () => finish(`no answer within ${CONNECT_MS} ms`));
    socket.once("error", (error: NodeJS.ErrnoException) => finish(error.code ?? error.message));
  });
}
