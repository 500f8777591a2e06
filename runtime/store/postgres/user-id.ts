/**
 * Users' ids are whatever clients call them ("ada", an e-mail address, a UUID), and the
 * table of sessions refers to users by a uuid. A user id that is a UUID is that uuid.
 * Any other has one that is made from its text: UUID version 8 out of its SHA-256, so that
 * every host finds the same without asking. The text itself stands beside it. A version 8
 * UUID that a client chose is made anew as text is, so that none can pass for another's.
 */
import { createHash } from "node:crypto";
import { isId } from "../../core/ids.ts";

const NAME = "sirsi user ";

export function userKey(userId: string): string {
  return isId(userId) && userId[14] !== "8" ? userId : derivedUuid(NAME + userId);
}

/** A version 8 UUID that stands for a text: the same for the same text, for all we know no other's. */
export function derivedUuid(text: string): string {
  const hash = createHash("sha256").update(text, "utf8").digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x80;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
