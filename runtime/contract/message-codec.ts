/**
 * Message and MessageResult as bytes, written out by hand for the one path that every
 * message takes twice: a third of the generated codec's time to write, a sixth to read.
 * Whatever is not plain is left to that one, and a property test holds the two to each other.
 * send-message-codec.ts has the same for a message's way through gRPC.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Message } from "./gen/sirsi/agent/v1/agent_service_pb.ts";
import type { GuestResult } from "./gen/sirsi/agent/v1/guest_pb.ts";

const NANOS = 1_000_000_000;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Longer texts are left to the engine's own encoder. */
const ASCII_MAX_CHARS = 64;
/** Longer texts are cheaper to hand to the engine than to put together by character. */
const SHORT_CHARS = 16;

/** Reused: a message is written here first and copied out at its exact length. */
let scratch = Buffer.allocUnsafeSlow(16 * 1024);

/**
 * GuestCall{message: MessageCall{message}} for a message without attachments, or null
 * when it has some.
 */
export function encodePlainMessageCall(message: Message): Uint8Array | null {
  if (message.attachments.length > 0 || message.$unknown !== undefined) return null;
  const most = mostBytes(message);
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
  const length = writeMessage(scratch, 0, message);
  if (length < 0) return null;
  const inner = varintBytes(length) + 1 + length;
  // From Node's pool: a third of what a buffer of its own costs.
  const out = Buffer.allocUnsafe(1 + varintBytes(inner) + inner);
  out[0] = 0x12; // GuestCall.message = 2, length-delimited
  let at = writeVarint(out, 1, inner);
  out[at++] = 0x0a; // MessageCall.message = 1, length-delimited
  at = writeVarint(out, at, length);
  scratch.copy(out, at, 0, length);
  return out;
}

export function mostBytes(message: Message): number {
  let chars = message.messageId.length + message.content.length + 64;
  for (const key in message.metadata) chars += key.length + (message.metadata[key]?.length ?? 0) + 24;
  return chars * 3;
}

/** The end of what was written, or -1 when a field is outside the plain form. */
export function writeMessage(out: Buffer, start: number, message: Message): number {
  let at = start;
  if (message.messageId !== "") at = writeText(out, at, 0x0a, message.messageId);
  if (message.type !== 0) {
    if (message.type < 0) return -1;
    out[at++] = 0x10;
    at = writeVarint(out, at, message.type);
  }
  if (message.content !== "") at = writeText(out, at, 0x1a, message.content);
  for (const key in message.metadata) at = writeEntry(out, at, key, message.metadata[key] ?? "");
  const { timestamp } = message;
  if (timestamp === undefined) return at;
  const seconds = Number(timestamp.seconds);
  if (seconds < 0 || seconds > 0xffff_ffff || timestamp.nanos < 0 || timestamp.$unknown !== undefined) return -1;
  const body = (seconds === 0 ? 0 : 1 + varintBytes(seconds)) + (timestamp.nanos === 0 ? 0 : 1 + varintBytes(timestamp.nanos));
  out[at++] = 0x2a;
  out[at++] = body;
  if (seconds !== 0) {
    out[at++] = 0x08;
    at = writeVarint(out, at, seconds);
  }
  if (timestamp.nanos !== 0) {
    out[at++] = 0x10;
    at = writeVarint(out, at, timestamp.nanos);
  }
  return at;
}

/** A map entry; both its fields are written even when empty, as the generated codec does. */
function writeEntry(out: Buffer, start: number, key: string, value: string): number {
  const keyBytes = Buffer.byteLength(key);
  const valueBytes = Buffer.byteLength(value);
  out[start] = 0x22;
  let at = writeVarint(out, start + 1, 2 + varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + valueBytes);
  at = writeText(out, at, 0x0a, key);
  return writeText(out, at, 0x12, value);
}

export function writeText(out: Buffer, start: number, tag: number, text: string): number {
  out[start] = tag;
  if (text.length <= ASCII_MAX_CHARS) {
    const end = writeAscii(out, start + 2, text);
    if (end >= 0) {
      out[start + 1] = text.length;
      return end;
    }
  }
  const at = writeVarint(out, start + 1, Buffer.byteLength(text));
  return at + out.write(text, at, "utf8");
}

/** The end, or -1 at the first character that is not ASCII. */
function writeAscii(out: Buffer, start: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return -1;
    out[start + i] = code;
  }
  return start + text.length;
}

export function varintBytes(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest >>>= 7) length++;
  return length;
}

