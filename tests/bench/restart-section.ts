/** A host with many agents is killed while a part of them waits: how long until the next one serves, and until all have gone on. */
import { setTimeout as pause } from "node:timers/promises";
import { systemClock } from "../../runtime/core/clock.ts";
import { BenchChild } from "./bench-child.ts";
import type { Figure } from "./figure.ts";
import type { RestartAsk, RestartReport } from "./restart-process.ts";
import { single } from "./rounds.ts";
import type { Plan, Section } from "./section.ts";

/** The sleep outlasts the filling, or some would be awake before the last one sleeps. */
const SIZES = { agents: 10_000, waiting: 1_000, sleepMs: 25_000 };
/** For a quick run, which shows that it works and judges nothing. */
const QUICK = { agents: 1_000, waiting: 100, sleepMs: 5_000 };
const SERVING_S = 2;
const RESUMED_S = 10;

function child(): BenchChild {
  return new BenchChild(new URL("./restart-process.ts", import.meta.url));
}

async function measure(plan: Plan): Promise<Figure[]> {
  const sizes = plan.quick ? QUICK : SIZES;
  const { folder } = plan;
  const first = child();
  try {
    await first.ask<null>({ kind: "fill", folder, ...sizes } satisfies RestartAsk);
  } finally {
    // SIGKILL: nothing is finished, nothing is closed.
    await first.end();
  }
  // Their sleep is over by then: what is measured is the way back, not the rest of the wait.
  await pause(sizes.sleepMs);
  const startedAt = systemClock.now();
  const second = child();
  let report: RestartReport;
  try {
    report = await second.ask<RestartReport>({ kind: "restart", folder, startedAt } satisfies RestartAsk);
  } finally {
    await second.end();
  }
  const what = `${sizes.agents.toLocaleString("en-US")} agents, ${sizes.waiting.toLocaleString("en-US")} of them in a wait, after kill -9`;
  const judged = (value: number): Figure["target"] => (plan.quick ? null : { of: "ours", bound: "at most", value });
  return [
    { what: `${what}: from the start of the process until an agent has answered`, ours: single(report.servingMs / 1_000, "s"), bare: null, compared: null, target: judged(SERVING_S) },
    { what: `${what}: until every step that waited has gone on and ended`, ours: single(report.resumedMs / 1_000, "s"), bare: null, compared: null, target: judged(RESUMED_S) },
  ];
}

export const restartSection: Section = {
  name: "restart",
  title: "A host that was killed",
  notMeasured: ["a cold disk: the system has the pages in memory", "the transport", "large states"],
  maxMs: 240_000,
  run: measure,
};
