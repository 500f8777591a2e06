// Written by scripts/generate-guest-codec.ts from the descriptors of proto/. Do not edit.

import { AgentError } from "../agent-error";
import { Message } from "../message";
import { Suggestion } from "../suggestion";
import { NO_BYTES, close, finishReading, more, open, readBytes, readEnd, readString, readStringEntry, readTag, readVarint, skip, startReading, startWriting, takeWritten, writeBytes, writeString, writeStringMap, writeVarint } from "../wire";
import { AgentConfig, MessageMetrics, SuggestionContext, readAgentConfig, readMessage, readMessageMetrics, readSuggestion, readSuggestionContext, writeAgentConfig, writeMessage, writeMessageMetrics, writeSuggestion, writeSuggestionContext } from "./agent-service";
import { AgentEvent, readAgentEvent, writeAgentEvent } from "./events";

export class InitCall {
  agentId: string = "";
  sessionId: string = "";
  agentType: string = "";
  config: AgentConfig | null = null;
  contextOrNull: Map<string, string> | null = null;
  get context(): Map<string, string> {
    let value = this.contextOrNull;
    if (value === null) this.contextOrNull = value = new Map<string, string>();
    return value;
  }
  set context(value: Map<string, string>) {
    this.contextOrNull = value;
  }
}

