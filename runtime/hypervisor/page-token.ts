/**
 * Opaque page tokens: a position in a listing, sealed to that listing and its
 * filter. The seal tells a token from nonsense and from one of another listing; it
 * is no secret, for a position reveals nothing that the listing would not.
 */
import { hash } from "node:crypto";
import { SirsiError } from "../core/errors.ts";

const SEAL_CHARS = 16;
const TOKEN_MAX_CHARS = 1_024;

/** `scope` is all that must stay the same from page to page, its parts in a fixed order. */
export function pageToken(scope: readonly string[], position: readonly (string | number)[]): string {
  const text = JSON.stringify(position);
  return Buffer.from(seal(scope, text) + text).toString("base64url");
}

/** The position, as it was given to pageToken; null for the first page. PAGE_TOKEN_INVALID. */
export function readPageToken(scope: readonly string[], token: string): readonly (string | number)[] | null {
  if (token === "") return null;
  const raw = token.length > TOKEN_MAX_CHARS ? "" : Buffer.from(token, "base64url").toString();
  const text = raw.slice(SEAL_CHARS);
  if (raw.length <= SEAL_CHARS || raw.slice(0, SEAL_CHARS) !== seal(scope, text)) {
    throw new SirsiError("PAGE_TOKEN_INVALID", "page_token was not made by this listing with this filter; send the token of the last page unchanged with the same filter, or none to start again", {
      fields: [{ field: "page_token", description: "not made by this listing with this filter" }],
    });
  }
  return JSON.parse(text) as (string | number)[];
}

function seal(scope: readonly string[], text: string): string {
  return hash("sha256", JSON.stringify([scope, text]), "base64url").slice(0, SEAL_CHARS);
}
