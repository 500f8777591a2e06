// Written by scripts/generate-guest-codec.ts from the descriptors of proto/. Do not edit.

import { Attachment } from "../attachment";
import { Message } from "../message";
import { Suggestion } from "../suggestion";
import { close, finishReading, more, open, readBytes, readDouble, readDoubleEntry, readEnd, readFloat, readString, readStringEntry, readTag, readVarint, skip, startReading, startWriting, takeWritten, writeBytes, writeDouble, writeDoubleMap, writeFloat, writeString, writeStringMap, writeVarint } from "../wire";
import { Timestamp, readTimestamp, writeTimestamp } from "./well-known";

export namespace MessageType {
  export const UNSPECIFIED: i32 = 0;
  export const TEXT: i32 = 1;
  export const COMMAND: i32 = 2;
  export const QUERY: i32 = 3;
  export const RESPONSE: i32 = 4;
  export const ERROR: i32 = 5;
  export const SYSTEM: i32 = 6;
}

export namespace SuggestionType {
  export const UNSPECIFIED: i32 = 0;
  export const ACTION: i32 = 1;
  export const QUERY: i32 = 2;
  export const INSIGHT: i32 = 3;
  export const WARNING: i32 = 4;
  export const OPTIMIZATION: i32 = 5;
}

export namespace HealthStatus {
  export const UNSPECIFIED: i32 = 0;
  export const HEALTHY: i32 = 1;
  export const DEGRADED: i32 = 2;
  export const UNHEALTHY: i32 = 3;
  export const UNKNOWN: i32 = 4;
}

export class AgentConfig {
  parametersOrNull: Map<string, string> | null = null;
  get parameters(): Map<string, string> {
    let value = this.parametersOrNull;
    if (value === null) this.parametersOrNull = value = new Map<string, string>();
    return value;
  }
  set parameters(value: Map<string, string>) {
    this.parametersOrNull = value;
  }
  timeoutSeconds: i32 = 0;
  maxConcurrentOperations: i32 = 0;
  enableCaching: bool = false;
  requiredCapabilitiesOrNull: Array<string> | null = null;
  get requiredCapabilities(): Array<string> {
    let value = this.requiredCapabilitiesOrNull;
    if (value === null) this.requiredCapabilitiesOrNull = value = new Array<string>();
    return value;
  }
  set requiredCapabilities(value: Array<string>) {
    this.requiredCapabilitiesOrNull = value;
  }
}

