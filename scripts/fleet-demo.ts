/**
 * The demo of a fleet: three hosts, sixty agents, traffic through every host's door. One
 * host is killed in the middle of it, another drained, a module replaced; then the books
 * are held against the agents' own counts.
 *
 *   npm run fleet:demo
 *
 * Ends with 0 when every check held, else with 1 and the reason.
 */
import { exit, stderr } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { type Host, ModuleState } from "../runtime/client/index.ts";
import { type Clock, systemClock } from "../runtime/core/clock.ts";
import { SirsiError } from "../runtime/core/errors.ts";
import { check, heading, seconds, tell } from "./demo/narration.ts";
import { buildNextCounter } from "./demo/stage.ts";
import { type Increment, Traffic } from "./demo/traffic.ts";
import { Doors } from "./fleet-demo/doors.ts";
import { Follower } from "./fleet-demo/follower.ts";
import { FleetStage } from "./fleet-demo/stage.ts";

const HOSTS = [["h1", "a"], ["h2", "b"], ["h3", "c"]] as const;
const COUNTERS = 45;
const SLEEPERS = 15;
const IN_FLIGHT = 24;
const STRETCH = 400;
const NAP_MS = 8_000;
const NEXT_VERSION = "1.1.0";
const POLL_MS = 50;
const TIME_LIMIT_MS = 300_000;

class Play {
  readonly stage: FleetStage;
  readonly clock: Clock;
  readonly doors: Doors;
  readonly counters: string[] = [];
  readonly sleepers: string[] = [];
  sessionId = "";
  /** Increments that were acknowledged. */
  counted = 0;

  constructor(stage: FleetStage, clock: Clock) {
    this.stage = stage;
    this.clock = clock;
    this.doors = new Doors(() => this.sessionId, clock);
  }

  /** Increments through every door, for as long as it is not stopped. */
  traffic(name: string, onAcknowledged: (increment: Increment) => void = () => undefined): Traffic {
    return new Traffic(name, this.counters, IN_FLIGHT, async (increment) => {
      await this.doors.send(increment.agentId, increment.messageId, "increment");
      onAcknowledged(increment);
    });
  }

  /** Ends it, and adds it to the books. */
  async settle(traffic: Traffic): Promise<void> {
    await traffic.stop();
    check(traffic.unacknowledged.length === 0, `${traffic.acknowledged.length} messages through all doors, every one answered`, `${traffic.unacknowledged.length} messages failed for good: ${traffic.firstFailure}`);
    this.counted += traffic.acknowledged.length;
  }

  async hosts(door: string): Promise<readonly Host[]> {
    return (await this.doors.at(door).operator.listHosts({})).hosts;
  }

  async host(door: string, name: string): Promise<Host | undefined> {
    return (await this.hosts(door)).find((host) => host.name === name);
  }

  /** What an operator sees. */
  async show(door: string, ...args: readonly string[]): Promise<void> {
    const { output } = await this.stage.sirsi(door, ...args);
    tell(`   $ sirsi ${args.join(" ")}\n${output.replaceAll(/^(?=.)/gm, "     ").trimEnd()}`);
  }
}

async function until(met: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await met())) await sleep(POLL_MS);
}

// --- the acts ---

async function opening(play: Play): Promise<void> {
  const { clock, doors, stage } = play;
  heading(1, "NATS with JetStream, PostgreSQL, Redis, and three hosts");
  const began = clock.monotonic();
  for (const server of await stage.startServers()) tell(`   ${server}`);
  tell(`   the servers are up in ${seconds(clock.monotonic() - began)}`);
  const started = clock.monotonic();
  const start = async ([name, zone]: readonly [string, string]) => {
    const host = await stage.startHost(name, zone);
    doors.open(name, host.grpcAddress);
    tell(`   ${name} is ready in ${seconds(clock.monotonic() - started)}: gRPC ${host.grpcAddress}, process ${host.pid}`);
  };
  const [first, ...others] = HOSTS;
  await start(first);
  await Promise.all(others.map(start));
  await until(async () => (await Promise.all(HOSTS.map(([name]) => play.hosts(name)))).every((hosts) => hosts.length === HOSTS.length && hosts.every(({ state }) => state === "active")));
  const active = (await Promise.all(HOSTS.map(async ([name]) => (await doors.at(name).modules.listModules({})).modules))).map((modules) => modules.filter(({ state }) => state === ModuleState.ACTIVE).length);
  check(new Set(active).size === 1 && active[0] === 2, "each sees the others, and runs the modules that only h1 was given", `the hosts have ${active.join(", ")} active modules`);
  const fleet = await doors.at("h1").operator.getFleet({});
  const unwell = Object.entries(fleet.servers).filter(([, wrong]) => wrong !== "");
  check(unwell.length === 0, `${Object.keys(fleet.servers).toSorted().join(", ")} are well`, unwell.map(([name, wrong]) => `${name}: ${wrong}`).join("; "));
}

