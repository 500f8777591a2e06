import { globSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ERROR_TABLE } from "../../runtime/core/errors.ts";
import { METRIC_TABLE } from "../../runtime/observe/metric-table.ts";
import { PAGES, stalePages } from "../../scripts/generate-docs.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

describe("the pages made from code", () => {
  it("say what the code says (run `node scripts/generate-docs.ts`)", () => {
    expect(stalePages()).toEqual([]);
  });

  it("are found stale when they are missing or changed", () => {
    expect(stalePages((path) => (path === "docs/errors.md" ? `${PAGES[path]?.()} ` : null))).toEqual(Object.keys(PAGES));
  });

  it("name only errors and metrics that the runtime has a use for", () => {
    const sources = globSync("runtime/**/*.ts", { cwd: ROOT }).filter((path) => !/errors\.ts|metric-table\.ts/.test(path));
    const code = sources.map((path) => readFileSync(`${ROOT}/${path}`, "utf8")).join("\n");
    const names = [...Object.keys(ERROR_TABLE), ...Object.keys(METRIC_TABLE)];
    expect(names.filter((name) => !code.includes(`"${name}"`))).toEqual([]);
  });

  it("name every error and every metric", () => {
    expect(PAGES["docs/errors.md"]?.()).toContain("| `MAILBOX_FULL` | RESOURCE_EXHAUSTED | yes |");
    expect(PAGES["docs/metrics.md"]?.()).toContain("| `sirsi_grpc_requests_total` | counter | `method`, `code` |");
  });
});
