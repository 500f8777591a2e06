/** What is sent: messages of one shape and size, each with an id of its own. */
import { create, toBinary } from "@bufbuild/protobuf";
import { MessageSchema, SendMessageRequestSchema } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Message } from "../../runtime/contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../../runtime/core/errors.ts";

const WORDS = ["terraform", "plan", "shows", "seven", "changes", "in", "eu-west-1", "please", "look", "at", "the", "bucket", "policy", "first"] as const;
const ID_CHARS = 36;

/** Deterministic, from a seed: a linear congruence is random enough to choose words. */
export function contentOf(seed: number, words = 8): string {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  const chosen = Array.from({ length: words }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return WORDS[(state >>> 8) % WORDS.length];
  });
  return chosen.join(" ");
}

let made = 0;

/** As long as a UUID, and never the same twice in a process. */
export function nextMessageId(prefix: string): string {
  return `${prefix}-${String(++made).padStart(ID_CHARS - 1 - prefix.length, "0")}`;
}

export function benchMessage(messageId: string, content: string): Message {
  return create(MessageSchema, { messageId, content, type: 1, metadata: { channel: "bench" } });
}

/** Requests as bytes, made so that a client under measurement spends next to nothing on them. */
export class RequestMill {
  readonly #template: Buffer;
  readonly #idAt: number;
  readonly #prefix: string;

  constructor(sessionId: string, agentId: string, content: string, prefix: string) {
    const placeholder = "#".repeat(ID_CHARS);
    const request = create(SendMessageRequestSchema, { sessionId, agentId, message: benchMessage(placeholder, content) });
    this.#template = Buffer.from(toBinary(SendMessageRequestSchema, request));
    this.#idAt = this.#template.indexOf(placeholder);
    this.#prefix = prefix;
    if (this.#idAt < 0) throw new SirsiError("INTERNAL", "the request's template holds no message id");
  }

  next(): { readonly id: string; readonly bytes: Buffer } {
    const id = nextMessageId(this.#prefix);
    const bytes = Buffer.from(this.#template);
    bytes.write(id, this.#idAt, "latin1");
    return { id, bytes };
  }
}
