import { describe, expect, test } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { DEFAULT_GUEST_LIMITS } from "../../../runtime/core/limits.ts";
import { classifyFault, type FaultContext } from "../../../runtime/sandbox/fault.ts";

function context(memoryRefused = false): FaultContext {
  return { memoryRefused, limits: DEFAULT_GUEST_LIMITS };
}

function trap(message: string, stack = ""): WebAssembly.RuntimeError {
  const error = new WebAssembly.RuntimeError(message);
  error.stack = stack;
  return error;
}

describe("what ended a step", () => {
  test("is told as it is when the host knew it already", () => {
    const known = new SirsiError("GUEST_LIMIT", "too much");
    expect(classifyFault(known, context())).toBe(known);
  });

  test("is a stack overflow when the guest's calls went too deep", () => {
    const error = classifyFault(new RangeError("Maximum call stack size exceeded"), context());
    expect(error.code).toBe("GUEST_TRAP");
    expect(error.details.metadata).toEqual({ trap: "stack_overflow" });
  });

  test("is a trap, with the engine's words and the guest function when it has a name", () => {
    const error = classifyFault(trap("divide by zero", "RuntimeError: divide by zero\n    at ledger/split (wasm://wasm/abc:wasm-function[3]:0x12)"), context());
    expect(error.code).toBe("GUEST_TRAP");
    expect(error.message).toContain("divide by zero in ledger/split");
    expect(error.details.metadata).toEqual({ trap: "divide by zero" });
    expect(classifyFault(trap("divide by zero"), context()).message).not.toContain(" in ");
  });

  test("is exhausted memory when the guest had been refused some, however it then trapped", () => {
    expect(classifyFault(trap("unreachable"), context(true)).code).toBe("GUEST_MEMORY_EXHAUSTED");
    expect(classifyFault(trap("memory access out of bounds"), context(true)).code).toBe("GUEST_MEMORY_EXHAUSTED");
    expect(classifyFault(trap("unreachable"), context(false)).code).toBe("GUEST_TRAP");
  });

  test("is a fault of the host when it is nothing that a guest can do", () => {
    expect(classifyFault(new TypeError("x is not a function"), context()).code).toBe("INTERNAL");
    expect(classifyFault(new RangeError("Array buffer allocation failed"), context()).code).toBe("INTERNAL");
  });
});
