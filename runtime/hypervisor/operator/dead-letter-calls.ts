/** Messages that were given up: looked at, sent again, dropped. */
import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Priority } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Message } from "../../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { type MessageCall, MessageCallSchema } from "../../contract/gen/sirsi/agent/v1/guest_pb.ts";
import {
  DeadLetterSchema,
  DropDeadLetterResponseSchema,
  GetDeadLetterResponseSchema,
  ListDeadLettersResponseSchema,
  RetryDeadLetterResponseSchema,
} from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import type { DeadLetter as DeadLetterMessage } from "../../contract/gen/sirsi/hypervisor/v1/hypervisor_service_pb.ts";
import { SirsiError } from "../../core/errors.ts";
import { FieldViolations } from "../../core/field-violations.ts";
import type { DeadLetter } from "../../store/store.ts";
import { pageSize } from "../agent-service-deps.ts";
import type { CallContext, HypervisorServiceApi } from "../service-api.ts";
import type { OperatorDeps } from "./operator-deps.ts";

const PAGE_SIZE_DEFAULT = 50;
const PREVIEW_CHARS = 200;
const LETTER_ID_MAX_CHARS = 128;

export type DeadLetterDeps = Pick<OperatorDeps, "agents" | "sessions"> & { readonly store: Pick<OperatorDeps["store"], "listDeadLetters" | "getDeadLetter" | "dropDeadLetter"> };

type DeadLetterCalls = Pick<HypervisorServiceApi, "listDeadLetters" | "getDeadLetter" | "retryDeadLetter" | "dropDeadLetter">;

export function deadLetterCalls({ store, agents, sessions }: DeadLetterDeps): DeadLetterCalls {
  const find = async (deadLetterId: string): Promise<DeadLetter> => {
    requireLetterId(deadLetterId);
    const letter = await store.getDeadLetter(deadLetterId);
    if (letter === null) throw notFound(deadLetterId);
    return letter;
  };
  return {
    async listDeadLetters(request) {
      const wrong = new FieldViolations();
      if (request.sessionId !== "") wrong.requireId(request.sessionId, "session_id");
      if (request.agentId !== "") wrong.requireId(request.agentId, "agent_id");
      wrong.require(request.beforeId.length <= LETTER_ID_MAX_CHARS, "before_id", `may have ${LETTER_ID_MAX_CHARS} characters; got ${request.beforeId.length}`);
      const limit = pageSize(request.pageSize, PAGE_SIZE_DEFAULT, wrong);
      wrong.throwIfAny();
      const letters = await store.listDeadLetters({ sessionId: request.sessionId || null, agentId: request.agentId || null, beforeId: request.beforeId, limit });
      return create(ListDeadLettersResponseSchema, { deadLetters: letters.map((letter) => letterMessage(letter, preview(letter))) });
    },

    async getDeadLetter({ deadLetterId }) {
      const letter = await find(deadLetterId);
      return create(GetDeadLetterResponseSchema, { deadLetter: letterMessage(letter, callOf(letter).message.content) });
    },

    async retryDeadLetter({ deadLetterId }, context) {
      const letter = await find(deadLetterId);
      await sessions.requireActive(letter.sessionId);
      await requireReceiver(agents, letter);
      const answer = await retry(agents, letter, context);
      // The commit that took the message removed the letter; an agent without durability commits nothing.
      await store.dropDeadLetter(deadLetterId);
      return create(RetryDeadLetterResponseSchema, answer);
    },

    async dropDeadLetter({ deadLetterId }) {
      requireLetterId(deadLetterId);
      if (!(await store.dropDeadLetter(deadLetterId))) throw notFound(deadLetterId);
      return create(DropDeadLetterResponseSchema);
    },
  };
}

interface RetryAnswer {
  readonly content: string;
  readonly errorMessage: string;
}

