/**
 * Which work has ended its agent, and how often. What does so twice is not tried again:
 * a message becomes a dead letter, a timer is dropped. The agent remembers the last few;
 * one that comes back long after counts anew.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type MessageCall, MessageCallSchema } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { AgentRecord, DeadLetter } from "../store/store.ts";
import type { MessageWork } from "./work.ts";

const REMEMBERED_MAX = 64;
export const DEATHS_MAX = 2;

export class Deaths {
  #deaths: Map<string, number> | null = null;

  /** One more; how many there are now. */
  count(key: string): number {
    this.#deaths ??= new Map();
    const deaths = (this.#deaths.get(key) ?? 0) + 1;
    // Put at the end: the one that was counted longest ago is forgotten first.
    this.#deaths.delete(key);
    this.#deaths.set(key, deaths);
    if (this.#deaths.size > REMEMBERED_MAX) {
      const [oldest] = this.#deaths.keys();
      if (oldest !== undefined) this.#deaths.delete(oldest);
    }
    return deaths;
  }

  forget(key: string): void {
    this.#deaths?.delete(key);
  }
}

export function deadLetterOf({ delivery }: MessageWork, record: AgentRecord, error: SirsiError, attempts: number, now: number): DeadLetter {
  const { message, context, sourceAgentId } = delivery;
  const call: MessageCall = create(MessageCallSchema, { message, context: { ...context }, sourceAgentId });
  return {
    deadLetterId: newId(now),
    agentId: record.agentId,
    sessionId: record.sessionId,
    sourceAgentId,
    messageId: message.messageId,
    reason: error.code,
    explanation: error.message,
    attempts,
    deadAt: now,
    body: toBinary(MessageCallSchema, call),
  };
}
