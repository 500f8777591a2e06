/**
 * Cycles of start, verify, load, kill, look at the store.
 *
 * A host that is armed may die at any of these; a cycle then ends there, and what it could not
 * verify is verified in the next one that comes so far. The third unverified start in a row is
 * unarmed, so that something wrong is seen near where it happened.
 */
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../runtime/core/clock.ts";
import { tearCache } from "./cache-tears.ts";
import { Draw } from "./draw.ts";
import type { HostEnd } from "./host-under-test.ts";
import { HostUnderTest } from "./host-under-test.ts";
import type { Violation } from "./model.ts";
import { type Cycle, FIXED_SETTINGS, planCycle } from "./schedule.ts";
import type { Stage } from "./stage.ts";
import type { Tally } from "./tally.ts";
import { Unreachable } from "./verify.ts";

const START_MS = 30_000;
const ANSWER_MS = 40_000;
/** What the plan takes for the time to serving. */
const NOMINAL_START_MS = 1_500;
/** Answers that take longer are worth a look. */
const SLOW_MS = 8_000;
const UNVERIFIED_MAX = 2;

/** How a part of a cycle ended. */
type End = "went on" | "host ended";

export class CrashRun {
  readonly #stage: Stage;
  readonly #seed: number;
  readonly #tally: Tally;
  readonly #say: (line: string) => void;
  #host: HostUnderTest | null = null;
  #unverified = 0;
  /** The cycle that runs, and the log of its host and of the one before. */
  cycle: Cycle | null = null;
  readonly logs: string[] = [];

  constructor(stage: Stage, seed: number, tally: Tally, say: (line: string) => void) {
    this.#stage = stage;
    this.#seed = seed;
    this.#tally = tally;
    this.#say = say;
  }

  /** Cycles until it is time, then a last start that verifies. Stops at the first violations. */
  async run(untilMs: number, kills: number): Promise<void> {
    let number = 0;
    while (this.#violations.length === 0 && systemClock.monotonic() < untilMs && this.#tally.of("kills") < kills) await this.#turn(planCycle(this.#seed, ++number));
    if (this.#violations.length === 0) await this.#turn({ ...planCycle(this.#seed, ++number), ordeal: "random", fault: null, killAtMs: 0, swaps: [], tears: 0 });
  }

  async stop(): Promise<void> {
    this.#stage.line.disconnect();
    this.#host?.thaw();
    await this.#host?.kill();
  }

  get #violations(): readonly Violation[] {
    return this.#stage.violations;
  }

  async #turn(planned: Cycle): Promise<void> {
    const cycle: Cycle = this.#unverified < UNVERIFIED_MAX || planned.ordeal === "random" ? planned : { ...planned, ordeal: "random", fault: null, killAtMs: Math.min(planned.killAtMs, 2_000) };
    this.cycle = cycle;
    const { stage } = this;
    if (cycle.tears > 0) this.#tally.count("files torn", tearCache(stage.dataDir, cycle.tears, new Draw(this.#seed, `tears ${cycle.number}`)));
    const host = new HostUnderTest({ dataDir: stage.dataDir, modulesDir: stage.modulesDir, fault: cycle.fault, settings: { ...FIXED_SETTINGS, ...cycle.settings } });
    this.#host = host;
    const how = await this.#life(host, cycle);
    stage.line.disconnect();
    host.thaw();
    const end = await host.kill();
    this.logs.push(host.log);
    if (this.logs.length > 2) this.logs.shift();
    this.#account(cycle, end, how);
    stage.violations.push(...stage.books.checkAtRest());
  }

  get stage(): Stage {
    return this.#stage;
  }

