/** What an agent can do beyond its own memory: log, read the clock, draw lots, emit, ask, wait. */
import { AgentError } from "./agent-error";
import { AskRequest, EmitEvent, EmitMessage, EmitPartial, GuestEmit, GuestRequest, MessageResult, SleepRequest } from "./gen/guest";
import { hostLog, hostNow, hostRandom } from "./host";
import { send, unexpected, wait } from "./host-call";
import { Message } from "./message";
import { Outcome } from "./outcome";
import { Suggestion } from "./suggestion";
import { releaseWritten, startWriting, writeText, writtenAt, writtenLength } from "./wire";

export class Log {
  static trace(text: string): void {
    writeLog(0, text);
  }
  static debug(text: string): void {
    writeLog(1, text);
  }
  static info(text: string): void {
    writeLog(2, text);
  }
  static warn(text: string): void {
    writeLog(3, text);
  }
  static error(text: string): void {
    writeLog(4, text);
  }
}

function writeLog(level: i32, text: string): void {
  startWriting();
  writeText(text);
  hostLog(level, writtenAt(), <i32>writtenLength());
  releaseWritten();
}

export class Clock {
  /** Milliseconds since 1970, UTC. */
  static now(): i64 {
    return hostNow();
  }
}

export class Random {
  static bytes(length: i32): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += RANDOM_MAX) hostRandom(bytes.dataStart + <usize>at, min(RANDOM_MAX, length - at));
    return bytes;
  }

  static u64(): u64 {
    hostRandom(changetype<usize>(eight), 8);
    return load<u64>(changetype<usize>(eight));
  }

  /** From 0 up to, not including, 1. */
  static f64(): f64 {
    return <f64>(Random.u64() >> 11) * (1.0 / 9007199254740992.0);
  }

  /** A new UUID of version 7: ids sort by the time they were made. */
  static id(): string {
    const time = <u64>hostNow();
    const high = (time << 16) | 0x7000 | (Random.u64() & 0x0fff);
    const low = (Random.u64() & 0x3fffffffffffffff) | 0x8000000000000000;
    const a = hex(high);
    const b = hex(low);
    return a.substring(0, 8) + "-" + a.substring(8, 12) + "-" + a.substring(12) + "-" + b.substring(0, 4) + "-" + b.substring(4);
  }
}

/** Bytes the host draws at a time. */
const RANDOM_MAX: i32 = 65_536;

const eight = new StaticArray<u8>(8);

function hex(value: u64): string {
  return value.toString(16).padStart(16, "0");
}

/** Puts things in the outbox: they leave once the step is committed. */
export class Emit {
  /** An event; `topic` "" for the session's event stream alone. Names are lower case. */
  static event(eventType: string, topic: string = "", payload: Uint8Array | null = null, attributes: Map<string, string> | null = null): void {
    const event = new EmitEvent();
    event.eventType = eventType;
    event.topic = topic;
    if (payload !== null) event.payload = payload;
    event.attributesOrNull = attributes;
    const emit = new GuestEmit();
    emit.event = event;
    send(emit);
  }

  /** A message for another agent of the session; nobody waits for its reply. */
  static message(agentId: string, message: Message): void {
    const inner = new EmitMessage();
    inner.agentId = agentId;
    inner.message = message;
    const emit = new GuestEmit();
    emit.message = inner;
    send(emit);
  }

  /** A preview of the reply, for a client that streams. */
  static partial(content: string): void {
    const partial = new EmitPartial();
    partial.content = content;
    const emit = new GuestEmit();
    emit.partial = partial;
    send(emit);
  }
}

/** What an asked agent answered, or why it did not. */
export class Answer {
  constructor(
    private readonly result: MessageResult | null,
    public readonly error: AgentError | null,
  ) {}

  get ok(): bool {
    return this.error === null;
  }

  /** The answer; an empty message when there is an error. */
  get message(): Message {
    const result = this.result;
    if (result === null) return new Message();
    const message = result.response;
    return message === null ? new Message() : message;
  }

  get suggestions(): Suggestion[] {
    const result = this.result;
    return result === null ? [] : result.suggestions;
  }
}

/** Sends a message to another agent of the session and waits for its answer; `timeoutMs` 0 for as long as the step may take. */
export function ask(agentId: string, message: Message, timeoutMs: i32 = 0): Answer {
  const inner = new AskRequest();
  inner.agentId = agentId;
  inner.message = message;
  const request = new GuestRequest();
  request.ask = inner;
  request.timeoutMs = timeoutMs;
  const response = wait(request);
  if (response.error !== null) return new Answer(null, response.error);
  return response.ask === null ? new Answer(null, unexpected()) : new Answer(response.ask, null);
}

/** Waits. The agent costs its host no thread and no memory of its own meanwhile. */
export function sleep(durationMs: i64): Outcome {
  const inner = new SleepRequest();
  inner.durationMs = durationMs;
  const request = new GuestRequest();
  request.sleep = inner;
  const response = wait(request);
  if (response.error !== null) return new Outcome(response.error);
  return response.sleep === null ? new Outcome(unexpected()) : Outcome.ok();
}