async function placement(play: Play): Promise<void> {
  heading(2, `${COUNTERS + SLEEPERS} agents, asked for at all doors, find their hosts`);
  const { doors } = play;
  const { session } = await doors.at("h1").agents.createSession({ userId: "fleet-demo" });
  play.sessionId = session?.sessionId ?? "";
  const follower = new Follower(doors.at("h3").agents.streamEvents({ sessionId: play.sessionId, eventTypes: ["AGENT_SPAWNED"] }));
  await follower.hears(() => scout(play));
  const spawn = async (agentType: string, into: string[]) => {
    const { agent } = await doors.any.agents.createAgent({ sessionId: play.sessionId, agentType });
    into.push(agent?.agentId ?? "");
  };
  await Promise.all([...Array.from({ length: COUNTERS }, () => spawn("counter", play.counters)), ...Array.from({ length: SLEEPERS }, () => spawn("relay", play.sleepers))]);
  const hosts = await play.hosts("h2");
  const carried = hosts.map(({ agents }) => Number(agents));
  check(carried.every((count) => count > 0) && sum(carried) === COUNTERS + SLEEPERS, hosts.map(({ agents, name }) => `${name} has ${agents}`).join(", "), `the hosts have ${carried.join(", ")} agents`);
  await until(() => [...play.counters, ...play.sleepers].every((agentId) => follower.heard(agentId)));
  follower.close();
  check(true, `the events of all ${COUNTERS + SLEEPERS} spawns arrived at h3's door`, "");
  await play.show("h2", "host", "list");
}

/** An agent that is gone again. */
async function scout({ doors, sessionId }: Play): Promise<void> {
  const { agent } = await doors.any.agents.createAgent({ sessionId, agentType: "relay" });
  await doors.any.agents.deleteAgent({ sessionId, agentId: agent?.agentId ?? "" });
}

async function death(play: Play): Promise<void> {
  heading(3, `h2 is killed (SIGKILL) under traffic, ${IN_FLIGHT} messages in flight and ${SLEEPERS} agents in the middle of a wait`);
  const { clock, doors, stage } = play;
  const naps = play.sleepers.map((agentId, index) => doors.send(agentId, `nap-${index}`, `sleep ${NAP_MS}`, 30_000));
  void Promise.allSettled(naps);
  let killedAt = Infinity;
  const backAfter = new Map<string, number>();
  const traffic = play.traffic("death", ({ agentId }) => {
    if (killedAt < Infinity && !backAfter.has(agentId)) backAfter.set(agentId, clock.monotonic() - killedAt);
  });
  await traffic.reached(STRETCH);
  await stage.kill("h2");
  killedAt = clock.monotonic();
  doors.close("h2");
  await until(async () => (await play.hosts("h1")).length === 2);
  tell(`   the others have buried it after ${seconds(clock.monotonic() - killedAt)}`);
  await traffic.reached(traffic.acknowledged.length + STRETCH);
  await until(() => backAfter.size === COUNTERS);
  await play.settle(traffic);
  tell(`   every agent answered again, the slowest after ${seconds(Math.max(...backAfter.values()))}; sent again: ${repeats(doors)}`);
  const rested = await Promise.all(naps);
  const wrong = rested.filter(({ content }) => content !== `slept ${NAP_MS} ms`);
  check(wrong.length === 0, `all ${SLEEPERS} waits went on where they were and ended as they should`, `${wrong.length} of ${SLEEPERS} waits ended otherwise: ${wrong[0]?.content ?? ""}`);
  await holdBooks(play);
  const back = await stage.startHost("h2", "b");
  doors.open("h2", back.grpcAddress);
  check((await play.hosts("h3")).length === 3, "h2 is back under its name", "h2 came back, and h3 does not see it");
}

async function drain(play: Play): Promise<void> {
  heading(4, "h1 is drained under traffic");
  const { doors } = play;
  const before = Number((await play.host("h3", "h1"))?.agents ?? 0n);
  const traffic = play.traffic("drain");
  await traffic.reached(STRETCH);
  await play.show("h3", "host", "drain", "h1");
  const drained = await play.host("h3", "h1");
  check(before > 0 && drained?.agents === 0n && drained.state === "drained", `${before} agents left h1 while they worked, and it has none`, `h1 had ${before} agents, and now it is ${drained?.state} with ${drained?.agents}`);
  await traffic.reached(traffic.acknowledged.length + STRETCH);
  await play.settle(traffic);
  tell(`   sent again so far: ${repeats(doors)}`);
  await holdBooks(play);
}

