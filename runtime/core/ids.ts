/** Identifiers: UUID version 7, so that ids sort by creation and fit a Postgres uuid. */
import { randomFillSync } from "node:crypto";
import { SirsiError } from "./errors.ts";

const POOL_BYTES = 16 * 256;
const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;
let lastMs = 0;
let counter = 0;

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"));

/** A new id. Ids made by one process rise strictly, within a millisecond too. */
export function newId(nowMs: number): string {
  if (used === POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  if (nowMs > lastMs) {
    lastMs = nowMs;
    counter = (pool[used] ?? 0) & 0x7f;
  } else if (++counter > 0xfff) {
    lastMs += 1;
    counter = 0;
  }
  const hex = (byte: number) => HEX[byte & 0xff] as string;
  const high = Math.floor(lastMs / 2 ** 32);
  const low = lastMs >>> 0;
  const r = (at: number) => pool[used + at] as number;
  const id =
    `${hex(high >>> 8)}${hex(high)}${hex(low >>> 24)}${hex(low >>> 16)}-${hex(low >>> 8)}${hex(low)}` +
    `-${hex(0x70 | (counter >>> 8))}${hex(counter)}-${hex(0x80 | (r(8) & 0x3f))}${hex(r(9))}` +
    `-${hex(r(10))}${hex(r(11))}${hex(r(12))}${hex(r(13))}${hex(r(14))}${hex(r(15))}`;
  used += 16;
  return id;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isId(text: string): boolean {
  return UUID.test(text);
}

/** The id itself, or INVALID_ARGUMENT naming the field. */
export function requireId(text: string, field: string): string {
  if (isId(text)) return text;
  const got = text === "" ? "it is empty" : `got ${JSON.stringify(text.slice(0, 60))}`;
  throw new SirsiError("INVALID_ARGUMENT", `${field} must be an id such as 0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11; ${got}`, {
    fields: [{ field, description: `not a lower-case UUID: ${got}` }],
  });
}

/** Ids that clients choose for messages: any visible ASCII, 1 to 128 characters. */
const MESSAGE_ID = /^[\x21-\x7e]{1,128}$/;

export function isMessageId(text: string): boolean {
  return MESSAGE_ID.test(text);
}
