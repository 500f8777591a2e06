import { InvalidArgumentError } from "commander";
import { describe, expect, it } from "vitest";
import { collectPair, collectText, parseCount, parseDuration, parseHostAddress, parseSequence } from "../../../runtime/cli/arguments.ts";
import { EXIT, EXIT_MEANINGS, exitCodeOf } from "../../../runtime/cli/exit-codes.ts";
import { UsageError, failureJson, failureOf, failureText } from "../../../runtime/cli/failure.ts";
import { ClientError } from "../../../runtime/client/index.ts";
import { ERROR_TABLE, SirsiError } from "../../../runtime/core/errors.ts";
import type { ErrorCode } from "../../../runtime/core/errors.ts";

const fromHost = (reason: ErrorCode, retryAfterMs: number | null = null) => new ClientError(ERROR_TABLE[reason].rpc, "it failed", { reason, retryAfterMs });

describe("the exit code", () => {
  it.each([
    [new UsageError("bad", ""), EXIT.usage],
    [new SirsiError("CONFIG_INVALID", "bad"), EXIT.usage],
    [new SirsiError("STORE_UNAVAILABLE", "full"), EXIT.unavailable],
    [fromHost("SESSION_NOT_FOUND"), EXIT.notFound],
    [fromHost("AGENT_TYPE_NOT_FOUND"), EXIT.notFound],
    [fromHost("SESSION_EXPIRED"), EXIT.refused],
    [fromHost("FILTER_INVALID"), EXIT.refused],
    [fromHost("AGENT_LIMIT_REACHED"), EXIT.refused],
    [fromHost("MAILBOX_FULL", 100), EXIT.unavailable],
    [fromHost("SHUTTING_DOWN"), EXIT.unavailable],
    [fromHost("DEADLINE_EXCEEDED"), EXIT.deadline],
    [fromHost("GUEST_ERROR"), EXIT.guest],
    [fromHost("GUEST_TRAP"), EXIT.guest],
    [fromHost("INTERNAL"), EXIT.failure],
    [new ClientError(14, "connection refused"), EXIT.unavailable],
    [new ClientError(16, "who are you"), EXIT.refused],
    [new ClientError(2, "odd"), EXIT.failure],
    [new TypeError("a fault of ours"), EXIT.failure],
  ])("of %s is %i", (error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });

  it("has a meaning for each number", () => {
    expect(EXIT_MEANINGS.map(([code]) => code)).toEqual(Object.values(EXIT));
  });
});

describe("a failure's text", () => {
  it("says what, why, the facts and what next", () => {
    const error = new ClientError(9, "the agent said no\u001b[0m", { reason: "GUEST_ERROR", metadata: { code: "E_NO" }, fieldViolations: [{ field: "content", description: "empty" }], retryAfterMs: 5 });
    expect(failureText(failureOf(error, "h:1"))).toBe(
      "error: the agent said no\u{fffd}[0m\n" +
        "  why:  GUEST_ERROR: The agent answered with an error of its own.\n" +
        "        content: empty\n        code: E_NO\n        retry after: 5 ms\n" +
        "  next: Read the agent's code and message in the error's details.\n",
    );
  });

  it("explains a host that does not answer, a deadline and an answer that is none of ours", () => {
    expect(failureText(failureOf(new ClientError(14, "ECONNREFUSED. Resolution note: "), "h:1"))).toMatch(/no host answers at h:1\n {2}why: {2}ECONNREFUSED\n {2}next: Start one with `sirsi serve`/);
    expect(failureOf(new ClientError(4, "late"), "h:1").next).toContain("--timeout");
    expect(failureOf(new ClientError(12, "no such method", { reason: "constructor" }), "h:1")).toMatchObject({ reason: "", why: "The call ended with UNIMPLEMENTED." });
  });

  it("does not give the same advice twice", () => {
    const error = new ClientError(3, `agent_id is wrong. ${ERROR_TABLE.INVALID_ARGUMENT.next}`, { reason: "INVALID_ARGUMENT" });
    expect(failureOf(error, "h:1")).toMatchObject({ what: "agent_id is wrong.", next: ERROR_TABLE.INVALID_ARGUMENT.next });
    const advised = new ClientError(5, "no agent has the id a-1; list those there are", { reason: "AGENT_NOT_FOUND", metadata: { agent_id: "a-1", session_id: "s-1" } });
    expect(failureText(failureOf(advised, "h:1"))).toBe(
      "error: no agent has the id a-1; list those there are\n  why:  AGENT_NOT_FOUND: No agent of this session has this id.\n        session_id: s-1\n",
    );
  });

  it("asks for a report of our own faults", () => {
    expect(failureOf(new TypeError("x is undefined"), "h:1").next).toContain("Report it");
    expect(failureOf("odd", "h:1").what).toBe("odd");
  });

  it("as JSON is one line with the same", () => {
    const json = failureJson(failureOf(new SirsiError("CONFIG_INVALID", "bad", { metadata: { key: "grpc.listen" } }), "h:1"));
    expect(JSON.parse(json)).toMatchObject({ error: { message: "bad", reason: "CONFIG_INVALID", facts: { key: "grpc.listen" } } });
    expect(json.trimEnd()).not.toContain("\n");
  });
});

describe("option values", () => {
  it.each([["90", 90_000], ["500ms", 500], ["1.5s", 1_500], ["15m", 900_000], ["2h", 7_200_000], ["7d", 604_800_000]])("a duration of %s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "0", "-1", "1w", "366d", "s", "1e3"])("%j is no duration", (text) => {
    expect(() => parseDuration(text)).toThrow(InvalidArgumentError);
  });

  it.each(["-1", "1.5", "", "99999999999999999999"])("%j is no count", (text) => {
    expect(() => parseCount(text)).toThrow(InvalidArgumentError);
  });

  it("a sequence goes beyond what a number holds, up to 64 bits", () => {
    expect(parseSequence("1882598183687684097")).toBe(1_882_598_183_687_684_097n);
    for (const text of ["-1", "9223372036854775808", "x"]) expect(() => parseSequence(text)).toThrow(InvalidArgumentError);
  });

  it("pairs and texts are collected over repeats", () => {
    expect(collectPair("b=2=3", collectPair("a=", undefined))).toEqual({ a: "", b: "2=3" });
    expect(() => collectPair("=1", undefined)).toThrow(InvalidArgumentError);
    expect(() => collectPair("none", undefined)).toThrow(InvalidArgumentError);
    expect(collectText("b", collectText("a", undefined))).toEqual(["a", "b"]);
    expect(parseHostAddress("[::1]:1")).toBe("[::1]:1");
    expect(() => parseHostAddress("nowhere")).toThrow(InvalidArgumentError);
  });
});
