/**
 * Faults one after the other: load, a fault under load, load again; then every client is to
 * get its answer, the fleet to be whole, and all that was said is compared with what is there.
 */
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../../runtime/core/clock.ts";
import { Draw } from "../draw.ts";
import type { Line } from "../host-line.ts";
import type { Violation } from "../model.ts";
import type { Tally } from "../tally.ts";
import { Unreachable } from "../verify.ts";
import { befall } from "./faults.ts";
import { HOST_COUNT, type FleetStage } from "./fleet-stage.ts";
import { type FleetFault, type PlanOptions, planFault } from "./schedule.ts";

/** From the end of a fault to the last client's answer: several leases, and a swap that takes its time. */
const ANSWER_MS = 40_000;
/** Nothing that is done on purpose takes longer. */
const FAULT_MS = 150_000;
const BUILDS_MS = 20_000;
/** What two faults at once are called. */
export const TWO = "two at once";

export class FleetRun {
  readonly #stage: FleetStage;
  readonly #plan: PlanOptions;
  readonly #tally: Tally;
  readonly #say: (line: string) => void;
  readonly #line: Line;
  #epochs = 0;
  /** The fault that is under way, or was the last. */
  fault: FleetFault | null = null;

  constructor(stage: FleetStage, plan: Omit<PlanOptions, "hosts">, tally: Tally, say: (line: string) => void) {
    this.#stage = stage;
    this.#plan = { ...plan, hosts: HOST_COUNT };
    this.#tally = tally;
    this.#say = say;
    this.#line = stage.doors.line(new Draw(plan.seed, "verifier"));
  }

  /** Until it is time. Stops at the first violations. */
  async run(untilMs: number, faults: number): Promise<void> {
    this.#epochs = await this.#stage.books.epochs();
    for (let number = 1; this.#tally.of("faults") < faults && this.#violations.length === 0 && systemClock.monotonic() < untilMs; number++) await this.#round(planFault(this.#plan, number));
  }

  get #violations(): Violation[] {
    return this.#stage.violations;
  }

  async #round(fault: FleetFault): Promise<void> {
    this.fault = fault;
    const { gate } = this.#stage;
    gate.open();
    await pause(fault.leadMs);
    const began = systemClock.monotonic();
    if (!(await this.#befall(fault))) return;
    const over = systemClock.monotonic();
    await pause(fault.tailMs);
    const closed = systemClock.monotonic();
    if ((await Promise.race([gate.close().then(() => "answered"), pause(ANSWER_MS, "late")])) === "late") this.#fail("unanswered", `an answer to every message within ${ANSWER_MS} ms of the end of the fault`, this.#open());
    if (this.#violations.length > 0) return;
    this.#tally.time("answered", systemClock.monotonic() - closed);
    await this.#verify();
    this.#tally.time("verified", systemClock.monotonic() - closed);
    await this.#account(fault, over - began);
  }

  async #befall(fault: FleetFault): Promise<boolean> {
    try {
      const done = await Promise.race([befall(this.#stage, fault).then(() => true), pause(FAULT_MS, false, { ref: false })]);
      if (!done) this.#fail(fault.kind, `to be over within ${FAULT_MS} ms`, "it is not");
    } catch (thrown) {
      this.#fail(fault.kind, "to be carried out", thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    }
    return this.#violations.length === 0;
  }

  async #verify(): Promise<void> {
    const { books, swapper, verifier } = this.#stage;
    await this.#stage.whole();
    if (this.#violations.length > 0) return;
    try {
      const client = await this.#line.client();
      await swapper.heal(client, AbortSignal.timeout(BUILDS_MS), (ms) => pause(ms));
      this.#violations.push(...(await verifier.verify(client, AbortSignal.timeout(ANSWER_MS))), ...(await books.check()), ...this.#unkind());
      swapper.healed();
      this.#tally.count("verifications");
    } catch (thrown) {
      this.#fail(thrown instanceof Unreachable ? "unreachable" : "verification", "to come to an end", thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
    }
  }

  /** What a client may send again says when. */
  #unkind(): Violation[] {
    return Object.entries(this.#tally.below("refusals without a delay ")).map(([reason, count]) => ({ what: "refusal", ledger: "all", expected: `RetryInfo with every ${reason}`, found: `${count} without` }));
  }

  async #account(fault: FleetFault, tookMs: number): Promise<void> {
    const waits = this.#stage.lanes.map((lane) => lane.takeLongestMs());
    const longest = Math.max(...waits);
    for (const [index, ms] of waits.entries()) this.#tally.time(`client ${index}`, ms);
    for (const { kind } of [fault, ...(fault.besides === null ? [] : [fault.besides.fault])]) {
      this.#tally.count("faults");
      this.#tally.count(`faults by kind ${kind}`);
    }
    if (fault.besides !== null) this.#tally.count("faults besides others");
    const name = fault.besides === null ? fault.kind : TWO;
    this.#tally.time(`wait ${name}`, longest);
    this.#tally.time(`took ${name}`, tookMs);
    this.#tally.time("wait", longest);
    const epochs = await this.#stage.books.epochs();
    this.#tally.count("changes of owner", epochs - this.#epochs);
    const besides = fault.besides === null ? "" : ` with ${fault.besides.fault.kind}${this.#where(fault.besides.fault)}`;
    this.#say(`${String(fault.number).padStart(4)} ${fault.kind}${this.#where(fault)}${besides}: ${(tookMs / 1000).toFixed(1)} s, longest wait ${(longest / 1000).toFixed(1)} s, ${epochs - this.#epochs} changes of owner, ${this.#tally.of("messages answered")} answered`);
    this.#epochs = epochs;
  }

  #where({ host, kind, skewMs }: FleetFault): string {
    const { name } = this.#stage.members[host] ?? { name: "" };
    if (kind === "clock-skewed") return ` ${name} by ${skewMs / 60_000} min`;
    return /^host-|-(?:cut|slow|half-open)$/.test(kind) ? ` ${name}` : "";
  }

  /** What clients wait for. */
  #open(): string {
    return this.#stage.lanes.flatMap(({ doing }) => (doing === "" ? [] : [`     ${doing}`])).join("\n");
  }

  #fail(what: string, expected: string, found: string): void {
    this.#violations.push({ what, ledger: "all", expected, found });
  }
}
