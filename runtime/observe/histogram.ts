/**
 * Latencies in fixed memory: a histogram whose buckets widen with the value, so
 * that a quantile is off by at most half a bucket, whatever the range.
 *
 * Values are milliseconds, kept as whole microseconds from 0 to 2^32 - 1 (71
 * minutes); longer ones count as the longest, though `maxMs` stays exact. Each
 * power of two is cut into 2^precisionBits buckets: 3 bits err by at most 6.3 %
 * in 1 KiB (one per agent), 5 bits by 1.6 % in 3.5 KiB (benchmarks).
 */
import { SirsiError } from "../core/errors.ts";

const LARGEST_MICROS = 2 ** 32 - 1;

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export class LatencyHistogram {
  readonly #bits: number;
  /** Made at the first value: most agents of a big host are idle. */
  #buckets: Uint32Array | null = null;
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  constructor(precisionBits = 3) {
    if (!Number.isInteger(precisionBits) || precisionBits < 1 || precisionBits > 8) {
      throw new SirsiError("INVALID_ARGUMENT", `precisionBits must be a whole number from 1 to 8; got ${precisionBits}`);
    }
    this.#bits = precisionBits;
  }

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count;
  }

  /** Anything below 0, and what is not a number, counts as 0. */
  record(ms: number): void {
    const value = ms > 0 ? ms : 0;
    const micros = Math.min(Math.round(value * 1000), LARGEST_MICROS);
    const at = this.#indexOf(micros);
    const buckets = (this.#buckets ??= new Uint32Array(this.#indexOf(LARGEST_MICROS) + 1));
    buckets[at] = (buckets[at] ?? 0) + 1;
    this.#count += 1;
    this.#sumMs += value;
    if (value > this.#maxMs) this.#maxMs = value;
  }

  /** The value that a share `q` (0 to 1) of all values does not exceed; 0 when there are none. */
  quantile(q: number): number {
    const buckets = this.#buckets;
    if (buckets === null) return 0;
    const rank = Math.max(1, Math.ceil(Math.min(1, q) * this.#count));
    let seen = 0;
    for (let at = 0; at < buckets.length; at += 1) {
      seen += buckets[at] ?? 0;
      if (seen >= rank) return Math.min(this.#middleOf(at), this.#maxMs);
    }
    return this.#maxMs;
  }

  summary(): LatencySummary {
    return { count: this.#count, meanMs: this.meanMs, p50Ms: this.quantile(0.5), p99Ms: this.quantile(0.99), maxMs: this.#maxMs };
  }

  /** Adds what another one of the same precision has seen. */
  merge(other: LatencyHistogram): void {
    if (other.#bits !== this.#bits) {
      throw new SirsiError("INVALID_ARGUMENT", `cannot merge histograms of ${this.#bits} and ${other.#bits} bits: use one precision`);
    }
    if (other.#buckets === null) return;
    const buckets = (this.#buckets ??= new Uint32Array(other.#buckets.length));
    for (const [at, n] of other.#buckets.entries()) buckets[at] = (buckets[at] ?? 0) + n;
    this.#count += other.#count;
    this.#sumMs += other.#sumMs;
    this.#maxMs = Math.max(this.#maxMs, other.#maxMs);
  }

  reset(): void {
    this.#buckets = null;
    this.#count = 0;
    this.#sumMs = 0;
    this.#maxMs = 0;
  }

  /** The first 2^bits buckets are one microsecond wide; from there each power of two has 2^bits. */
  #indexOf(micros: number): number {
    const perOctave = 1 << this.#bits;
    if (micros < perOctave) return micros;
    const shift = 31 - Math.clz32(micros) - this.#bits;
    return shift * perOctave + (micros >>> shift);
  }

  #middleOf(index: number): number {
    const perOctave = 1 << this.#bits;
    if (index < perOctave) return index / 1000;
    const shift = Math.floor(index / perOctave) - 1;
    const low = (index - shift * perOctave) * 2 ** shift;
    return (low + (2 ** shift - 1) / 2) / 1000;
  }
}