/** Resolves when the agent took the message, whatever it answered; throws when the letter stays. */
async function retry(agents: DeadLetterDeps["agents"], letter: DeadLetter, { deadline, signal, traceparent }: CallContext): Promise<RetryAnswer> {
  const { message, context, sourceAgentId } = callOf(letter);
  try {
    const { response } = await agents.send(letter.agentId, {
      message: { ...message, messageId: letter.messageId },
      context,
      priority: Priority.NORMAL,
      sourceAgentId,
      deadline,
      signal,
      traceparent,
      onPartial: null,
      outboxKey: null,
      deadLetterId: letter.deadLetterId,
    });
    return { content: response.content, errorMessage: "" };
  } catch (thrown) {
    const error = SirsiError.from(thrown);
    // The agent's own answer: the step is done, and the message with it.
    if (error.code === "GUEST_ERROR") return { content: "", errorMessage: error.message };
    // It may have ended since it was looked up.
    if (error.code === "AGENT_TERMINATED" || error.code === "AGENT_NOT_FOUND") throw gone(error.code, letter, error);
    throw error;
  }
}

/** A message that an agent emitted for one of another session must not reach it this way either. */
async function requireReceiver(agents: DeadLetterDeps["agents"], letter: DeadLetter): Promise<void> {
  const record = await agents.recordOf(letter.agentId);
  if (record === null || record.sessionId !== letter.sessionId) throw gone("AGENT_NOT_FOUND", letter, null);
  if (record.state === "TERMINATED") throw gone("AGENT_TERMINATED", letter, null);
}

/** An agent that is no more will never take it. */
function gone(code: "AGENT_NOT_FOUND" | "AGENT_TERMINATED", { agentId, sessionId, deadLetterId }: DeadLetter, cause: unknown): SirsiError {
  const what = code === "AGENT_TERMINATED" ? "has ended" : `is not one of session ${sessionId}`;
  return new SirsiError(code, `agent ${agentId}, which the dead letter is for, ${what} and can take no message; drop the letter with \`sirsi deadletter drop ${deadLetterId}\``, {
    metadata: { agent_id: agentId, dead_letter_id: deadLetterId },
    cause,
  });
}

function requireLetterId(deadLetterId: string): void {
  const wrong = new FieldViolations();
  if (deadLetterId === "") wrong.add("dead_letter_id", "must be set: the id of a dead letter");
  else wrong.require(deadLetterId.length <= LETTER_ID_MAX_CHARS, "dead_letter_id", `may have ${LETTER_ID_MAX_CHARS} characters; got ${deadLetterId.length}`);
  wrong.throwIfAny();
}

function notFound(deadLetterId: string): SirsiError {
  return new SirsiError("DEAD_LETTER_NOT_FOUND", `no dead letter has the id ${deadLetterId}: it was retried or dropped, or never was; list them with \`sirsi deadletter list\``, {
    metadata: { dead_letter_id: deadLetterId },
  });
}

function callOf({ deadLetterId, body }: DeadLetter): MessageCall & { readonly message: Message } {
  try {
    const call = fromBinary(MessageCallSchema, body);
    const { message } = call;
    if (message !== undefined) return { ...call, message };
  } catch (thrown) {
    throw unreadable(deadLetterId, thrown);
  }
  throw unreadable(deadLetterId, null);
}

function unreadable(deadLetterId: string, cause: unknown): SirsiError {
  return new SirsiError("STORE_CORRUPT", `dead letter ${deadLetterId} holds no message that can be read; drop it, or restore the data directory from a backup`, { metadata: { dead_letter_id: deadLetterId }, cause });
}

/** A list is told even when one of its letters cannot be read. */
function preview(letter: DeadLetter): string {
  try {
    return callOf(letter).message.content.slice(0, PREVIEW_CHARS);
  } catch {
    return "(cannot be read)";
  }
}

function letterMessage(letter: DeadLetter, content: string): DeadLetterMessage {
  return create(DeadLetterSchema, {
    deadLetterId: letter.deadLetterId,
    agentId: letter.agentId,
    sessionId: letter.sessionId,
    sourceAgentId: letter.sourceAgentId,
    messageId: letter.messageId,
    reason: letter.reason,
    explanation: letter.explanation,
    attempts: letter.attempts,
    deadAt: timestampFromMs(letter.deadAt),
    content,
  });
}
