/** Mutations that know what a module is made of: its sections, moved and changed. */
import { readShape } from "../../runtime/module/wasm-shape.ts";
import { section, unsignedLeb } from "../../runtime/module/wasm-rewrite.ts";
import type { Mutator } from "./mutation.ts";

const PREAMBLE_BYTES = 8;
const CODE_SECTION = 10;
const DATA_SECTION = 11;

export interface SplitModule {
  readonly bytes: Uint8Array;
  readonly sections: readonly Uint8Array[];
  /** Where the code lies, which is where most of a module's meaning is. */
  readonly code: { readonly start: number; readonly end: number };
  readonly data: { readonly start: number; readonly end: number };
}

export function splitModule(file: Uint8Array): SplitModule {
  // A Buffer's slices are views, and mutations would go into what they are made from.
  const bytes = new Uint8Array(file);
  const { sections } = readShape(bytes);
  const spanOf = (wanted: number): Span => {
    const found = sections.find(({ id }) => id === wanted);
    return { start: found?.bodyStart ?? 0, end: found?.end ?? 0 };
  };
  return { bytes, sections: sections.map((span) => bytes.subarray(span.start, span.end)), code: spanOf(CODE_SECTION), data: spanOf(DATA_SECTION) };
}

function joined(preamble: Uint8Array, sections: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat([preamble, ...sections]));
}

/** Flips, cuts and insertions anywhere; flips in code and data; sections shuffled, doubled, dropped, resized, borrowed. */
export function mutateModule(mutator: Mutator, module: SplitModule, other: SplitModule): Uint8Array {
  const preamble = module.bytes.subarray(0, PREAMBLE_BYTES);
  const sections = [...module.sections];
  const at = mutator.below(sections.length);
  switch (mutator.below(10)) {
    case 0:
      return mutator.mutate(module.bytes);
    case 1:
      return module.bytes.slice(0, mutator.below(module.bytes.length));
    case 2:
      sections.splice(mutator.below(sections.length), 0, ...sections.splice(at, 1));
      return joined(preamble, sections);
    case 3:
      sections.splice(at, mutator.below(2), ...(mutator.below(2) === 0 ? [] : [mutator.pick(other.sections)]));
      return joined(preamble, sections);
    case 4: {
      const changed = sections[at];
      const body = changed === undefined ? new Uint8Array(0) : mutator.mutate(changed.subarray(1 + sizeBytes(changed)));
      sections[at] = section(changed?.[0] ?? 0, body);
      return joined(preamble, sections);
    }
    case 5:
      return flipped(mutator, module, module.code, () => mutator.byte());
    case 6:
      return flipped(mutator, module, module.data, () => mutator.byte());
    default:
      return readable(mutator, module);
  }
}

type Span = SplitModule["code"];

function flipped(mutator: Mutator, { bytes }: SplitModule, span: Span, change: (byte: number) => number): Uint8Array {
  const out = bytes.slice();
  for (let flips = 1 + mutator.below(3); flips > 0; flips--) {
    for (let tries = 0; tries < 20; tries++) {
      const place = span.start + mutator.below(Math.max(1, span.end - span.start));
      const before = out[place] ?? 0;
      out[place] = change(before);
      if (out[place] !== before) break;
    }
  }
  return out;
}

/** Code that still reads as code, most of the time: it gets further. */
function readable(mutator: Mutator, module: SplitModule): Uint8Array {
  for (let tries = 0; ; tries++) {
    const out = flipped(mutator, module, module.code, (byte) => likeIt(mutator, byte));
    try {
      readShape(out);
      return out;
    } catch {
      if (tries === 8) return out;
    }
  }
}

/**
 * Instructions that are followed by the same: local and global access, loads, stores, numbers.
 * The last two are apart because the same bytes also end a number, or say that it goes on.
 */
const FAMILIES: readonly (readonly [number, number])[] = [[0x20, 0x22], [0x23, 0x24], [0x28, 0x35], [0x36, 0x3e], [0x45, 0x7f], [0x80, 0xc4]];

/** Another byte that reads alike, so that what comes after still makes sense. */
function likeIt(mutator: Mutator, byte: number): number {
  const family = FAMILIES.find(([first, last]) => byte >= first && byte <= last);
  return family === undefined ? byte : family[0] + mutator.below(family[1] + 1 - family[0]);
}

/** Of the length that a section states. */
function sizeBytes(bytes: Uint8Array): number {
  let length = 1;
  while (((bytes[length] ?? 0) & 0x80) !== 0) length += 1;
  return Math.max(length, unsignedLeb(0).length);
}
