/**
 * Conversations in Redis: a list for each agent, newest first. What is added goes out in
 * the background, some at a time; nobody waits for it.
 */
import type { Clock, Timer } from "../../../core/clock.ts";
import { ENTRY_MAX_BYTES } from "../context.ts";
import type { ContextEntry, ContextLimits, Conversations } from "../context.ts";
import type { RedisLink } from "./redis-link.ts";

/** How long what was added waits for more. */
const GATHER_MS = 20;
/** What waits to be written; beyond it nothing is added. */
const WAITING_MAX_BYTES = 16 * 1024 * 1024;
const COLON = 0x3a;

interface Waiting {
  /** What is there goes first. */
  anew: boolean;
  /** A run without a gap, oldest first. */
  run: ContextEntry[];
  bytes: number;
}

export class RedisConversations implements Conversations {
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #limits: ContextLimits;
  readonly #keyOf: (agentId: string) => string;
  #waiting = new Map<string, Waiting>();
  #waitingBytes = 0;
  #timer: Timer | null = null;
  #flushing: Promise<void> | null = null;
  dropped = 0;

  constructor(link: RedisLink, clock: Clock, limits: ContextLimits, keyOf: (agentId: string) => string) {
    this.#link = link;
    this.#clock = clock;
    this.#limits = limits;
    this.#keyOf = keyOf;
  }

  add(agentId: string, entry: ContextEntry): void {
    const { length } = entry.body;
    if (this.#link.status !== "connected" || this.#waitingBytes + length > WAITING_MAX_BYTES) {
      this.dropped += 1;
      return;
    }
    const waiting = this.#waitingFor(agentId);
    const tooLarge = length > ENTRY_MAX_BYTES;
    if (tooLarge || (waiting.run.length > 0 && waiting.run.at(-1)?.sequence !== entry.sequence - 1)) this.#beginAnew(waiting);
    if (tooLarge) return;
    waiting.run.push(entry);
    waiting.bytes += length;
    this.#waitingBytes += length;
  }

  forget(agentId: string): void {
    if (this.#link.status === "connected") this.#beginAnew(this.#waitingFor(agentId));
    else this.dropped += 1;
  }

  async newest(agentId: string, limit: number): Promise<readonly ContextEntry[] | null> {
    const found = await this.#link.ask((client) => client.lrangeBuffer(this.#keyOf(agentId), 0, limit - 1));
    if (found === null || found.answer.length === 0) return null;
    const entries = found.answer.map(readEntry);
    return entries.every((entry, at) => entry !== null && entry.sequence === (entries[0]?.sequence ?? 0) - at) ? (entries as ContextEntry[]) : null;
  }

  /** Resolves when what was added before was written, or given up. */
  async flush(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    this.#timer?.cancel();
    this.#timer = null;
    const waiting = this.#waiting;
    this.#waiting = new Map();
    this.#waitingBytes = 0;
    this.#flushing = Promise.all([...waiting].map(([agentId, one]) => this.#write(agentId, one))).then(() => {
      this.#flushing = null;
    });
    await this.#flushing;
  }

  #waitingFor(agentId: string): Waiting {
    this.#timer ??= this.#clock.after(GATHER_MS, () => void this.flush());
    const waiting = this.#waiting.get(agentId) ?? { anew: false, run: [], bytes: 0 };
    this.#waiting.set(agentId, waiting);
    return waiting;
  }

  #beginAnew(waiting: Waiting): void {
    this.#waitingBytes -= waiting.bytes;
    waiting.anew = true;
    waiting.run = [];
    waiting.bytes = 0;
  }

  async #write(agentId: string, { anew, run }: Waiting): Promise<void> {
    const key = this.#keyOf(agentId);
    const { ttlMs, exchangesKept } = this.#limits;
    const kept = run.slice(-exchangesKept);
    const [first] = kept;
    const written = await this.#link.ask<unknown>((client) =>
      // Sent one after the other, they are done one after the other.
      Promise.all([anew && client.del(key), first !== undefined && client.sirsiAddExchanges(key, ttlMs, exchangesKept, first.sequence, ...kept.map(writeEntry))]),
    );
    if (written === null) this.dropped += Math.max(1, run.length);
  }
}

function writeEntry({ sequence, body }: ContextEntry): Buffer {
  return Buffer.concat([Buffer.from(`${sequence}:`), body]);
}

function readEntry(bytes: Buffer): ContextEntry | null {
  const colon = bytes.indexOf(COLON);
  const sequence = Number(bytes.toString("latin1", 0, Math.max(0, colon)));
  return colon > 0 && Number.isSafeInteger(sequence) ? { sequence, body: new Uint8Array(bytes.subarray(colon + 1)) } : null;
}
