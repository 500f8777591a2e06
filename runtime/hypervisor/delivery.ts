/** One message on its way from a client to an agent and back: SendMessage and Converse share it. */
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Reply } from "../agent/agents.ts";
import { MessageType, Priority, SendMessageResponseSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Attachment, Message, MessageOptions, SendMessageResponse } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import { FieldViolations } from "../core/field-violations.ts";
import { isMessageId, newId } from "../core/ids.ts";
import type { SessionRecord } from "../store/store.ts";
import { TIMEOUT_MAX_SECONDS } from "./agent-config.ts";
import type { AgentServiceDeps } from "./agent-service-deps.ts";
import { agentRecordOf } from "./agent-service-deps.ts";
import type { CallContext } from "./service-api.ts";
import type { SuggestionGuard } from "./suggestion-guard.ts";

/** The fields that SendMessageRequest and ConverseRequest have in common. */
export interface Outgoing {
  readonly sessionId: string;
  readonly agentId: string;
  readonly message?: Message | undefined;
  readonly options?: MessageOptions | undefined;
}

const TYPES: ReadonlySet<number> = new Set(Object.values(MessageType));
const PRIORITIES: ReadonlySet<number> = new Set(Object.values(Priority));
/** 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, as google.protobuf.Timestamp has it. */
const TIMESTAMP_MIN_SECONDS = -62_135_596_800n;
const TIMESTAMP_MAX_SECONDS = 253_402_300_799n;
const NO_CONTEXT: Readonly<Record<string, string>> = {};

export class Deliveries {
  readonly #deps: AgentServiceDeps;
  readonly #guard: SuggestionGuard;

  constructor(deps: AgentServiceDeps, guard: SuggestionGuard) {
    this.#deps = deps;
    this.#guard = guard;
  }

  /**
   * Checks a message and fills in, in place, what the client left to the host: its
   * id, type, time and the sizes of its attachments. The request was decoded for
   * this call alone. INVALID_ARGUMENT.
   */
  complete(outgoing: Outgoing): Message {
    const wrong = new FieldViolations();
    wrong.requireId(outgoing.sessionId, "session_id");
    wrong.requireId(outgoing.agentId, "agent_id");
    const { message, options } = outgoing;
    const { mapMaxEntries } = this.#deps.limits;
    if (options !== undefined) {
      wrong.requireWithin(options.timeoutSeconds, 0, TIMEOUT_MAX_SECONDS, "options.timeout_seconds", "seconds; 0 for the agent's own");
      wrong.requireMap(options.context, mapMaxEntries, "options.context");
      wrong.require(PRIORITIES.has(options.priority), "options.priority", `is no priority; got ${options.priority}`);
    }
    if (message === undefined) wrong.add("message", "must be set");
    else this.#completeMessage(message, wrong);
    wrong.throwIfAny();
    if (message === undefined) throw new SirsiError("INVALID_ARGUMENT", "message must be set");
    return message;
  }

  /** Of a message that is complete. `onPartial` gets previews while the agent works. */
  async deliver(outgoing: Outgoing, message: Message, context: CallContext, onPartial: ((content: string) => void) | null): Promise<SendMessageResponse> {
    const { sessions, agents, clock, messageRates } = this.#deps;
    const { sessionId, agentId, options } = outgoing;
    // Sessions and agents in use are known at once: no turn of the event loop is spent on them.
    const found = sessions.requireActive(sessionId);
    const session = found instanceof Promise ? await found : found;
    const known = agentRecordOf(this.#deps, sessionId, agentId);
    const { config } = known instanceof Promise ? await known : known;
    if (messageRates !== null) await messageRates.require(session);
    const began = clock.monotonic();
    const timeoutSeconds = options === undefined || options.timeoutSeconds === 0 ? config.timeoutSeconds : options.timeoutSeconds;
    const priority = options === undefined || options.priority === Priority.UNSPECIFIED ? Priority.NORMAL : options.priority;
    try {
      const reply = await agents.send(agentId, {
        message,
        context: options?.context ?? NO_CONTEXT,
        priority,
        sourceAgentId: "",
        deadline: earlier(context.deadline, timeoutSeconds === 0 ? null : began + timeoutSeconds * 1_000),
        signal: context.signal,
        traceparent: context.traceparent,
        onPartial,
        outboxKey: null,
        deadLetterId: null,
      });
      if (session.config.enableLogging) this.#logOutcome(session, agentId, message, began, "answered");
      return this.#response(reply, clock.monotonic() - began);
    } catch (thrown) {
      if (session.config.enableLogging) this.#logOutcome(session, agentId, message, began, SirsiError.from(thrown).code);
      throw thrown;
    }
  }

  #completeMessage(message: Message, wrong: FieldViolations): void {
    const { clock, limits } = this.#deps;
    if (message.messageId === "") message.messageId = newId(clock.now());
    else wrong.require(isMessageId(message.messageId), "message.message_id", "must be 1 to 128 visible ASCII characters without spaces");
    wrong.require(TYPES.has(message.type), "message.type", `is no message type; got ${message.type}`);
    if (message.type === MessageType.UNSPECIFIED) message.type = MessageType.TEXT;
    wrong.requireMap(message.metadata, limits.mapMaxEntries, "message.metadata");
    if (message.timestamp === undefined) message.timestamp = timestampFromMs(clock.now());
    else checkTimestamp(message.timestamp, wrong);
    wrong.require(message.attachments.length <= limits.mapMaxEntries, "message.attachments", `may have ${limits.mapMaxEntries} entries; got ${message.attachments.length}`);
    for (const [at, attachment] of message.attachments.entries()) completeAttachment(attachment, `message.attachments[${at}]`, wrong);
  }

  #response(reply: Reply, elapsedMs: number): SendMessageResponse {
    const { metrics } = reply;
    if (metrics.processingTimeMs === 0) metrics.processingTimeMs = elapsedMs;
    return create(SendMessageResponseSchema, {
      messageId: reply.messageId,
      response: reply.response,
      suggestions: this.#guard.sound(reply.suggestions, reply.messageId),
      metrics,
      replayed: reply.replayed,
    });
  }

  #logOutcome(session: SessionRecord, agentId: string, message: Message, began: number, outcome: string): void {
    const { log, clock } = this.#deps;
    log.info({ sessionId: session.sessionId, agentId, messageId: message.messageId, outcome, elapsedMs: Math.round(clock.monotonic() - began) }, "message to agent");
  }
}

/** The earlier of two moments on the monotonic clock; null is never. */
export function earlier(a: number | null, b: number | null): number | null {
  if (a === null) return b;
  return b === null ? a : Math.min(a, b);
}

function checkTimestamp({ seconds, nanos }: Timestamp, wrong: FieldViolations): void {
  const sound = seconds >= TIMESTAMP_MIN_SECONDS && seconds <= TIMESTAMP_MAX_SECONDS && nanos >= 0 && nanos < 1_000_000_000;
  wrong.require(sound, "message.timestamp", "must lie in the years 1 to 9999, with nanos from 0 to 999999999");
}

function completeAttachment(attachment: Attachment, field: string, wrong: FieldViolations): void {
  const { content } = attachment;
  if (content.case !== "data") {
    wrong.require(attachment.sizeBytes >= 0n, `${field}.size_bytes`, `must not be negative; got ${attachment.sizeBytes}`);
    return;
  }
  const size = BigInt(content.value.length);
  if (attachment.sizeBytes === 0n) attachment.sizeBytes = size;
  else wrong.require(attachment.sizeBytes === size, `${field}.size_bytes`, `says ${attachment.sizeBytes}, and data has ${size}; leave it 0 or make them agree`);
}
