/** Messages as the NATS client has them, to and from those of the bus. */
import { headers as newHeaders, type Msg, type MsgHdrs } from "nats";
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

/** Undefined for none, which spares the header block on the wire. */
export function toWire(headers: Headers): MsgHdrs | undefined {
  const entries = Object.entries(headers);
  if (entries.length === 0) return undefined;
  const wire = newHeaders();
  for (const [name, value] of entries) wire.append(name, value);
  return wire;
}

/** Of a header that comes several times, the first value. */
function fromWire(wire: MsgHdrs): Headers {
  return Object.freeze(Object.fromEntries(Array.from(wire, ([name, values]) => [name, values[0] ?? ""])));
}