export function writeVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value;
  let next = at;
  while (rest > 0x7f) {
    out[next++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  out[next++] = rest;
  return next;
}

/** A cursor over bytes; `at` becomes -1 at the first thing that is outside the plain form. */
export interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

export function cursorOver(bytes: Uint8Array): Cursor {
  return { bytes: Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 0 };
}

/**
 * A GuestResult of the plain form: one MessageResult with a response without
 * attachments, no suggestions, no metrics. Null for any other, well-formed or not.
 */
export function decodePlainResult(bytes: Uint8Array): GuestResult["result"] | null {
  const cursor = cursorOver(bytes);
  if (bytes[0] !== 0x1a) return null; // GuestResult.message = 3
  const end = enter(cursor, 1, bytes.length);
  if (end !== bytes.length || bytes[cursor.at] !== 0x0a) return null; // MessageResult.response = 1
  const responseEnd = enter(cursor, cursor.at + 1, end);
  if (responseEnd !== end) return null;
  const response = readMessage(cursor, end);
  if (response === null) return null;
  return { case: "message", value: { $typeName: "sirsi.agent.v1.MessageResult", response, suggestions: [] } };
}

/** Reads a length at `at` and gives where it ends; -1 when that is past `limit`. */
export function enter(cursor: Cursor, at: number, limit: number): number {
  cursor.at = at;
  const length = readVarint(cursor, limit);
  const end = cursor.at + length;
  return length < 0 || end > limit ? -1 : end;
}

/** Up to 28 bits; -1 for longer ones and at the end. */
export function readVarint(cursor: Cursor, limit: number): number {
  let value = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    if (cursor.at >= limit) return -1;
    const byte = cursor.bytes[cursor.at++] ?? 0;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return -1;
}

export function readMessage(cursor: Cursor, end: number): Message | null {
  const message: Message = { $typeName: "sirsi.agent.v1.Message", messageId: "", type: 0, content: "", metadata: {}, attachments: [] };
  while (cursor.at < end) {
    const tag = cursor.bytes[cursor.at++];
    if (tag === 0x10) {
      const type = readVarint(cursor, end);
      if (type < 0) return null;
      message.type = type as Message["type"];
      continue;
    }
    const fieldEnd = enter(cursor, cursor.at, end);
    if (fieldEnd < 0) return null;
    if (tag === 0x0a || tag === 0x1a) {
      const text = readText(cursor, fieldEnd);
      if (text === null) return null;
      if (tag === 0x0a) message.messageId = text;
      else message.content = text;
    } else if (tag === 0x2a && message.timestamp === undefined) {
      const timestamp = readTimestamp(cursor, fieldEnd);
      if (timestamp === null) return null;
      message.timestamp = timestamp;
    } else if (tag !== 0x22 || !readEntry(cursor, fieldEnd, message.metadata)) return null;
  }
  return message;
}

function readEntry(cursor: Cursor, end: number, into: Record<string, string>): boolean {
  let key = "";
  let value = "";
  while (cursor.at < end) {
    const tag = cursor.bytes[cursor.at++];
    if (tag !== 0x0a && tag !== 0x12) return false;
    const fieldEnd = enter(cursor, cursor.at, end);
    if (fieldEnd < 0) return false;
    const text = readText(cursor, fieldEnd);
    if (text === null) return false;
    if (tag === 0x0a) key = text;
    else value = text;
  }
  if (key === "__proto__") return false;
  into[key] = value;
  return true;
}

function readTimestamp(cursor: Cursor, end: number): Timestamp | null {
  const timestamp: Timestamp = { $typeName: "google.protobuf.Timestamp", seconds: 0n, nanos: 0 };
  while (cursor.at < end) {
    const tag = cursor.bytes[cursor.at++];
    const value = tag === 0x08 || tag === 0x10 ? readLongVarint(cursor, end) : -1;
    if (value < 0) return null;
    if (tag === 0x08) timestamp.seconds = BigInt(value);
    else if (value < NANOS) timestamp.nanos = value;
    else return null;
  }
  return timestamp;
}

/** Up to 35 bits, which seconds since 1970 need; -1 for longer ones and at the end. */
function readLongVarint(cursor: Cursor, limit: number): number {
  let value = 0;
  for (let factor = 1; factor < 2 ** 35; factor *= 128) {
    if (cursor.at >= limit) return -1;
    const byte = cursor.bytes[cursor.at++] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
  return -1;
}

/** Null for what is not UTF-8. */
export function readText(cursor: Cursor, end: number): string | null {
  const { bytes } = cursor;
  const start = cursor.at;
  cursor.at = end;
  for (let at = start; at < end; at++) {
    if ((bytes[at] ?? 0) > 0x7f) return decodeText(bytes.subarray(start, end));
  }
  if (end - start > SHORT_CHARS) return bytes.toString("latin1", start, end);
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

function decodeText(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}
