// Written by scripts/generate-guest-codec.ts from the descriptors of proto/. Do not edit.

import { close, finishReading, more, open, readEnd, readString, readStringEntry, readTag, readVarint, skip, startReading, startWriting, takeWritten, writeString, writeStringMap, writeVarint } from "../wire";
import { Any, Timestamp, readAny, readTimestamp, writeAny, writeTimestamp } from "./well-known";

export class AgentEvent {
  eventType: string = "";
  sourceAgentId: string = "";
  targetAgentId: string = "";
  payload: Any | null = null;
  eventId: string = "";
  sessionId: string = "";
  time: Timestamp | null = null;
  sequence: i64 = 0;
  topic: string = "";
  traceparent: string = "";
  attributesOrNull: Map<string, string> | null = null;
  get attributes(): Map<string, string> {
    let value = this.attributesOrNull;
    if (value === null) this.attributesOrNull = value = new Map<string, string>();
    return value;
  }
  set attributes(value: Map<string, string>) {
    this.attributesOrNull = value;
  }
}

export function readAgentEvent(m: AgentEvent, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.eventType = readString(end);
        break;
      }
      case 18: {
        m.sourceAgentId = readString(end);
        break;
      }
      case 26: {
        m.targetAgentId = readString(end);
        break;
      }
      case 34: {
        let inner = m.payload;
        if (inner === null) m.payload = inner = new Any();
        readAny(inner, readEnd(end));
        break;
      }
      case 162: {
        m.eventId = readString(end);
        break;
      }
      case 170: {
        m.sessionId = readString(end);
        break;
      }
      case 178: {
        let inner = m.time;
        if (inner === null) m.time = inner = new Timestamp();
        readTimestamp(inner, readEnd(end));
        break;
      }
      case 184: {
        m.sequence = <i64>readVarint(end);
        break;
      }
      case 194: {
        m.topic = readString(end);
        break;
      }
      case 202: {
        m.traceparent = readString(end);
        break;
      }
      case 210: {
        readStringEntry(m.attributes, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAgentEvent(m: AgentEvent): void {
  if (m.eventType.length != 0) writeString(10, m.eventType);
  if (m.sourceAgentId.length != 0) writeString(18, m.sourceAgentId);
  if (m.targetAgentId.length != 0) writeString(26, m.targetAgentId);
  const payload = m.payload;
  if (payload !== null) {
    const mark = open(34);
    writeAny(payload);
    close(mark);
  }
  if (m.eventId.length != 0) writeString(162, m.eventId);
  if (m.sessionId.length != 0) writeString(170, m.sessionId);
  const time = m.time;
  if (time !== null) {
    const mark = open(178);
    writeTimestamp(time);
    close(mark);
  }
  if (m.sequence != 0) writeVarint(184, <u64>m.sequence);
  if (m.topic.length != 0) writeString(194, m.topic);
  if (m.traceparent.length != 0) writeString(202, m.traceparent);
  const attributes = m.attributesOrNull;
  if (attributes !== null) writeStringMap(210, attributes);
}

export function decodeAgentEvent(bytes: Uint8Array): AgentEvent | null {
  const message = new AgentEvent();
  startReading(bytes.dataStart);
  readAgentEvent(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAgentEvent(message: AgentEvent): Uint8Array {
  startWriting();
  writeAgentEvent(message);
  return takeWritten();
}
