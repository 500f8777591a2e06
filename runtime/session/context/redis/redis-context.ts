/**
 * Context in Redis, shared by all hosts whose keys begin alike. Redis down, slow or
 * restarted means that less is known, and never that something wrong is.
 */
import type { BackoffConfig } from "../../../core/backoff.ts";
import type { Clock } from "../../../core/clock.ts";
import type { Logger } from "../../../observe/logger.ts";
import type { ContextCounts, ContextLimits, ContextStatus, SharedContext } from "../context.ts";
import { RedisConversations } from "./redis-conversations.ts";
import { RedisLink } from "./redis-link.ts";
import { RedisNotes } from "./redis-notes.ts";
import { RedisPresence } from "./redis-presence.ts";
import { RedisRates } from "./redis-rates.ts";

export interface RedisContextOptions extends ContextLimits {
  /** redis://user:password@host:port/0, or rediss:// for TLS. */
  readonly url: string;
  /** What every key begins with: hosts with the same one share. */
  readonly prefix: string;
  readonly hostName: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** For one answer. Default 100: beyond it the store is quicker. */
  readonly deadlineMs?: number;
  /** Between attempts to connect. Default 100 ms to 5 s. */
  readonly backoff?: BackoffConfig;
  /** How long nothing is asked after an answer that came too late. Default 1,000. */
  readonly restMs?: number;
  /** After it last said that it is there, a host counts as gone. Default 30,000. */
  readonly presenceTtlMs?: number;
}

/** At once: the connection comes about behind it. */
export function openRedisContext(options: RedisContextOptions): SharedContext {
  return new RedisContext(options);
}

class RedisContext implements SharedContext {
  readonly conversations: RedisConversations;
  readonly notes: RedisNotes;
  readonly rates: RedisRates;
  readonly presence: RedisPresence;
  readonly #link: RedisLink;
  #closing: Promise<void> | null = null;

  constructor(options: RedisContextOptions) {
    const { url, prefix, hostName, clock, log, ttlMs } = options;
    const { deadlineMs = 100, backoff = { firstMs: 100, maxMs: 5_000, factor: 2 }, restMs = 1_000, presenceTtlMs = 30_000 } = options;
    const link = new RedisLink({ url, clock, log, deadlineMs, backoff, restMs });
    this.#link = link;
    this.conversations = new RedisConversations(link, clock, options, (agentId) => `${prefix}:conversation:${agentId}`);
    this.notes = new RedisNotes(link, ttlMs, (sessionId) => `${prefix}:notes:${sessionId}`);
    this.rates = new RedisRates(link, clock, (key) => `${prefix}:rate:${key}`);
    this.presence = new RedisPresence(link, clock, hostName, presenceTtlMs, (name) => `${prefix}:presence:${name}`);
  }

  get status(): ContextStatus {
    return this.#link.status;
  }

  get reason(): string {
    return this.#link.reason;
  }

  get counts(): ContextCounts {
    return { unanswered: this.#link.unanswered, dropped: this.conversations.dropped + this.notes.dropped + this.presence.dropped };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.conversations.flush(), this.notes.flush(), this.presence.close()]);
    this.#link.close();
  }
}
