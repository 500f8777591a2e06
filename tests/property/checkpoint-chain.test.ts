/** Any life of a memory, taken at any moments, comes back as it was at each of them. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ImagedMemory, SUSPENDED } from "../support/imaged-memory.ts";
import { thrownBy } from "../support/instances.ts";

const PAGE = 65_536;
const PAGES_MAX = 4;
const GLOBALS = 3;

type Event =
  | { readonly kind: "write"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "fill"; readonly at: number; readonly length: number; readonly value: number }
  /** What was there in the beginning is there again: a heap that shrinks. */
  | { readonly kind: "undo"; readonly at: number; readonly length: number }
  | { readonly kind: "grow" }
  | { readonly kind: "global"; readonly index: number; readonly bits: bigint }
  | { readonly kind: "base" | "difference" | "wait" }
  /** The instance is lost, and another takes its place from the last state at rest. */
  | { readonly kind: "reopen" };

/** Near the edges of blocks and pages as often as anywhere. */
const place = fc.oneof(
  fc.nat({ max: PAGES_MAX * PAGE - 1 }),
  fc.tuple(fc.nat({ max: PAGES_MAX * 64 }), fc.integer({ min: -4, max: 4 })).map(([block, off]) => Math.max(0, Math.min(PAGES_MAX * PAGE - 1, block * 1024 + off))),
);
const length = fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: 70_000 }));

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("write" as const), at: place, bytes: fc.uint8Array({ maxLength: 40 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fill" as const), at: place, length, value: fc.nat({ max: 255 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("undo" as const), at: place, length }) },
  { weight: 1, arbitrary: fc.constant({ kind: "grow" } as const) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("global" as const), index: fc.nat({ max: GLOBALS - 1 }), bits: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom("base" as const, "difference" as const, "difference" as const, "wait" as const) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "reopen" } as const) },
);

const pristine = fc.tuple(fc.integer({ min: 1, max: 2 }), fc.array(fc.tuple(place, fc.uint8Array({ maxLength: 60 })), { maxLength: 8 })).map(([pages, data]) => {
  const image = new Uint8Array(pages * PAGE);
  for (const [at, bytes] of data) image.set(bytes.subarray(0, Math.max(0, image.length - at)), Math.min(at, image.length));
  return image;
});

function change(memory: ImagedMemory, done: Event): void {
  const { bytes } = memory;
  switch (done.kind) {
    case "write":
      bytes.set(done.bytes.subarray(0, Math.max(0, bytes.length - done.at)), Math.min(done.at, bytes.length));
      return;
    case "fill":
      bytes.fill(done.value, done.at, done.at + done.length);
      return;
    case "undo":
      bytes.fill(0, done.at, done.at + done.length);
      bytes.set(memory.pristine.memory.subarray(done.at, done.at + done.length), Math.min(done.at, bytes.length));
      return;
    case "grow":
      if (bytes.length < PAGES_MAX * PAGE) memory.grow(1);
      return;
    case "global":
      memory.globals[done.index] = done.bits;
      return;
    default:
  }
}

/** Another instance, from images alone. */
function reopened(like: ImagedMemory, images: readonly Uint8Array[]): ImagedMemory {
  const fresh = like.fresh();
  fresh.state.restore(images);
  return fresh;
}

function requireSame(a: ImagedMemory, b: ImagedMemory): void {
  expect(Buffer.compare(a.bytes, b.bytes)).toBe(0);
  expect(a.globals).toEqual(b.globals);
}

/** Lives through the events; the chain of the last state at rest, and a last wait on top. */
function live(image: Uint8Array, events: readonly Event[], taken: (memory: ImagedMemory, images: readonly Uint8Array[]) => void): { readonly memory: ImagedMemory; readonly images: readonly Uint8Array[] } {
  let memory = new ImagedMemory(image, GLOBALS);
  let rest: Uint8Array[] = [memory.base()];
  for (const done of events) {
    change(memory, done);
    if (done.kind === "base") rest = [memory.base()];
    else if (done.kind === "difference") rest.push(memory.difference());
    if (done.kind === "base" || done.kind === "difference") taken(memory, rest);
    if (done.kind === "wait") taken(memory, [...rest, memory.wait()]);
    if (done.kind === "reopen") memory = reopened(memory, rest);
  }
  return { memory, images: [...rest, memory.wait()] };
}

test("D6 a base, its differences and a wait give back memory and globals as they were when the last was taken", () => {
  fc.assert(
    fc.property(pristine, fc.array(event, { maxLength: 30 }), (image, events) => {
      const { memory, images } = live(image, events, (then, chain) => requireSame(reopened(then, chain), then));
      const last = memory.fresh();
      expect(last.state.restore(images)).toEqual(SUSPENDED);
      requireSame(last, memory);
    }),
    { numRuns: 150 },
  );
});

test("an instance that was opened from a chain takes the same states from there on as the one that was lost", () => {
  fc.assert(
    fc.property(pristine, fc.array(event, { maxLength: 12 }), fc.array(event, { maxLength: 6 }), (image, before, after) => {
      const { memory, images } = live(image, before, () => undefined);
      const copy = reopened(memory, images);
      for (const done of after) for (const each of [memory, copy]) change(each, done);
      expect(Buffer.compare(copy.difference(), memory.difference())).toBe(0);
      expect(Buffer.compare(copy.base(), memory.base())).toBe(0);
    }),
    { numRuns: 100 },
  );
});

test("a chain with any byte changed, or any image missing, opens nothing: it is refused before anything is applied", () => {
  fc.assert(
    fc.property(pristine, fc.array(event, { maxLength: 15 }), fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 }), (image, events, which, where, flip) => {
      const { memory, images } = live(image, events, () => undefined);
      const place = which % images.length;
      const broken = images[place]!.slice();
      broken[where % broken.length]! ^= flip;
      const wrong = [images.with(place, broken)];
      if (place < images.length - 1) wrong.push(images.toSpliced(place, 1));
      for (const chain of wrong) {
        const fresh = memory.fresh();
        expect(thrownBy(() => fresh.state.restore(chain)).code).toBe("STORE_CORRUPT");
        requireSame(fresh, memory.fresh());
      }
    }),
    { numRuns: 150 },
  );
});
