/**
 * What a durable agent's every commit writes of its message, by hand: the exchange, and the
 * bytes that a message is known by. As in message-codec.ts, what is not plain is left to
 * the generated codec, and a property test holds the two to each other.
 */
import type { Message } from "./gen/sirsi/agent/v1/agent_service_pb.ts";
import { mostBytes, varintBytes, writeMessage, writeVarint } from "./message-codec.ts";

/** Reused: bytes are written here first and copied out at their exact length. */
let scratch = Buffer.allocUnsafeSlow(16 * 1024);

/** Tags, lengths, the sequence and the time. */
const FRAME_BYTES = 64;
const SECONDS_MAX = 0xffff_ffff;

/** An Exchange of a message and its reply without suggestions; null when it is not plain. */
export function encodePlainExchange(sequence: number, message: Message, response: Message, completedAt: number): Uint8Array | null {
  if (!isPlain(message) || !isPlain(response) || sequence < 1 || sequence > SECONDS_MAX) return null;
  const seconds = Math.floor(completedAt / 1000);
  if (seconds < 1 || seconds > SECONDS_MAX) return null;
  reserve(mostBytes(message) + mostBytes(response) + FRAME_BYTES);
  scratch[0] = 0x08;
  let at = writeVarint(scratch, 1, sequence);
  at = writeNested(at, 0x12, message);
  if (at < 0) return null;
  at = writeNested(at, 0x1a, response);
  if (at < 0) return null;
  at = writeTime(at, seconds, Math.floor(completedAt - seconds * 1000) * 1_000_000);
  return Buffer.from(scratch.subarray(0, at));
}

/** A Message, to be hashed at once: the bytes are the scratch's own. Null when it is not plain. */
export function plainMessageBytes(message: Message): Uint8Array | null {
  if (!isPlain(message)) return null;
  reserve(mostBytes(message));
  const end = writeMessage(scratch, 0, message);
  return end < 0 ? null : scratch.subarray(0, end);
}

function isPlain(message: Message): boolean {
  return message.attachments.length === 0 && message.$unknown === undefined;
}

function reserve(most: number): void {
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
}

/** Where it ends; -1 when the message is outside the plain form. */
function writeNested(start: number, tag: number, message: Message): number {
  scratch[start] = tag;
  // Most lengths take two bytes; a body that was written at the wrong place is moved, before its length overwrites it.
  const guess = start + 3;
  const end = writeMessage(scratch, guess, message);
  if (end < 0) return -1;
  const length = end - guess;
  const body = start + 1 + varintBytes(length);
  if (body !== guess) scratch.copyWithin(body, guess, end);
  writeVarint(scratch, start + 1, length);
  return body + length;
}

function writeTime(start: number, seconds: number, nanos: number): number {
  scratch[start] = 0x3a;
  scratch[start + 1] = 1 + varintBytes(seconds) + (nanos === 0 ? 0 : 1 + varintBytes(nanos));
  scratch[start + 2] = 0x08;
  let at = writeVarint(scratch, start + 3, seconds);
  if (nanos === 0) return at;
  scratch[at++] = 0x10;
  at = writeVarint(scratch, at, nanos);
  return at;
}
