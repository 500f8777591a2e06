/**
 * Statements for many rows at once: each column travels as one array, so that the text of
 * a statement is the same for one row and for a thousand, and is prepared once.
 */
import type { Statement } from "./link.ts";
import { arrayText, type ArrayItem } from "./stored-text.ts";

type ColumnType = "uuid" | "text" | "bigint" | "boolean" | "bytea" | "double precision";

/** Name and type, in order. */
export type Columns = Readonly<Record<string, ColumnType>>;

function unnest(columns: Columns): string {
  return `unnest(${Object.values(columns).map((type, index) => `$${index + 1}::${type}[]`).join(", ")}) AS t (${Object.keys(columns).join(", ")})`;
}

/** A statement for rows that it knows as the table `t`; null for no rows. */
export function multiRow(columns: Columns, sql: (rows: string) => string): (rows: readonly (readonly ArrayItem[])[]) => Statement | null {
  const text = sql(unnest(columns));
  const width = Object.keys(columns).length;
  return (rows) => {
    if (rows.length === 0) return null;
    return { sql: text, parameters: Array.from({ length: width }, (_, column) => arrayText(rows.map((row) => row[column] ?? null))) };
  };
}

/** Inserts rows; `conflict` is what follows, such as ON CONFLICT. */
export function insertRows(table: string, columns: Columns, conflict = ""): (rows: readonly (readonly ArrayItem[])[]) => Statement | null {
  const names = Object.keys(columns).join(", ");
  return multiRow(columns, (rows) => `INSERT INTO ${table} (${names}) SELECT ${names} FROM ${rows} ${conflict}`);
}

/** Inserts rows, or replaces those with the same key. */
export function upsertRows(table: string, key: readonly string[], columns: Columns): (rows: readonly (readonly ArrayItem[])[]) => Statement | null {
  const others = Object.keys(columns).filter((name) => !key.includes(name));
  return insertRows(table, columns, `ON CONFLICT (${key.join(", ")}) DO UPDATE SET ${others.map((name) => `${name} = excluded.${name}`).join(", ")}`);
}
