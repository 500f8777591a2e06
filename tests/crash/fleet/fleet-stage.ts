/** Everything that outlives a fault: servers, hosts, session, ledgers, clients, model. */
import { setTimeout as pause } from "node:timers/promises";
import { ClientError } from "../../../runtime/client/index.ts";
import { systemClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import type { Ledger } from "../commands.ts";
import { Draw } from "../draw.ts";
import { Gate } from "../gate.ts";
import { Lane } from "../lane.ts";
import { LedgerBuilds } from "../ledger-builds.ts";
import { Model, type Violation } from "../model.ts";
import { BALLAST_WORDS } from "../stage.ts";
import { MODULE, Swapper } from "../swapper.ts";
import type { Tally } from "../tally.ts";
import { Verifier } from "../verify.ts";
import { Doors } from "./doors.ts";
import { FleetBooks } from "./fleet-books.ts";
import { FleetMember } from "./fleet-member.ts";
import { FleetServers } from "./fleet-servers.ts";
import { FleetOperator } from "./operator.ts";

/** By name, how many agents a host takes into memory at most: on some they come and go all the time. */
const HOSTS = { h1: 3, h2: 500, h3: 6 } as const;
export const HOST_COUNT = Object.keys(HOSTS).length;
/** After it a client asks at another door. */
const CALL_DEADLINE_MS = 6_000;
const WHOLE_MS = 30_000;
const POLL_MS = 50;

export interface FleetStageOptions {
  readonly directory: string;
  readonly seed: number;
  readonly agents: number;
  readonly clients: number;
  readonly leaseMs: number;
  readonly tally: Tally;
}

export class FleetStage implements AsyncDisposable {
  readonly servers: FleetServers;
  readonly members: readonly FleetMember[];
  readonly doors = new Doors();
  readonly violations: Violation[] = [];
  readonly #options: FleetStageOptions;
  readonly #stop = new AbortController();
  readonly #onViolation = (violation: Violation) => void this.violations.push(violation);
  readonly swapper: Swapper;
  readonly operator: FleetOperator;
  readonly gate: Gate;
  readonly #builds: LedgerBuilds;
  #ledgers: readonly Ledger[] = [];
  #lanes: readonly Lane[] = [];
  #running: readonly Promise<void>[] = [];
  #verifier: Verifier | null = null;
  #books: FleetBooks | null = null;

  private constructor(options: FleetStageOptions, servers: FleetServers, members: readonly FleetMember[], builds: LedgerBuilds, swapper: (onViolation: (violation: Violation) => void) => Swapper) {
    this.#options = options;
    this.servers = servers;
    this.members = members;
    this.#builds = builds;
    this.swapper = swapper(this.#onViolation);
    this.operator = new FleetOperator(this.doors.line(new Draw(options.seed, "operator")), options.tally, this.#onViolation);
    this.gate = new Gate(options.clients);
  }

  /** `over` kills every host, also while this is under way. */
  static async open(options: FleetStageOptions, over: AbortSignal): Promise<FleetStage> {
    const { directory, leaseMs, tally } = options;
    const builds = await LedgerBuilds.open();
    const first = builds.make("one");
    const servers = await FleetServers.start();
    const members: FleetMember[] = [];
    try {
      const modules = new Map([[`${MODULE}.wasm`, first.wasm]]);
      for (const [name, residents] of Object.entries(HOSTS)) members.push(await FleetMember.make({ name, directory, servers, leaseMs, residents, modules, over }));
      const stage = new FleetStage(options, servers, members, builds, (onViolation) => new Swapper(builds, first, tally, onViolation));
      await stage.#begin();
      return stage;
    } catch (thrown) {
      for (const member of members) await member[Symbol.asyncDispose]();
      await servers[Symbol.asyncDispose]();
      const logs = members.map(({ log, name }) => `${name}: ${log.slice(-2_000)}`).join("\n");
      throw new SirsiError("INTERNAL", `the fleet could not be set up: ${ClientError.from(thrown).message}\n${logs}`, { cause: thrown });
    }
  }

  async #begin(): Promise<void> {
    const { agents, clients, seed, tally } = this.#options;
    await Promise.all(this.members.map((member) => this.start(member)));
    const client = this.doors.at(this.members[0]?.name ?? "");
    // Two layouts of state, so that a swap to either begins at once.
    await client.modules.installModule({ wasm: this.#builds.make("two").wasm, validateOnly: true }, { deadlineMs: 60_000 });
    const { session } = await client.agents.createSession({ userId: "crash", config: { timeoutSeconds: 30 * 86_400 } });
    const sessionId = session?.sessionId ?? "";
    this.#ledgers = await Promise.all(
      Array.from({ length: agents }, async (_, i) => {
        const parameters = { name: `a${i}`, ballast_words: String(BALLAST_WORDS[i % BALLAST_WORDS.length]) };
        const { agent } = await this.doors.at(this.members[i % HOST_COUNT]?.name ?? "").agents.createAgent({ sessionId, agentType: MODULE, config: { parameters } });
        return { name: `a${i}`, agentId: agent?.agentId ?? "" };
      }),
    );
    const { gate, swapper } = this;
    const [ledgers, model, run] = [this.#ledgers, new Model(this.#ledgers), `f${seed}`];
    this.#books = new FleetBooks(this.servers.postgres.url, ledgers);
    this.#verifier = new Verifier({ model, builds: this.#builds, sessionId, ledgers, books: this.#books, run });
    this.#lanes = Array.from({ length: clients }, (_, i) => `l${i}`).map((name) => {
      const line = this.doors.line(new Draw(seed, `doors ${name}`));
      return new Lane({ name, sessionId, ledgers, draw: new Draw(seed, `lane ${name}`), model, line, callDeadlineMs: CALL_DEADLINE_MS, gate, tally, stop: this.#stop.signal, run, sick: () => swapper.sick, onViolation: this.#onViolation });
    });
    this.#running = this.#lanes.map((lane) => lane.run());
  }

  get ledgers(): readonly Ledger[] {
    return this.#ledgers;
  }

  get lanes(): readonly Lane[] {
    return this.#lanes;
  }

  get verifier(): Verifier {
    if (this.#verifier === null) throw new SirsiError("INTERNAL", "the stage is not set; correct the harness");
    return this.#verifier;
  }

  get books(): FleetBooks {
    if (this.#books === null) throw new SirsiError("INTERNAL", "the stage is not set; correct the harness");
    return this.#books;
  }

  async start(member: FleetMember, skewMs = 0): Promise<void> {
    const tookMs = await member.start(skewMs);
    this.#options.tally.time("start", tookMs);
    this.doors.open(member.name, member.address);
  }

  /** As in a rolling upgrade: the next host is restarted when this one takes agents again. */
  async restart(member: FleetMember): Promise<void> {
    const began = systemClock.monotonic();
    const code = await member.stop();
    this.#options.tally.time("stop", systemClock.monotonic() - began);
    if (code !== 0) this.#onViolation({ what: "stop", ledger: member.name, expected: "a host that ends with 0 when it is told to", found: String(code) });
    await this.start(member);
  }

  /** Every door sees every host active, and no agent is in memory twice. */
  async whole(): Promise<void> {
    const until = systemClock.monotonic() + WHOLE_MS;
    for (;;) {
      const looks = await Promise.all(this.members.map(({ name }) => this.#look(name)));
      const wrong = looks.filter((look) => look !== "");
      if (wrong.length === 0) return;
      if (systemClock.monotonic() > until) {
        this.#onViolation({ what: "fleet", ledger: "all", expected: `every door to see ${HOST_COUNT} active hosts that share ${this.#ledgers.length} agents, within ${WHOLE_MS} ms`, found: wrong.join("; ") });
        return;
      }
      await pause(POLL_MS);
    }
  }

  /** Empty for nothing wrong. */
  async #look(name: string): Promise<string> {
    try {
      const { hosts } = await this.doors.at(name).operator.listHosts({}, { deadlineMs: 2_000, retries: 0 });
      const active = hosts.filter(({ state }) => state === "active");
      const resident = hosts.reduce((sum, host) => sum + Number(host.residentAgents), 0);
      if (active.length === HOST_COUNT && resident <= this.#ledgers.length) return "";
      return `${name} sees ${hosts.map((host) => `${host.name} ${host.state} with ${host.residentAgents} of ${host.agents} in memory`).join(", ")}`;
    } catch (thrown) {
      return `${name}: ${ClientError.from(thrown).message}`;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.gate.open();
    await Promise.all(this.#running);
    this.doors.close();
    await this.#books?.[Symbol.asyncDispose]();
    for (const member of this.members) await member[Symbol.asyncDispose]();
    await this.servers[Symbol.asyncDispose]();
  }
}
