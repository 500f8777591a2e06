/**
 * AgentEvent as bytes, written out by hand: a host of a fleet publishes several with every
 * message. A property test holds it to the generated codec; reading is left to that.
 */
import { varintBytes, writeText, writeVarint } from "./message-codec.ts";

/** An AgentEvent whose sequence is not known yet. */
export interface UnplacedEvent {
  readonly eventType: string;
  readonly sourceAgentId: string;
  readonly targetAgentId: string;
  readonly payload: { readonly typeUrl: string; readonly value: Uint8Array } | null;
  readonly eventId: string;
  readonly sessionId: string;
  /** Milliseconds since 1970, from 0 to the year 2106. */
  readonly at: number;
  readonly topic: string;
  readonly traceparent: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What the rest of an event and the tags of its texts take at most. */
const OVERHEAD_BYTES = 128;
const BYTES_A_CHAR = 3;

/** Reused: an event is written here first and copied out at its exact length. */
let scratch = Buffer.allocUnsafeSlow(16 * 1024);

export function encodeUnplacedEvent(event: UnplacedEvent): Uint8Array {
  const most = mostBytes(event);
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
  const out = scratch;
  let at = 0;
  if (event.eventType !== "") at = writeText(out, at, 0x0a, event.eventType);
  if (event.sourceAgentId !== "") at = writeText(out, at, 0x12, event.sourceAgentId);
  if (event.targetAgentId !== "") at = writeText(out, at, 0x1a, event.targetAgentId);
  if (event.payload !== null) at = writePayload(out, at, event.payload);
  if (event.eventId !== "") at = writeFarText(out, at, 0xa2, event.eventId);
  if (event.sessionId !== "") at = writeFarText(out, at, 0xaa, event.sessionId);
  at = writeTime(out, at, event.at);
  if (event.topic !== "") at = writeFarText(out, at, 0xc2, event.topic);
  if (event.traceparent !== "") at = writeFarText(out, at, 0xca, event.traceparent);
  for (const key in event.attributes) at = writeAttribute(out, at, key, event.attributes[key] ?? "");
  return Buffer.copyBytesFrom(out, 0, at);
}

function mostBytes({ eventType, sourceAgentId, targetAgentId, payload, eventId, sessionId, topic, traceparent, attributes }: UnplacedEvent): number {
  let chars = eventType.length + sourceAgentId.length + targetAgentId.length + eventId.length + sessionId.length + topic.length + traceparent.length;
  for (const key in attributes) chars += key.length + (attributes[key]?.length ?? 0) + 24;
  const payloadBytes = payload === null ? 0 : payload.typeUrl.length * BYTES_A_CHAR + payload.value.length;
  return chars * BYTES_A_CHAR + payloadBytes + OVERHEAD_BYTES;
}

/** Fields 20 to 26, whose tags have a second byte, which is 1. */
function writeFarText(out: Buffer, at: number, tag: number, text: string): number {
  out[at] = tag;
  return writeText(out, at + 1, 1, text);
}

function writePayload(out: Buffer, start: number, { typeUrl, value }: { readonly typeUrl: string; readonly value: Uint8Array }): number {
  const urlBytes = Buffer.byteLength(typeUrl);
  out[start] = 0x22;
  let at = writeVarint(out, start + 1, textBytes(urlBytes) + textBytes(value.length));
  if (urlBytes > 0) at = writeText(out, at, 0x0a, typeUrl);
  if (value.length === 0) return at;
  out[at] = 0x12;
  at = writeVarint(out, at + 1, value.length);
  out.set(value, at);
  return at + value.length;
}

function textBytes(length: number): number {
  return length === 0 ? 0 : 1 + varintBytes(length) + length;
}

function writeTime(out: Buffer, start: number, ms: number): number {
  const whole = Math.floor(ms);
  const seconds = Math.floor(whole / 1_000);
  const nanos = (whole - seconds * 1_000) * 1_000_000;
  out[start] = 0xb2;
  out[start + 1] = 1;
  out[start + 2] = (seconds === 0 ? 0 : 1 + varintBytes(seconds)) + (nanos === 0 ? 0 : 1 + varintBytes(nanos));
  let at = start + 3;
  if (seconds !== 0) {
    out[at] = 0x08;
    at = writeVarint(out, at + 1, seconds);
  }
  if (nanos !== 0) {
    out[at] = 0x10;
    at = writeVarint(out, at + 1, nanos);
  }
  return at;
}

/** Both its fields are written even when empty, as the generated codec does. */
function writeAttribute(out: Buffer, start: number, key: string, value: string): number {
  const keyBytes = Buffer.byteLength(key);
  const valueBytes = Buffer.byteLength(value);
  out[start] = 0xd2;
  out[start + 1] = 1;
  let at = writeVarint(out, start + 2, 2 + varintBytes(keyBytes) + keyBytes + varintBytes(valueBytes) + valueBytes);
  at = writeText(out, at, 0x0a, key);
  return writeText(out, at, 0x12, value);
}
