/**
 * A thousand agents of a whole host moved to another revision and back, again and again,
 * while all of them are talked to: rehearsed, tried on canaries, moved and kept each time.
 *
 * Each agent has one client that sends "increment", waits for the answer, pauses, and sends
 * again. Nothing may be lost or doubled: every answer must be the next number, over all
 * runs. A run lasts until the agents have answered MESSAGES_A_RUN more messages; --rounds
 * sets how many runs there are, and 100 of them make a million messages.
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { SwapState } from "../../runtime/contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { builtAgent } from "../support/built-agents.ts";
import { SwapRig } from "../support/swap-rig.ts";
import { withSection } from "../support/wat.ts";
import type { Figure } from "./figure.ts";
import { quantile, readingOf, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const AGENTS = 1_000;
/** Between an answer and the next message: some 2,000 messages a second from all of them. */
const THINK_MS = 500;
const MESSAGES_A_RUN = 10_000;
const PAUSE_P99_MS = 50;
const PER_SECOND = 1_000;

interface Talk {
  count: number;
  /** The longest answer, milliseconds: while nothing moved, and while a swap went on. */
  calm: number;
  during: number;
}

class Traffic {
  readonly talks: readonly Talk[] = Array.from({ length: AGENTS }, () => ({ count: 0, calm: 0, during: 0 }));
  readonly #rig: SwapRig;
  readonly #agentIds: readonly string[];
  phase: "calm" | "during" | "over" = "calm";
  answered = 0;

  constructor(rig: SwapRig, agentIds: readonly string[]) {
    this.#rig = rig;
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
      const said = await this.#rig.say(agentId, "increment");
      const took = systemClock.monotonic() - started;
      talk.count++;
      this.answered++;
      requireRight(said === String(talk.count), () => `counter ${agentId} said ${said} and not ${talk.count}: a message was lost or doubled`);
      // An answer that came while a swap went on felt it, also when it was asked for before.
      const felt = phase === "calm" && this.phase === "calm" ? "calm" : "during";
      talk[felt] = Math.max(talk[felt], took);
      await pause(THINK_MS);
    }
  }

  async until(answered: number): Promise<void> {
    while (this.answered < answered) await pause(10);
  }
}

/** What one run measured, by name: milliseconds, and messages a second while the agents moved. */
type Run = Readonly<Record<"p50" | "p99" | "max" | "tookMs" | "perSecond", number>>;

async function swapOnce(rig: SwapRig, traffic: Traffic, build: Uint8Array): Promise<Run> {
  const before = traffic.answered;
  traffic.phase = "during";
  const began = systemClock.monotonic();
  const summary = await rig.install(build, { watchMs: 0 });
  const tookMs = systemClock.monotonic() - began;
  const perSecond = ((traffic.answered - before) * 1_000) / tookMs;
  let swap = await rig.until(SwapState.KEPT, SwapState.REJECTED, SwapState.REVERTED);
  // Those with a long step in hand come after.
  while (swap.state === SwapState.KEPT && swap.moved < AGENTS && swap.failed === 0) {
    await pause(10);
    swap = await rig.until(SwapState.KEPT);
  }
  traffic.phase = "calm";
  requireRight(swap.state === SwapState.KEPT && swap.moved === AGENTS && swap.failed === 0, () => `${swap.moved} of ${AGENTS} agents moved, ${swap.failed} failed: ${swap.reason} ${summary.failureReason}`);
  return { p50: swap.pauseP50Ms, p99: swap.pauseP99Ms, max: swap.pauseMaxMs, tookMs, perSecond };
}

async function measure(plan: Plan): Promise<Figure[]> {
  const built = readFileSync((await builtAgent("counter")).file);
  const builds = [0, 1].map((number) => withSection(built, "build", Buffer.from(`build ${number} ${plan.seed}`)));
  const rig = await SwapRig.open({ counter: builds[1] as Uint8Array });
  const agentIds: string[] = [];
  while (agentIds.length < AGENTS) agentIds.push(...(await Promise.all(Array.from({ length: 50 }, () => rig.spawn("counter")))));
  // The first one prepares the module, which is not what is measured.
  await rig.install(builds[0] as Uint8Array, { watchMs: 0 });
  const traffic = new Traffic(rig, agentIds);
  const running = traffic.run();
  await traffic.until(AGENTS * 2);
  const runs: Run[] = [];
  for (let run = 1; run <= plan.rounds; run++) {
    runs.push(await swapOnce(rig, traffic, builds[run % 2] as Uint8Array));
    await traffic.until(AGENTS * 2 + (plan.quick ? MESSAGES_A_RUN / 4 : MESSAGES_A_RUN) * run);
  }
  traffic.phase = "over";
  await running;
  for (const [at, agentId] of agentIds.entries()) {
    const said = await rig.say(agentId, "get");
    requireRight(said === String(traffic.talks[at]?.count), () => `counter ${agentId} has ${said} and was told ${traffic.talks[at]?.count ?? 0} times`);
  }
  await rig[Symbol.asyncDispose]();
  return figuresOf(runs, traffic);
}

function figuresOf(runs: readonly Run[], { talks, answered }: Traffic): Figure[] {
  const over = (name: keyof Run) => runs.map((run) => run[name]);
  const longest = (phase: "calm" | "during", q: number) => quantile(talks.map((talk) => talk[phase]), q);
  const plain = (what: string, ours: Figure["ours"]): Figure => ({ what, ours, bare: null, compared: null, target: null });
  return [
    plain("an agent takes no messages while it moves, p50 of the agents", readingOf(over("p50"), "ms")),
    { ...plain("an agent takes no messages while it moves, p99 of the agents", readingOf(over("p99"), "ms")), target: { of: "ours", bound: "at most", value: PAUSE_P99_MS } },
    plain("an agent takes no messages while it moves, at most", single(Math.max(...over("max")), "ms")),
    {
      what: "the longest wait of an agent's client over all swaps, p99 of the agents",
      ours: single(longest("during", 0.99), "ms"),
      bare: { what: "the same over all the time between them", reading: single(longest("calm", 0.99), "ms") },
      compared: { as: "added", reading: single(longest("during", 0.99) - longest("calm", 0.99), "ms") },
      target: null,
    },
    plain(`a swap of ${AGENTS.toLocaleString("en-US")} agents, from the request to all moved`, readingOf(over("tookMs").map((ms) => ms / 1_000), "s")),
    { ...plain("messages answered while the swap went on", readingOf(over("perSecond"), "/s")), target: { of: "ours", bound: "at least", value: PER_SECOND } },
    plain("swaps", single(runs.length, "")),
    plain("messages answered in all, each once", single(answered, "")),
    { ...plain("messages lost or doubled", single(0, "")), target: { of: "ours", bound: "at most", value: 0 } },
  ];
}

export const swapSection: Section = {
  name: "swap",
  title: "Swaps under traffic",
  notMeasured: ["preparing a module, which goes before: `admission` has it", "the health window", "agents that wait in the middle of a step", "agents with much state"],
  run: measure,
};
