/**
 * Bounds what one connection holds that its server has not taken yet: a server
 * that stops reading would else fill this process's memory until pings give it up.
 * Every eighth of the window a ping follows the data; its answer confirms it.
 */
import type { NatsConnection } from "nats";

/** About what a message costs besides its data. */
const OVERHEAD_BYTES = 128;

export class SendWindow {
  readonly #connection: NatsConnection;
  readonly #maxBytes: number;
  #unconfirmed = 0;
  /** Of these, what no ping has followed yet. */
  #unmarked = 0;

  constructor(connection: NatsConnection, maxBytes: number) {
    this.#connection = connection;
    this.#maxBytes = maxBytes;
  }

  get unconfirmedBytes(): number {
    return this.#unconfirmed;
  }

  /** One message always has room when nothing else waits, however large it is. */
  hasRoom(dataBytes: number): boolean {
    return this.#unconfirmed === this.#unmarked || this.#unconfirmed + dataBytes + OVERHEAD_BYTES <= this.#maxBytes;
  }

  /** The message was handed to the connection. */
  sent(dataBytes: number): void {
    this.#unconfirmed += dataBytes + OVERHEAD_BYTES;
    this.#unmarked += dataBytes + OVERHEAD_BYTES;
    if (this.#unmarked >= this.#maxBytes / 8) this.#mark();
  }

  #mark(): void {
    const marked = this.#unmarked;
    this.#unmarked = 0;
    const confirm = (): void => void (this.#unconfirmed -= marked);
    // Never answered, or refused, when the connection is lost; the window goes with it.
    this.#connection.flush().then(confirm, () => undefined);
  }
}
