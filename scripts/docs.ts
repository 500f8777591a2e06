/** Writes the pages that are made from code. tests/unit holds them to it. */
import { writeFileSync } from "node:fs";
import { cliReference } from "../runtime/cli/reference.ts";
import { configurationReference, exampleFile } from "../runtime/config/index.ts";

const root = new URL("../", import.meta.url);

const pages: Readonly<Record<string, string>> = {
  "docs/cli.md": cliReference(),
  "docs/configuration.md": configurationReference(),
  "sirsi.toml.example": exampleFile(),
};

for (const [path, text] of Object.entries(pages)) {
  writeFileSync(new URL(path, root), text);
  console.log(`wrote ${path}`);
}
