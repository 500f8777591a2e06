/** Messages as the NATS client has them, to and from those of the bus. */
import { MsgHdrsImpl, type Msg, type MsgHdrs } from "nats";
import type { BusMessage } from "../bus.ts";
import { NO_HEADERS, type Headers } from "../headers.ts";

/** The status a server answers a request with that nobody listens for. */
const NO_RESPONDERS = 503;

export type Answer = (reply: string, data: Uint8Array, headers: Headers | undefined) => void;

/** Throws when its headers are not those of a NATS message; other clients may send anything. */
export function toBusMessage(message: Msg, answer: Answer): BusMessage {
  const { subject } = message;
  const reply = message.reply === undefined || message.reply === "" ? null : message.reply;
  return {
    subject,
    // Its own bytes: the client's are a Buffer over all that came with it, which a message in a mailbox would keep.
    data: new Uint8Array(message.data),
    headers: message.headers === undefined ? NO_HEADERS : fromWire(message.headers),
    reply,
    respond: (answerData, answerHeaders) => {
      if (reply !== null) answer(reply, answerData, answerHeaders);
    },
  };
}

export function saysNoResponders({ data, headers }: Msg): boolean {
  return data.length === 0 && headers?.code === NO_RESPONDERS;
}

/** Undefined for none, which spares the header block on the wire. They must be checked (requireHeaders). */
export function toWire(headers: Headers): MsgHdrs | undefined {
  for (const _ in headers) return new WireHeaders(headers);
  return undefined;
}

/** Written in one go: the client's own way, which checks once more, takes several times as long. */
class WireHeaders extends MsgHdrsImpl {
  readonly #headers: Headers;

  constructor(headers: Headers) {
    super();
    this.#headers = headers;
  }

  override encode(): Uint8Array {
    let block = "NATS/1.0\r\n";
    for (const name in this.#headers) block += `${name}: ${this.#headers[name]}\r\n`;
    return Buffer.from(`${block}\r\n`);
  }
}

/** Of a header that comes several times, the first value. */
function fromWire(wire: MsgHdrs): Headers {
  return Object.freeze(Object.fromEntries(Array.from(wire, ([name, values]) => [name, values[0] ?? ""])));
}
