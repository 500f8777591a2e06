/**
 * What an agent was told and answered: the last so many exchanges, and with them the
 * memory of message ids (D2). A message id takes effect at most once while its
 * exchange is kept; a repeat gets the recorded reply or the recorded refusal.
 *
 * A durable agent's exchanges lie in the store and only their hashes here; those of
 * an agent without durability live here alone.
 */
import { hash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Exchange, ExchangeSchema, type Message, MessageSchema, type Suggestion } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { SirsiError } from "../core/errors.ts";
import type { Reply } from "./agents.ts";

/** An exchange as it ended. */
export type ExchangeEnd = { readonly kind: "reply"; readonly response: Message; readonly suggestions: readonly Suggestion[] } | { readonly kind: "refusal"; readonly error: SirsiError };

interface KeptExchange {
  readonly sequence: number;
  readonly message: Message;
  readonly end: ExchangeEnd;
  readonly completedAt: number;
}

export type KnownMessage =
  /** Its step has not ended: whoever asks again waits for the same reply. */
  | { readonly kind: "running"; readonly message: Message; readonly reply: Promise<Reply> }
  | { readonly kind: "stored"; readonly messageHash: string }
  | { readonly kind: "kept"; readonly exchange: KeptExchange };

/** The identity of a message's content; the time it claims is not part of it, so a client may stamp a repeat anew. */
export function messageHash(message: Message): string {
  const { timestamp: _timestamp, ...rest } = message;
  return hash("sha256", toBinary(MessageSchema, rest), "hex");
}

/** Attachments of a request larger than this are left out of the kept exchange; their names and sizes stay. */
const KEPT_ATTACHMENT_BYTES = 64 * 1024;

export class Conversation {
  readonly #capacity: number;
  readonly #known = new Map<string, KnownMessage>();
  /** Whether every id of a kept exchange is in `#known`; false after a restart, until the store has been asked. */
  complete: boolean;
  sequence: number;

  constructor(capacity: number, sequence: number) {
    this.#capacity = capacity;
    this.sequence = sequence;
    this.complete = sequence === 0;
  }

  find(messageId: string): KnownMessage | undefined {
    return this.#known.get(messageId);
  }

  begin(messageId: string, message: Message, reply: Promise<Reply>): void {
    this.#known.set(messageId, { kind: "running", message, reply });
  }

  /** The step came to nothing: its id is free again. */
  forget(messageId: string): void {
    this.#known.delete(messageId);
  }

  settleStored(messageId: string, contentHash: string): void {
    this.#settle(messageId, { kind: "stored", messageHash: contentHash });
  }

  settleKept(message: Message, end: ExchangeEnd, completedAt: number): void {
    this.#settle(message.messageId, { kind: "kept", exchange: { sequence: this.sequence, message, end, completedAt } });
  }

  #settle(messageId: string, known: KnownMessage): void {
    // Set anew, so that the map's order is the order of ends.
    this.#known.delete(messageId);
    this.#known.set(messageId, known);
    if (this.#known.size <= this.#capacity) return;
    for (const [id, entry] of this.#known) {
      if (this.#known.size <= this.#capacity) break;
      if (entry.kind !== "running") this.#known.delete(id);
    }
  }

  /** Kept exchanges below a sequence, newest first, as they are stored. */
  list(beforeSequence: number, limit: number): { readonly sequence: number; readonly body: Uint8Array }[] {
    const kept: KeptExchange[] = [];
    for (const known of this.#known.values()) {
      if (known.kind === "kept" && known.exchange.sequence < beforeSequence) kept.push(known.exchange);
    }
    kept.sort((a, b) => b.sequence - a.sequence);
    return kept.slice(0, limit).map(({ sequence, message, end, completedAt }) => ({ sequence, body: exchangeBody(sequence, message, end, completedAt) }));
  }
}

/** A serialized sirsi.agent.v1.Exchange. */
export function exchangeBody(sequence: number, message: Message, end: ExchangeEnd, completedAt: number): Uint8Array {
  const exchange: Exchange = create(ExchangeSchema, {
    sequence: BigInt(sequence),
    message: withoutLargeData(message),
    completedAt: timestampFromMs(completedAt),
  });
  if (end.kind === "reply") {
    exchange.response = end.response;
    exchange.suggestions = [...end.suggestions];
  } else {
    exchange.errorReason = end.error.code;
    exchange.errorMessage = end.error.message;
    const guestCode = end.error.details.metadata?.["guest_code"];
    if (guestCode !== undefined) exchange.errorReason = `${end.error.code}:${guestCode}`;
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
