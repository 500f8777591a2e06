/** Headers of a message: checked as NATS needs them, copied and frozen. */
import { SirsiError } from "../core/errors.ts";

/** Visible ASCII without the colon that ends a name on the wire. */
const NAME = /^[\x21-\x39\x3b-\x7e]+$/;
const LINE_BREAK = /[\r\n]/;

export type Headers = Readonly<Record<string, string>>;

export const NO_HEADERS: Headers = Object.freeze({});

/** A frozen copy, or INVALID_ARGUMENT naming the header. */
export function requireHeaders(headers: Headers | undefined): Headers {
  if (headers === undefined) return NO_HEADERS;
  const copy = { ...headers };
  for (const [name, value] of Object.entries(copy)) {
    if (!NAME.test(name)) throw invalid(name, "its name must be visible ASCII without a colon or white space");
    if (LINE_BREAK.test(value)) throw invalid(name, "its value holds a line break, which would start another header");
  }
  return Object.freeze(copy);
}

function invalid(name: string, fault: string): SirsiError {
  return new SirsiError("INVALID_ARGUMENT", `The header ${JSON.stringify(name.slice(0, 80))} cannot be sent: ${fault}.`, {
    fields: [{ field: "headers", description: fault }],
  });
}