  async #life(host: HostUnderTest, cycle: Cycle): Promise<string> {
    this.#unverified++;
    const { stage } = this;
    // By this machine's pace: about as often before it serves as after.
    const pace = (this.#tally.times("start").p50 || NOMINAL_START_MS) / NOMINAL_START_MS;
    const early = cycle.ordeal === "recovery" ? pause(cycle.killAtMs * pace).then(() => host.kill()) : null;
    const ready = await Promise.race([host.ready, pause(START_MS, "late" as const)]);
    if (ready === "late") return this.#fail("start", `serving within ${START_MS} ms`, host.log.slice(-2_000));
    if (ready === null) return this.#endedEarly(host, cycle);
    this.#tally.time("start", ready.tookMs);
    stage.line.connect(ready.address);
    if (early !== null) {
      await early;
      return "in recovery";
    }
    // Commits are to fail from some moment on: nothing can be verified then, and the next start does it.
    if (cycle.ordeal !== "failing" && (await this.#verify(host)) === "host ended") return "in verification";
    if (this.#violations.length > 0) return "violated";
    return await this.#load(host, cycle);
  }

  /** An armed host may die while it starts, and one whose commits fail may refuse to start; any other must not. */
  #endedEarly(host: HostUnderTest, cycle: Cycle): string {
    const killed = host.end?.signal === "SIGKILL" && (cycle.fault?.action === "kill" || cycle.ordeal === "recovery");
    if (killed || cycle.fault?.action === "fail") return "in start";
    return this.#fail("start", "a host that serves", `it ended with ${host.end?.signal ?? host.end?.code}: ${host.log.slice(-2_000)}`);
  }

  async #verify(host: HostUnderTest): Promise<End> {
    const { stage } = this;
    const began = systemClock.monotonic();
    const gone = new AbortController();
    void host.ended.then(() => gone.abort());
    try {
      const client = await stage.line.client();
      const healing = new AbortController();
      const healed = stage.swapper.heal(client, AbortSignal.any([gone.signal, healing.signal]), (ms) => pause(ms));
      const slow = setTimeout(() => this.#say(`     still open after ${SLOW_MS} ms:\n${this.#open()}`), SLOW_MS);
      const answered = await Promise.race([stage.gate.close().then(() => "answered" as const), host.ended, pause(ANSWER_MS, "late" as const)]);
      clearTimeout(slow);
      if (answered === "late") this.#fail("unanswered", `an answer to every message within ${ANSWER_MS} ms`, this.#open());
      await Promise.race([healed, host.ended]);
      healing.abort();
      if (host.end !== null) return this.#mustBeArmed(host);
      this.#tally.time("answered", systemClock.monotonic() - began);
      if (this.#violations.length > 0) return "went on";
      stage.violations.push(...(await stage.verifier.verify(client, gone.signal)));
      stage.swapper.healed();
      this.#tally.count("verifications");
      this.#tally.time("verified", systemClock.monotonic() - began);
      this.#unverified = 0;
    } catch (thrown) {
      // A call may fail a moment before the end of the process is known.
      await Promise.race([host.ended, pause(500)]);
      if (host.end !== null) return this.#mustBeArmed(host);
      const message = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
      this.#fail(thrown instanceof Unreachable ? "unreachable" : "verification", "to come to an end", message);
    }
    return "went on";
  }

  /** What clients wait for. */
  #open(): string {
    return this.#stage.lanes.flatMap(({ doing }) => (doing === "" ? [] : [`     ${doing}`])).join("\n");
  }

  /** A host that ended without being killed has a fault of its own. */
  #mustBeArmed(host: HostUnderTest): End {
    if (host.end?.signal !== "SIGKILL") this.#fail("ended", "a host that goes on", `it ended with ${host.end?.signal ?? host.end?.code}: ${host.log.slice(-3_000)}`);
    return "host ended";
  }

  async #load(host: HostUnderTest, cycle: Cycle): Promise<string> {
    const { stage } = this;
    const client = await stage.line.client();
    const over = new AbortController();
    void host.ended.then(() => over.abort());
    stage.gate.open();
    const acts = cycle.swaps.map(async (act) => {
      await pause(act.atMs, undefined, { signal: over.signal });
      await stage.swapper.act(act, client);
    });
    // Settled from the start: what is cut off in the middle is nobody's error.
    const besides = Promise.allSettled([...acts, this.#spell(host, cycle, over.signal)]);
    await Promise.race([host.ended, pause(cycle.killAtMs)]);
    // Clients finish what they have begun with the next host, and begin nothing.
    void stage.gate.close();
    over.abort();
    const died = host.end;
    await host.kill();
    stage.line.disconnect();
    await besides;
    if (died === null) return "under load";
    return this.#mustBeArmed(host) === "host ended" ? "under load, by itself" : "under load";
  }

  async #spell(host: HostUnderTest, { ordeal, spell }: Cycle, over: AbortSignal): Promise<void> {
    if (ordeal !== "disk-full" && ordeal !== "frozen") return;
    await pause(spell.fromMs, undefined, { signal: over });
    const done = ordeal === "frozen" ? host.freeze() : this.#stage.disk.fill(host);
    this.#tally.count(`spells ${ordeal}${done === false ? " (not possible here)" : ""}`);
    try {
      await pause(spell.toMs - spell.fromMs, undefined, { signal: over });
    } finally {
      if (ordeal === "frozen") host.thaw();
      else this.#stage.disk.empty(host);
    }
  }

  #account(cycle: Cycle, end: HostEnd, how: string): void {
    const byPoint = cycle.ordeal === "point" && (how === "under load, by itself" || how === "in start" || how === "in verification");
    const kind = byPoint ? "fault point" : cycle.ordeal === "point" ? "random" : cycle.ordeal;
    this.#tally.count("kills");
    this.#tally.count(`kills by kind ${kind}`);
    this.#tally.count(`kills by moment ${how.replace(", by itself", "")}`);
    if (byPoint) this.#tally.count(`kills by point ${cycle.fault?.point}`);
    else if (cycle.ordeal === "point") this.#tally.count(`points not reached ${cycle.fault?.point}`);
    const fault = cycle.fault === null ? "" : ` ${cycle.fault.point} #${cycle.fault.hit}`;
    this.#say(`${String(cycle.number).padStart(4)} ${cycle.ordeal}${fault}: ${how}${end.signal === "SIGKILL" ? "" : ` (${end.signal ?? end.code})`}, ${this.#tally.of("messages answered")} answered`);
  }

  #fail(what: string, expected: string, found: string): string {
    this.#stage.violations.push({ what, ledger: "all", expected, found });
    return "violated";
  }
}