export function readAgentConfig(m: AgentConfig, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        readStringEntry(m.parameters, readEnd(end));
        break;
      }
      case 16: {
        m.timeoutSeconds = <i32>readVarint(end);
        break;
      }
      case 24: {
        m.maxConcurrentOperations = <i32>readVarint(end);
        break;
      }
      case 32: {
        m.enableCaching = readVarint(end) != 0;
        break;
      }
      case 42: {
        m.requiredCapabilities.push(readString(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAgentConfig(m: AgentConfig): void {
  const parameters = m.parametersOrNull;
  if (parameters !== null) writeStringMap(10, parameters);
  if (m.timeoutSeconds != 0) writeVarint(16, <u64>(<i64>m.timeoutSeconds));
  if (m.maxConcurrentOperations != 0) writeVarint(24, <u64>(<i64>m.maxConcurrentOperations));
  if (m.enableCaching) writeVarint(32, 1);
  const requiredCapabilities = m.requiredCapabilitiesOrNull;
  if (requiredCapabilities !== null) {
    for (let i = 0, n = requiredCapabilities.length; i < n; i++) {
      writeString(42, unchecked(requiredCapabilities[i]));
    }
  }
}

export function decodeAgentConfig(bytes: Uint8Array): AgentConfig | null {
  const message = new AgentConfig();
  startReading(bytes.dataStart);
  readAgentConfig(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAgentConfig(message: AgentConfig): Uint8Array {
  startWriting();
  writeAgentConfig(message);
  return takeWritten();
}

/** Values of `Attachment.contentCase`. */
export namespace AttachmentContentCase {
  export const NONE: i32 = 0;
  export const DATA: i32 = 5;
  export const URL: i32 = 6;
}

export class AttachmentBase {
  /** The number of the member of `content` that is set; 0 for none. */
  contentCase: i32 = 0;
  clearContent(): void {
    this.contentCase = 0;
    this.dataOrNull = null;
    this.urlOrNull = null;
  }
  attachmentId: string = "";
  name: string = "";
  mimeType: string = "";
  sizeBytes: i64 = 0;
  dataOrNull: Uint8Array | null = null;
  get data(): Uint8Array | null {
    return this.dataOrNull;
  }
  set data(value: Uint8Array | null) {
    this.clearContent();
    this.dataOrNull = value;
    if (value !== null) this.contentCase = 5;
  }
  urlOrNull: string | null = null;
  get url(): string | null {
    return this.urlOrNull;
  }
  set url(value: string | null) {
    this.clearContent();
    this.urlOrNull = value;
    if (value !== null) this.contentCase = 6;
  }
}

export function readAttachment(m: Attachment, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.attachmentId = readString(end);
        break;
      }
      case 18: {
        m.name = readString(end);
        break;
      }
      case 26: {
        m.mimeType = readString(end);
        break;
      }
      case 32: {
        m.sizeBytes = <i64>readVarint(end);
        break;
      }
      case 42: {
        m.data = readBytes(end);
        break;
      }
      case 50: {
        m.url = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAttachment(m: Attachment): void {
  if (m.attachmentId.length != 0) writeString(10, m.attachmentId);
  if (m.name.length != 0) writeString(18, m.name);
  if (m.mimeType.length != 0) writeString(26, m.mimeType);
  if (m.sizeBytes != 0) writeVarint(32, <u64>m.sizeBytes);
  const data = m.data;
  if (data !== null) writeBytes(42, data);
  const url = m.url;
  if (url !== null) writeString(50, url);
}

export function decodeAttachment(bytes: Uint8Array): Attachment | null {
  const message = new Attachment();
  startReading(bytes.dataStart);
  readAttachment(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAttachment(message: Attachment): Uint8Array {
  startWriting();
  writeAttachment(message);
  return takeWritten();
}

export class MessageBase {
  messageId: string = "";
  type: i32 = 0;
  content: string = "";
  metadataOrNull: Map<string, string> | null = null;
  get metadata(): Map<string, string> {
    let value = this.metadataOrNull;
    if (value === null) this.metadataOrNull = value = new Map<string, string>();
    return value;
  }
  set metadata(value: Map<string, string>) {
    this.metadataOrNull = value;
  }
  timestamp: Timestamp | null = null;
  attachmentsOrNull: Array<Attachment> | null = null;
  get attachments(): Array<Attachment> {
    let value = this.attachmentsOrNull;
    if (value === null) this.attachmentsOrNull = value = new Array<Attachment>();
    return value;
  }
  set attachments(value: Array<Attachment>) {
    this.attachmentsOrNull = value;
  }
}

export function readMessage(m: Message, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.messageId = readString(end);
        break;
      }
      case 16: {
        m.type = <i32>readVarint(end);
        break;
      }
      case 26: {
        m.content = readString(end);
        break;
      }
      case 34: {
        readStringEntry(m.metadata, readEnd(end));
        break;
      }
      case 42: {
        let inner = m.timestamp;
        if (inner === null) m.timestamp = inner = new Timestamp();
        readTimestamp(inner, readEnd(end));
        break;
      }
      case 50: {
        const item = new Attachment();
        m.attachments.push(item);
        readAttachment(item, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeMessage(m: Message): void {
  if (m.messageId.length != 0) writeString(10, m.messageId);
  if (m.type != 0) writeVarint(16, <u64>(<i64>m.type));
  if (m.content.length != 0) writeString(26, m.content);
  const metadata = m.metadataOrNull;
  if (metadata !== null) writeStringMap(34, metadata);
  const timestamp = m.timestamp;
  if (timestamp !== null) {
    const mark = open(42);
    writeTimestamp(timestamp);
    close(mark);
  }
  const attachments = m.attachmentsOrNull;
  if (attachments !== null) {
    for (let i = 0, n = attachments.length; i < n; i++) {
      const mark = open(50);
      writeAttachment(unchecked(attachments[i]));
      close(mark);
    }
  }
}

export function decodeMessage(bytes: Uint8Array): Message | null {
  const message = new Message();
  startReading(bytes.dataStart);
  readMessage(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeMessage(message: Message): Uint8Array {
  startWriting();
  writeMessage(message);
  return takeWritten();
}

export class SuggestionContext {
  contextType: string = "";
  contextDataOrNull: Map<string, string> | null = null;
  get contextData(): Map<string, string> {
    let value = this.contextDataOrNull;
    if (value === null) this.contextDataOrNull = value = new Map<string, string>();
    return value;
  }
  set contextData(value: Map<string, string>) {
    this.contextDataOrNull = value;
  }
  tagsOrNull: Array<string> | null = null;
  get tags(): Array<string> {
    let value = this.tagsOrNull;
    if (value === null) this.tagsOrNull = value = new Array<string>();
    return value;
  }
  set tags(value: Array<string>) {
    this.tagsOrNull = value;
  }
}

export function readSuggestionContext(m: SuggestionContext, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.contextType = readString(end);
        break;
      }
      case 18: {
        readStringEntry(m.contextData, readEnd(end));
        break;
      }
      case 26: {
        m.tags.push(readString(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSuggestionContext(m: SuggestionContext): void {
  if (m.contextType.length != 0) writeString(10, m.contextType);
  const contextData = m.contextDataOrNull;
  if (contextData !== null) writeStringMap(18, contextData);
  const tags = m.tagsOrNull;
  if (tags !== null) {
    for (let i = 0, n = tags.length; i < n; i++) {
      writeString(26, unchecked(tags[i]));
    }
  }
}

export function decodeSuggestionContext(bytes: Uint8Array): SuggestionContext | null {
  const message = new SuggestionContext();
  startReading(bytes.dataStart);
  readSuggestionContext(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSuggestionContext(message: SuggestionContext): Uint8Array {
  startWriting();
  writeSuggestionContext(message);
  return takeWritten();
}

export class Action {
  actionType: string = "";
  parametersOrNull: Map<string, string> | null = null;
  get parameters(): Map<string, string> {
    let value = this.parametersOrNull;
    if (value === null) this.parametersOrNull = value = new Map<string, string>();
    return value;
  }
  set parameters(value: Map<string, string>) {
    this.parametersOrNull = value;
  }
  command: string = "";
  requiredPermissionsOrNull: Array<string> | null = null;
  get requiredPermissions(): Array<string> {
    let value = this.requiredPermissionsOrNull;
    if (value === null) this.requiredPermissionsOrNull = value = new Array<string>();
    return value;
  }
  set requiredPermissions(value: Array<string>) {
    this.requiredPermissionsOrNull = value;
  }
}

export function readAction(m: Action, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.actionType = readString(end);
        break;
      }
      case 18: {
        readStringEntry(m.parameters, readEnd(end));
        break;
      }
      case 26: {
        m.command = readString(end);
        break;
      }
      case 34: {
        m.requiredPermissions.push(readString(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAction(m: Action): void {
  if (m.actionType.length != 0) writeString(10, m.actionType);
  const parameters = m.parametersOrNull;
  if (parameters !== null) writeStringMap(18, parameters);
  if (m.command.length != 0) writeString(26, m.command);
  const requiredPermissions = m.requiredPermissionsOrNull;
  if (requiredPermissions !== null) {
    for (let i = 0, n = requiredPermissions.length; i < n; i++) {
      writeString(34, unchecked(requiredPermissions[i]));
    }
  }
}

export function decodeAction(bytes: Uint8Array): Action | null {
  const message = new Action();
  startReading(bytes.dataStart);
  readAction(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAction(message: Action): Uint8Array {
  startWriting();
  writeAction(message);
  return takeWritten();
}

export class SuggestionBase {
  suggestionId: string = "";
  title: string = "";
  description: string = "";
  type: i32 = 0;
  action: Action | null = null;
  confidence: f32 = 0;
  metadataOrNull: Map<string, string> | null = null;
  get metadata(): Map<string, string> {
    let value = this.metadataOrNull;
    if (value === null) this.metadataOrNull = value = new Map<string, string>();
    return value;
  }
  set metadata(value: Map<string, string>) {
    this.metadataOrNull = value;
  }
  priority: i32 = 0;
}

export function readSuggestion(m: Suggestion, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.suggestionId = readString(end);
        break;
      }
      case 18: {
        m.title = readString(end);
        break;
      }
      case 26: {
        m.description = readString(end);
        break;
      }
      case 32: {
        m.type = <i32>readVarint(end);
        break;
      }
      case 42: {
        let inner = m.action;
        if (inner === null) m.action = inner = new Action();
        readAction(inner, readEnd(end));
        break;
      }
      case 53: {
        m.confidence = readFloat(end);
        break;
      }
      case 58: {
        readStringEntry(m.metadata, readEnd(end));
        break;
      }
      case 64: {
        m.priority = <i32>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSuggestion(m: Suggestion): void {
  if (m.suggestionId.length != 0) writeString(10, m.suggestionId);
  if (m.title.length != 0) writeString(18, m.title);
  if (m.description.length != 0) writeString(26, m.description);
  if (m.type != 0) writeVarint(32, <u64>(<i64>m.type));
  const action = m.action;
  if (action !== null) {
    const mark = open(42);
    writeAction(action);
    close(mark);
  }
  if (reinterpret<u32>(m.confidence) != 0) writeFloat(53, m.confidence);
  const metadata = m.metadataOrNull;
  if (metadata !== null) writeStringMap(58, metadata);
  if (m.priority != 0) writeVarint(64, <u64>(<i64>m.priority));
}

export function decodeSuggestion(bytes: Uint8Array): Suggestion | null {
  const message = new Suggestion();
  startReading(bytes.dataStart);
  readSuggestion(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSuggestion(message: Suggestion): Uint8Array {
  startWriting();
  writeSuggestion(message);
  return takeWritten();
}

export class MessageMetrics {
  processingTimeMs: f64 = 0;
  tokensProcessed: i64 = 0;
  modelUsed: string = "";
  performanceMetricsOrNull: Map<string, f64> | null = null;
  get performanceMetrics(): Map<string, f64> {
    let value = this.performanceMetricsOrNull;
    if (value === null) this.performanceMetricsOrNull = value = new Map<string, f64>();
    return value;
  }
  set performanceMetrics(value: Map<string, f64>) {
    this.performanceMetricsOrNull = value;
  }
}

export function readMessageMetrics(m: MessageMetrics, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 9: {
        m.processingTimeMs = readDouble(end);
        break;
      }
      case 16: {
        m.tokensProcessed = <i64>readVarint(end);
        break;
      }
      case 26: {
        m.modelUsed = readString(end);
        break;
      }
      case 34: {
        readDoubleEntry(m.performanceMetrics, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeMessageMetrics(m: MessageMetrics): void {
  if (reinterpret<u64>(m.processingTimeMs) != 0) writeDouble(9, m.processingTimeMs);
  if (m.tokensProcessed != 0) writeVarint(16, <u64>m.tokensProcessed);
  if (m.modelUsed.length != 0) writeString(26, m.modelUsed);
  const performanceMetrics = m.performanceMetricsOrNull;
  if (performanceMetrics !== null) writeDoubleMap(34, performanceMetrics);
}

export function decodeMessageMetrics(bytes: Uint8Array): MessageMetrics | null {
  const message = new MessageMetrics();
  startReading(bytes.dataStart);
  readMessageMetrics(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeMessageMetrics(message: MessageMetrics): Uint8Array {
  startWriting();
  writeMessageMetrics(message);
  return takeWritten();
}
