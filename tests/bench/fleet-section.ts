/** Three hosts over one NATS and one Postgres: a message that enters at another host's door, a host that dies, a host that is drained. */
import { setTimeout as pause } from "node:timers/promises";
import { connect, type NatsConnection } from "nats";
import { SirsiClient } from "../../runtime/client/index.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { HOST_LOGIN } from "../../scripts/fleet-demo/documented-accounts.ts";
import { FleetStage } from "../../scripts/fleet-demo/stage.ts";
import { BenchChild } from "./bench-child.ts";
import type { Figure } from "./figure.ts";
import { inTurns, quantile, ratioOf, readingOf, single, timeEach } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const HOSTS = ["a", "b", "c"] as const;
const SIZES = { drained: 1_000, sleepers: 60 };
/** For a quick run, which shows that it works and judges nothing. */
const QUICK = { drained: 60, sleepers: 12 };
const ROUTED_ADDED = 1.5;
const FAILOVER_S = 5;
const DRAIN_S = 30;
const PAUSE_MS = 100;
/** Shorter than the dead host's lease: it is over by the time that anybody can take the agent. */
const NAP_MS = 1_000;
const DRAIN_LANES = 16;
const BARE_SUBJECT = "bench.echo";

class FleetBench {
  readonly #stage = new FleetStage(["counter", "relay", "echo"]);
  readonly #clients = new Map<string, SirsiClient>();
  #nats: NatsConnection | null = null;
  #bare: BenchChild | null = null;
  sessionId = "";

  async open(): Promise<void> {
    await this.#stage.startServers();
    for (const name of HOSTS) {
      const host = await this.#stage.startHost(name, name);
      this.#clients.set(name, new SirsiClient({ address: host.grpcAddress, retries: 0 }));
    }
    const servers = this.#stage.urlOf("nats");
    const login = { user: HOST_LOGIN.user, pass: HOST_LOGIN.password };
    this.#nats = await connect({ servers, ...login });
    this.#bare = new BenchChild(new URL("./bare-nats-responder.ts", import.meta.url));
    await this.#bare.ask({ servers, ...login, subject: `sirsi.agents.${BARE_SUBJECT}` });
  }

  door(name: string): SirsiClient {
    return this.#clients.get(name) as SirsiClient;
  }

  async bareRoundTrip(): Promise<void> {
    await this.#nats?.request(`sirsi.agents.${BARE_SUBJECT}`, new Uint8Array(64), { timeout: 5_000 });
  }

  /** A session has room for so many agents and no more; each measurement has one of its own. */
  async newSession(): Promise<void> {
    const { session } = await this.door("a").agents.createSession({ userId: "bench", config: { maxAgents: 1_000 } });
    this.sessionId = session?.sessionId ?? "";
  }

  async spawn(agentType: string): Promise<string> {
    const { agent } = await this.door("a").agents.createAgent({ sessionId: this.sessionId, agentType });
    return agent?.agentId ?? "";
  }

