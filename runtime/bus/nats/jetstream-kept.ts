/**
 * Whether a stream that lets the oldest go first still has all of a subject from a sequence
 * on. Pure. The server does not record what it let go, so "look" means: only the oldest
 * entry that is left can tell.
 */

export interface SubjectLook {
  /** Of the whole stream; above `last` when it is empty. */
  readonly first: number;
  readonly last: number;
  /** Entries of the subject. */
  readonly count: number;
  readonly maxPerSubject: number;
}

/** So near to its limit that the subject may give up its oldest while somebody begins to read. */
export function isNearlyFull({ count, maxPerSubject }: SubjectLook): boolean {
  return count >= maxPerSubject * 0.75;
}

export function keepsFrom(from: number, { first, last, count, maxPerSubject }: SubjectLook): "yes" | "ahead" | "look" {
  if (from > last + 1) return "ahead";
  if (from > last) return "yes";
  // Age and room take the head of the stream alone, and a subject gives up its own oldest
  // only while it is full; when it is not full any more, the head has moved past those.
  if (first <= from && count < maxPerSubject) return "yes";
  return "look";
}
