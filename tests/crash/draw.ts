/** Lots that come out the same for the same seed. Streams of different names do not touch each other. */
export class Draw {
  #a: number;
  #b: number;

  constructor(seed: number, stream: string) {
    let h = (seed ^ 0x9e3779b9) >>> 0;
    for (let i = 0; i < stream.length; i++) h = Math.imul(h ^ stream.charCodeAt(i), 0x01000193) >>> 0;
    this.#a = (h | 1) >>> 0;
    this.#b = Math.imul(h, 0x85ebca6b) >>> 0;
    for (let i = 0; i < 8; i++) this.next();
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    let t = (this.#a ^ (this.#a << 11)) >>> 0;
    t = (t ^ (t >>> 8)) >>> 0;
    this.#a = this.#b === 0 ? 1 : this.#b;
    this.#b = (this.#b ^ (this.#b >>> 19) ^ t) >>> 0;
    // Xorshift alone is weak in its low bits.
    return (Math.imul(this.#b, 0x9e3779b1) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Small numbers as often as large ones: even over the orders of magnitude. */
  scaled(min: number, max: number): number {
    return Math.min(max, Math.floor(min * (max / min + 1) ** this.next()));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  one<T>(all: readonly T[]): T {
    return all[Math.floor(this.next() * all.length)] as T;
  }

  /** One of the names, each as likely as its weight. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let at = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return (entries.at(-1) as [Name, number])[0];
  }
}
