/** What ended a guest's step, as one typed error. */
import { SirsiError } from "../core/errors.ts";
import type { GuestLimits } from "../core/limits.ts";

export interface FaultContext {
  /** The guest asked for more memory in this step and was refused. */
  readonly memoryRefused: boolean;
  readonly limits: GuestLimits;
}

export function classifyFault(thrown: unknown, context: FaultContext): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  if (isStackOverflow(thrown)) {
    return new SirsiError("GUEST_TRAP", "the agent's calls went too deep and its stack overflowed, so its last committed state stands", { metadata: { trap: "stack_overflow" } });
  }
  if (thrown instanceof WebAssembly.RuntimeError) {
    // What a guest does when it gets no more memory is its own affair: a trap of any kind.
    if (context.memoryRefused) {
      return new SirsiError("GUEST_MEMORY_EXHAUSTED", `the agent asked for more than the ${context.limits.memoryMaxBytes} bytes of memory it may have, and stopped when it got none; send less at once, or raise the module's memory limit`);
    }
    return new SirsiError("GUEST_TRAP", `the agent trapped: ${thrown.message}${place(thrown)} (its last committed state stands)`, { metadata: { trap: thrown.message } });
  }
  return SirsiError.from(thrown);
}

export function isStackOverflow(thrown: unknown): boolean {
  return thrown instanceof RangeError && /call stack/i.test(thrown.message);
}

/** The innermost guest function, when the module kept its names. */
function place(error: Error): string {
  const match = /at (?!wasm:)([^\s(]+) \(wasm:/.exec(error.stack ?? "");
  return match === null ? "" : ` in ${match[1]}`;
}
