/**
 * What an instance's memory was when its last state was taken, kept sparsely, and the
 * finding of what has changed since.
 *
 * Memory is cut into blocks. A block that has been seen to differ from the pristine image
 * is kept in a slot; any other was like the pristine image, or zero where that has ended.
 * So it costs room for what an agent has touched, whatever the size of its memory. A base
 * begins anew, and forgets the blocks that are like the pristine image again.
 *
 * Invariant: between two images, slot or pristine image or zeros of every block are what
 * the block held when the last base or difference was written. A wait changes nothing.
 */
import { crc32 } from "node:zlib";
import type { FrameWriter } from "./frames.ts";

const BLOCK_BYTES = 1024;
const BLOCK_WORDS = BLOCK_BYTES / 4;
/** Untouched blocks compared in one go; a span that differs is halved until the blocks are found. */
const SPAN_BLOCKS = 64;
/** Equal bytes between two changes that are cheaper to repeat than to skip. */
const JOIN_BYTES = 8;
const FIRST_SLOTS = 8;
/** A base leaves at most this many times the slots it needs. */
const SPARE_FACTOR = 4;
/** Ranges of a description are at least one block each, and coarser in a large memory. */
const RANGES_MAX = 4096;

export interface PristineImage {
  readonly memory: Buffer;
  readonly crc: number;
}

export function pristineImage(memory: Uint8Array): PristineImage {
  const copy = Buffer.from(memory);
  return { memory: copy, crc: crc32(copy) };
}

export interface MemoryRange {
  readonly start: number;
  readonly length: number;
}

/** Bytes and the same bytes as words. */
interface Cells {
  readonly bytes: Buffer;
  readonly words: Int32Array;
}

function cellsOf(bytes: Buffer): Cells {
  return { bytes, words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) };
}

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

const NOTHING = cellsOf(Buffer.alloc(0));
const ZEROS = cellsOf(Buffer.alloc(SPAN_BLOCKS * BLOCK_BYTES));

export class Shadow {
  readonly #pristine: Cells;
  readonly #pristineBlocks: number;
  /** By block: its slot plus one; 0 for none. */
  #slotOf = new Int32Array(0);
  #slots = NOTHING;
  #usedSlots = 0;

  // While an image is written.
  #now = NOTHING;
  #out: FrameWriter | null = null;
  #keeps = false;
  #runStart = -1;
  #runEnd = 0;
  #lastEnd = 0;

  constructor(pristine: PristineImage) {
    this.#pristine = cellsOf(pristine.memory);
    this.#pristineBlocks = pristine.memory.length / BLOCK_BYTES;
  }

  /** The runs that make `memory` of the pristine image; `memory` becomes the last state. */
  writeBase(out: FrameWriter, memory: Buffer): void {
    this.#slotOf.fill(0);
    this.#usedSlots = 0;
    this.#write(out, memory, true);
    this.#shrink();
  }

  /** The runs that make `memory` of the last state; `memory` becomes it. */
  writeDifference(out: FrameWriter, memory: Buffer): void {
    this.#write(out, memory, true);
  }

  /** The same, and the last state stays what it was. */
  writeWait(out: FrameWriter, memory: Buffer): void {
    this.#write(out, memory, false);
  }

  /** `memory` becomes the last state; only in `blocks` does it differ from the pristine image. */
  remember(memory: Buffer, blocks: Iterable<number>): void {
    this.#look(memory);
    for (const block of blocks) this.#keep(block);
    this.#now = NOTHING;
  }

