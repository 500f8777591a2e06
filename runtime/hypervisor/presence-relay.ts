/**
 * Passes on which agents are in memory. Agents come before anybody listens; who begins to
 * is told of those first, and then of each change in turn.
 *
 * States: collecting (knows who is here), then passing on (knows nothing itself).
 */
import type { Presence } from "../agent/index.ts";

export class PresenceRelay implements Presence {
  /** Agents by their session. */
  readonly #here = new Map<string, string>();
  #listener: Presence | null = null;

  came(agentId: string, sessionId: string): void {
    if (this.#listener === null) this.#here.set(agentId, sessionId);
    else this.#listener.came(agentId, sessionId);
  }

  left(agentId: string): void {
    if (this.#listener === null) this.#here.delete(agentId);
    else this.#listener.left(agentId);
  }

  /** Once. */
  tell(listener: Presence): void {
    this.#listener = listener;
    for (const [agentId, sessionId] of this.#here) listener.came(agentId, sessionId);
    this.#here.clear();
  }
}
