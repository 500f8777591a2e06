/**
 * The newest exchanges of an agent from the shared context in place of the store, when it
 * can be shown that the store would say the same.
 *
 * It can when the store was read for this very request, and the newest exchange that it
 * had then is the newest one here: an exchange that was committed under a number never
 * changes, only committed ones are put here, and what is here has no gaps. And when what
 * is here is as much as was asked for, or goes back to the agent's first exchange.
 */
import type { AgentView } from "../agent/agents.ts";
import type { ContextEntry, Conversations } from "../session/context/index.ts";

/** Newest first; null: ask the store. */
export async function recentExchanges(conversations: Conversations, { record, manifest, newestExchange = 0 }: AgentView, limit: number): Promise<readonly ContextEntry[] | null> {
  // Without durability an agent's exchanges are in its host's memory alone.
  if (newestExchange === 0 || manifest.durability === "none") return null;
  const found = await conversations.newest(record.agentId, limit);
  if (found === null || found[0]?.sequence !== newestExchange) return null;
  return found.length === limit || found.at(-1)?.sequence === 1 ? found : null;
}
