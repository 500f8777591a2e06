/**
 * What an agent was told and answered: the last so many exchanges, and with them the
 * memory of message ids (D2). A message id takes effect at most once while its
 * exchange is kept; a repeat gets the recorded reply or the recorded refusal.
 *
 * A durable agent's exchanges lie in the store, and only their ids here; those of an
 * agent without durability live here alone.
 */
import { hash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Exchange, ExchangeSchema, type Message, MessageSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { encodePlainExchange, plainMessageBytes } from "../contract/exchange-codec.ts";
import { decodeGuestResult, decodeMessageCall } from "../contract/guest-codec.ts";
import type { Reply } from "./agents.ts";
import { ExchangeRing, idHash, type RingExchange } from "./exchange-ring.ts";
import { type ExchangeEnd, readMessageEnd } from "./message-end.ts";

export type KnownMessage =
  /** Its step has not ended: whoever asks again waits for the same reply. */
  | { readonly kind: "running"; readonly message: Message; readonly reply: Promise<Reply> }
  | { readonly kind: "kept"; readonly exchange: RingExchange }
  | { readonly kind: "stored" };

/**
 * The identity of a message's content. The time it claims is not part of it, so a client
 * may stamp a repeat anew; nor is the order of its metadata, which many clients write at random.
 */
export function messageHash(message: Message): string {
  const { messageId, type, content, attachments } = message;
  const timeless: Message = { $typeName: "sirsi.agent.v1.Message", messageId, type, content, metadata: inOrder(message.metadata), attachments };
  if (message.$unknown !== undefined) timeless.$unknown = message.$unknown;
  return hash("sha256", plainMessageBytes(timeless) ?? toBinary(MessageSchema, timeless), "hex");
}

function inOrder(map: Message["metadata"]): Message["metadata"] {
  let keys = 0;
  for (const _ in map) if (++keys > 1) break;
  if (keys < 2) return map;
  const entries = Object.entries(map);
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function openKept(kept: RingExchange): { readonly message: Message; readonly end: ExchangeEnd } {
  const message = decodeMessageCall(kept.call.slice());
  return { message, end: readMessageEnd(message.messageId, decodeGuestResult(kept.result.slice()), kept.completedAt) };
}

/** Attachments of a request larger than this are left out of the kept exchange; their names and sizes stay. */
const KEPT_ATTACHMENT_BYTES = 64 * 1024;
/** Kept exchanges of an agent without durability give way, oldest first, beyond this many bytes. */
const KEPT_BYTES_MAX = 1024 * 1024;

type Running = Extract<KnownMessage, { kind: "running" }>;

export class Conversation {
  readonly #running = new RunningMessages();
  #ring: ExchangeRing;
  readonly #capacity: number;
  /** Of its newest exchange. */
  sequence: number;

  constructor(capacity: number, sequence: number) {
    this.#capacity = capacity;
    this.#ring = new ExchangeRing(capacity, KEPT_BYTES_MAX);
    this.sequence = sequence;
  }

  /**
   * The ids of all its newest exchanges are known here. Not so after a restart, until as
   * many have come anew; whoever is unknown meanwhile, the store is asked for. Older ids
   * than these are found by the commit, which the store refuses (D2).
   */
  get complete(): boolean {
    return this.#ring.size >= Math.min(this.sequence, this.#capacity);
  }

  /** Every id that it ever had is known here: nothing has to be looked up anywhere. */
  get whole(): boolean {
    return this.#ring.size >= this.sequence;
  }

  /** Goes back to what the store has. */
  reset(sequence: number): void {
    this.#ring = new ExchangeRing(this.#capacity, KEPT_BYTES_MAX);
    this.sequence = sequence;
  }

  /** `stored` means that the store may have it. */
  find(messageId: string): KnownMessage | undefined {
    const running = this.#running.find(messageId);
    if (running !== undefined) return running;
    const hash = idHash(messageId);
    if (!this.#ring.has(hash)) return undefined;
    for (const exchange of this.#ring.find(hash)) {
      if (exchange.call.length === 0) return { kind: "stored" };
      if (decodeMessageCall(exchange.call).messageId === messageId) return { kind: "kept", exchange };
    }
    return undefined;
  }

  begin(message: Message, reply: Promise<Reply>): void {
    this.#running.add({ kind: "running", message, reply });
  }

  /** The step came to nothing: its id is free again. */
  forget(messageId: string): void {
    this.#running.remove(messageId);
  }

  /** Its exchange is in the store. */
  settleStored(messageId: string): void {
    this.#running.remove(messageId);
    this.#ring.push(idHash(messageId), this.sequence, 0, NO_BYTES, NO_BYTES);
  }

  /** Its exchange is kept here, as the call that went to the guest and the result that came back. */
  settleKept(messageId: string, call: Uint8Array, result: Uint8Array, completedAt: number): void {
    this.#running.remove(messageId);
    this.#ring.push(idHash(messageId), this.sequence, completedAt, call, result);
  }

  /** Kept exchanges below a sequence, newest first, as they are stored. */
  list(beforeSequence: number, limit: number): { readonly sequence: number; readonly body: Uint8Array }[] {
    return this.#ring.list(beforeSequence, limit).map((exchange) => {
      const { message, end } = openKept(exchange);
      return { sequence: exchange.sequence, body: exchangeBody(exchange.sequence, message, end, exchange.completedAt) };
    });
  }
}

/** Most agents have few messages at a time: a list of few is quicker than a map that is for ever filled and emptied. */
const LISTED_MAX = 8;

class RunningMessages {
  readonly #few: Running[] = [];
  #more: Map<string, Running> | null = null;

  find(messageId: string): Running | undefined {
    for (const running of this.#few) if (running.message.messageId === messageId) return running;
    return this.#more?.get(messageId);
  }

  add(running: Running): void {
    if (this.#few.length < LISTED_MAX) this.#few.push(running);
    else (this.#more ??= new Map()).set(running.message.messageId, running);
  }

  remove(messageId: string): void {
    const few = this.#few;
    for (let at = 0; at < few.length; at++) {
      if (few[at]?.message.messageId !== messageId) continue;
      const last = few.pop();
      if (at < few.length && last !== undefined) few[at] = last;
      return;
    }
    this.#more?.delete(messageId);
  }
}

const NO_BYTES = new Uint8Array(0);

/** A serialized sirsi.agent.v1.Exchange. */
export function exchangeBody(sequence: number, message: Message, end: ExchangeEnd, completedAt: number): Uint8Array {
  const plain = end.kind === "reply" && end.suggestions.length === 0 ? encodePlainExchange(sequence, message, end.response, completedAt) : null;
  return plain ?? anyExchangeBody(sequence, message, end, completedAt);
}

function anyExchangeBody(sequence: number, message: Message, end: ExchangeEnd, completedAt: number): Uint8Array {
  const exchange: Exchange = create(ExchangeSchema, {
    sequence: BigInt(sequence),
    message: withoutLargeData(message),
    completedAt: timestampFromMs(completedAt),
  });
  if (end.kind === "reply") {
    exchange.response = end.response;
    exchange.suggestions = [...end.suggestions];
  } else {
    const { guest_code: guestCode, ...details } = end.error.details.metadata ?? {};
    exchange.errorReason = guestCode === undefined ? end.error.code : `${end.error.code}:${guestCode}`;
    exchange.errorMessage = end.error.message;
    exchange.errorDetails = details;
    exchange.errorRetryable = end.error.details.retryAfterMs !== undefined;
  }
  return toBinary(ExchangeSchema, exchange);
}

function withoutLargeData(message: Message): Message {
  const large = message.attachments.some(({ content }) => content.case === "data" && content.value.length > KEPT_ATTACHMENT_BYTES);
  if (!large) return message;
  const attachments = message.attachments.map((attachment) =>
    attachment.content.case === "data" && attachment.content.value.length > KEPT_ATTACHMENT_BYTES
      ? { ...attachment, content: { case: undefined } as const }
      : attachment,
  );
  return { ...message, attachments };
}
