/** Seeded mutations of bytes. The same seed makes the same ones. */
import { env } from "node:process";

export class Mutator {
  readonly seed: number;
  #state: number;

  /** Without a seed: SIRSI_FUZZ_SEED, or one of its own. */
  constructor(seed = Number(env["SIRSI_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31))) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  /** Below `end`. */
  below(end: number): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  byte(): number {
    return this.pick([this.below(256), 0, 1, 0x7f, 0x80, 0xff]);
  }

  /** A length or a pointer that a liar would choose. */
  u32(near: number): number {
    return this.pick([0, 1, near - 1, near, near + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff, 65_535, 65_536, this.below(2 ** 32)]) >>> 0;
  }

  /** Some bytes set, cut out, put in, doubled, or the end cut off. */
  mutate(bytes: Uint8Array): Uint8Array {
    let out = [...bytes];
    for (let edits = 1 + this.below(4); edits > 0; edits--) {
      const at = this.below(out.length + 1);
      const length = 1 + this.below(8);
      switch (this.below(6)) {
        case 0:
        case 1:
          if (at < out.length) out[at] = this.byte();
          break;
        case 2:
          if (at < out.length) out[at] = (out[at] ?? 0) ^ (1 << this.below(8));
          break;
        case 3:
          out.splice(at, length);
          break;
        case 4:
          out.splice(at, 0, ...Array.from({ length }, () => this.byte()));
          break;
        default:
          out = this.below(2) === 0 ? out.slice(0, at) : [...out.slice(0, at), ...out.slice(Math.max(0, at - length))];
      }
    }
    return Uint8Array.from(out);
  }
}
