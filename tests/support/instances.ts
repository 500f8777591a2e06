/** Instances in the test's own thread, behind a shard that the test plays. */
import { SirsiError } from "../../runtime/core/errors.ts";
import type { GuestLimits } from "../../runtime/core/limits.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import { FrameReader, FrameWriter } from "../../runtime/sandbox/frames.ts";
import { GuestInstance } from "../../runtime/sandbox/instance.ts";
import { type GuestHost, LoadedRevision } from "../../runtime/sandbox/loaded-revision.ts";
import { readOutcome } from "../../runtime/sandbox/outcome-frame.ts";
import type { Description, Outcome, StepBudget, StepOutcome } from "../../runtime/sandbox/outcomes.ts";
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
  readonly open: () => PlayedInstance;
}

/** An instance whose outcomes are read back from the frames that it writes. */
export class PlayedInstance {
  readonly instance: GuestInstance;
  readonly #shard: PlayedShard;

  constructor(loaded: LoadedRevision, shard: PlayedShard) {
    this.instance = new GuestInstance(loaded);
    this.#shard = shard;
  }

  get state(): GuestInstance["state"] {
    return this.instance.state;
  }

  get memoryBytes(): number {
    return this.instance.memoryBytes;
  }

  restore(...images: readonly Uint8Array[]): void {
    this.instance.restore(images);
  }

  step(call: Uint8Array, budget: StepBudget): StepOutcome {
    return written((out) => this.instance.step(call, budget, this.#shard.monotonic(), out)) as StepOutcome;
  }

  /** `budget`: the time allowed, when that is all that matters. */
  resume(response: Uint8Array, budget: StepBudget | number): StepOutcome {
    const whole = typeof budget === "number" ? { ...BUDGET, timeoutMs: budget } : budget;
    return written((out) => this.instance.resume(response, whole, this.#shard.monotonic(), out)) as StepOutcome;
  }

  /** The state at rest as a base. */
  base(): Uint8Array {
    const outcome = written((out) => this.instance.takeState(out));
    if (outcome.kind === "state") return outcome.image;
    throw new SirsiError("INTERNAL", `expected a state, got ${JSON.stringify(outcome)}`);
  }

  describe(): Description {
    const outcome = written((out) => this.instance.describe(out));
    if (outcome.kind === "described") return outcome;
    throw new SirsiError("INTERNAL", `expected a description, got ${JSON.stringify(outcome)}`);
  }
}

/** The one outcome that `run` writes. */
export function written(run: (out: FrameWriter) => void): Outcome {
  const out = new FrameWriter();
  run(out);
  const { length } = out;
  const from = new FrameReader(out.take(), length);
  const outcome = readOutcome(from);
  if (!from.done) throw new SirsiError("INTERNAL", `an outcome of kind ${outcome.kind} has something behind it`);
  return outcome;
}

/** A revision in a played shard. `limits` stand in place of the host's defaults. */
export function played(bytes: Uint8Array, limits: Partial<GuestLimits> = {}): Played {
  return playedRevision(revisionOf(bytes, limits));
}

export function playedRevision(revision: Revision): Played {
  const shard = new PlayedShard();
  const { compiled, preparation, globals, canWait, uncapturable } = revision;
  const loaded = new LoadedRevision({ key: 1, name: revision.manifest.name, compiled, limits: revision.limits, preparation, globals, canWait, capturable: uncapturable === "" }, shard);
  return { shard, revision, loaded, open: () => new PlayedInstance(loaded, shard) };
}

export const BUDGET: StepBudget = { timeoutMs: 10_000, fuel: 1_000_000, state: "none", stateAtWait: false };
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
