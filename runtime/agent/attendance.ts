/** Tells of each agent's coming and going once, and in turn, however many ways there are to go. */
import type { Presence } from "./house-fleet.ts";

export class Attendance {
  readonly #told: Presence | null;
  readonly #present = new Set<string>();

  /** Null: nobody wants to know. */
  constructor(told: Presence | null) {
    this.#told = told;
  }

  came({ id, sessionId }: { readonly id: string; readonly sessionId: string }): void {
    if (this.#told === null || this.#present.has(id)) return;
    this.#present.add(id);
    this.#told.came(id, sessionId);
  }

  left(agentId: string): void {
    if (this.#present.delete(agentId)) this.#told?.left(agentId);
  }
}
