/** A guest's state for a person: where memory was touched, globals, and saved bytes as text or as a dump. */
import type { InspectStateResponse, MemoryRange, SavedState } from "../client/index.ts";
import { bytes, cell, cleanText, fields, table } from "./text.ts";

/** More would not be read; JSON has them all. */
const RANGES_SHOWN = 32;
const TEXT_SHOWN = 8_192;
const DUMP_SHOWN = 256;
const DUMP_WIDTH = 16;
/** What text has no use for. */
const BINARY = /[^\P{Cc}\t\n\r]/u;

export function inspectionText(state: InspectStateResponse): string {
  const touched = state.touched.reduce((sum, { length }) => sum + Number(length), 0);
  const head = fields([
    ["commit", String(state.sequence)],
    ["revision", `${state.moduleVersion} (${state.digest.slice(0, 12)})`],
    ["memory", bytes(Number(state.memoryBytes))],
    ["touched", `${bytes(touched)} in ${state.touched.length} ${state.touched.length === 1 ? "range" : "ranges"}`],
    ["at rest", state.suspended ? "no: in the middle of a wait" : "yes"],
  ]);
  return [head, rangesText(state.touched), globalsText(state), savedText(state)].filter((part) => part !== "").join("\n");
}

function rangesText(ranges: readonly MemoryRange[]): string {
  if (ranges.length === 0) return "";
  const rows = ranges.slice(0, RANGES_SHOWN).map(({ start, length }) => [hex(start), hex(start + length - 1n), bytes(Number(length))]);
  const rest = ranges.length - rows.length;
  return table(["FROM", "TO", "SIZE"], rows) + (rest === 0 ? "" : `and ${rest} more; -o json has them all\n`);
}

function globalsText({ globals }: InspectStateResponse): string {
  return globals.length === 0 ? "" : table(["GLOBAL", "TYPE", "VALUE"], globals.map(({ name, type, value }) => [name, type, value]));
}

function savedText({ saved, saveError }: InspectStateResponse): string {
  if (saved === undefined) return `save() gave nothing: ${cell(saveError)}\n`;
  const head = `save() gave schema ${saved.schema}, ${bytes(saved.state.length)}`;
  return saved.state.length === 0 ? `${head}\n` : `${head}:\n${contentText(saved)}`;
}

function contentText({ state }: SavedState): string {
  const text = textOf(state);
  if (text === null) {
    const rest = state.length - DUMP_SHOWN;
    return hexDump(state.subarray(0, DUMP_SHOWN)) + (rest > 0 ? `and ${bytes(rest)} more; --out FILE writes all\n` : "");
  }
  const rest = text.length - TEXT_SHOWN;
  return `${cleanText(text.slice(0, TEXT_SHOWN)).trimEnd()}\n${rest > 0 ? `and ${rest} characters more; --out FILE writes all\n` : ""}`;
}

/** The bytes as UTF-8; null when they are something else. */
export function textOf(data: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(data);
    return BINARY.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Offset, bytes, and what of them can be printed. */
export function hexDump(data: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += DUMP_WIDTH) {
    const row = [...data.subarray(at, at + DUMP_WIDTH)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const printable = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${digits.padEnd(DUMP_WIDTH * 3 - 1)}  ${printable}\n`);
  }
  return lines.join("");
}

function hex(value: bigint): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
