/** What it costs to take an agent's state, and to put it back. */
import process from "node:process";
import { applyImage, readImage } from "../../runtime/sandbox/checkpoint.ts";
import { FrameWriter } from "../../runtime/sandbox/frames.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { ImagedMemory } from "../support/imaged-memory.ts";
import type { Figure } from "./figure.ts";
import { inTurns, ratioOf, readingOf, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const KIB = 1024;
const SMALL_BYTES = 128 * KIB;
const LARGE_BYTES = 64 * KIB * KIB;
/** Where a step of a small agent leaves its traces: a string, a list, the allocator's books. */
const CHANGES = [
  { at: 9_000, bytes: 180 },
  { at: 40_960, bytes: 96 },
  { at: 41_300, bytes: 24 },
] as const;
const GLOBALS = 4;
/** What an agent has touched before, here and there, and does not touch now. */
const TOUCHED_EVERY = 9_973;
const AT_ONCE = 4;
/** Of shard time for a small change to a small agent, in microseconds. */
const DIFFERENCE_MAX = 30;

/** Microseconds of this thread's CPU for one, over a turn: what the machine does besides is no cost of ours. */
function timed(ms: number, once: () => void): number {
  const started = systemClock.monotonic();
  const before = process.threadCpuUsage();
  let count = 0;
  while (systemClock.monotonic() - started < ms || count === 0) {
    for (let i = 0; i < AT_ONCE; i++) once();
    count += AT_ONCE;
  }
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / count;
}

/** An agent that has lived: it has a base, and has changed since. */
class Living {
  readonly memory: ImagedMemory;
  readonly base: Uint8Array;
  readonly #out = new FrameWriter();
  #turn = 0;

  constructor(bytes: number, seed: number) {
    const pristine = new Uint8Array(SMALL_BYTES);
    for (let at = 0; at < pristine.length; at += 7) pristine[at] = (at * seed) & 0xff;
    this.memory = new ImagedMemory(pristine, GLOBALS);
    this.memory.grow((bytes - SMALL_BYTES) / (64 * KIB));
    const held = this.memory.bytes;
    for (let at = 0; at < held.length; at += TOUCHED_EVERY) held[at] = 0xa5;
    this.base = this.memory.base();
  }

  /** What a step leaves behind: other bytes at each turn. */
  change(): void {
    const held = this.memory.bytes;
    this.#turn += 1;
    for (const { at, bytes } of CHANGES) for (let i = 0; i < bytes; i++) held[at + i] = (this.#turn * 31 + i) & 0xff;
  }

  /** Its length. */
  take(kind: "base" | "difference"): number {
    this.#out.rewind(0);
    this.memory.state.writeRest(this.#out, kind);
    return this.#out.length;
  }

  requireRestored(): void {
    this.change();
    const images = [this.memory.base()];
    this.change();
    images.push(this.memory.difference());
    const fresh = this.memory.fresh();
    fresh.state.restore(images);
    requireRight(Buffer.from(fresh.bytes).equals(this.memory.bytes), () => "a restored state differs from what was taken");
  }
}

async function measure(plan: Plan): Promise<Figure[]> {
  const small = new Living(SMALL_BYTES, plan.seed);
  const large = new Living(LARGE_BYTES, plan.seed);
  small.requireRestored();
  large.requireRestored();
  const ms = plan.roundMs / 10;
  const copies = { small: Buffer.from(small.memory.bytes), large: Buffer.from(large.memory.bytes) };
  const read = readImage(small.base);
  const target = small.memory.fresh();
  const differ = (living: Living) => () => {
    living.change();
    living.take("difference");
  };
  const once = {
    compare: () => {
      copies.small.set(small.memory.bytes);
      return timed(ms, () => void copies.small.equals(small.memory.bytes));
    },
    difference: () => timed(ms, differ(small)),
    base: () => timed(ms, () => void small.take("base")),
    copy: () => timed(ms, () => target.bytes.set(copies.small)),
    restore: () => timed(ms, () => applyImage(readImage(read.bytes), target.bytes, () => undefined)),
    compareLarge: () => {
      copies.large.set(large.memory.bytes);
      return timed(ms, () => void copies.large.equals(large.memory.bytes));
    },
    differenceLarge: () => timed(ms, differ(large)),
    copyLarge: () => timed(ms, () => copies.large.set(large.memory.bytes)),
  };
  await inTurns(2, once);
  const taken = await inTurns(plan.rounds * 3, once);
  const bytes = (living: Living) => {
    living.change();
    return single(living.take("difference") / 1000, "KB");
  };
  const compared = { what: "compare 128 KB with 128 KB", reading: readingOf(taken.compare, "µs") };
  return [
    { what: "take a difference: 128 KB of memory, 300 bytes changed in three places", ours: readingOf(taken.difference, "µs"), bare: compared, compared: ratioOf(taken.difference, taken.compare), target: { of: "ours", bound: "at most", value: DIFFERENCE_MAX } },
    { what: "its size", ours: bytes(small), bare: null, compared: null, target: null },
    { what: "take a base of it", ours: readingOf(taken.base, "µs"), bare: compared, compared: ratioOf(taken.base, taken.compare), target: null },
    { what: "check that base and put it back over a fresh image", ours: readingOf(taken.restore, "µs"), bare: { what: "copy 128 KB", reading: readingOf(taken.copy, "µs") }, compared: ratioOf(taken.restore, taken.copy), target: null },
    { what: "take a difference: the same change in 64 MB of memory", ours: readingOf(taken.differenceLarge, "µs"), bare: { what: "compare 64 MB with 64 MB", reading: readingOf(taken.compareLarge, "µs") }, compared: ratioOf(taken.differenceLarge, taken.compareLarge), target: null },
    { what: "the same, against copying", ours: readingOf(taken.differenceLarge, "µs"), bare: { what: "copy 64 MB", reading: readingOf(taken.copyLarge, "µs") }, compared: ratioOf(taken.differenceLarge, taken.copyLarge), target: null },
    { what: "its size", ours: bytes(large), bare: null, compared: null, target: null },
  ];
}

export const checkpointSection: Section = {
  name: "checkpoint",
  title: "Checkpoints",
  notMeasured: ["changes all over a large memory", "what else the machine does: the times are the thread's own, on a CPU", "the way to the disk: `store` has it"],
  run: measure,
};