async function swap(play: Play, nextFile: string): Promise<void> {
  heading(5, `counter@${NEXT_VERSION} is dropped into h3's module directory under traffic`);
  const { clock, doors, stage } = play;
  const traffic = play.traffic("swap");
  await traffic.reached(STRETCH);
  const began = clock.monotonic();
  stage.replaceModule("h3", nextFile);
  await until(async () => {
    const { modules } = await doors.at("h2").operator.getFleet({});
    const counter = modules.find(({ module }) => module === "counter");
    return counter?.version === NEXT_VERSION && counter.differingHosts.length === 0;
  });
  tell(`   every host runs it after ${seconds(clock.monotonic() - began)}`);
  await traffic.reached(traffic.acknowledged.length + STRETCH);
  await until(async () => (await movedCounters(play)) === COUNTERS);
  check(true, `all ${COUNTERS} agents serve on counter@${NEXT_VERSION}, with the state they had`, "");
  await play.settle(traffic);
  await holdBooks(play);
}

async function movedCounters({ doors, sessionId }: Play): Promise<number> {
  const { agents } = await doors.any.agents.listAgents({ sessionId, filter: 'agent_type == "counter"', pageSize: 100 });
  return agents.filter(({ moduleVersion }) => moduleVersion === NEXT_VERSION).length;
}

async function undrain(play: Play): Promise<void> {
  heading(6, "h1 takes agents again");
  await play.show("h2", "host", "undrain", "h1");
  const state = (await play.host("h2", "h1"))?.state;
  check(state === "active", "it is active", `h1 is ${state}`);
  const [agentId = ""] = play.counters;
  await play.show("h2", "agent", "move", agentId, "--to", "h1");
  const there = await play.host("h3", "h1");
  check(there?.agents === 1n, "and has the agent that was moved to it", `h1 has ${there?.agents} agents after one was moved to it`);
  const traffic = play.traffic("undrain");
  await traffic.reached(STRETCH);
  await play.settle(traffic);
}

async function closing(play: Play): Promise<void> {
  heading(7, "The books");
  const { doors, stage } = play;
  await holdBooks(play);
  const audit = await stage.sirsi("h3", "audit", "host");
  tell(audit.output.replaceAll(/^(?=.)/gm, "     ").trimEnd());
  check(audit.code === 0, "`sirsi audit host` balances over the whole fleet", `sirsi audit host ended with ${audit.code}`);
  await play.show("h1", "fleet", "status");
  doors.closeAll();
  const codes = await stage.stopHosts();
  const bad = [...codes].filter(([, code]) => code !== 0);
  check(bad.length === 0, `${[...codes.keys()].join(", ")} ended with 0`, `${bad.map(([name, code]) => `${name} ended with ${code}`).join(", ")} when it was asked to stop`);
  await stage.stopServers();
}

/** What each agent says that it counted, against what was acknowledged. */
async function holdBooks({ counted, counters, doors, clock }: Play): Promise<void> {
  const asked = `books-${clock.monotonic()}`;
  const counts = await Promise.all(counters.map(async (agentId) => Number((await doors.send(agentId, `${asked}-${agentId}`, "get")).content)));
  const total = sum(counts);
  check(total === counted, `${counted} increments acknowledged, ${total} counted: nothing lost, nothing doubled`, `${counted} increments were acknowledged and ${total} counted (${counts.join(", ")}): ${total < counted ? "some were lost" : "some took effect twice"}`);
}

function repeats({ repeated }: Doors): string {
  return repeated.size === 0 ? "none" : [...repeated].map(([why, count]) => `${count} for ${why}`).join(", ");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

// --- the whole ---

async function perform(stage: FleetStage, clock: Clock): Promise<void> {
  tell("building the next version of counter …");
  const nextFile = await buildNextCounter(NEXT_VERSION);
  const began = clock.monotonic();
  const play = new Play(stage, clock);
  await opening(play);
  await placement(play);
  await death(play);
  await drain(play);
  await swap(play, nextFile);
  await undrain(play);
  await closing(play);
  tell(`\nevery check held, in ${seconds(clock.monotonic() - began)}`);
}

async function main(): Promise<number> {
  const stage = new FleetStage();
  const giveUp = (code: number, why: string) => {
    stderr.write(`\n${why}\n${stage.log()}`);
    stage.clear();
    exit(code);
  };
  process.on("SIGINT", () => giveUp(130, "interrupted"));
  process.on("uncaughtException", (error) => giveUp(1, `the demo failed: ${error.stack ?? error.message}`));
  process.on("SIGTERM", () => giveUp(143, "told to stop"));
  const late = systemClock.after(TIME_LIMIT_MS, () => giveUp(1, `the demo failed: it did not end within ${seconds(TIME_LIMIT_MS)}`));
  try {
    await perform(stage, systemClock);
    return 0;
  } catch (thrown) {
    stderr.write(`\nthe demo failed: ${SirsiError.from(thrown).message}\n${stage.log()}`);
    return 1;
  } finally {
    late.cancel();
    stage.clear();
  }
}

exit(await main());
