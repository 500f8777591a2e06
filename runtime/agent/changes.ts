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

/** A quiet moment that somebody wants to last. */
export interface Hold {
  /** Resolves when it begins; rejects when there will be none. */
  readonly reached: Promise<void>;
  /** Ends it, or does without it. */
  release(): void;
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

  hold(): Hold {
    const reached = new Deferred<void>();
    const over = new Deferred<void>();
    const change: Change = {
      act() {
        reached.resolve();
        return over.promise;
      },
      refuse: (error) => void reached.reject(error),
    };
    this.#pending.push(change);
    return {
      reached: reached.promise,
      release: () => {
        this.#pending = this.#pending.filter((each) => each !== change);
        over.resolve();
      },
    };
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
