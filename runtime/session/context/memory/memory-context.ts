/** Context of one process: for a host in no fleet. */
import { BoundedCache } from "../../../core/bounded-cache.ts";
import type { Clock } from "../../../core/clock.ts";
import { ENTRY_MAX_BYTES } from "../context.ts";
import type { ContextEntry, ContextLimits, ContextStatus, Conversations, HostPresence, Presence, SessionNotes, SharedContext } from "../context.ts";
import { LocalConnections } from "../local-connections.ts";
import { MemoryRates } from "./memory-rates.ts";

/** Agents, and sessions, of which anything is known; the rest is forgotten, that used longest ago first. */
const KNOWN_MAX = 1_000;

export interface MemoryContextOptions extends ContextLimits {
  readonly clock: Clock;
  readonly hostName: string;
}

export function openMemoryContext({ clock, hostName, ttlMs, exchangesKept }: MemoryContextOptions): SharedContext {
  let status: ContextStatus = "in-process";
  return {
    get status() {
      return status;
    },
    reason: "",
    counts: { unanswered: 0, dropped: 0 },
    conversations: new MemoryConversations(new Shelf(clock, ttlMs), exchangesKept),
    notes: new MemoryNotes(new Shelf(clock, ttlMs)),
    rates: new MemoryRates(clock),
    presence: new MemoryPresence(hostName),
    close() {
      status = "closed";
      return Promise.resolve();
    },
  };
}

/** Things that are gone some time after they were last put there. */
class Shelf<T> {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #kept = new BoundedCache<string, { readonly thing: T; readonly until: number }>(KNOWN_MAX);

  constructor(clock: Clock, ttlMs: number) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
  }

  get(key: string): T | null {
    const kept = this.#kept.get(key);
    return kept !== undefined && kept.until > this.#clock.monotonic() ? kept.thing : null;
  }

  put(key: string, thing: T): void {
    this.#kept.set(key, { thing, until: this.#clock.monotonic() + this.#ttlMs });
  }

  remove(key: string): void {
    this.#kept.delete(key);
  }
}

class MemoryConversations implements Conversations {
  /** Oldest first. */
  readonly #shelf: Shelf<readonly ContextEntry[]>;
  readonly #kept: number;

  constructor(shelf: Shelf<readonly ContextEntry[]>, kept: number) {
    this.#shelf = shelf;
    this.#kept = kept;
  }

  add(agentId: string, entry: ContextEntry): void {
    if (entry.body.length > ENTRY_MAX_BYTES) {
      this.forget(agentId);
      return;
    }
    const known = this.#shelf.get(agentId) ?? [];
    const before = known.at(-1)?.sequence === entry.sequence - 1 ? known : [];
    this.#shelf.put(agentId, [...before, entry].slice(-this.#kept));
  }

  newest(agentId: string, limit: number): Promise<readonly ContextEntry[] | null> {
    return Promise.resolve(this.#shelf.get(agentId)?.toReversed().slice(0, limit) ?? null);
  }

  forget(agentId: string): void {
    this.#shelf.remove(agentId);
  }
}

class MemoryNotes implements SessionNotes {
  readonly #shelf: Shelf<Readonly<Record<string, string>>>;

  constructor(shelf: Shelf<Readonly<Record<string, string>>>) {
    this.#shelf = shelf;
  }

  put(sessionId: string, notes: Readonly<Record<string, string>>): void {
    if (Object.keys(notes).length > 0) this.#shelf.put(sessionId, { ...this.#shelf.get(sessionId), ...notes });
  }

  of(sessionId: string): Promise<Readonly<Record<string, string>> | null> {
    return Promise.resolve(this.#shelf.get(sessionId));
  }

  forget(sessionId: string): void {
    this.#shelf.remove(sessionId);
  }
}

class MemoryPresence implements Presence {
  readonly #host: string;
  readonly #connections = new LocalConnections();

  constructor(host: string) {
    this.#host = host;
  }

  connect(sessionId: string): () => void {
    return this.#connections.add(sessionId);
  }

  of(sessionId: string): Promise<readonly HostPresence[]> {
    const connections = this.#connections.of(sessionId);
    return Promise.resolve(connections === 0 ? [] : [{ host: this.#host, connections }]);
  }
}
