/**
 * Increments sent to many agents at once, each under an id of its own, so that any of
 * them may be sent again and still counts once. Keeps the books: what was acknowledged,
 * and what was sent without an answer.
 */
import { Deferred } from "../../runtime/core/deferred.ts";

export interface Increment {
  readonly agentId: string;
  readonly messageId: string;
}

export type Send = (increment: Increment) => Promise<void>;

export class Traffic {
  readonly acknowledged: Increment[] = [];
  readonly unacknowledged: Increment[] = [];
  /** Why the first one failed; empty when none did. */
  firstFailure = "";
  readonly #name: string;
  readonly #agentIds: readonly string[];
  readonly #send: Send;
  readonly #runners: Promise<unknown>;
  readonly #marks: { readonly count: number; readonly reached: Deferred<void> }[] = [];
  #sent = 0;
  #stopping = false;

  constructor(name: string, agentIds: readonly string[], inFlight: number, send: Send) {
    this.#name = name;
    this.#agentIds = agentIds;
    this.#send = send;
    this.#runners = Promise.all(Array.from({ length: inFlight }, () => this.#run()));
  }

  /** Resolves once so many are acknowledged, or when nothing is sent any more. */
  reached(count: number): Promise<void> {
    const reached = new Deferred<void>();
    this.#marks.push({ count, reached });
    this.#tellMarks();
    return Promise.race([reached.promise, this.#runners.then(() => undefined)]);
  }

  /** Sends no more, and resolves when the last one sent has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#runners;
  }

  /** One after another; a failure ends it, since what failed once would fail on. */
  async #run(): Promise<void> {
    while (!this.#stopping) {
      const number = this.#sent++;
      const increment = { agentId: this.#agentIds[number % this.#agentIds.length] ?? "", messageId: `${this.#name}-${number}` };
      try {
        await this.#send(increment);
      } catch (thrown) {
        this.unacknowledged.push(increment);
        this.firstFailure ||= thrown instanceof Error ? thrown.message : String(thrown);
        return;
      }
      this.acknowledged.push(increment);
      this.#tellMarks();
    }
  }

  #tellMarks(): void {
    for (const { count, reached } of this.#marks) if (this.acknowledged.length >= count) reached.resolve();
  }
}
