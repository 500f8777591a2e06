import { describe, expect, it } from "vitest";
import { pageToken, readPageToken } from "../../../runtime/hypervisor/page-token.ts";

const SCOPE = ["agents", "session", 'state == "READY"'];

describe("a page token", () => {
  it("gives back the position it was made of, to the listing that made it", () => {
    expect(readPageToken(SCOPE, pageToken(SCOPE, [1_750_000_000_000, "an id"]))).toEqual([1_750_000_000_000, "an id"]);
    expect(readPageToken(SCOPE, "")).toBeNull();
  });

  it("survives a restart: it holds nothing of this process", () => {
    expect(pageToken(["a"], [1])).toBe(pageToken(["a"], [1]));
  });

  it.each(["x", "AAAA", "!!!!", "é".repeat(20), "A".repeat(2_000), "\u0000"])("is refused when it is made up: %j", (token) => {
    expect(() => readPageToken(SCOPE, token)).toThrow(expect.objectContaining({ code: "PAGE_TOKEN_INVALID" }));
  });

  it("is refused when any byte of it was changed", () => {
    const bytes = Buffer.from(pageToken(SCOPE, [5, "id"]), "base64url");
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = changed[at]! ^ 1;
      expect(() => readPageToken(SCOPE, changed.toString("base64url"))).toThrow(expect.objectContaining({ code: "PAGE_TOKEN_INVALID" }));
    }
  });

  it("is refused by another listing, whose parts only join to the same text", () => {
    const token = pageToken(["agents", "a", "b"], [5]);
    for (const other of [["agents", "ab", ""], ["agents", "a"], ["sessions", "a", "b"]]) expect(() => readPageToken(other, token)).toThrow(expect.objectContaining({ code: "PAGE_TOKEN_INVALID" }));
  });
});
