/** Where hosts of tests find modules that were prepared before. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";

const SOURCES = new URL("../../runtime/module/", import.meta.url);

/** Modules prepared by this very preparer, kept for the next run: each takes seconds. */
export function sharedCache(): string {
  const sources = createHash("sha256");
  for (const file of readdirSync(SOURCES).toSorted()) sources.update(readFileSync(new URL(file, SOURCES)));
  const path = new URL(`../../.cache/test-swaps-${sources.digest("hex").slice(0, 16)}`, import.meta.url).pathname;
  mkdirSync(path, { recursive: true });
  return path;
}
