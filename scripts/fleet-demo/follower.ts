/** Hears the events of a session at one host's door, and remembers whose they were. */
import { setTimeout as sleep } from "node:timers/promises";
import type { ServerStream, StreamEventsResponse } from "../../runtime/client/index.ts";
import { ClientError } from "../../runtime/client/index.ts";

/** How long the first event may take before another is caused. */
const FIRST_MS = 500;

export class Follower {
  readonly #stream: ServerStream<StreamEventsResponse>;
  readonly #sources = new Set<string>();
  /** Why it hears no more. */
  #ended: ClientError | null = null;

  constructor(stream: ServerStream<StreamEventsResponse>) {
    this.#stream = stream;
    void this.#follow();
  }

  async #follow(): Promise<void> {
    try {
      for await (const { event } of this.#stream) if (event !== undefined) this.#sources.add(event.sourceAgentId);
    } catch (thrown) {
      this.#ended = ClientError.from(thrown);
    }
  }

  /** Resolves once it hears: nothing that happens from then on is missed. */
  async hears(cause: () => Promise<void>): Promise<void> {
    while (this.#sources.size === 0) {
      if (this.#ended !== null) throw this.#ended;
      await cause();
      await sleep(FIRST_MS);
    }
  }

  heard(agentId: string): boolean {
    if (this.#ended !== null) throw this.#ended;
    return this.#sources.has(agentId);
  }

  close(): void {
    this.#stream.cancel();
  }
}
