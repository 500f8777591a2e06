/** The key of a commit's row: see schema.ts. Keys are made and taken apart in SQL alone, for they need 63 bits. */

/** One more than the highest sequence there is room for. */
export const SEQUENCES = 2 ** 36;

/** Of the commit `sequence` of an agent; both are SQL expressions. */
export function commitKey(agentKey: string, sequence: string): string {
  return `(${agentKey} << 36 | ${sequence})`;
}

/** The column `sequence` of a row of commits. */
export const SEQUENCE = "commit_key & 68719476735 AS sequence";

/** A sequence that a caller gave as a bound, Infinity included, as one that fits the key. */
export function boundedSequence(sequence: number): number {
  return Math.min(Math.max(Math.floor(sequence), 0), SEQUENCES - 1);
}
