/**
 * What is done to an agent between two of its steps: a swap, a restart, a save. They wait
 * here for a quiet moment. One change of the agent's record at a time, those that need
 * no quiet moment included: a swap and an update would undo each other.
 */
import { Deferred } from "../core/deferred.ts";
import type { SirsiError } from "../core/errors.ts";

export interface Change {
  act(): Promise<void>;
  /** It failed, or will not be done. */
  refuse(error: SirsiError): void;
}

export class Changes {
  #pending: Change[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #underWay = 0;

  /** None waits, none is under way. */
  get idle(): boolean {
    return this.#pending.length === 0 && this.#underWay === 0;
  }

  next(): Change | undefined {
    return this.#pending.length === 0 ? undefined : this.#pending.shift();
  }

  /** Resolves with what `act` gives at a quiet moment; rejects when it does, or when there will be none. */
  add<T>(act: () => Promise<T>): Promise<T> {
    const done = new Deferred<T>();
    this.#pending.push({ act: async () => void done.resolve(await act()), refuse: (error) => void done.reject(error) });
    return done.promise;
  }

  refuseAll(error: SirsiError): void {
    for (const change of this.#pending.splice(0)) change.refuse(error);
  }

  alone<T>(act: () => Promise<T>): Promise<T> {
    this.#underWay++;
    const done = this.#last.then(act).finally(() => this.#underWay--);
    this.#last = done.catch(() => undefined);
    return done;
  }
}
