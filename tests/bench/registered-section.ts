/** A million agents in one host's store, a few thousand of them in memory, addressed at random. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../runtime/core/clock.ts";
import { newId } from "../../runtime/core/ids.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { AgentCommit, AgentRecord, Store } from "../../runtime/store/store.ts";
import { TestHouse } from "../support/house.ts";
import { builtRevision, FixedRevisions } from "../support/revisions.ts";
import type { Figure } from "./figure.ts";
import { flow, quantile, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const SIZES = { resident: 5_000, messages: 20_000 };
/** For a quick run, which shows that it works and judges nothing. */
const QUICK = { resident: 500, messages: 2_000 };
/** What the targets are for. */
const MILLION = 1_000_000;
const SESSION_AGENTS = 1_000;
const COMMITS_IN_FLIGHT = 2_048;
/** Open loop: so many a second are sent, whatever became of those before. */
const RATE = 600;
const RATE_MIN = 500;
const UNDER_WAY_MAX = 512;
const P99_MS = 10;
const DISK_KB = 4;
const STATE = 7;

interface Registered {
  readonly agentIds: readonly string[];
  readonly rowsPerSecond: number;
  readonly diskKb: number;
}

/** A real agent's record and first state, as its own commit wrote them. */
async function template(revisions: FixedRevisions): Promise<Pick<AgentCommit, "agent" | "state" | "counters">> {
  const house = await TestHouse.open({ revisions });
  try {
    const agentId = await house.spawn("counter");
    await house.say(agentId, `add ${STATE}`);
    // What a base of its state weighs, a restart tells: it begins with one.
    const stored = await house.store.getAgent(agentId);
    const handle = [...house.house.residents()][0]?.slot.live;
    const taken = await handle?.takeState();
    requireRight(stored !== null && taken?.kind === "state", () => "the model of all agents could not be had");
    if (stored === null || taken?.kind !== "state") return { agent: null, state: null, counters: null };
    const { digest, preparation } = revisions.resolve("counter");
    return { agent: stored.record, state: { kind: "base", digest, preparation, image: taken.image }, counters: stored.counters };
  } finally {
    await house.shut();
  }
}

async function register(dataDir: string, count: number, model: Pick<AgentCommit, "agent" | "state" | "counters">): Promise<Registered> {
  const store = await openSqliteStore({ dataDir, clock: systemClock });
  const now = systemClock.now();
  const empty = diskBytes(dataDir);
  const sessions = await Promise.all(Array.from({ length: Math.ceil(count / SESSION_AGENTS) }, () => addSession(store, now)));
  const agentIds = Array.from({ length: count }, () => newId(now));
  const started = systemClock.monotonic();
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < count; at = next++) {
      const agent: AgentRecord = { ...(model.agent as AgentRecord), agentId: agentIds[at] as string, sessionId: sessions[at % sessions.length] as string };
      await store.commit(firstCommit(agent, model));
    }
  };
  await Promise.all(Array.from({ length: COMMITS_IN_FLIGHT }, lane));
  const rowsPerSecond = (count * 1_000) / (systemClock.monotonic() - started);
  // The close leaves one file, with nothing beside it.
  await store.close();
  return { agentIds, rowsPerSecond, diskKb: (diskBytes(dataDir) - empty) / count / 1_024 };
}

async function addSession(store: Store, now: number): Promise<string> {
  const sessionId = newId(now);
  await store.putSession({ sessionId, userId: "bench", state: "ACTIVE", createdAt: now, updatedAt: now, expiresAt: now + 3_600_000, metadata: {}, config: { maxAgents: SESSION_AGENTS, timeoutSeconds: 3_600, enableLogging: false, preferences: {} } });
  return sessionId;
}

function firstCommit(agent: AgentRecord, { state, counters }: Pick<AgentCommit, "state" | "counters">): AgentCommit {
  return {
    agentId: agent.agentId,
    epoch: 1,
    commitSequence: 1,
    cause: "init",
    causeId: "",
    committedAt: agent.createdAt,
    agent,
    state,
    wait: null,
    exchange: null,
    counters,
    outbox: [],
    consumed: null,
    timers: [],
    firedTimer: null,
    documents: [],
    deadLetter: null,
    consumedDeadLetter: null,
    keepExchanges: 100,
    keepCommits: 64,
  };
}

function diskBytes(dataDir: string): number {
  const sizeOf = (file: string) => statSync(join(dataDir, file), { throwIfNoEntry: false })?.size ?? 0;
  return sizeOf("sirsi.db") + sizeOf("sirsi.db-wal");
}

