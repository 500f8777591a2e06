import { readFileSync } from "node:fs";

/** Two folders up in a checkout and in the published package alike. */
const PACKAGE = new URL("../../package.json", import.meta.url);

export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(PACKAGE, "utf8")) as { readonly version: string };
  return version;
}

/** How a person calls this command: by the launcher in a checkout, where nothing is on the path. */
export function commandName(): string {
  return import.meta.url.endsWith(".ts") ? "node scripts/sirsi.js" : "sirsi";
}