export function readInitCall(m: InitCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.agentId = readString(end);
        break;
      }
      case 18: {
        m.sessionId = readString(end);
        break;
      }
      case 26: {
        m.agentType = readString(end);
        break;
      }
      case 34: {
        let inner = m.config;
        if (inner === null) m.config = inner = new AgentConfig();
        readAgentConfig(inner, readEnd(end));
        break;
      }
      case 42: {
        readStringEntry(m.context, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeInitCall(m: InitCall): void {
  if (m.agentId.length != 0) writeString(10, m.agentId);
  if (m.sessionId.length != 0) writeString(18, m.sessionId);
  if (m.agentType.length != 0) writeString(26, m.agentType);
  const config = m.config;
  if (config !== null) {
    const mark = open(34);
    writeAgentConfig(config);
    close(mark);
  }
  const context = m.contextOrNull;
  if (context !== null) writeStringMap(42, context);
}

export function decodeInitCall(bytes: Uint8Array): InitCall | null {
  const message = new InitCall();
  startReading(bytes.dataStart);
  readInitCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeInitCall(message: InitCall): Uint8Array {
  startWriting();
  writeInitCall(message);
  return takeWritten();
}

export class MessageCall {
  message: Message | null = null;
  contextOrNull: Map<string, string> | null = null;
  get context(): Map<string, string> {
    let value = this.contextOrNull;
    if (value === null) this.contextOrNull = value = new Map<string, string>();
    return value;
  }
  set context(value: Map<string, string>) {
    this.contextOrNull = value;
  }
  sourceAgentId: string = "";
}

export function readMessageCall(m: MessageCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.message;
        if (inner === null) m.message = inner = new Message();
        readMessage(inner, readEnd(end));
        break;
      }
      case 18: {
        readStringEntry(m.context, readEnd(end));
        break;
      }
      case 26: {
        m.sourceAgentId = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeMessageCall(m: MessageCall): void {
  const message = m.message;
  if (message !== null) {
    const mark = open(10);
    writeMessage(message);
    close(mark);
  }
  const context = m.contextOrNull;
  if (context !== null) writeStringMap(18, context);
  if (m.sourceAgentId.length != 0) writeString(26, m.sourceAgentId);
}

export function decodeMessageCall(bytes: Uint8Array): MessageCall | null {
  const message = new MessageCall();
  startReading(bytes.dataStart);
  readMessageCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeMessageCall(message: MessageCall): Uint8Array {
  startWriting();
  writeMessageCall(message);
  return takeWritten();
}

export class SuggestCall {
  context: SuggestionContext | null = null;
  maxSuggestions: i32 = 0;
}

export function readSuggestCall(m: SuggestCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.context;
        if (inner === null) m.context = inner = new SuggestionContext();
        readSuggestionContext(inner, readEnd(end));
        break;
      }
      case 16: {
        m.maxSuggestions = <i32>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSuggestCall(m: SuggestCall): void {
  const context = m.context;
  if (context !== null) {
    const mark = open(10);
    writeSuggestionContext(context);
    close(mark);
  }
  if (m.maxSuggestions != 0) writeVarint(16, <u64>(<i64>m.maxSuggestions));
}

export function decodeSuggestCall(bytes: Uint8Array): SuggestCall | null {
  const message = new SuggestCall();
  startReading(bytes.dataStart);
  readSuggestCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSuggestCall(message: SuggestCall): Uint8Array {
  startWriting();
  writeSuggestCall(message);
  return takeWritten();
}

export class EventCall {
  event: AgentEvent | null = null;
}

export function readEventCall(m: EventCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.event;
        if (inner === null) m.event = inner = new AgentEvent();
        readAgentEvent(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEventCall(m: EventCall): void {
  const event = m.event;
  if (event !== null) {
    const mark = open(10);
    writeAgentEvent(event);
    close(mark);
  }
}

export function decodeEventCall(bytes: Uint8Array): EventCall | null {
  const message = new EventCall();
  startReading(bytes.dataStart);
  readEventCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEventCall(message: EventCall): Uint8Array {
  startWriting();
  writeEventCall(message);
  return takeWritten();
}

export class TimerCall {
  timerId: string = "";
  payload: Uint8Array = NO_BYTES;
}

export function readTimerCall(m: TimerCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.timerId = readString(end);
        break;
      }
      case 18: {
        m.payload = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeTimerCall(m: TimerCall): void {
  if (m.timerId.length != 0) writeString(10, m.timerId);
  if (m.payload.length != 0) writeBytes(18, m.payload);
}

export function decodeTimerCall(bytes: Uint8Array): TimerCall | null {
  const message = new TimerCall();
  startReading(bytes.dataStart);
  readTimerCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeTimerCall(message: TimerCall): Uint8Array {
  startWriting();
  writeTimerCall(message);
  return takeWritten();
}

export class TaskCall {
  taskId: string = "";
  name: string = "";
  input: Uint8Array = NO_BYTES;
}

export function readTaskCall(m: TaskCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.taskId = readString(end);
        break;
      }
      case 18: {
        m.name = readString(end);
        break;
      }
      case 26: {
        m.input = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeTaskCall(m: TaskCall): void {
  if (m.taskId.length != 0) writeString(10, m.taskId);
  if (m.name.length != 0) writeString(18, m.name);
  if (m.input.length != 0) writeBytes(26, m.input);
}

export function decodeTaskCall(bytes: Uint8Array): TaskCall | null {
  const message = new TaskCall();
  startReading(bytes.dataStart);
  readTaskCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeTaskCall(message: TaskCall): Uint8Array {
  startWriting();
  writeTaskCall(message);
  return takeWritten();
}

export class HealthCall {
}

export function readHealthCall(m: HealthCall, end: usize): void {
  while (more(end)) {
    skip(readTag(end), end);
  }
}

export function writeHealthCall(m: HealthCall): void {
}

export function decodeHealthCall(bytes: Uint8Array): HealthCall | null {
  const message = new HealthCall();
  startReading(bytes.dataStart);
  readHealthCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeHealthCall(message: HealthCall): Uint8Array {
  startWriting();
  writeHealthCall(message);
  return takeWritten();
}

export class SaveCall {
}

export function readSaveCall(m: SaveCall, end: usize): void {
  while (more(end)) {
    skip(readTag(end), end);
  }
}

export function writeSaveCall(m: SaveCall): void {
}

export function decodeSaveCall(bytes: Uint8Array): SaveCall | null {
  const message = new SaveCall();
  startReading(bytes.dataStart);
  readSaveCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSaveCall(message: SaveCall): Uint8Array {
  startWriting();
  writeSaveCall(message);
  return takeWritten();
}

export class LoadCall {
  fromSchema: i32 = 0;
  state: Uint8Array = NO_BYTES;
}

export function readLoadCall(m: LoadCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.fromSchema = <i32>readVarint(end);
        break;
      }
      case 18: {
        m.state = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeLoadCall(m: LoadCall): void {
  if (m.fromSchema != 0) writeVarint(8, <u64>(<i64>m.fromSchema));
  if (m.state.length != 0) writeBytes(18, m.state);
}

export function decodeLoadCall(bytes: Uint8Array): LoadCall | null {
  const message = new LoadCall();
  startReading(bytes.dataStart);
  readLoadCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeLoadCall(message: LoadCall): Uint8Array {
  startWriting();
  writeLoadCall(message);
  return takeWritten();
}

export class ShutdownCall {
  reason: string = "";
}

export function readShutdownCall(m: ShutdownCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.reason = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeShutdownCall(m: ShutdownCall): void {
  if (m.reason.length != 0) writeString(10, m.reason);
}

export function decodeShutdownCall(bytes: Uint8Array): ShutdownCall | null {
  const message = new ShutdownCall();
  startReading(bytes.dataStart);
  readShutdownCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeShutdownCall(message: ShutdownCall): Uint8Array {
  startWriting();
  writeShutdownCall(message);
  return takeWritten();
}

/** Values of `GuestCall.callCase`. */
export namespace GuestCallCallCase {
  export const NONE: i32 = 0;
  export const INIT: i32 = 1;
  export const MESSAGE: i32 = 2;
  export const SUGGEST: i32 = 3;
  export const EVENT: i32 = 4;
  export const TIMER: i32 = 5;
  export const TASK: i32 = 6;
  export const HEALTH: i32 = 7;
  export const SAVE: i32 = 8;
  export const LOAD: i32 = 9;
  export const SHUTDOWN: i32 = 10;
}

export class GuestCall {
  /** The number of the member of `call` that is set; 0 for none. */
  callCase: i32 = 0;
  clearCall(): void {
    this.callCase = 0;
    this.initOrNull = null;
    this.messageOrNull = null;
    this.suggestOrNull = null;
    this.eventOrNull = null;
    this.timerOrNull = null;
    this.taskOrNull = null;
    this.healthOrNull = null;
    this.saveOrNull = null;
    this.loadOrNull = null;
    this.shutdownOrNull = null;
  }
  initOrNull: InitCall | null = null;
  get init(): InitCall | null {
    return this.initOrNull;
  }
  set init(value: InitCall | null) {
    this.clearCall();
    this.initOrNull = value;
    if (value !== null) this.callCase = 1;
  }
  messageOrNull: MessageCall | null = null;
  get message(): MessageCall | null {
    return this.messageOrNull;
  }
  set message(value: MessageCall | null) {
    this.clearCall();
    this.messageOrNull = value;
    if (value !== null) this.callCase = 2;
  }
  suggestOrNull: SuggestCall | null = null;
  get suggest(): SuggestCall | null {
    return this.suggestOrNull;
  }
  set suggest(value: SuggestCall | null) {
    this.clearCall();
    this.suggestOrNull = value;
    if (value !== null) this.callCase = 3;
  }
  eventOrNull: EventCall | null = null;
  get event(): EventCall | null {
    return this.eventOrNull;
  }
  set event(value: EventCall | null) {
    this.clearCall();
    this.eventOrNull = value;
    if (value !== null) this.callCase = 4;
  }
  timerOrNull: TimerCall | null = null;
  get timer(): TimerCall | null {
    return this.timerOrNull;
  }
  set timer(value: TimerCall | null) {
    this.clearCall();
    this.timerOrNull = value;
    if (value !== null) this.callCase = 5;
  }
  taskOrNull: TaskCall | null = null;
  get task(): TaskCall | null {
    return this.taskOrNull;
  }
  set task(value: TaskCall | null) {
    this.clearCall();
    this.taskOrNull = value;
    if (value !== null) this.callCase = 6;
  }
  healthOrNull: HealthCall | null = null;
  get health(): HealthCall | null {
    return this.healthOrNull;
  }
  set health(value: HealthCall | null) {
    this.clearCall();
    this.healthOrNull = value;
    if (value !== null) this.callCase = 7;
  }
  saveOrNull: SaveCall | null = null;
  get save(): SaveCall | null {
    return this.saveOrNull;
  }
  set save(value: SaveCall | null) {
    this.clearCall();
    this.saveOrNull = value;
    if (value !== null) this.callCase = 8;
  }
  loadOrNull: LoadCall | null = null;
  get load(): LoadCall | null {
    return this.loadOrNull;
  }
  set load(value: LoadCall | null) {
    this.clearCall();
    this.loadOrNull = value;
    if (value !== null) this.callCase = 9;
  }
  shutdownOrNull: ShutdownCall | null = null;
  get shutdown(): ShutdownCall | null {
    return this.shutdownOrNull;
  }
  set shutdown(value: ShutdownCall | null) {
    this.clearCall();
    this.shutdownOrNull = value;
    if (value !== null) this.callCase = 10;
  }
}

export function readGuestCall(m: GuestCall, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.init;
        if (inner === null) m.init = inner = new InitCall();
        readInitCall(inner, readEnd(end));
        break;
      }
      case 18: {
        let inner = m.message;
        if (inner === null) m.message = inner = new MessageCall();
        readMessageCall(inner, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.suggest;
        if (inner === null) m.suggest = inner = new SuggestCall();
        readSuggestCall(inner, readEnd(end));
        break;
      }
      case 34: {
        let inner = m.event;
        if (inner === null) m.event = inner = new EventCall();
        readEventCall(inner, readEnd(end));
        break;
      }
      case 42: {
        let inner = m.timer;
        if (inner === null) m.timer = inner = new TimerCall();
        readTimerCall(inner, readEnd(end));
        break;
      }
      case 50: {
        let inner = m.task;
        if (inner === null) m.task = inner = new TaskCall();
        readTaskCall(inner, readEnd(end));
        break;
      }
      case 58: {
        let inner = m.health;
        if (inner === null) m.health = inner = new HealthCall();
        readHealthCall(inner, readEnd(end));
        break;
      }
      case 66: {
        let inner = m.save;
        if (inner === null) m.save = inner = new SaveCall();
        readSaveCall(inner, readEnd(end));
        break;
      }
      case 74: {
        let inner = m.load;
        if (inner === null) m.load = inner = new LoadCall();
        readLoadCall(inner, readEnd(end));
        break;
      }
      case 82: {
        let inner = m.shutdown;
        if (inner === null) m.shutdown = inner = new ShutdownCall();
        readShutdownCall(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGuestCall(m: GuestCall): void {
  const init = m.init;
  if (init !== null) {
    const mark = open(10);
    writeInitCall(init);
    close(mark);
  }
  const message = m.message;
  if (message !== null) {
    const mark = open(18);
    writeMessageCall(message);
    close(mark);
  }
  const suggest = m.suggest;
  if (suggest !== null) {
    const mark = open(26);
    writeSuggestCall(suggest);
    close(mark);
  }
  const event = m.event;
  if (event !== null) {
    const mark = open(34);
    writeEventCall(event);
    close(mark);
  }
  const timer = m.timer;
  if (timer !== null) {
    const mark = open(42);
    writeTimerCall(timer);
    close(mark);
  }
  const task = m.task;
  if (task !== null) {
    const mark = open(50);
    writeTaskCall(task);
    close(mark);
  }
  const health = m.health;
  if (health !== null) {
    const mark = open(58);
    writeHealthCall(health);
    close(mark);
  }
  const save = m.save;
  if (save !== null) {
    const mark = open(66);
    writeSaveCall(save);
    close(mark);
  }
  const load = m.load;
  if (load !== null) {
    const mark = open(74);
    writeLoadCall(load);
    close(mark);
  }
  const shutdown = m.shutdown;
  if (shutdown !== null) {
    const mark = open(82);
    writeShutdownCall(shutdown);
    close(mark);
  }
}

export function decodeGuestCall(bytes: Uint8Array): GuestCall | null {
  const message = new GuestCall();
  startReading(bytes.dataStart);
  readGuestCall(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGuestCall(message: GuestCall): Uint8Array {
  startWriting();
  writeGuestCall(message);
  return takeWritten();
}

export class GuestErrorBase {
  code: string = "";
  message: string = "";
  retryable: bool = false;
  detailsOrNull: Map<string, string> | null = null;
  get details(): Map<string, string> {
    let value = this.detailsOrNull;
    if (value === null) this.detailsOrNull = value = new Map<string, string>();
    return value;
  }
  set details(value: Map<string, string>) {
    this.detailsOrNull = value;
  }
}

export function readAgentError(m: AgentError, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.code = readString(end);
        break;
      }
      case 18: {
        m.message = readString(end);
        break;
      }
      case 24: {
        m.retryable = readVarint(end) != 0;
        break;
      }
      case 34: {
        readStringEntry(m.details, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAgentError(m: AgentError): void {
  if (m.code.length != 0) writeString(10, m.code);
  if (m.message.length != 0) writeString(18, m.message);
  if (m.retryable) writeVarint(24, 1);
  const details = m.detailsOrNull;
  if (details !== null) writeStringMap(34, details);
}

export function decodeAgentError(bytes: Uint8Array): AgentError | null {
  const message = new AgentError();
  startReading(bytes.dataStart);
  readAgentError(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAgentError(message: AgentError): Uint8Array {
  startWriting();
  writeAgentError(message);
  return takeWritten();
}

export class Done {
}

export function readDone(m: Done, end: usize): void {
  while (more(end)) {
    skip(readTag(end), end);
  }
}

export function writeDone(m: Done): void {
}

export function decodeDone(bytes: Uint8Array): Done | null {
  const message = new Done();
  startReading(bytes.dataStart);
  readDone(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeDone(message: Done): Uint8Array {
  startWriting();
  writeDone(message);
  return takeWritten();
}

export class MessageResult {
  response: Message | null = null;
  suggestionsOrNull: Array<Suggestion> | null = null;
  get suggestions(): Array<Suggestion> {
    let value = this.suggestionsOrNull;
    if (value === null) this.suggestionsOrNull = value = new Array<Suggestion>();
    return value;
  }
  set suggestions(value: Array<Suggestion>) {
    this.suggestionsOrNull = value;
  }
  metrics: MessageMetrics | null = null;
}

export function readMessageResult(m: MessageResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.response;
        if (inner === null) m.response = inner = new Message();
        readMessage(inner, readEnd(end));
        break;
      }
      case 18: {
        const item = new Suggestion();
        m.suggestions.push(item);
        readSuggestion(item, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.metrics;
        if (inner === null) m.metrics = inner = new MessageMetrics();
        readMessageMetrics(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeMessageResult(m: MessageResult): void {
  const response = m.response;
  if (response !== null) {
    const mark = open(10);
    writeMessage(response);
    close(mark);
  }
  const suggestions = m.suggestionsOrNull;
  if (suggestions !== null) {
    for (let i = 0, n = suggestions.length; i < n; i++) {
      const mark = open(18);
      writeSuggestion(unchecked(suggestions[i]));
      close(mark);
    }
  }
  const metrics = m.metrics;
  if (metrics !== null) {
    const mark = open(26);
    writeMessageMetrics(metrics);
    close(mark);
  }
}

export function decodeMessageResult(bytes: Uint8Array): MessageResult | null {
  const message = new MessageResult();
  startReading(bytes.dataStart);
  readMessageResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeMessageResult(message: MessageResult): Uint8Array {
  startWriting();
  writeMessageResult(message);
  return takeWritten();
}

export class SuggestResult {
  suggestionsOrNull: Array<Suggestion> | null = null;
  get suggestions(): Array<Suggestion> {
    let value = this.suggestionsOrNull;
    if (value === null) this.suggestionsOrNull = value = new Array<Suggestion>();
    return value;
  }
  set suggestions(value: Array<Suggestion>) {
    this.suggestionsOrNull = value;
  }
}

export function readSuggestResult(m: SuggestResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        const item = new Suggestion();
        m.suggestions.push(item);
        readSuggestion(item, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSuggestResult(m: SuggestResult): void {
  const suggestions = m.suggestionsOrNull;
  if (suggestions !== null) {
    for (let i = 0, n = suggestions.length; i < n; i++) {
      const mark = open(10);
      writeSuggestion(unchecked(suggestions[i]));
      close(mark);
    }
  }
}

export function decodeSuggestResult(bytes: Uint8Array): SuggestResult | null {
  const message = new SuggestResult();
  startReading(bytes.dataStart);
  readSuggestResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSuggestResult(message: SuggestResult): Uint8Array {
  startWriting();
  writeSuggestResult(message);
  return takeWritten();
}

export class TaskResult {
  output: Uint8Array = NO_BYTES;
}

export function readTaskResult(m: TaskResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.output = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeTaskResult(m: TaskResult): void {
  if (m.output.length != 0) writeBytes(10, m.output);
}

export function decodeTaskResult(bytes: Uint8Array): TaskResult | null {
  const message = new TaskResult();
  startReading(bytes.dataStart);
  readTaskResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeTaskResult(message: TaskResult): Uint8Array {
  startWriting();
  writeTaskResult(message);
  return takeWritten();
}

export class HealthResult {
  status: i32 = 0;
  message: string = "";
  detailsOrNull: Map<string, string> | null = null;
  get details(): Map<string, string> {
    let value = this.detailsOrNull;
    if (value === null) this.detailsOrNull = value = new Map<string, string>();
    return value;
  }
  set details(value: Map<string, string>) {
    this.detailsOrNull = value;
  }
}

export function readHealthResult(m: HealthResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.status = <i32>readVarint(end);
        break;
      }
      case 18: {
        m.message = readString(end);
        break;
      }
      case 26: {
        readStringEntry(m.details, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeHealthResult(m: HealthResult): void {
  if (m.status != 0) writeVarint(8, <u64>(<i64>m.status));
  if (m.message.length != 0) writeString(18, m.message);
  const details = m.detailsOrNull;
  if (details !== null) writeStringMap(26, details);
}

export function decodeHealthResult(bytes: Uint8Array): HealthResult | null {
  const message = new HealthResult();
  startReading(bytes.dataStart);
  readHealthResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeHealthResult(message: HealthResult): Uint8Array {
  startWriting();
  writeHealthResult(message);
  return takeWritten();
}

export class SaveResult {
  schema: i32 = 0;
  state: Uint8Array = NO_BYTES;
}

export function readSaveResult(m: SaveResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.schema = <i32>readVarint(end);
        break;
      }
      case 18: {
        m.state = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSaveResult(m: SaveResult): void {
  if (m.schema != 0) writeVarint(8, <u64>(<i64>m.schema));
  if (m.state.length != 0) writeBytes(18, m.state);
}

export function decodeSaveResult(bytes: Uint8Array): SaveResult | null {
  const message = new SaveResult();
  startReading(bytes.dataStart);
  readSaveResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSaveResult(message: SaveResult): Uint8Array {
  startWriting();
  writeSaveResult(message);
  return takeWritten();
}

/** Values of `GuestResult.resultCase`. */
export namespace GuestResultResultCase {
  export const NONE: i32 = 0;
  export const ERROR: i32 = 1;
  export const DONE: i32 = 2;
  export const MESSAGE: i32 = 3;
  export const SUGGEST: i32 = 4;
  export const TASK: i32 = 5;
  export const HEALTH: i32 = 6;
  export const SAVE: i32 = 7;
}

export class GuestResult {
  /** The number of the member of `result` that is set; 0 for none. */
  resultCase: i32 = 0;
  clearResult(): void {
    this.resultCase = 0;
    this.errorOrNull = null;
    this.doneOrNull = null;
    this.messageOrNull = null;
    this.suggestOrNull = null;
    this.taskOrNull = null;
    this.healthOrNull = null;
    this.saveOrNull = null;
  }
  errorOrNull: AgentError | null = null;
  get error(): AgentError | null {
    return this.errorOrNull;
  }
  set error(value: AgentError | null) {
    this.clearResult();
    this.errorOrNull = value;
    if (value !== null) this.resultCase = 1;
  }
  doneOrNull: Done | null = null;
  get done(): Done | null {
    return this.doneOrNull;
  }
  set done(value: Done | null) {
    this.clearResult();
    this.doneOrNull = value;
    if (value !== null) this.resultCase = 2;
  }
  messageOrNull: MessageResult | null = null;
  get message(): MessageResult | null {
    return this.messageOrNull;
  }
  set message(value: MessageResult | null) {
    this.clearResult();
    this.messageOrNull = value;
    if (value !== null) this.resultCase = 3;
  }
  suggestOrNull: SuggestResult | null = null;
  get suggest(): SuggestResult | null {
    return this.suggestOrNull;
  }
  set suggest(value: SuggestResult | null) {
    this.clearResult();
    this.suggestOrNull = value;
    if (value !== null) this.resultCase = 4;
  }
  taskOrNull: TaskResult | null = null;
  get task(): TaskResult | null {
    return this.taskOrNull;
  }
  set task(value: TaskResult | null) {
    this.clearResult();
    this.taskOrNull = value;
    if (value !== null) this.resultCase = 5;
  }
  healthOrNull: HealthResult | null = null;
  get health(): HealthResult | null {
    return this.healthOrNull;
  }
  set health(value: HealthResult | null) {
    this.clearResult();
    this.healthOrNull = value;
    if (value !== null) this.resultCase = 6;
  }
  saveOrNull: SaveResult | null = null;
  get save(): SaveResult | null {
    return this.saveOrNull;
  }
  set save(value: SaveResult | null) {
    this.clearResult();
    this.saveOrNull = value;
    if (value !== null) this.resultCase = 7;
  }
}

export function readGuestResult(m: GuestResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.error;
        if (inner === null) m.error = inner = new AgentError();
        readAgentError(inner, readEnd(end));
        break;
      }
      case 18: {
        let inner = m.done;
        if (inner === null) m.done = inner = new Done();
        readDone(inner, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.message;
        if (inner === null) m.message = inner = new MessageResult();
        readMessageResult(inner, readEnd(end));
        break;
      }
      case 34: {
        let inner = m.suggest;
        if (inner === null) m.suggest = inner = new SuggestResult();
        readSuggestResult(inner, readEnd(end));
        break;
      }
      case 42: {
        let inner = m.task;
        if (inner === null) m.task = inner = new TaskResult();
        readTaskResult(inner, readEnd(end));
        break;
      }
      case 50: {
        let inner = m.health;
        if (inner === null) m.health = inner = new HealthResult();
        readHealthResult(inner, readEnd(end));
        break;
      }
      case 58: {
        let inner = m.save;
        if (inner === null) m.save = inner = new SaveResult();
        readSaveResult(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGuestResult(m: GuestResult): void {
  const error = m.error;
  if (error !== null) {
    const mark = open(10);
    writeAgentError(error);
    close(mark);
  }
  const done = m.done;
  if (done !== null) {
    const mark = open(18);
    writeDone(done);
    close(mark);
  }
  const message = m.message;
  if (message !== null) {
    const mark = open(26);
    writeMessageResult(message);
    close(mark);
  }
  const suggest = m.suggest;
  if (suggest !== null) {
    const mark = open(34);
    writeSuggestResult(suggest);
    close(mark);
  }
  const task = m.task;
  if (task !== null) {
    const mark = open(42);
    writeTaskResult(task);
    close(mark);
  }
  const health = m.health;
  if (health !== null) {
    const mark = open(50);
    writeHealthResult(health);
    close(mark);
  }
  const save = m.save;
  if (save !== null) {
    const mark = open(58);
    writeSaveResult(save);
    close(mark);
  }
}

export function decodeGuestResult(bytes: Uint8Array): GuestResult | null {
  const message = new GuestResult();
  startReading(bytes.dataStart);
  readGuestResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGuestResult(message: GuestResult): Uint8Array {
  startWriting();
  writeGuestResult(message);
  return takeWritten();
}

export class AskRequest {
  agentId: string = "";
  message: Message | null = null;
}

export function readAskRequest(m: AskRequest, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.agentId = readString(end);
        break;
      }
      case 18: {
        let inner = m.message;
        if (inner === null) m.message = inner = new Message();
        readMessage(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeAskRequest(m: AskRequest): void {
  if (m.agentId.length != 0) writeString(10, m.agentId);
  const message = m.message;
  if (message !== null) {
    const mark = open(18);
    writeMessage(message);
    close(mark);
  }
}

export function decodeAskRequest(bytes: Uint8Array): AskRequest | null {
  const message = new AskRequest();
  startReading(bytes.dataStart);
  readAskRequest(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeAskRequest(message: AskRequest): Uint8Array {
  startWriting();
  writeAskRequest(message);
  return takeWritten();
}

export class SleepRequest {
  durationMs: i64 = 0;
}

export function readSleepRequest(m: SleepRequest, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.durationMs = <i64>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeSleepRequest(m: SleepRequest): void {
  if (m.durationMs != 0) writeVarint(8, <u64>m.durationMs);
}

export function decodeSleepRequest(bytes: Uint8Array): SleepRequest | null {
  const message = new SleepRequest();
  startReading(bytes.dataStart);
  readSleepRequest(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeSleepRequest(message: SleepRequest): Uint8Array {
  startWriting();
  writeSleepRequest(message);
  return takeWritten();
}

export class GetDocumentRequest {
  key: string = "";
}

export function readGetDocumentRequest(m: GetDocumentRequest, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.key = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGetDocumentRequest(m: GetDocumentRequest): void {
  if (m.key.length != 0) writeString(10, m.key);
}

export function decodeGetDocumentRequest(bytes: Uint8Array): GetDocumentRequest | null {
  const message = new GetDocumentRequest();
  startReading(bytes.dataStart);
  readGetDocumentRequest(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGetDocumentRequest(message: GetDocumentRequest): Uint8Array {
  startWriting();
  writeGetDocumentRequest(message);
  return takeWritten();
}

export class ListDocumentsRequest {
  prefix: string = "";
  after: string = "";
  limit: i32 = 0;
}

export function readListDocumentsRequest(m: ListDocumentsRequest, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.prefix = readString(end);
        break;
      }
      case 18: {
        m.after = readString(end);
        break;
      }
      case 24: {
        m.limit = <i32>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeListDocumentsRequest(m: ListDocumentsRequest): void {
  if (m.prefix.length != 0) writeString(10, m.prefix);
  if (m.after.length != 0) writeString(18, m.after);
  if (m.limit != 0) writeVarint(24, <u64>(<i64>m.limit));
}

export function decodeListDocumentsRequest(bytes: Uint8Array): ListDocumentsRequest | null {
  const message = new ListDocumentsRequest();
  startReading(bytes.dataStart);
  readListDocumentsRequest(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeListDocumentsRequest(message: ListDocumentsRequest): Uint8Array {
  startWriting();
  writeListDocumentsRequest(message);
  return takeWritten();
}

/** Values of `GuestRequest.requestCase`. */
export namespace GuestRequestRequestCase {
  export const NONE: i32 = 0;
  export const ASK: i32 = 1;
  export const SLEEP: i32 = 2;
  export const GET_DOCUMENT: i32 = 3;
  export const LIST_DOCUMENTS: i32 = 4;
}

export class GuestRequest {
  /** The number of the member of `request` that is set; 0 for none. */
  requestCase: i32 = 0;
  clearRequest(): void {
    this.requestCase = 0;
    this.askOrNull = null;
    this.sleepOrNull = null;
    this.getDocumentOrNull = null;
    this.listDocumentsOrNull = null;
  }
  askOrNull: AskRequest | null = null;
  get ask(): AskRequest | null {
    return this.askOrNull;
  }
  set ask(value: AskRequest | null) {
    this.clearRequest();
    this.askOrNull = value;
    if (value !== null) this.requestCase = 1;
  }
  sleepOrNull: SleepRequest | null = null;
  get sleep(): SleepRequest | null {
    return this.sleepOrNull;
  }
  set sleep(value: SleepRequest | null) {
    this.clearRequest();
    this.sleepOrNull = value;
    if (value !== null) this.requestCase = 2;
  }
  getDocumentOrNull: GetDocumentRequest | null = null;
  get getDocument(): GetDocumentRequest | null {
    return this.getDocumentOrNull;
  }
  set getDocument(value: GetDocumentRequest | null) {
    this.clearRequest();
    this.getDocumentOrNull = value;
    if (value !== null) this.requestCase = 3;
  }
  listDocumentsOrNull: ListDocumentsRequest | null = null;
  get listDocuments(): ListDocumentsRequest | null {
    return this.listDocumentsOrNull;
  }
  set listDocuments(value: ListDocumentsRequest | null) {
    this.clearRequest();
    this.listDocumentsOrNull = value;
    if (value !== null) this.requestCase = 4;
  }
  timeoutMs: i32 = 0;
}

export function readGuestRequest(m: GuestRequest, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.ask;
        if (inner === null) m.ask = inner = new AskRequest();
        readAskRequest(inner, readEnd(end));
        break;
      }
      case 18: {
        let inner = m.sleep;
        if (inner === null) m.sleep = inner = new SleepRequest();
        readSleepRequest(inner, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.getDocument;
        if (inner === null) m.getDocument = inner = new GetDocumentRequest();
        readGetDocumentRequest(inner, readEnd(end));
        break;
      }
      case 34: {
        let inner = m.listDocuments;
        if (inner === null) m.listDocuments = inner = new ListDocumentsRequest();
        readListDocumentsRequest(inner, readEnd(end));
        break;
      }
      case 120: {
        m.timeoutMs = <i32>readVarint(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGuestRequest(m: GuestRequest): void {
  const ask = m.ask;
  if (ask !== null) {
    const mark = open(10);
    writeAskRequest(ask);
    close(mark);
  }
  const sleep = m.sleep;
  if (sleep !== null) {
    const mark = open(18);
    writeSleepRequest(sleep);
    close(mark);
  }
  const getDocument = m.getDocument;
  if (getDocument !== null) {
    const mark = open(26);
    writeGetDocumentRequest(getDocument);
    close(mark);
  }
  const listDocuments = m.listDocuments;
  if (listDocuments !== null) {
    const mark = open(34);
    writeListDocumentsRequest(listDocuments);
    close(mark);
  }
  if (m.timeoutMs != 0) writeVarint(120, <u64>(<i64>m.timeoutMs));
}

export function decodeGuestRequest(bytes: Uint8Array): GuestRequest | null {
  const message = new GuestRequest();
  startReading(bytes.dataStart);
  readGuestRequest(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGuestRequest(message: GuestRequest): Uint8Array {
  startWriting();
  writeGuestRequest(message);
  return takeWritten();
}

export class DocumentResult {
  found: bool = false;
  version: i64 = 0;
  content: Uint8Array = NO_BYTES;
}

export function readDocumentResult(m: DocumentResult, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 8: {
        m.found = readVarint(end) != 0;
        break;
      }
      case 16: {
        m.version = <i64>readVarint(end);
        break;
      }
      case 26: {
        m.content = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeDocumentResult(m: DocumentResult): void {
  if (m.found) writeVarint(8, 1);
  if (m.version != 0) writeVarint(16, <u64>m.version);
  if (m.content.length != 0) writeBytes(26, m.content);
}

export function decodeDocumentResult(bytes: Uint8Array): DocumentResult | null {
  const message = new DocumentResult();
  startReading(bytes.dataStart);
  readDocumentResult(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeDocumentResult(message: DocumentResult): Uint8Array {
  startWriting();
  writeDocumentResult(message);
  return takeWritten();
}

export class DocumentList {
  keysOrNull: Array<string> | null = null;
  get keys(): Array<string> {
    let value = this.keysOrNull;
    if (value === null) this.keysOrNull = value = new Array<string>();
    return value;
  }
  set keys(value: Array<string>) {
    this.keysOrNull = value;
  }
}

export function readDocumentList(m: DocumentList, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.keys.push(readString(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeDocumentList(m: DocumentList): void {
  const keys = m.keysOrNull;
  if (keys !== null) {
    for (let i = 0, n = keys.length; i < n; i++) {
      writeString(10, unchecked(keys[i]));
    }
  }
}

export function decodeDocumentList(bytes: Uint8Array): DocumentList | null {
  const message = new DocumentList();
  startReading(bytes.dataStart);
  readDocumentList(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeDocumentList(message: DocumentList): Uint8Array {
  startWriting();
  writeDocumentList(message);
  return takeWritten();
}

/** Values of `GuestResponse.responseCase`. */
export namespace GuestResponseResponseCase {
  export const NONE: i32 = 0;
  export const ERROR: i32 = 1;
  export const ASK: i32 = 2;
  export const SLEEP: i32 = 3;
  export const GET_DOCUMENT: i32 = 4;
  export const LIST_DOCUMENTS: i32 = 5;
}

export class GuestResponse {
  /** The number of the member of `response` that is set; 0 for none. */
  responseCase: i32 = 0;
  clearResponse(): void {
    this.responseCase = 0;
    this.errorOrNull = null;
    this.askOrNull = null;
    this.sleepOrNull = null;
    this.getDocumentOrNull = null;
    this.listDocumentsOrNull = null;
  }
  errorOrNull: AgentError | null = null;
  get error(): AgentError | null {
    return this.errorOrNull;
  }
  set error(value: AgentError | null) {
    this.clearResponse();
    this.errorOrNull = value;
    if (value !== null) this.responseCase = 1;
  }
  askOrNull: MessageResult | null = null;
  get ask(): MessageResult | null {
    return this.askOrNull;
  }
  set ask(value: MessageResult | null) {
    this.clearResponse();
    this.askOrNull = value;
    if (value !== null) this.responseCase = 2;
  }
  sleepOrNull: Done | null = null;
  get sleep(): Done | null {
    return this.sleepOrNull;
  }
  set sleep(value: Done | null) {
    this.clearResponse();
    this.sleepOrNull = value;
    if (value !== null) this.responseCase = 3;
  }
  getDocumentOrNull: DocumentResult | null = null;
  get getDocument(): DocumentResult | null {
    return this.getDocumentOrNull;
  }
  set getDocument(value: DocumentResult | null) {
    this.clearResponse();
    this.getDocumentOrNull = value;
    if (value !== null) this.responseCase = 4;
  }
  listDocumentsOrNull: DocumentList | null = null;
  get listDocuments(): DocumentList | null {
    return this.listDocumentsOrNull;
  }
  set listDocuments(value: DocumentList | null) {
    this.clearResponse();
    this.listDocumentsOrNull = value;
    if (value !== null) this.responseCase = 5;
  }
}

export function readGuestResponse(m: GuestResponse, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.error;
        if (inner === null) m.error = inner = new AgentError();
        readAgentError(inner, readEnd(end));
        break;
      }
      case 18: {
        let inner = m.ask;
        if (inner === null) m.ask = inner = new MessageResult();
        readMessageResult(inner, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.sleep;
        if (inner === null) m.sleep = inner = new Done();
        readDone(inner, readEnd(end));
        break;
      }
      case 34: {
        let inner = m.getDocument;
        if (inner === null) m.getDocument = inner = new DocumentResult();
        readDocumentResult(inner, readEnd(end));
        break;
      }
      case 42: {
        let inner = m.listDocuments;
        if (inner === null) m.listDocuments = inner = new DocumentList();
        readDocumentList(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGuestResponse(m: GuestResponse): void {
  const error = m.error;
  if (error !== null) {
    const mark = open(10);
    writeAgentError(error);
    close(mark);
  }
  const ask = m.ask;
  if (ask !== null) {
    const mark = open(18);
    writeMessageResult(ask);
    close(mark);
  }
  const sleep = m.sleep;
  if (sleep !== null) {
    const mark = open(26);
    writeDone(sleep);
    close(mark);
  }
  const getDocument = m.getDocument;
  if (getDocument !== null) {
    const mark = open(34);
    writeDocumentResult(getDocument);
    close(mark);
  }
  const listDocuments = m.listDocuments;
  if (listDocuments !== null) {
    const mark = open(42);
    writeDocumentList(listDocuments);
    close(mark);
  }
}

export function decodeGuestResponse(bytes: Uint8Array): GuestResponse | null {
  const message = new GuestResponse();
  startReading(bytes.dataStart);
  readGuestResponse(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGuestResponse(message: GuestResponse): Uint8Array {
  startWriting();
  writeGuestResponse(message);
  return takeWritten();
}

export class EmitEvent {
  eventType: string = "";
  topic: string = "";
  payload: Uint8Array = NO_BYTES;
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

export function readEmitEvent(m: EmitEvent, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.eventType = readString(end);
        break;
      }
      case 18: {
        m.topic = readString(end);
        break;
      }
      case 26: {
        m.payload = readBytes(end);
        break;
      }
      case 34: {
        readStringEntry(m.attributes, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitEvent(m: EmitEvent): void {
  if (m.eventType.length != 0) writeString(10, m.eventType);
  if (m.topic.length != 0) writeString(18, m.topic);
  if (m.payload.length != 0) writeBytes(26, m.payload);
  const attributes = m.attributesOrNull;
  if (attributes !== null) writeStringMap(34, attributes);
}

export function decodeEmitEvent(bytes: Uint8Array): EmitEvent | null {
  const message = new EmitEvent();
  startReading(bytes.dataStart);
  readEmitEvent(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitEvent(message: EmitEvent): Uint8Array {
  startWriting();
  writeEmitEvent(message);
  return takeWritten();
}

export class EmitMessage {
  agentId: string = "";
  message: Message | null = null;
}

export function readEmitMessage(m: EmitMessage, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.agentId = readString(end);
        break;
      }
      case 18: {
        let inner = m.message;
        if (inner === null) m.message = inner = new Message();
        readMessage(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitMessage(m: EmitMessage): void {
  if (m.agentId.length != 0) writeString(10, m.agentId);
  const message = m.message;
  if (message !== null) {
    const mark = open(18);
    writeMessage(message);
    close(mark);
  }
}

export function decodeEmitMessage(bytes: Uint8Array): EmitMessage | null {
  const message = new EmitMessage();
  startReading(bytes.dataStart);
  readEmitMessage(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitMessage(message: EmitMessage): Uint8Array {
  startWriting();
  writeEmitMessage(message);
  return takeWritten();
}

export class EmitPartial {
  content: string = "";
}

export function readEmitPartial(m: EmitPartial, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.content = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitPartial(m: EmitPartial): void {
  if (m.content.length != 0) writeString(10, m.content);
}

export function decodeEmitPartial(bytes: Uint8Array): EmitPartial | null {
  const message = new EmitPartial();
  startReading(bytes.dataStart);
  readEmitPartial(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitPartial(message: EmitPartial): Uint8Array {
  startWriting();
  writeEmitPartial(message);
  return takeWritten();
}

export class EmitTimer {
  timerId: string = "";
  delayMs: i64 = 0;
  payload: Uint8Array = NO_BYTES;
}

export function readEmitTimer(m: EmitTimer, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.timerId = readString(end);
        break;
      }
      case 16: {
        m.delayMs = <i64>readVarint(end);
        break;
      }
      case 26: {
        m.payload = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitTimer(m: EmitTimer): void {
  if (m.timerId.length != 0) writeString(10, m.timerId);
  if (m.delayMs != 0) writeVarint(16, <u64>m.delayMs);
  if (m.payload.length != 0) writeBytes(26, m.payload);
}

export function decodeEmitTimer(bytes: Uint8Array): EmitTimer | null {
  const message = new EmitTimer();
  startReading(bytes.dataStart);
  readEmitTimer(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitTimer(message: EmitTimer): Uint8Array {
  startWriting();
  writeEmitTimer(message);
  return takeWritten();
}

export class EmitCancelTimer {
  timerId: string = "";
}

export function readEmitCancelTimer(m: EmitCancelTimer, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.timerId = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitCancelTimer(m: EmitCancelTimer): void {
  if (m.timerId.length != 0) writeString(10, m.timerId);
}

export function decodeEmitCancelTimer(bytes: Uint8Array): EmitCancelTimer | null {
  const message = new EmitCancelTimer();
  startReading(bytes.dataStart);
  readEmitCancelTimer(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitCancelTimer(message: EmitCancelTimer): Uint8Array {
  startWriting();
  writeEmitCancelTimer(message);
  return takeWritten();
}

export class EmitDocument {
  key: string = "";
  content: Uint8Array = NO_BYTES;
}

export function readEmitDocument(m: EmitDocument, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.key = readString(end);
        break;
      }
      case 18: {
        m.content = readBytes(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitDocument(m: EmitDocument): void {
  if (m.key.length != 0) writeString(10, m.key);
  if (m.content.length != 0) writeBytes(18, m.content);
}

export function decodeEmitDocument(bytes: Uint8Array): EmitDocument | null {
  const message = new EmitDocument();
  startReading(bytes.dataStart);
  readEmitDocument(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitDocument(message: EmitDocument): Uint8Array {
  startWriting();
  writeEmitDocument(message);
  return takeWritten();
}

export class EmitDeleteDocument {
  key: string = "";
}

export function readEmitDeleteDocument(m: EmitDeleteDocument, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        m.key = readString(end);
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeEmitDeleteDocument(m: EmitDeleteDocument): void {
  if (m.key.length != 0) writeString(10, m.key);
}

export function decodeEmitDeleteDocument(bytes: Uint8Array): EmitDeleteDocument | null {
  const message = new EmitDeleteDocument();
  startReading(bytes.dataStart);
  readEmitDeleteDocument(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeEmitDeleteDocument(message: EmitDeleteDocument): Uint8Array {
  startWriting();
  writeEmitDeleteDocument(message);
  return takeWritten();
}

/** Values of `GuestEmit.emitCase`. */
export namespace GuestEmitEmitCase {
  export const NONE: i32 = 0;
  export const EVENT: i32 = 1;
  export const MESSAGE: i32 = 2;
  export const PARTIAL: i32 = 3;
  export const TIMER: i32 = 4;
  export const CANCEL_TIMER: i32 = 5;
  export const DOCUMENT: i32 = 6;
  export const DELETE_DOCUMENT: i32 = 7;
}

export class GuestEmit {
  /** The number of the member of `emit` that is set; 0 for none. */
  emitCase: i32 = 0;
  clearEmit(): void {
    this.emitCase = 0;
    this.eventOrNull = null;
    this.messageOrNull = null;
    this.partialOrNull = null;
    this.timerOrNull = null;
    this.cancelTimerOrNull = null;
    this.documentOrNull = null;
    this.deleteDocumentOrNull = null;
  }
  eventOrNull: EmitEvent | null = null;
  get event(): EmitEvent | null {
    return this.eventOrNull;
  }
  set event(value: EmitEvent | null) {
    this.clearEmit();
    this.eventOrNull = value;
    if (value !== null) this.emitCase = 1;
  }
  messageOrNull: EmitMessage | null = null;
  get message(): EmitMessage | null {
    return this.messageOrNull;
  }
  set message(value: EmitMessage | null) {
    this.clearEmit();
    this.messageOrNull = value;
    if (value !== null) this.emitCase = 2;
  }
  partialOrNull: EmitPartial | null = null;
  get partial(): EmitPartial | null {
    return this.partialOrNull;
  }
  set partial(value: EmitPartial | null) {
    this.clearEmit();
    this.partialOrNull = value;
    if (value !== null) this.emitCase = 3;
  }
  timerOrNull: EmitTimer | null = null;
  get timer(): EmitTimer | null {
    return this.timerOrNull;
  }
  set timer(value: EmitTimer | null) {
    this.clearEmit();
    this.timerOrNull = value;
    if (value !== null) this.emitCase = 4;
  }
  cancelTimerOrNull: EmitCancelTimer | null = null;
  get cancelTimer(): EmitCancelTimer | null {
    return this.cancelTimerOrNull;
  }
  set cancelTimer(value: EmitCancelTimer | null) {
    this.clearEmit();
    this.cancelTimerOrNull = value;
    if (value !== null) this.emitCase = 5;
  }
  documentOrNull: EmitDocument | null = null;
  get document(): EmitDocument | null {
    return this.documentOrNull;
  }
  set document(value: EmitDocument | null) {
    this.clearEmit();
    this.documentOrNull = value;
    if (value !== null) this.emitCase = 6;
  }
  deleteDocumentOrNull: EmitDeleteDocument | null = null;
  get deleteDocument(): EmitDeleteDocument | null {
    return this.deleteDocumentOrNull;
  }
  set deleteDocument(value: EmitDeleteDocument | null) {
    this.clearEmit();
    this.deleteDocumentOrNull = value;
    if (value !== null) this.emitCase = 7;
  }
}

export function readGuestEmit(m: GuestEmit, end: usize): void {
  while (more(end)) {
    const tag = readTag(end);
    switch (tag) {
      case 10: {
        let inner = m.event;
        if (inner === null) m.event = inner = new EmitEvent();
        readEmitEvent(inner, readEnd(end));
        break;
      }
      case 18: {
        let inner = m.message;
        if (inner === null) m.message = inner = new EmitMessage();
        readEmitMessage(inner, readEnd(end));
        break;
      }
      case 26: {
        let inner = m.partial;
        if (inner === null) m.partial = inner = new EmitPartial();
        readEmitPartial(inner, readEnd(end));
        break;
      }
      case 34: {
        let inner = m.timer;
        if (inner === null) m.timer = inner = new EmitTimer();
        readEmitTimer(inner, readEnd(end));
        break;
      }
      case 42: {
        let inner = m.cancelTimer;
        if (inner === null) m.cancelTimer = inner = new EmitCancelTimer();
        readEmitCancelTimer(inner, readEnd(end));
        break;
      }
      case 50: {
        let inner = m.document;
        if (inner === null) m.document = inner = new EmitDocument();
        readEmitDocument(inner, readEnd(end));
        break;
      }
      case 58: {
        let inner = m.deleteDocument;
        if (inner === null) m.deleteDocument = inner = new EmitDeleteDocument();
        readEmitDeleteDocument(inner, readEnd(end));
        break;
      }
      default:
        skip(tag, end);
    }
  }
}

export function writeGuestEmit(m: GuestEmit): void {
  const event = m.event;
  if (event !== null) {
    const mark = open(10);
    writeEmitEvent(event);
    close(mark);
  }
  const message = m.message;
  if (message !== null) {
    const mark = open(18);
    writeEmitMessage(message);
    close(mark);
  }
  const partial = m.partial;
  if (partial !== null) {
    const mark = open(26);
    writeEmitPartial(partial);
    close(mark);
  }
  const timer = m.timer;
  if (timer !== null) {
    const mark = open(34);
    writeEmitTimer(timer);
    close(mark);
  }
  const cancelTimer = m.cancelTimer;
  if (cancelTimer !== null) {
    const mark = open(42);
    writeEmitCancelTimer(cancelTimer);
    close(mark);
  }
  const document = m.document;
  if (document !== null) {
    const mark = open(50);
    writeEmitDocument(document);
    close(mark);
  }
  const deleteDocument = m.deleteDocument;
  if (deleteDocument !== null) {
    const mark = open(58);
    writeEmitDeleteDocument(deleteDocument);
    close(mark);
  }
}

export function decodeGuestEmit(bytes: Uint8Array): GuestEmit | null {
  const message = new GuestEmit();
  startReading(bytes.dataStart);
  readGuestEmit(message, bytes.dataStart + <usize>bytes.length);
  return finishReading().length == 0 ? message : null;
}

export function encodeGuestEmit(message: GuestEmit): Uint8Array {
  startWriting();
  writeGuestEmit(message);
  return takeWritten();
}
