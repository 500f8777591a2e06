/** Columns as TypeScript values. The tables hold the types; JSON text is checked here. */
import { SirsiError } from "../../core/errors.ts";
import { givenBytes, givenText } from "./stored-text.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Text that no client chose: ids, states, kinds. */
export function plain(row: Row, column: string): string {
  return row[column] as string;
}

export function plainOrNull(row: Row, column: string): string | null {
  return row[column] as string | null;
}

/** Text that may be anything. */
export function text(row: Row, column: string): string {
  return givenText(row[column] as string);
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] === null ? null : text(row, column);
}

/** Text from a column of bytes. */
export function orderedText(row: Row, column: string): string {
  return givenBytes(row[column] as Uint8Array);
}

export function number(row: Row, column: string): number {
  return row[column] as number;
}

export function numberOrNull(row: Row, column: string): number | null {
  return row[column] as number | null;
}

export function flag(row: Row, column: string): boolean {
  return row[column] as boolean;
}

export function bytes(row: Row, column: string): Uint8Array {
  return row[column] as Uint8Array;
}

export function bytesOrNull(row: Row, column: string): Uint8Array | null {
  return row[column] as Uint8Array | null;
}

/** The JSON object in a column, or STORE_CORRUPT naming the record. */
export function json(row: Row, column: string, record: string): object {
  try {
    const value: unknown = JSON.parse(row[column] as string);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Falls through: text that is no JSON and JSON that is no object are the same fault.
  }
  throw new SirsiError("STORE_CORRUPT", `The column ${column} of ${record} is not a JSON object. Restore the database from a backup; keep the damaged one for a report.`);
}
