import { describe, expect, it } from "vitest";
import { PAGES, stalePages } from "../../scripts/generate-docs.ts";

describe("the pages made from code", () => {
  it("say what the code says (run `node scripts/generate-docs.ts`)", () => {
    expect(stalePages()).toEqual([]);
  });

  it("are found stale when they are missing or changed", () => {
    expect(stalePages((path) => (path === "docs/errors.md" ? `${PAGES[path]?.()} ` : null))).toEqual(Object.keys(PAGES));
  });

  it("name every error and every metric", () => {
    expect(PAGES["docs/errors.md"]?.()).toContain("| `MAILBOX_FULL` | RESOURCE_EXHAUSTED | yes |");
    expect(PAGES["docs/metrics.md"]?.()).toContain("| `sirsi_grpc_requests_total` | counter | `method`, `code` |");
  });
});
