/** Holds a session to its max_agents. */
import type { Agents } from "../agent/agents.ts";
import { SirsiError } from "../core/errors.ts";
import type { SessionRecord } from "../store/store.ts";

/**
 * Whether the session may have one more agent: AGENT_LIMIT_REACHED when not, and false
 * while its number is not known; await `countOf` then, and ask again.
 * An agent counts from the call of spawn on, so whoever calls it in the same turn of the
 * event loop keeps the limit.
 */
export function hasRoom(agents: Pick<Agents, "countOf">, { sessionId, config }: SessionRecord): boolean {
  const count = agents.countOf(sessionId);
  if (count instanceof Promise) return false;
  if (count < config.maxAgents) return true;
  throw new SirsiError("AGENT_LIMIT_REACHED", `the session has ${count} agents and may have ${config.maxAgents}; delete those that are done, or create a session with a larger config.max_agents`, {
    metadata: { session_id: sessionId, max_agents: String(config.maxAgents) },
  });
}