/** Deterministic, from a seed. */
function shuffled(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Messages to agents at random; each counts, so a lost or a doubled one shows. */
class RandomAccess {
  readonly #house: TestHouse;
  readonly #agentIds: readonly string[];
  readonly #random: (below: number) => number;
  readonly #counts = new Map<string, number>();
  mostResident = 0;

  constructor(house: TestHouse, agentIds: readonly string[], seed: number) {
    this.#house = house;
    this.#agentIds = agentIds;
    this.#random = shuffled(seed);
  }

  async once(): Promise<void> {
    const agentId = this.#agentIds[this.#random(this.#agentIds.length)] as string;
    const wanted = (this.#counts.get(agentId) ?? STATE) + 1;
    this.#counts.set(agentId, wanted);
    const said = await this.#house.say(agentId, "increment");
    requireRight(said === String(wanted), () => `an agent that came back said ${said} and not ${wanted}`);
    this.mostResident = Math.max(this.mostResident, this.#house.house.residentCount);
    this.#house.events.length = 0;
  }

  /** From the moment when each was due, so that one that is late counts against those behind it too. */
  async paced(count: number, perSecond: number): Promise<{ readonly took: readonly number[]; readonly perSecond: number }> {
    const took: number[] = [];
    const started = systemClock.monotonic();
    const one = async (due: number): Promise<void> => {
      await this.once();
      took.push(systemClock.monotonic() - due);
    };
    const sent: Promise<void>[] = [];
    const due = () => started + (sent.length * 1_000) / perSecond;
    while (sent.length < count) {
      const now = systemClock.monotonic();
      // A host that cannot keep up is not buried: what is late is counted from when it was due all the same.
      while (due() <= now && sent.length < count && sent.length - took.length < UNDER_WAY_MAX) sent.push(one(due()));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(sent);
    return { took, perSecond: (count * 1_000) / (systemClock.monotonic() - started) };
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const sizes = { ...(plan.quick ? QUICK : SIZES), agents: plan.registered };
  const revisions = new FixedRevisions(await builtRevision("counter"));
  const registered = await register(plan.folder, sizes.agents, await template(revisions));
  const opened = systemClock.monotonic();
  const house = await TestHouse.open({ revisions, dataDir: plan.folder, maxAgents: 10_000_000, maxResident: sizes.resident });
  const openedMs = systemClock.monotonic() - opened;
  requireRight(house.house.count === sizes.agents, () => `the host knows ${house.house.count} of ${sizes.agents} agents`);
  const access = new RandomAccess(house, registered.agentIds, plan.seed);
  // As many as there is room for, so that each further one has another leave.
  await flow(Infinity, 32, () => access.once(), sizes.resident);
  const closed = await flow(Infinity, 16, () => access.once(), sizes.messages / 4);
  const open = await access.paced(sizes.messages, RATE);
  requireRight(access.mostResident <= sizes.resident * 1.1 + 100, () => `${access.mostResident} agents were in memory, where ${sizes.resident} may be`);
  await house.shut(true);
  const [agents, room] = [sizes.agents.toLocaleString("en-US"), sizes.resident.toLocaleString("en-US")];
  const judged = <T>(target: T): T | null => (plan.quick || plan.registered < MILLION ? null : target);
  const access600 = `a message to one of ${agents} agents at random, ${room} in memory, ${RATE} sent a second`;
  const bare = { what: "p50 of the same", reading: single(quantile(open.took, 0.5), "ms") };
  return [
    { what: `${access600}, p99`, ours: single(quantile(open.took, 0.99), "ms"), bare, compared: null, target: judged({ of: "ours", bound: "at most", value: P99_MS }) },
    { what: `${access600}, answered`, ours: single(open.perSecond, "/s"), bare: null, compared: null, target: judged({ of: "ours", bound: "at least", value: RATE_MIN }) },
    { what: `messages to ${agents} agents at random, ${room} in memory, 16 under way`, ours: single(closed.perSecond, "/s"), bare: null, compared: null, target: null },
    { what: `disk for each of ${agents} idle agents`, ours: single(registered.diskKb, "KB"), bare: null, compared: null, target: judged({ of: "ours", bound: "at most", value: DISK_KB }) },
    { what: `a host knows ${agents} agents again after`, ours: single(openedMs, "ms"), bare: null, compared: null, target: null },
    { what: "agents put into the store by its interface", ours: single(registered.rowsPerSecond, "/s"), bare: null, compared: null, target: null },
  ];
}

export const registeredSection: Section = {
  name: "registered",
  title: "A million registered agents",
  notMeasured: ["their spawns: each row is a copy of a real agent's first commit", "a working set: every agent is as likely as any other, which no real load is", "the transport"],
  maxMs: 480_000,
  run: measure,
};
