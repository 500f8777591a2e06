/**
 * The connection to Redis: asks, and waits for an answer no longer than it may. The only
 * file that knows ioredis.
 *
 *   away ─handshake─▶ connected ─lost, or silent─▶ away        any ─close─▶ closed
 *
 * Invariants
 * - A question is answered, or comes to nothing within the deadline; it never rejects (X1).
 * - While it is away, questions come to nothing at once: one silence is waited for, not one
 *   a message. Connecting again goes on behind, later and later.
 * - After an answer that came too late, nothing is asked for a while: a slow server does
 *   not slow down every message. An answer that is there counts as in time, though this
 *   process was too busy to look.
 */
import { Redis } from "ioredis";
import type { BackoffConfig } from "../../../core/backoff.ts";
import { backoffMs } from "../../../core/backoff.ts";
import type { Clock } from "../../../core/clock.ts";
import type { Logger } from "../../../observe/logger.ts";
import type { ContextStatus } from "../context.ts";
import { SCRIPTS, type Scripts } from "./scripts.ts";

export interface RedisLinkOptions {
  /** redis://:password@host:port/0, or rediss:// for TLS. */
  readonly url: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** For one answer. */
  readonly deadlineMs: number;
  readonly backoff: BackoffConfig;
  /** Nothing is asked for so long after an answer that came too late. */
  readonly restMs: number;
}

const CONNECT_TIMEOUT_MS = 2_000;
/** Deadlines without an answer, or without a byte, after which a connection is given up. */
const DEAD_AFTER_DEADLINES = 3;

export type Client = Redis & Scripts;

export class RedisLink {
  readonly #options: RedisLinkOptions;
  readonly #client: Client;
  #restsUntil = -Infinity;
  #trouble = "it was not reached yet";
  #told: "nothing" | "away" | "back" = "nothing";
  #closed = false;
  unanswered = 0;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    const { url, deadlineMs, backoff } = options;
    this.#client = new Redis(url, {
      lazyConnect: true,
      connectTimeout: CONNECT_TIMEOUT_MS,
      disconnectTimeout: deadlineMs,
      commandTimeout: deadlineMs * DEAD_AFTER_DEADLINES,
      socketTimeout: deadlineMs * DEAD_AFTER_DEADLINES,
      // What cannot be asked now is not asked later: its answer would come to nobody.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => backoffMs(backoff, attempt - 1, Math.random()),
      // After a failover the name stands for another server.
      reconnectOnError: ({ message }) => message.startsWith("READONLY"),
      protocol: 2,
      disableClientInfo: true,
      connectionName: "sirsi",
      scripts: SCRIPTS,
    }) as Client;
    this.#client.on("error", (error: Error) => {
      this.#trouble = error.message;
    });
    this.#client.on("ready", () => this.#onReady());
    this.#client.on("close", () => this.#onClose());
    // It goes on trying by itself; how the first attempt ends is told by the events.
    void this.#client.connect().catch(() => undefined);
  }

  get status(): ContextStatus {
    if (this.#closed) return "closed";
    return this.#client.status === "ready" && this.#options.clock.monotonic() >= this.#restsUntil ? "connected" : "away";
  }

  get reason(): string {
    return this.status === "away" ? this.#trouble : "";
  }

  /** Null when there is no answer. */
  async ask<T>(question: (client: Client) => Promise<T>): Promise<{ readonly answer: T } | null> {
    const answer = this.status === "connected" ? await this.#inTime(question) : null;
    if (answer === null) this.unanswered += 1;
    return answer;
  }

  #inTime<T>(question: (client: Client) => Promise<T>): Promise<{ readonly answer: T } | null> {
    const { clock, deadlineMs } = this.#options;
    return new Promise((resolve) => {
      let open = true;
      const end = (answer: { readonly answer: T } | null): void => {
        open = false;
        timer.cancel();
        resolve(answer);
      };
      const timer = clock.after(deadlineMs, () => {
        // What has arrived meanwhile is read first.
        setImmediate(() => {
          if (!open) return;
          this.#onSilence();
          end(null);
        });
      });
      question(this.#client).then(
        (answer) => end({ answer }),
        (thrown: unknown) => {
          if (open) this.#trouble = thrown instanceof Error ? thrown.message : String(thrown);
          end(null);
        },
      );
    });
  }

  close(): void {
    this.#closed = true;
    this.#client.disconnect();
  }

  #onSilence(): void {
    const { clock, deadlineMs, restMs } = this.#options;
    this.#trouble = `it did not answer within ${deadlineMs} ms`;
    this.#restsUntil = clock.monotonic() + restMs;
  }

  #onReady(): void {
    this.#restsUntil = -Infinity;
    if (this.#told === "away") this.#options.log.info("Redis is there again");
    this.#told = "back";
  }

  #onClose(): void {
    if (this.#closed || this.#told === "away") return;
    this.#told = "away";
    this.#options.log.warn({ reason: this.#trouble }, "Redis is out of reach; rate limits are kept by each host alone meanwhile, and what it would have answered comes from the store");
  }
}
