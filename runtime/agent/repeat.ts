/** What a message whose id is known, or may be, gets (D2). */
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
  if (stored !== null) {
    requireSameMessage(message, stored.messageHash);
    return replay(message.messageId, readExchangeEnd(stored.body));
  }
  // While the store was asked, the same message may have come again.
  const since = agent.conversation.find(message.messageId);
  if (since !== undefined && since.kind !== "stored") return await answerRepeat(agent, delivery, since, accept);
  return await accept();
}