  async spawnMany(agentType: string, count: number): Promise<string[]> {
    const made: string[] = [];
    let asked = 0;
    const lane = async (): Promise<void> => {
      while (asked++ < count) made.push(await this.spawn(agentType));
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    return made;
  }

  async send(door: string, agentId: string, content: string): Promise<string> {
    const { response } = await this.door(door).agents.sendMessage({ sessionId: this.sessionId, agentId, message: { content } });
    return response?.content ?? "";
  }

  /** Moves an agent to a host; where it is anyway when it is there. */
  async put(agentId: string, host: string): Promise<void> {
    await this.door("a").operator.moveAgent({ agentId, host });
  }

  async kill(name: string): Promise<void> {
    await this.#stage.kill(name);
    this.#clients.get(name)?.close();
  }

  async close(): Promise<void> {
    for (const client of this.#clients.values()) client.close();
    await this.#nats?.close();
    await this.#bare?.end();
    await this.#stage.stopHosts().catch(() => undefined);
    this.#stage.clear();
  }
}

/** What it costs that the agent is on another host than the one that is asked. */
async function routed(bench: FleetBench, plan: Plan): Promise<Figure[]> {
  await bench.newSession();
  const agentId = await bench.spawn("echo");
  await bench.put(agentId, "b");
  const through = (door: string) => async (): Promise<number> => {
    const took = await timeEach(plan.roundMs, async () => {
      const answer = await bench.send(door, agentId, "hello");
      requireRight(answer === "hello", () => `"hello" was answered with ${JSON.stringify(answer)}`);
    });
    return quantile(took, 0.5);
  };
  const contenders = { owner: through("b"), other: through("a"), bare: async () => quantile(await timeEach(plan.roundMs, () => bench.bareRoundTrip()), 0.5) };
  await inTurns(1, contenders);
  const { bare, other, owner } = await inTurns(plan.rounds, contenders);
  const added = other.map((value, round) => value - (owner[round] ?? Number.NaN));
  return [{
    what: "a message that enters at one host for an agent on another: what is added, p50",
    ours: readingOf(added, "ms"),
    bare: { what: "bare NATS round trip, p50", reading: readingOf(bare, "ms") },
    compared: ratioOf(added, bare),
    target: plan.quick ? null : { of: "compared", bound: "at most", value: ROUTED_ADDED },
  }];
}

/** A host is drained while its agents have messages to answer. */
async function drained(bench: FleetBench, plan: Plan, count: number): Promise<Figure[]> {
  await bench.newSession();
  const agents = await bench.spawnMany("counter", count);
  for (let from = 0; from < agents.length; from += DRAIN_LANES) await Promise.all(agents.slice(from, from + DRAIN_LANES).map((agentId) => bench.put(agentId, "b")));
  const stop = new AbortController();
  let sent = 0;
  const traffic = Array.from({ length: DRAIN_LANES }, async (_, lane) => {
    for (let at = lane; !stop.signal.aborted; at += DRAIN_LANES) {
      await bench.send(at % 2 === 0 ? "a" : "c", agents[at % agents.length] as string, "increment");
      sent++;
    }
  });
  await pause(500);
  let end = null;
  for await (const progress of bench.door("a").operator.drainHost({ host: "b" })) end = progress;
  stop.abort();
  await Promise.all(traffic);
  requireRight(end?.done === true && Number(end.moved) >= count, () => `of ${count} agents ${String(end?.moved)} were moved`);
  let counted = 0;
  for (const agentId of agents) counted += Number(await bench.send("a", agentId, "get"));
  requireRight(counted === sent, () => `${sent} increments were acknowledged and ${counted} counted`);
  await bench.door("a").operator.undrainHost({ host: "b" });
  const judged = (value: number): Figure["target"] => (plan.quick ? null : { of: "ours", bound: "at most", value });
  const what = `a host with ${count.toLocaleString("en-US")} agents is drained under load`;
  return [
    { what, ours: single(Number(end?.elapsedMs) / 1_000, "s"), bare: null, compared: null, target: judged(DRAIN_S) },
    { what: `${what}: an agent's pause, p50`, ours: single(end?.pauseP50Ms ?? Number.NaN, "ms"), bare: null, compared: null, target: null },
    { what: `${what}: an agent's pause, p99`, ours: single(end?.pauseP99Ms ?? Number.NaN, "ms"), bare: null, compared: null, target: judged(PAUSE_MS) },
    { what: `${what}: messages meanwhile, none lost or doubled`, ours: single(sent, ""), bare: null, compared: null, target: null },
  ];
}

/** A host is killed while agents of it are in the middle of a wait; their callers are at another's door. */
async function failover(bench: FleetBench, plan: Plan, count: number): Promise<Figure[]> {
  await bench.newSession();
  const agents = await bench.spawnMany("relay", count);
  for (const agentId of agents) await bench.put(agentId, "c");
  const ended: number[] = [];
  let killedAt = Infinity;
  const naps = agents.map(async (agentId) => {
    const answer = await bench.send("a", agentId, `sleep ${NAP_MS}`);
    requireRight(answer === `slept ${NAP_MS} ms`, () => `a nap was answered with ${JSON.stringify(answer)}`);
    ended.push((systemClock.monotonic() - killedAt) / 1_000);
  });
  // All of them are in their wait, and none is at its end.
  await pause(NAP_MS / 2);
  killedAt = systemClock.monotonic();
  await bench.kill("c");
  await Promise.all(naps);
  const what = `${count} agents in a wait on a host that is killed (one of three, lease 3 s): from the kill to the end of their step on another`;
  return [
    { what: `${what}, p50`, ours: single(quantile(ended, 0.5), "s"), bare: null, compared: null, target: null },
    { what: `${what}, p99`, ours: single(quantile(ended, 0.99), "s"), bare: null, compared: null, target: plan.quick ? null : { of: "ours", bound: "at most", value: FAILOVER_S } },
  ];
}

async function measure(plan: Plan): Promise<Figure[]> {
  const sizes = plan.quick ? QUICK : SIZES;
  const bench = new FleetBench();
  try {
    await bench.open();
    return [...(await routed(bench, plan)), ...(await drained(bench, plan, sizes.drained)), ...(await failover(bench, plan, sizes.sleepers))];
  } finally {
    await bench.close();
  }
}

export const fleetSection: Section = {
  name: "fleet",
  title: "A fleet of three hosts",
  notMeasured: ["a network: three hosts, NATS, PostgreSQL and the clients share two cores and one disk", "a replicated database"],
  maxMs: 300_000,
  run: measure,
};
