/** What ended a guest's step, as one typed error. */
import { SirsiError } from "../core/errors.ts";
import type { GuestLimits } from "../core/limits.ts";

export interface FaultContext {
  /** What the guest said when it aborted; empty when it did not. */
  readonly abortMessage: string;
  readonly memoryBytes: number;
  readonly limits: GuestLimits;
}

const PAGE_BYTES = 65_536;

export function classifyFault(thrown: unknown, context: FaultContext): SirsiError {
  if (thrown instanceof SirsiError) return thrown;
  if (thrown instanceof RangeError && /call stack/i.test(thrown.message)) {
    return new SirsiError("GUEST_TRAP", "the agent's calls went too deep and its stack overflowed, so its last committed state stands", { metadata: { trap: "stack_overflow" } });
  }
  if (thrown instanceof WebAssembly.RuntimeError) {
    if (/unreachable/.test(thrown.message) && nearlyFull(context)) {
      return new SirsiError("GUEST_MEMORY_EXHAUSTED", `the agent filled the ${context.limits.memoryMaxBytes} bytes of memory it may have and stopped; send less at once, or raise the module's memory limit`);
    }
    return new SirsiError("GUEST_TRAP", `the agent trapped: ${thrown.message}${place(thrown)} (its last committed state stands)`, { metadata: { trap: thrown.message } });
  }
  return SirsiError.from(thrown);
}

/** A guest that traps with less than an eighth of its memory left most likely ran out of it. */
function nearlyFull(context: FaultContext): boolean {
  const max = Math.floor(context.limits.memoryMaxBytes / PAGE_BYTES) * PAGE_BYTES;
  return context.memoryBytes >= max - Math.max(PAGE_BYTES, max / 8);
}

/** The innermost guest function, when the module kept its names. */
function place(error: Error): string {
  const match = /at (?!wasm:)([^\s(]+) \(wasm:/.exec(error.stack ?? "");
  return match === null ? "" : ` in ${match[1]}`;
}
