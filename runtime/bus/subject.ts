/**
 * Subjects and the patterns that select them, by NATS's rules, and stricter in
 * two places: a token may not mix `*` or `>` with other characters (NATS takes
 * `orders.new*` as a literal, which is never what its author meant), and length
 * is bounded, because a NATS server hangs up on a control line over 4 KiB.
 */
import { SirsiError } from "../core/errors.ts";

export const MAX_SUBJECT_CHARS = 1_024;

const TOKEN = String.raw`[^\s\p{Cc}.*>]+`;
const SUBJECT = new RegExp(String.raw`^${TOKEN}(?:\.${TOKEN})*$`, "u");
const PATTERN = new RegExp(String.raw`^(?:>|(?:\*|${TOKEN})(?:\.(?:\*|${TOKEN}))*(?:\.>)?)$`, "u");

/** May something be published to it? */
export function isSubject(text: string): boolean {
  return text.length <= MAX_SUBJECT_CHARS && SUBJECT.test(text);
}

/** May something subscribe to it? Every subject is also a pattern. */
export function isPattern(text: string): boolean {
  return text.length <= MAX_SUBJECT_CHARS && PATTERN.test(text);
}

/** The subject itself, or INVALID_ARGUMENT saying what is wrong with it. */
export function requireSubject(text: string): string {
  if (isSubject(text)) return text;
  const fault = isPattern(text) ? "a wildcard stands for many subjects, and a message goes to one; name it in full" : faultOf(text);
  throw invalid(text, "subject", fault);
}

/** The pattern itself, or INVALID_ARGUMENT saying what is wrong with it. */
export function requirePattern(text: string): string {
  if (isPattern(text)) return text;
  throw invalid(text, "pattern", faultOf(text));
}

function invalid(text: string, noun: string, fault: string): SirsiError {
  return new SirsiError("INVALID_ARGUMENT", `${JSON.stringify(text.slice(0, 80))} is not a ${noun} of the bus: ${fault}.`, {
    fields: [{ field: "subject", description: fault }],
  });
}

function faultOf(text: string): string {
  if (text === "") return "it is empty";
  if (text.length > MAX_SUBJECT_CHARS) return `it has ${text.length} characters and may have ${MAX_SUBJECT_CHARS}`;
  if (/[\s\p{Cc}]/u.test(text)) return "it holds white space or a control character; leave it out";
  const tokens = text.split(".");
  if (tokens.includes("")) return "two dots meet, or one is first or last; put a token between them";
  if (tokens.slice(0, -1).includes(">")) return "> stands for all that follows and may only be the last token";
  return "* and > must be whole tokens; they cannot be part of one";
}

/** Does the pattern select the subject? Both must be well formed. */
export function matchesSubject(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, want] of wanted.entries()) {
    const token = tokens[index];
    if (token === undefined) return false;
    if (want === ">") return true;
    if (want !== "*" && want !== token) return false;
  }
  return wanted.length === tokens.length;
}

/** Does the pattern `wide` select every subject that `narrow` does? Both must be well formed. */
export function coversPattern(wide: string, narrow: string): boolean {
  const wanted = wide.split(".");
  const tokens = narrow.split(".");
  for (const [index, want] of wanted.entries()) {
    const token = tokens[index];
    if (token === undefined) return false;
    if (want === ">") return true;
    if (token === ">" || (want !== "*" && want !== token)) return false;
  }
  return wanted.length === tokens.length;
}
