import { GuestErrorBase } from "./gen/guest";

/** Codes that hosts and clients know; an agent may choose others of the same form. */
export namespace Code {
  export const INVALID_ARGUMENT: string = "invalid_argument";
  export const NOT_FOUND: string = "not_found";
  export const ALREADY_EXISTS: string = "already_exists";
  export const FAILED_PRECONDITION: string = "failed_precondition";
  export const PERMISSION_DENIED: string = "permission_denied";
  export const RESOURCE_EXHAUSTED: string = "resource_exhausted";
  export const DEADLINE_EXCEEDED: string = "deadline_exceeded";
  export const UNAVAILABLE: string = "unavailable";
  export const UNIMPLEMENTED: string = "unimplemented";
  export const INTERNAL: string = "internal";
  /** The host stopped during a request that may not be made twice: it took effect, or it did not. */
  export const INTERRUPTED: string = "interrupted";
}

/** Failure as a value: an agent returns it, and gets it when what it asked for failed. */
export class AgentError extends GuestErrorBase {
  static of(code: string, message: string, retryable: bool = false): AgentError {
    const error = new AgentError();
    error.code = codeOf(code);
    error.message = message;
    error.retryable = retryable;
    return error;
  }

  /** Adds a fact for programs. */
  with(key: string, value: string): AgentError {
    this.details.set(key, value);
    return this;
  }

  toString(): string {
    return this.code + ": " + this.message;
  }
}

/** A code is lower-case words and underscores; anything else is brought into that form. */
function codeOf(text: string): string {
  let clean = true;
  for (let i = 0, n = text.length; i < n && clean; i++) clean = isCodeUnit(text.charCodeAt(i));
  if (clean && text.length > 0) return text;
  let code = "";
  for (let i = 0, n = text.length; i < n; i++) {
    const unit = text.charCodeAt(i);
    // Not toLowerCase: its Unicode tables are larger than the rest of the SDK.
    const lower = unit >= 0x41 && unit <= 0x5a ? unit + 0x20 : unit;
    code += String.fromCharCode(isCodeUnit(lower) ? lower : 0x5f);
  }
  return code.length > 0 ? code : "failed";
}

function isCodeUnit(unit: i32): bool {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39) || unit == 0x5f;
}
