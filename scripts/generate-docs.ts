/**
 * Writes the pages that are made from code; with --check, writes nothing and fails
 * when a page is not what the code says. A new page is one more line in PAGES.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cliReference } from "../runtime/cli/reference.ts";
import { configurationReference, exampleFile } from "../runtime/config/index.ts";
import { errorsPage } from "./pages/errors-page.ts";
import { metricsPage } from "./pages/metrics-page.ts";

/** By path from the project's root. */
export const PAGES: Readonly<Record<string, () => string>> = {
  "docs/cli.md": cliReference,
  "docs/configuration.md": configurationReference,
  "docs/errors.md": errorsPage,
  "docs/metrics.md": metricsPage,
  "sirsi.toml.example": exampleFile,
};

const ROOT = new URL("../", import.meta.url);

function onDisk(path: string): string | null {
  try {
    return readFileSync(new URL(path, ROOT), "utf8");
  } catch {
    return null;
  }
}

/** Paths of the pages that differ from what the code says. */
export function stalePages(read: (path: string) => string | null = onDisk): string[] {
  return Object.entries(PAGES)
    .filter(([path, make]) => read(path) !== make())
    .map(([path]) => path);
}

if (import.meta.main) {
  const stale = stalePages();
  if (process.argv.includes("--check")) {
    for (const path of stale) console.error(`${path} is not what the code says; run: node scripts/generate-docs.ts`);
    process.exitCode = stale.length === 0 ? 0 : 1;
  } else {
    for (const path of stale) {
      writeFileSync(new URL(path, ROOT), (PAGES[path] as () => string)());
      console.log(`wrote ${path}`);
    }
  }
}
