/** Notes on sessions in Redis: a hash for each. */
import type { SessionNotes } from "../context.ts";
import type { RedisLink } from "./redis-link.ts";

export class RedisNotes implements SessionNotes {
  readonly #link: RedisLink;
  readonly #ttlMs: number;
  readonly #keyOf: (sessionId: string) => string;
  readonly #writing = new Set<Promise<void>>();
  dropped = 0;

  constructor(link: RedisLink, ttlMs: number, keyOf: (sessionId: string) => string) {
    this.#link = link;
    this.#ttlMs = ttlMs;
    this.#keyOf = keyOf;
  }

  put(sessionId: string, notes: Readonly<Record<string, string>>): void {
    const pairs = Object.entries(notes).flat();
    if (pairs.length > 0) this.#write(this.#link.ask((client) => client.sirsiPutNotes(this.#keyOf(sessionId), this.#ttlMs, ...pairs)));
  }

  async of(sessionId: string): Promise<Readonly<Record<string, string>> | null> {
    const found = await this.#link.ask((client) => client.hgetall(this.#keyOf(sessionId)));
    return found === null || Object.keys(found.answer).length === 0 ? null : found.answer;
  }

  forget(sessionId: string): void {
    this.#write(this.#link.ask((client) => client.del(this.#keyOf(sessionId))));
  }

  /** Resolves when what was put before was written, or given up. */
  async flush(): Promise<void> {
    await Promise.all(this.#writing);
  }

  #write(asked: Promise<{ readonly answer: unknown } | null>): void {
    const writing = asked.then((written) => {
      if (written === null) this.dropped += 1;
      this.#writing.delete(writing);
    });
    this.#writing.add(writing);
  }
}
