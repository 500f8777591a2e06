/** What a message whose id is known, or may be, gets (D2). */
import { SirsiError } from "../core/errors.ts";
import type { ExchangeRecord } from "../store/store.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Delivery, Reply } from "./agents.ts";
import { type Conversation, type KnownMessage, messageHash, openKept } from "./conversation.ts";
import { readExchangeEnd, replay, requireSameMessage } from "./replay.ts";
import type { Surroundings } from "./surroundings.ts";

interface Repeated {
  readonly id: string;
  readonly conversation: Conversation;
  readonly around: Pick<Surroundings, "store">;
}

export async function answerRepeat(agent: Repeated, delivery: Delivery, known: KnownMessage | undefined, accept: () => Promise<Reply>): Promise<Reply> {
  const { message } = delivery;
  switch (known?.kind) {
    case "running":
      requireSameMessage(message, messageHash(known.message));
      return { ...(await known.reply), replayed: true };
    case "kept": {
      const kept = openKept(known.exchange);
      requireSameMessage(message, messageHash(kept.message));
      return replay(message.messageId, kept.end);
    }
    case "stored":
    case undefined:
  }
  const stored = await agent.around.store.findExchange(agent.id, message.messageId);
  if (stored !== null) return answerStored(message, stored);
  // While the store was asked, the same message may have come again.
  const since = agent.conversation.find(message.messageId);
  if (since !== undefined && since.kind !== "stored") return await answerRepeat(agent, delivery, since, accept);
  return await accept();
}

/** The recorded reply; its refusal, REPLY_FORGOTTEN or MESSAGE_ID_REUSED thrown. */
export function answerStored(message: Message, stored: ExchangeRecord): Reply {
  requireSameMessage(message, stored.messageHash);
  if (stored.body.length > 0) return replay(message.messageId, readExchangeEnd(stored.body));
  throw new SirsiError("REPLY_FORGOTTEN", `message ${message.messageId} was done before and took effect once; its reply is no longer kept (agents.exchanges_kept), so read the agent's state instead of sending it again`);
}
