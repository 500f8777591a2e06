/** Builds the package for publishing: runtime/ to dist/ as JavaScript with declarations, and proves that it runs. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const dist = join(root, "dist");

function run(what: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  if (status === 0) return stdout;
  console.error(`${what} failed${error === undefined ? "" : ` (${error.message})`}\n${stdout ?? ""}${stderr ?? ""}`);
  process.exit(1);
}

/** What tsc leaves behind: everything but sources. Declarations written by hand are needed too. */
function copyAssets(): number {
  const assets = readdirSync(join(root, "runtime"), { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && (!entry.name.endsWith(".ts") || entry.name.endsWith(".d.ts")),
  );
  for (const entry of assets) {
    const from = join(entry.parentPath, entry.name);
    const to = join(dist, from.slice(join(root, "runtime").length));
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(from, to);
  }
  return assets.length;
}

rmSync(dist, { recursive: true, force: true });
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
run("the type check", [tsc, "-p", "tsconfig.build.json"]);
const assets = copyAssets();

const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const told = run("the built command", [join(dist, "cli", "main.js"), "--version"]).trim();
if (told !== version) {
  console.error(`the built command says version ${told}; package.json says ${version}`);
  process.exit(1);
}
run("the built client", ["--input-type=module", "-e", `import { SirsiClient } from ${JSON.stringify(join(dist, "client", "index.js"))}; new SirsiClient().close();`]);
console.log(`built dist/ (${assets} assets); \`node dist/cli/main.js --version\` says ${told}`);
