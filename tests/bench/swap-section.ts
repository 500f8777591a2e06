/**
 * A thousand agents moved to another revision while all of them are talked to.
 *
 * Each agent has one client that sends "increment", waits for the answer, pauses, and sends
 * again, so an agent's longest answer while it moves is the pause that its client felt.
 * Nothing may be lost or doubled: every answer must be the next number.
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../runtime/core/clock.ts";
import { builtAgent } from "../support/built-agents.ts";
import { TestHouse } from "../support/house.ts";
import { FixedRevisions, revisionOf } from "../support/revisions.ts";
import { withSection } from "../support/wat.ts";
import type { Figure } from "./figure.ts";
import { quantile, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const AGENTS = 1_000;
const SETTLE_MS = 1_000;
/** Between an answer and the next message, so that the shard is busy and not swamped. */
const THINK_MS = 500;

interface Talk {
  count: number;
  /** The longest answer, milliseconds: before the swap, and while it went on. */
  before: number;
  during: number;
}

class Traffic {
  readonly talks: readonly Talk[] = Array.from({ length: AGENTS }, () => ({ count: 0, before: 0, during: 0 }));
  readonly #house: TestHouse;
  readonly #agentIds: readonly string[];
  phase: "before" | "during" | "over" = "before";
  answered = 0;

  constructor(house: TestHouse, agentIds: readonly string[]) {
    this.#house = house;
    this.#agentIds = agentIds;
  }

  async run(): Promise<void> {
    await Promise.all(this.talks.map((talk, at) => this.#talk(talk, this.#agentIds[at] as string, at)));
  }

  async #talk(talk: Talk, agentId: string, at: number): Promise<void> {
    await pause((at * THINK_MS) / AGENTS);
    while (this.phase !== "over") {
      const { phase } = this;
      const started = systemClock.monotonic();
      const said = await this.#house.say(agentId, "increment");
      const took = systemClock.monotonic() - started;
      talk.count++;
      this.answered++;
      requireRight(said === String(talk.count), () => `counter ${agentId} said ${said} and not ${talk.count}: a message was lost or doubled`);
      // An answer that came while the swap went on felt it, also when it was asked for before.
      const felt = phase === "before" && this.phase === "before" ? "before" : "during";
      talk[felt] = Math.max(talk[felt], took);
      await pause(THINK_MS);
    }
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const built = readFileSync((await builtAgent("counter")).file);
  const first = revisionOf(built);
  const second = revisionOf(withSection(built, "build", Buffer.from(`second ${plan.seed}`)));
  const revisions = new FixedRevisions(first);
  const house = await TestHouse.open({ revisions });
  const agentIds = await Promise.all(Array.from({ length: AGENTS }, () => house.spawn("counter")));
  const traffic = new Traffic(house, agentIds);
  const running = traffic.run();
  await pause(SETTLE_MS + THINK_MS);
  const calm = traffic.answered;
  revisions.activate(second);
  traffic.phase = "during";
  const started = systemClock.monotonic();
  const report = await house.swap("counter", second);
  const swappedMs = systemClock.monotonic() - started;
  // Each agent is heard once more, on its new revision.
  await pause(THINK_MS);
  traffic.phase = "over";
  await running;
  requireRight(report.moved === AGENTS && report.failed === 0, () => `${report.moved} of ${AGENTS} agents moved, ${report.failed} failed: ${report.failureReason}`);
  requireRight(house.lost.length === 0, () => `a shard was lost: ${house.lost.join("; ")}`);
  for (const [at, agentId] of agentIds.entries()) {
    const said = await house.say(agentId, "get");
    requireRight(said === String(traffic.talks[at]?.count), () => `counter ${agentId} has ${said} and was told ${traffic.talks[at]?.count ?? 0} times`);
  }
  await house.shut();
  const longest = (phase: "before" | "during", q: number) => quantile(traffic.talks.map((talk) => talk[phase]), q);
  const figure = (what: string, q: number): Figure => ({
    what: `the longest wait of an agent's client while its agent moves, ${what} of the agents`,
    ours: single(longest("during", q), "ms"),
    bare: { what: "the same in the second before", reading: single(longest("before", q), "ms") },
    compared: { as: "added", reading: single(longest("during", q) - longest("before", q), "ms") },
    target: null,
  });
  const plain = (what: string, value: number, unit: "s" | ""): Figure => ({ what, ours: single(value, unit), bare: null, compared: null, target: null });
  return [
    figure("p50", 0.5),
    figure("p99", 0.99),
    plain(`all ${AGENTS.toLocaleString("en-US")} agents moved in`, swappedMs / 1000, "s"),
    plain("messages answered in all", traffic.answered, ""),
    plain("of which while the swap went on", traffic.answered - calm, ""),
    { what: "messages lost or doubled", ours: single(0, ""), bare: null, compared: null, target: { of: "ours", bound: "at most", value: 0 } },
  ];
}

export const swapSection: Section = {
  name: "swap",
  title: "A swap under traffic",
  notMeasured: ["rehearsal and the health window", "agents that wait in the middle of a step", "agents with much state"],
  run: measure,
};
