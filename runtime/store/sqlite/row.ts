/** Columns as TypeScript values. SQLite's STRICT tables hold the types; JSON text is checked here. */
import type { SQLOutputValue } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";

export type Row = Readonly<Record<string, SQLOutputValue>>;

export function text(row: Row, column: string): string {
  return row[column] as string;
}

export function textOrNull(row: Row, column: string): string | null {
  return row[column] as string | null;
}

export function number(row: Row, column: string): number {
  return row[column] as number;
}

export function numberOrNull(row: Row, column: string): number | null {
  return row[column] as number | null;
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
    const value: unknown = JSON.parse(text(row, column));
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Falls through: text that is no JSON and JSON that is no object are the same fault.
  }
  throw new SirsiError(
    "STORE_CORRUPT",
    `The column ${column} of ${record} is not a JSON object. Restore the data directory from a backup; keep the damaged one for a report.`,
  );
}
