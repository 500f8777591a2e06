/**
 * The end of the work in hand, before a host closes. Steps that run are waited for. One
 * that waits for something, and whose wait is on disk, goes on after the next start: it
 * is given a moment in which its answer may come, and then it is left.
 */
import type { Clock } from "../core/clock.ts";

export interface Winding {
  /** No step in hand, and nothing waiting. */
  readonly restful: boolean;
  /** Its step waits, the wait is committed, and nothing else keeps it. */
  readonly resumable: boolean;
}

const LOOK_EVERY_MS = 20;
const MOMENT_MS = 500;

/** Resolves when nobody has work in hand that would be lost, or `graceMs` is over. */
export async function windDown(clock: Clock, agents: () => Iterable<Winding>, graceMs: number): Promise<void> {
  const began = clock.monotonic();
  let resumableSince: number | null = null;
  for (;;) {
    const left = lookAt(agents());
    const now = clock.monotonic();
    if (left === "none" || now - began >= graceMs) return;
    resumableSince = left === "resumable" ? (resumableSince ?? now) : null;
    if (resumableSince !== null && now - resumableSince >= MOMENT_MS) return;
    await new Promise<void>((resolve) => clock.after(Math.min(LOOK_EVERY_MS, began + graceMs - now), resolve));
  }
}

function lookAt(agents: Iterable<Winding>): "none" | "resumable" | "work" {
  let left: "none" | "resumable" = "none";
  for (const agent of agents) {
    if (agent.resumable) left = "resumable";
    else if (!agent.restful) return "work";
  }
  return left;
}
