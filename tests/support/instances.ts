/** Instances in the test's own thread, behind a shard that the test plays. */
import { SirsiError } from "../../runtime/core/errors.ts";
import type { GuestLimits } from "../../runtime/core/limits.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { GuestInstance, type StepBudget, type StepOutcome } from "../../runtime/sandbox/instance.ts";
import { type GuestHost, LoadedRevision } from "../../runtime/sandbox/loaded-revision.ts";
import { revisionOf } from "./revisions.ts";

/** What a shard offers its guests, with a clock that stands still unless `tickMs` moves it on at each look. */
export class PlayedShard implements GuestHost {
  timeMs = 0;
  tickMs = 0;
  heartbeats = 0;
  readonly lines: { readonly level: number; readonly line: string }[] = [];

  now(): number {
    return 1_750_000_000_000.75;
  }

  monotonic(): number {
    this.timeMs += this.tickMs;
    return this.timeMs;
  }

  random(into: Uint8Array): void {
    into.fill(0xa5);
  }

  log(_instance: unknown, level: number, line: string): void {
    this.lines.push({ level, line });
  }

  heartbeat(): void {
    this.heartbeats++;
  }
}

export interface Played {
  readonly shard: PlayedShard;
  readonly revision: Revision;
  readonly loaded: LoadedRevision;
  /** A new instance of the same revision. */
  readonly open: () => GuestInstance;
}

/** A revision in a played shard. `limits` stand in place of the host's defaults. */
export function played(bytes: Uint8Array, limits: Partial<GuestLimits> = {}): Played {
  const revision = revisionOf(bytes, limits);
  const shard = new PlayedShard();
  const { compiled, globals, canWait } = revision;
  const loaded = new LoadedRevision({ key: 1, name: revision.manifest.name, compiled, limits: revision.limits, globals, canWait }, shard);
  return { shard, revision, loaded, open: () => new GuestInstance(loaded) };
}

export const BUDGET: StepBudget = { timeoutMs: 10_000, fuel: 1_000_000, checkpoint: false };
export const NO_BYTES = new Uint8Array(0);

/** The outcome of that kind, or a failure that tells the other one. */
export function expectOutcome<Kind extends StepOutcome["kind"]>(outcome: StepOutcome, kind: Kind): Extract<StepOutcome, { kind: Kind }> {
  if (outcome.kind === kind) return outcome as Extract<StepOutcome, { kind: Kind }>;
  const got = outcome.kind === "failed" ? `${outcome.error.code}: ${outcome.error.message}` : outcome.kind;
  throw new SirsiError("INTERNAL", `expected the step to be ${kind}, got ${got}`);
}

/** The SirsiError that `run` throws. */
export function thrownBy(run: () => unknown): SirsiError {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof SirsiError) return thrown;
    throw thrown;
  }
  throw new SirsiError("INTERNAL", "nothing was thrown");
}

/** The SirsiError that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<SirsiError> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof SirsiError) return thrown;
    throw thrown;
  }
  throw new SirsiError("INTERNAL", "nothing was rejected");
}
