/** The ledger's hash chain, written anew: what it says it took must lead from one hash to the next. */

export interface ChainLine {
  readonly position: number;
  readonly sender: string;
  readonly sequence: number;
  readonly kind: string;
  readonly amount: number;
}

/** Of a ledger that has taken nothing yet. */
export const FIRST_HASH = "811c9dc59e3779b9";

export function nextHash(hash: string, { position, sender, sequence, kind, amount }: ChainLine): string {
  let h1 = Number.parseInt(hash.slice(0, 8), 16);
  let h2 = Number.parseInt(hash.slice(8), 16);
  for (const letter of `${position}|${sender}|${sequence}|${kind}|${amount}`) {
    const unit = letter.charCodeAt(0);
    h1 = Math.imul((h1 ^ unit) >>> 0, 0x01000193) >>> 0;
    const mixed = (h2 ^ Math.imul(unit, 0x85ebca6b)) >>> 0;
    h2 = (((mixed << 13) | (mixed >>> 19)) + h1) >>> 0;
  }
  return h1.toString(16).padStart(8, "0") + h2.toString(16).padStart(8, "0");
}
