/**
 * SendMessageRequest read and SendMessageResponse written by hand: every message of every
 * client takes this way. As in message-codec.ts, what is not plain is left to the generated
 * codec, and a property test holds the two to each other.
 */
import type { Message, MessageMetrics, SendMessageRequest, SendMessageResponse } from "./gen/sirsi/agent/v1/agent_service_pb.ts";
import { cursorOver, enter, mostBytes, readMessage, readText, varintBytes, writeMessage, writeText, writeVarint } from "./message-codec.ts";

/** Reused: a response is written here first and copied out at its exact length. */
let scratch = Buffer.allocUnsafeSlow(16 * 1024);

/** The request, or null when it has options, attachments, unknown or repeated fields, or is malformed. */
export function decodePlainSend(bytes: Uint8Array): SendMessageRequest | null {
  const request: SendMessageRequest = { $typeName: "sirsi.agent.v1.SendMessageRequest", sessionId: "", agentId: "" };
  const cursor = cursorOver(bytes);
  while (cursor.at < bytes.length) {
    const tag = bytes[cursor.at++];
    const end = enter(cursor, cursor.at, bytes.length);
    if (end < 0) return null;
    if (tag === 0x1a && request.message === undefined) {
      const message = readMessage(cursor, end);
      if (message === null) return null;
      request.message = message;
      continue;
    }
    if (tag !== 0x0a && tag !== 0x12) return null;
    const text = readText(cursor, end);
    if (text === null) return null;
    if (tag === 0x0a) request.sessionId = text;
    else request.agentId = text;
  }
  return request;
}

/** Null when it carries suggestions, attachments or more metrics than the time it took. */
export function encodePlainAnswer(answer: SendMessageResponse): Buffer | null {
  const { messageId, response, metrics } = answer;
  if (answer.suggestions.length > 0 || answer.$unknown !== undefined || !isPlain(response) || !isTimeAlone(metrics)) return null;
  const most = 64 + messageId.length * 3 + (response === undefined ? 0 : mostBytes(response));
  if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
  let at = messageId === "" ? 0 : writeText(scratch, 0, 0x0a, messageId);
  if (response !== undefined) {
    at = writeNested(at, response);
    if (at < 0) return null;
  }
  if (metrics !== undefined) at = writeTime(at, metrics.processingTimeMs);
  if (answer.replayed) {
    // Field 20, a varint.
    scratch[at++] = 0xa0;
    scratch[at++] = 0x01;
    scratch[at++] = 1;
  }
  return Buffer.from(scratch.subarray(0, at));
}

function isPlain(message: Message | undefined): boolean {
  return message === undefined || (message.attachments.length === 0 && message.$unknown === undefined);
}

function isTimeAlone(metrics: MessageMetrics | undefined): boolean {
  if (metrics === undefined) return true;
  for (const _ in metrics.performanceMetrics) return false;
  return metrics.tokensProcessed === 0n && metrics.modelUsed === "" && metrics.$unknown === undefined && !Object.is(metrics.processingTimeMs, -0);
}

/** The response as field 2, with its length before it; -1 when it is outside the plain form. */
function writeNested(start: number, response: Message): number {
  scratch[start] = 0x12;
  // Most lengths take two bytes; a body that was written at the wrong place is moved, before its length overwrites it.
  const guess = start + 3;
  const end = writeMessage(scratch, guess, response);
  if (end < 0) return -1;
  const length = end - guess;
  const body = start + 1 + varintBytes(length);
  if (body !== guess) scratch.copyWithin(body, guess, end);
  writeVarint(scratch, start + 1, length);
  return body + length;
}

function writeTime(start: number, processingTimeMs: number): number {
  let at = start;
  scratch[at++] = 0x22;
  if (processingTimeMs === 0) {
    scratch[at++] = 0;
    return at;
  }
  scratch[at++] = 9;
  scratch[at++] = 0x09;
  return scratch.writeDoubleLE(processingTimeMs, at);
}
