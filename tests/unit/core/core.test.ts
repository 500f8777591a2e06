import { describe, expect, it } from "vitest";
import { backoffMs } from "../../../runtime/core/backoff.ts";
import { Deferred } from "../../../runtime/core/deferred.ts";
import { ERROR_TABLE, RpcCode, SirsiError, unreachable, type ErrorRow } from "../../../runtime/core/errors.ts";
import { DEFAULT_GUEST_LIMITS, DEFAULT_HOST_LIMITS, GUEST_LIMITS, HOST_LIMITS, type LimitRow } from "../../../runtime/core/limits.ts";

describe("a deferred", () => {
  it("settles once: the first settlement stands, later ones are told no", async () => {
    const deferred = new Deferred<number>();
    expect(deferred.settled).toBe(false);
    expect([deferred.resolve(1), deferred.resolve(2), deferred.reject(new SirsiError("INTERNAL", "late"))]).toEqual([true, false, false]);
    expect(deferred.settled).toBe(true);
    await expect(deferred.promise).resolves.toBe(1);
  });

  it("can be rejected", async () => {
    const deferred = new Deferred<number>();
    expect([deferred.reject("no"), deferred.resolve(1)]).toEqual([true, false]);
    await expect(deferred.promise).rejects.toBe("no");
  });
});

describe("backoff", () => {
  const config = { firstMs: 100, maxMs: 1_000, factor: 2 };

  it("grows from half to the whole of each step, up to the maximum", () => {
    const range = [0, 1, 2, 3, 4, 50, 5_000].map((attempt) => [backoffMs(config, attempt, 0), backoffMs(config, attempt, 0.999_999)]);
    expect(range).toEqual([
      [50, 100],
      [100, 200],
      [200, 400],
      [400, 800],
      [500, 1_000],
      [500, 1_000],
      [500, 1_000],
    ]);
  });
});

describe("an error", () => {
  it("has its row's status, unless its details choose another", () => {
    expect(new SirsiError("MAILBOX_FULL", "full").rpcCode).toBe(RpcCode.RESOURCE_EXHAUSTED);
    expect(new SirsiError("GUEST_ERROR", "no", { rpc: RpcCode.NOT_FOUND }).rpcCode).toBe(RpcCode.NOT_FOUND);
    expect([new SirsiError("MAILBOX_FULL", "").retryable, new SirsiError("INTERNAL", "").retryable]).toEqual([true, false]);
  });

  it("says when to come again wherever that helps, and nowhere else", () => {
    expect(new SirsiError("MAILBOX_FULL", "full", { retryAfterMs: 7 }).retryAfterMs).toBe(7);
    expect(new SirsiError("BUS_UNAVAILABLE", "away").retryAfterMs).toBeGreaterThan(0);
    expect(new SirsiError("DEADLINE_EXCEEDED", "late").retryAfterMs).toBeNull();
    expect(new SirsiError("GUEST_ERROR", "no").retryAfterMs).toBeNull();
    expect(new SirsiError("GUEST_ERROR", "not now", { retryAfterMs: 7 }).retryAfterMs).toBe(7);
  });

  it("stays itself when taken from a thrown value; anything else becomes INTERNAL with its cause", () => {
    const own = new SirsiError("CANCELLED", "gone");
    expect(SirsiError.from(own)).toBe(own);
    const foreign = new TypeError("x is not a function");
    expect(SirsiError.from(foreign)).toMatchObject({ code: "INTERNAL", message: "x is not a function", cause: foreign });
    expect(SirsiError.from("text")).toMatchObject({ code: "INTERNAL", message: "text" });
  });

  it("crosses a thread whole, but for its cause", () => {
    const error = new SirsiError("GUEST_TRAP", "unreachable", { metadata: { agent_id: "a" }, retryAfterMs: 5, cause: new TypeError("inner") });
    const revived = SirsiError.revive(structuredClone(error.toPlain()));
    expect(revived).toBeInstanceOf(SirsiError);
    expect([revived.code, revived.message, revived.details]).toEqual(["GUEST_TRAP", "unreachable", { metadata: { agent_id: "a" }, retryAfterMs: 5 }]);
  });

  it("is raised by a case that the types rule out", () => {
    expect(() => unreachable("new kind" as never)).toThrow(/"new kind": a case is missing/);
  });
});

describe("the table of errors", () => {
  it.each(Object.entries<ErrorRow>(ERROR_TABLE))("says of %s what it means and what to do, in sentences", (_code, row) => {
    expect(row.meaning).toMatch(/^[A-Z].*\.$/);
    expect(row.next).toMatch(/^[A-Z].*\.$/);
    expect(Object.values(RpcCode)).toContain(row.rpc);
  });

  it("lets a caller repeat only what may pass by itself", () => {
    const mayPass: readonly number[] = [RpcCode.UNAVAILABLE, RpcCode.RESOURCE_EXHAUSTED, RpcCode.DEADLINE_EXCEEDED, RpcCode.ABORTED];
    const wrong = Object.entries<ErrorRow>(ERROR_TABLE).filter(([, row]) => row.retry && !mayPass.includes(row.rpc));
    expect(wrong).toEqual([]);
  });
});

describe("the limits", () => {
  const rows = Object.entries<LimitRow>({ ...GUEST_LIMITS, ...HOST_LIMITS });

  it.each(rows)("of %s have a default within their range, and an error that exists", (_name, row) => {
    expect(row.min).toBeLessThanOrEqual(row.fallback);
    expect(row.fallback).toBeLessThanOrEqual(row.max);
    expect(row.error === "dropped" || row.error in ERROR_TABLE).toBe(true);
  });

  it("by default are the table's, and nobody can change them", () => {
    expect(DEFAULT_GUEST_LIMITS.mailboxDepth).toBe(GUEST_LIMITS.mailboxDepth.fallback);
    expect(DEFAULT_HOST_LIMITS.messageMaxBytes).toBe(4 * 1024 * 1024);
    expect(Object.isFrozen(DEFAULT_GUEST_LIMITS) && Object.isFrozen(DEFAULT_HOST_LIMITS)).toBe(true);
  });
});
