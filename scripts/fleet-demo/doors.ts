/**
 * The gRPC doors of a fleet's hosts, as a careful client uses them: in turn, every message
 * under an id of its own, and what may be repeated is sent again at the next door.
 */
import { ClientError, SirsiClient } from "../../runtime/client/index.ts";
import { type Clock, systemClock } from "../../runtime/core/clock.ts";
import { RpcCode, SirsiError } from "../../runtime/core/errors.ts";

export interface Answer {
  readonly content: string;
  /** It is the recorded reply to an earlier sending. */
  readonly replayed: boolean;
}

/** How long one sending may take before it is made again elsewhere. */
const ATTEMPT_MS = 10_000;
const PATIENCE_MS = 60_000;
const PAUSE_MS = 50;
/** What says nothing about the message itself. */
const AGAIN: ReadonlySet<number> = new Set([RpcCode.UNAVAILABLE, RpcCode.ABORTED, RpcCode.DEADLINE_EXCEEDED, RpcCode.CANCELLED]);

export class Doors {
  readonly #clock: Clock;
  readonly #clients = new Map<string, SirsiClient>();
  readonly #sessionId: () => string;
  #next = 0;
  /** Sendings that were made again, by what the one before ended with. */
  readonly repeated = new Map<string, number>();

  constructor(sessionId: () => string, clock: Clock = systemClock) {
    this.#sessionId = sessionId;
    this.#clock = clock;
  }

  open(name: string, address: string): void {
    this.close(name);
    this.#clients.set(name, new SirsiClient({ address, retries: 0 }));
  }

  close(name: string): void {
    this.#clients.get(name)?.close();
    this.#clients.delete(name);
  }

  closeAll(): void {
    for (const name of this.#clients.keys()) this.close(name);
  }

  at(name: string): SirsiClient {
    const client = this.#clients.get(name);
    if (client === undefined) throw new SirsiError("INTERNAL", `the door of ${name} is not open`);
    return client;
  }

  /** The next one in turn. */
  get any(): SirsiClient {
    const clients = [...this.#clients.values()];
    const client = clients[this.#next++ % clients.length];
    if (client === undefined) throw new SirsiError("INTERNAL", "no door is open");
    return client;
  }

  async send(agentId: string, messageId: string, content: string, attemptMs = ATTEMPT_MS): Promise<Answer> {
    const request = { sessionId: this.#sessionId(), agentId, message: { messageId, content } };
    const began = this.#clock.monotonic();
    for (;;) {
      try {
        const { response, replayed } = await this.any.agents.sendMessage(request, { deadlineMs: attemptMs });
        return { content: response?.content ?? "", replayed };
      } catch (thrown) {
        const error = ClientError.from(thrown);
        if ((error.retryAfterMs === null && !AGAIN.has(error.rpcCode)) || this.#clock.monotonic() - began > PATIENCE_MS) throw error;
        const why = error.reason === "" ? error.rpcName : error.reason;
        this.repeated.set(why, (this.repeated.get(why) ?? 0) + 1);
        await new Promise<void>((resolve) => this.#clock.after(error.retryAfterMs ?? PAUSE_MS, resolve));
      }
    }
  }
}
