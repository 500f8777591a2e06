// Written by scripts/generate-guest-codec.ts from the descriptors of proto/. Do not edit.

import { NO_BYTES, finishReading, more, readBytes, readString, readTag, readVarint, skip, startReading, startWriting, takeWritten, writeBytes, writeString, writeVarint } from "../wire";

export class Timestamp {
  seconds: i64 = 0;
  nanos: i32 = 0;
}

export function readTimestamp(m: Timestamp, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.seconds = <i64>readVarint(end);
        break;
      }
      case 16: {
        m.nanos = <i32>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeTimestamp(m: Timestamp): void {
  if (m.seconds != 0) writeVarint(8, <u64>m.seconds);
  if (m.nanos != 0) writeVarint(16, <u64>(<i64>m.nanos));
}

export function decodeTimestamp(bytes: Uint8Array): Timestamp | null {
  const message = new Timestamp();
  startReading(bytes.dataStart);
  readTimestamp(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeTimestamp(message: Timestamp): Uint8Array {
  startWriting();
  writeTimestamp(message);
  return takeWritten();
}

export class Any {
  typeUrl: string = "";
  value: Uint8Array = NO_BYTES;
}

export function readAny(m: Any, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.typeUrl = readString(end);
        break;
      }
      case 18: {
        m.value = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAny(m: Any): void {
  if (m.typeUrl.length != 0) writeString(10, m.typeUrl);
  if (m.value.length != 0) writeBytes(18, m.value);
}

export function decodeAny(bytes: Uint8Array): Any | null {
  const message = new Any();
  startReading(bytes.dataStart);
  readAny(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAny(message: Any): Uint8Array {
  startWriting();
  writeAny(message);
  return takeWritten();
}
