/** Readers of options: text in, value out, or a usage error that says what was wanted. */
import { InvalidArgumentError } from "commander";
import { parseAddress } from "../config/index.ts";

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90" (seconds), "500ms", "1.5s", "15m", "2h", "7d"; to milliseconds. */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  const ms = match === null ? 0 : Math.round(Number(match[1]) * (UNIT_MS[match[2] ?? "s"] ?? 0));
  if (ms < 1 || ms > 365 * 86_400_000) throw new InvalidArgumentError("Give seconds, or a number with ms, s, m, h or d, such as 30 or 15m; at most 365d.");
  return ms;
}

export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) throw new InvalidArgumentError("Give a whole number.");
  return count;
}

const LARGEST_SEQUENCE = 2n ** 63n - 1n;

/** An event's sequence; they go beyond what a number holds exactly. */
export function parseSequence(text: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > LARGEST_SEQUENCE) throw new InvalidArgumentError("Give the sequence of an event, a whole number.");
  return BigInt(text);
}

export function parseHostAddress(text: string): string {
  const outcome = parseAddress(text);
  if (outcome.kind === "problem") throw new InvalidArgumentError(`It ${outcome.problem}.`);
  return text;
}

/** NAME=VALUE, collected over repeats. */
export function collectPair(text: string, before: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Give NAME=VALUE.");
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

export function collectText(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}
