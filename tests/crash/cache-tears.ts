/** Torn writes: files of the cache of prepared modules cut short, or with bytes changed, while no host runs. */
import { readFileSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Draw } from "./draw.ts";

/** How many were torn. */
export function tearCache(dataDir: string, count: number, draw: Draw): number {
  const directory = join(dataDir, "cache");
  const files = readdirSync(directory, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  let torn = 0;
  for (; torn < count && files.length > 0; torn++) {
    const [entry] = files.splice(draw.whole(0, files.length - 1), 1);
    if (entry !== undefined) tear(join(entry.parentPath, entry.name), draw);
  }
  return torn;
}

function tear(file: string, draw: Draw): void {
  const bytes = readFileSync(file);
  if (bytes.length === 0 || draw.chance(0.5)) {
    truncateSync(file, draw.whole(0, Math.max(0, bytes.length - 1)));
    return;
  }
  const from = draw.whole(0, bytes.length - 1);
  bytes.fill(draw.whole(0, 255), from, Math.min(bytes.length, from + draw.scaled(1, 4_096)));
  writeFileSync(file, bytes);
}
