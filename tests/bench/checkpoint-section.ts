/** What it costs to take an agent's state, and to put it back. */
import { applyCheckpoint, encodeCheckpoint, pristineImage, readCheckpoint } from "../../runtime/sandbox/checkpoint.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import type { Figure } from "./figure.ts";
import { inTurns, ratioOf, readingOf, single } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

const MEMORY_BYTES = 128 * 1024;
/** Where a step of a small agent leaves its traces: a string, a list, the allocator's books. */
const CHANGES = [
  { at: 9_000, bytes: 180 },
  { at: 40_960, bytes: 96 },
  { at: 41_300, bytes: 24 },
] as const;
const GLOBALS = [1n, 2n, 3n, 4n];
const REPEATS = 50;

/** Microseconds for one, over a turn. */
function timed(ms: number, once: () => void): number {
  const started = systemClock.monotonic();
  let count = 0;
  while (systemClock.monotonic() - started < ms) {
    for (let i = 0; i < REPEATS; i++) once();
    count += REPEATS;
  }
  return ((systemClock.monotonic() - started) * 1000) / count;
}

/** As a guest's lies: page-aligned, where the library's own buffers are not. */
function guestMemory(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new WebAssembly.Memory({ initial: MEMORY_BYTES / 65_536 }).buffer);
}

async function measure(plan: Plan): Promise<Figure[]> {
  const memory = guestMemory();
  for (let at = 0; at < MEMORY_BYTES; at += 7) memory[at] = (at * plan.seed) & 0xff;
  const pristine = pristineImage(memory);
  const changed = guestMemory();
  changed.set(memory);
  for (const { at, bytes } of CHANGES) for (let i = 0; i < bytes; i++) changed[at + i] = ((changed[at + i] ?? 0) + 1 + (i % 5)) & 0xff;
  const image = encodeCheckpoint(pristine, changed, GLOBALS);
  const restored = guestMemory();
  restored.set(memory);
  applyCheckpoint(image, readCheckpoint(image, pristine), restored);
  requireRight(Buffer.from(restored).equals(changed), () => "a restored checkpoint differs from what was taken");
  const ms = plan.roundMs / 10;
  const once = {
    compare: () => timed(ms, () => void pristine.memory.equals(memory)),
    copy: () => timed(ms, () => restored.set(memory)),
    encode: () => timed(ms, () => void encodeCheckpoint(pristine, changed, GLOBALS)),
    restore: () => timed(ms, () => applyCheckpoint(image, readCheckpoint(image, pristine), restored)),
  };
  await inTurns(2, once);
  const taken = await inTurns(plan.rounds * 3, once);
  return [
    { what: "take a checkpoint: 128 KB of memory, 300 bytes changed in three places", ours: readingOf(taken.encode, "µs"), bare: { what: "compare 128 KB with 128 KB", reading: readingOf(taken.compare, "µs") }, compared: ratioOf(taken.encode, taken.compare), target: null },
    { what: "put it back over a fresh image", ours: readingOf(taken.restore, "µs"), bare: { what: "copy 128 KB", reading: readingOf(taken.copy, "µs") }, compared: ratioOf(taken.restore, taken.copy), target: null },
    { what: "its size", ours: single(image.length / 1000, "KB"), bare: null, compared: null, target: null },
  ];
}

export const checkpointSection: Section = {
  name: "checkpoint",
  title: "Checkpoints",
  notMeasured: ["large memories, or changes all over them", "the way to the disk: `store` has it"],
  run: measure,
};
