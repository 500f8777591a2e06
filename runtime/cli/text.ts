/** Text for a terminal: aligned columns, short times, and nothing a guest or host could steer the terminal with. */
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** Control characters but tab and line feed, and those that turn the direction of writing. */
const CONTROL = /[^\P{Cc}\t\n]|\p{Bidi_Control}/gu;
const LINE_BREAK = /\s*[\r\n\t]+\s*/g;

/** Without control characters, line breaks and tabs kept. */
export function cleanText(text: string): string {
  return text.replaceAll("\r\n", "\n").replaceAll(CONTROL, "\u{fffd}");
}

/** The same on one line; "-" when there is nothing. */
export function cell(text: string): string {
  const line = text.replaceAll(LINE_BREAK, " ").replaceAll(CONTROL, "\u{fffd}").trim();
  return line === "" ? "-" : line;
}

/** Columns as wide as their widest cell, two spaces apart; the last one is not filled up. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows.map((row) => row.map(cell))];
  const widths = headers.map((_, column) => Math.max(...lines.map((line) => width(line[column] ?? ""))));
  return lines
    .map((line) => line.map((text, column) => (column === headers.length - 1 ? text : text + " ".repeat((widths[column] ?? 0) - width(text)))).join("  "))
    .join("\n")
    .concat("\n");
}

/** Names and values, one pair a line. Values may go over lines. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const longest = Math.max(0, ...pairs.map(([name]) => width(name)));
  const indent = `\n${" ".repeat(longest + 2)}`;
  return pairs
    .map(([name, value]) => `${name}${" ".repeat(longest + 2 - width(name))}${value === "" ? "-" : cleanText(value).trimEnd().replaceAll("\n", indent)}\n`)
    .join("");
}

/** "a=1 b=2", in order of name; numbers to three places. */
export function pairs(map: Readonly<Record<string, string | number>>): string {
  return Object.entries(map)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${typeof value === "number" ? Number(value.toFixed(3)) : value}`)
    .join(" ");
}

/** UTC, to the second: "2026-01-31 09:30:00Z". */
export function time(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return "";
  return `${timestampDate(timestamp).toISOString().slice(0, 19).replace("T", " ")}Z`;
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count: number): string {
  const power = Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  const value = count / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${BYTE_UNITS[power] ?? ""}`;
}

const segments = new Intl.Segmenter("en");
const WIDE = /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** Columns that a text takes up. */
function width(text: string): number {
  let columns = 0;
  for (const { segment } of segments.segment(text)) columns += WIDE.test(segment) ? 2 : 1;
  return columns;
}
