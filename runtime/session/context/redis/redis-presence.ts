/**
 * Who is connected where, in Redis: a hash for each host, from session to connections,
 * that lives for as long as the host says again and again that it is there; and the list
 * of the hosts that do. A host to which nobody ever connected says nothing.
 */
import { randomUUID } from "node:crypto";
import type { Clock, Timer } from "../../../core/clock.ts";
import type { HostPresence, Presence } from "../context.ts";
import { LocalConnections } from "../local-connections.ts";
import type { RedisLink } from "./redis-link.ts";

/** How long changes wait for more. */
const GATHER_MS = 100;
const BEATS_PER_LIFE = 3;

export class RedisPresence implements Presence {
  readonly #link: RedisLink;
  readonly #clock: Clock;
  readonly #host: string;
  readonly #ttlMs: number;
  readonly #keyOf: (name: string) => string;
  readonly #connections = new LocalConnections(() => this.#changed());
  /** Of what was said last; null when it has changed since. */
  #version: string | null = null;
  #said = false;
  #timer: Timer | null = null;
  #closed = false;
  dropped = 0;

  constructor(link: RedisLink, clock: Clock, host: string, ttlMs: number, keyOf: (name: string) => string) {
    this.#link = link;
    this.#clock = clock;
    this.#host = host;
    this.#ttlMs = ttlMs;
    this.#keyOf = keyOf;
  }

  connect(sessionId: string): () => void {
    return this.#connections.add(sessionId);
  }

  async of(sessionId: string): Promise<readonly HostPresence[] | null> {
    const found = await this.#link.ask((client) => client.sirsiWhere(this.#keyOf("hosts"), this.#keyOf("host:"), sessionId));
    if (found === null) return null;
    const flat = found.answer as readonly string[];
    const others = flat.flatMap((host, at) => (at % 2 === 0 && host !== this.#host ? [{ host, connections: Number(flat[at + 1]) }] : []));
    // Of itself it knows better.
    const own = this.#connections.of(sessionId);
    return [...others, ...(own === 0 ? [] : [{ host: this.#host, connections: own }])].toSorted((a, b) => (a.host < b.host ? -1 : 1));
  }

  /** Says that nobody is connected here any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    if (this.#said) await this.#link.ask((client) => client.sirsiGone(...this.#keys(), this.#host));
  }

  #keys(): [hosts: string, host: string] {
    return [this.#keyOf("hosts"), this.#keyOf(`host:${this.#host}`)];
  }

  #changed(): void {
    if (this.#closed) return;
    this.#version = null;
    this.#beatIn(GATHER_MS);
  }

  #beatIn(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(delayMs, () => {
      void this.#beat().then(() => {
        if (!this.#closed) this.#beatIn(this.#version === null ? GATHER_MS : this.#ttlMs / BEATS_PER_LIFE);
      });
    });
  }

  async #beat(): Promise<void> {
    const version = this.#version;
    if (version !== null) {
      const beat = await this.#link.ask((client) => client.sirsiStillHere(...this.#keys(), this.#host, this.#ttlMs, version));
      if (beat?.answer === 1 || this.#version !== version) return;
    }
    await this.#sayAll();
  }

  async #sayAll(): Promise<void> {
    const version = randomUUID();
    this.#version = version;
    this.#said = true;
    const said = await this.#link.ask((client) => client.sirsiHere(...this.#keys(), this.#host, this.#ttlMs, version, ...[...this.#connections.all()].flat()));
    if (said !== null) return;
    this.dropped += 1;
    // Once it is back, the next beat finds that this version is not there.
  }
}
