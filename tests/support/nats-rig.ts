/** Buses on NATS for a test: what they report is kept, and all are closed at its end. */
import { expect, vi } from "vitest";
import type { Bus, BusMessage } from "../../runtime/bus/index.ts";
import { openNatsBus, type NatsBus, type NatsBusOptions } from "../../runtime/bus/nats/index.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { Deferred } from "../../runtime/core/deferred.ts";
import { createLogger } from "../../runtime/observe/index.ts";

export interface RiggedBus {
  readonly bus: NatsBus;
  /** What `onError` has heard, as "subject: code". */
  readonly reported: string[];
  /** What the log has, as "message", of the level info and above. */
  readonly logged: string[];
}

export class NatsRig implements AsyncDisposable {
  readonly #buses: NatsBus[] = [];

  /** Quick to notice a fault and to mend it, so that tests are. */
  async open(servers: string | readonly string[], options: Partial<NatsBusOptions> = {}): Promise<RiggedBus> {
    const reported: string[] = [];
    const logged: string[] = [];
    const log = createLogger({ format: "json", output: { write: (line) => void logged.push((JSON.parse(line) as { msg: string }).msg) } });
    const bus = await openNatsBus({
      clock: systemClock,
      log,
      onError: (error, subject) => void reported.push(`${subject}: ${error.code}`),
      servers: typeof servers === "string" ? [servers] : servers,
      backoff: { firstMs: 10, maxMs: 100, factor: 2 },
      dialTimeoutMs: 500,
      pingIntervalMs: 100,
      ...options,
    });
    this.#buses.push(bus);
    return { bus, reported, logged };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#buses.map((bus) => bus.close()));
  }
}

/** Far beyond any test: an end that comes before it did not wait for it. */
export const NEVER = { timeoutMs: 3_600_000 };

export const bytes = (text: string) => new TextEncoder().encode(text);
export const text = ({ data }: BusMessage) => new TextDecoder().decode(data);
export const becomes = (bus: Bus, status: string) => vi.waitFor(() => expect(bus.status).toBe(status), { timeout: 10_000, interval: 5 });

/** Answers every request with its own data. */
export function echo(bus: Bus, subject: string): void {
  bus.subscribe(subject, (message) => message.respond(message.data, message.headers));
}

/** A subscriber that never finishes a message until it is let go. */
export function stuck(bus: Bus, pattern: string) {
  const gate = new Deferred<void>();
  const began: string[] = [];
  bus.subscribe(pattern, async (message) => {
    began.push(text(message));
    await gate.promise;
  });
  return { gate, began };
}
