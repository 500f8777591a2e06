import { describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { createLogger, silentLogger, type Logger, type LogOptions } from "../../../runtime/observe/index.ts";
import { formatLogLine } from "../../../runtime/observe/log-format.ts";

function open(options: LogOptions = {}): { log: Logger; lines: string[]; last: () => Record<string, unknown> } {
  const lines: string[] = [];
  const log = createLogger({ clock: new ManualClock(0), output: { write: (line) => lines.push(line) }, ...options });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? "null") as Record<string, unknown> };
}

describe("the log", () => {
  it("writes one JSON object a line, with the fields of its parents", () => {
    const { log, lines, last } = open();
    log.child({ module: "echo" }).child({ agentId: "a" }).info({ bytes: 3 }, "said\nhello");
    expect(lines[0]?.indexOf("\n")).toBe((lines[0]?.length ?? 0) - 1);
    expect(last()).toEqual({ level: 30, time: "1970-01-01T00:00:00.000Z", module: "echo", agentId: "a", bytes: 3, msg: "said\nhello" });
  });

  it("leaves out what is below its level", () => {
    const { log, lines } = open({ level: "warn" });
    log.info("quiet");
    log.warn("loud");
    expect(lines).toHaveLength(1);
    expect([log.isLevelEnabled("info"), log.isLevelEnabled("error")]).toEqual([false, true]);
  });

  it("writes an error with its code, stack and cause", () => {
    const { log, last } = open();
    log.error({ err: new SirsiError("STORE_UNAVAILABLE", "disk full", { cause: new TypeError("inner") }) }, "commit failed");
    expect(last()["err"]).toMatchObject({ code: "STORE_UNAVAILABLE", message: "disk full: inner", stack: expect.stringContaining("TypeError: inner") as string });
  });

  it.each([
    [{ password: "hunter2" }, "x"],
    [{ headers: { authorization: "hunter2" } }, "x"],
    [{ a: { b: { token: "hunter2" } } }, "x"],
    [{}, "called with Bearer hunter2hunter2"],
    [{}, "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----"],
    [{}, "-----BEGIN PRIVATE KEY-----\nhunter2, cut off"],
  ])("never writes a secret: %j %s", (fields, message) => {
    const { log, lines } = open();
    log.info(fields, message);
    log.child(fields).info(message);
    expect(lines.join()).not.toContain("hunter2");
    expect(lines.join()).toContain("[redacted]");
  });

  it("can say nothing at all", () => {
    expect(silentLogger.isLevelEnabled("fatal")).toBe(false);
    silentLogger.child({ agentId: "a" }).error("unheard");
  });
});

describe("the pretty format", () => {
  it("writes time, level, message and facts in one line", () => {
    const { log, lines } = open({ format: "pretty", color: false });
    log.warn({ agentId: "a", text: "two words", n: 1, deep: { x: [1] } }, "it happened");
    expect(lines).toEqual(['00:00:00.000 WARN  it happened agentId=a text="two words" n=1 deep={"x":[1]}\n']);
  });

  it("writes an error's stack below", () => {
    const { log, lines } = open({ format: "pretty", color: false });
    log.error({ err: new SirsiError("INTERNAL", "broken") }, "it failed");
    expect(lines[0]).toMatch(/^00:00:00\.000 ERROR it failed\n {2}SirsiError: broken\n {6}at /);
  });

  it("lets no escape code of a guest reach the terminal", () => {
    const { log, lines } = open({ format: "pretty", color: false });
    log.info({ "k\u001b[1m": "\u001b[2Jgone", bare: "x\u0007y" }, "\u001b]0;title\u0007 \u009b31m");
    expect(lines[0]).toBe('00:00:00.000 INFO  \\x1b]0;title\\x07 \\x9b31m k\\x1b[1m=\\x1b[2Jgone bare=x\\x07y\n');
  });

  it("colours only when told to", () => {
    const { log, lines } = open({ format: "pretty", color: true });
    log.info("hi");
    expect(lines[0]).toContain("\u001b[32mINFO \u001b[0m");
  });

  it("passes on what is not a line of the log", () => {
    expect(formatLogLine("not json \u001b[0m\n", false)).toBe("not json \\x1b[0m\n");
    expect(formatLogLine("{}", false)).toBe("?????\n");
  });
});
