/**
 * Text as Postgres can hold it. Its text may be anything but U+0000, and what clients
 * send may hold that too. So U+0000 is kept as U+0001 U+0001, and U+0001 as U+0001 U+0002:
 * what is equal stays equal, and nearly all text stays as it is.
 *
 * Text that is put in order (keys of documents, ids of dead letters) is kept as its
 * UTF-8 bytes, in columns of bytes, because how a database orders text depends on its
 * locale, and CockroachDB's collations are not Postgres's. `convert_from(key, 'UTF8')`
 * shows such a column.
 */

// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\0\u0001]/;
// oxlint-disable-next-line no-control-regex
const EACH_UNSAFE = /[\0\u0001]/g;
// oxlint-disable-next-line no-control-regex
const EACH_KEPT = /\u0001([\u0001\u0002])/g;

export function keptText(text: string): string {
  return UNSAFE.test(text) ? text.replace(EACH_UNSAFE, (one) => (one === "\0" ? "\u0001\u0001" : "\u0001\u0002")) : text;
}

export function givenText(kept: string): string {
  return kept.includes("\u0001") ? kept.replace(EACH_KEPT, (_, second) => (second === "\u0001" ? "\0" : "\u0001")) : kept;
}

export function keptBytes(text: string): Uint8Array {
  return Buffer.from(text, "utf8");
}

export function givenBytes(kept: Uint8Array): string {
  return Buffer.from(kept.buffer, kept.byteOffset, kept.byteLength).toString("utf8");
}

/** The bytes that every text with this prefix is below of, or null when there is no such bound. */
export function prefixEnd(prefix: string): Uint8Array | null {
  const end = Buffer.from(prefix, "utf8");
  const last = end.length - 1;
  if (last < 0) return null;
  // UTF-8 has no byte 0xff.
  end[last] = (end[last] as number) + 1;
  return end;
}

export type ArrayItem = string | number | boolean | Uint8Array | null;

const EACH_ESCAPED = /["\\]/g;

function itemText(item: ArrayItem): string {
  if (item === null) return "NULL";
  if (typeof item === "number" || typeof item === "boolean") return String(item);
  if (typeof item === "string") return `"${item.replace(EACH_ESCAPED, String.raw`\$&`)}"`;
  return String.raw`"\\x${Buffer.from(item.buffer, item.byteOffset, item.byteLength).toString("hex")}"`;
}

/** An array as a parameter: one for each column of a multi-row statement. */
export function arrayText(items: readonly ArrayItem[]): string {
  return `{${items.map(itemText).join(",")}}`;
}