  /** Where memory differs from the pristine image, in order. */
  touched(memory: Buffer): MemoryRange[] {
    const found: { start: number; length: number }[] = [];
    const step = BLOCK_BYTES * 2 ** Math.max(0, Math.ceil(Math.log2(memory.length / BLOCK_BYTES / RANGES_MAX)));
    for (let start = 0; start < memory.length; start += step) {
      const block = start / BLOCK_BYTES;
      if (this.#isPristine(memory, block, block + step / BLOCK_BYTES)) continue;
      const last = found.at(-1);
      if (last !== undefined && last.start + last.length === start) last.length += step;
      else found.push({ start, length: step });
    }
    return found;
  }

  static blocksOf(start: number, end: number, into: Set<number>): void {
    for (let block = Math.floor(start / BLOCK_BYTES); block * BLOCK_BYTES < end; block++) into.add(block);
  }

  #look(memory: Buffer): void {
    this.#now = cellsOf(memory);
    const blocks = memory.length / BLOCK_BYTES;
    if (blocks <= this.#slotOf.length) return;
    const grown = new Int32Array(blocks);
    grown.set(this.#slotOf);
    this.#slotOf = grown;
  }

  #write(out: FrameWriter, memory: Buffer, keeps: boolean): void {
    this.#look(memory);
    this.#out = out;
    this.#keeps = keeps;
    this.#runStart = -1;
    this.#lastEnd = 0;
    const slotOf = this.#slotOf;
    const blocks = memory.length / BLOCK_BYTES;
    for (let block = 0; block < blocks; ) {
      const slot = slotOf[block] ?? 0;
      if (slot !== 0) {
        // What an agent has changed once it mostly changes again: not worth a look as a whole.
        this.#compare(block, this.#slots.words, (slot - 1) * BLOCK_WORDS);
        block++;
        continue;
      }
      const end = this.#untouchedEnd(block, blocks);
      this.#search(block, end);
      block = end;
    }
    this.#endRun();
    this.#now = NOTHING;
    this.#out = null;
  }

  /** Blocks from `first` on that were like the pristine image, or like zeros, when the last state was taken. */
  #untouchedEnd(first: number, blocks: number): number {
    const slotOf = this.#slotOf;
    const most = Math.min(first + SPAN_BLOCKS, first < this.#pristineBlocks ? this.#pristineBlocks : blocks);
    let end = first + 1;
    while (end < most && slotOf[end] === 0) end++;
    return end;
  }

  #search(first: number, end: number): void {
    const known = first < this.#pristineBlocks;
    const last = known ? this.#pristine : ZEROS;
    const from = known ? first * BLOCK_BYTES : 0;
    if (this.#now.bytes.compare(last.bytes, from, from + (end - first) * BLOCK_BYTES, first * BLOCK_BYTES, end * BLOCK_BYTES) === 0) return;
    if (end - first === 1) return this.#compare(first, last.words, from >> 2);
    const middle = (first + end) >>> 1;
    this.#search(first, middle);
    this.#search(middle, end);
  }

  /** A block, word by word, with its last state, which lies at word `lastAt` of `last`. */
  #compare(block: number, last: Int32Array, lastAt: number): void {
    const { words } = this.#now;
    const at = block * BLOCK_WORDS;
    let differs = false;
    for (let word = 0; word < BLOCK_WORDS; word += 4) {
      const a = at + word;
      const b = lastAt + word;
      // Bit by bit, so that the four are one comparison. All of them are there: TypeScript cannot know it.
      const first = (words[a] as number) ^ (last[b] as number);
      const second = (words[a + 1] as number) ^ (last[b + 1] as number);
      const third = (words[a + 2] as number) ^ (last[b + 2] as number);
      const fourth = (words[a + 3] as number) ^ (last[b + 3] as number);
      if ((first | second | third | fourth) === 0) continue;
      differs = true;
      if (first !== 0) this.#changed(a << 2, first);
      if (second !== 0) this.#changed((a + 1) << 2, second);
      if (third !== 0) this.#changed((a + 2) << 2, third);
      if (fourth !== 0) this.#changed((a + 3) << 2, fourth);
    }
    if (differs && this.#keeps) this.#keep(block);
  }

  /** The word at `start` differs in `bits`. */
  #changed(start: number, bits: number): void {
    const low = (31 - Math.clz32(bits & -bits)) >> 3;
    const high = Math.clz32(bits) >> 3;
    const first = start + (LITTLE_ENDIAN ? low : high);
    if (this.#runStart >= 0 && first - this.#runEnd > JOIN_BYTES) this.#endRun();
    if (this.#runStart < 0) this.#runStart = first;
    this.#runEnd = start + 4 - (LITTLE_ENDIAN ? high : low);
  }

  #endRun(): void {
    if (this.#runStart < 0 || this.#out === null) return;
    this.#out.varint(this.#runStart - this.#lastEnd);
    this.#out.varint(this.#runEnd - this.#runStart);
    this.#out.append(this.#now.bytes, this.#runStart, this.#runEnd);
    this.#lastEnd = this.#runEnd;
    this.#runStart = -1;
  }

  /** Makes what the block holds now its last state. */
  #keep(block: number): void {
    const slot = this.#slotOf[block] ?? 0;
    const kept = slot === 0 ? this.#newSlot() : slot;
    this.#slotOf[block] = kept;
    this.#now.bytes.copy(this.#slots.bytes, (kept - 1) * BLOCK_BYTES, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  }

  #isPristine(memory: Buffer, first: number, end: number): boolean {
    for (let block = first; block < end; block++) {
      const known = block < this.#pristineBlocks;
      const at = known ? block * BLOCK_BYTES : 0;
      if (memory.compare(known ? this.#pristine.bytes : ZEROS.bytes, at, at + BLOCK_BYTES, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES) !== 0) return false;
    }
    return true;
  }

  #newSlot(): number {
    const capacity = this.#slots.bytes.length / BLOCK_BYTES;
    if (this.#usedSlots === capacity) this.#resize(Math.max(FIRST_SLOTS, capacity * 2));
    return ++this.#usedSlots;
  }

  #shrink(): void {
    const needed = Math.max(FIRST_SLOTS, this.#usedSlots);
    if (needed * SPARE_FACTOR < this.#slots.bytes.length / BLOCK_BYTES) this.#resize(needed);
  }

  #resize(slots: number): void {
    const bytes = Buffer.allocUnsafeSlow(slots * BLOCK_BYTES);
    this.#slots.bytes.copy(bytes, 0, 0, this.#usedSlots * BLOCK_BYTES);
    this.#slots = cellsOf(bytes);
  }
}
