/** Built agents for tests: made by the project's own build tool, which skips what is built already. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildAgents } from "../../scripts/build-agents.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** For a hook that may have to build: seconds each, and more on a busy machine. */
export const BUILD_TIMEOUT_MS = 180_000;

export interface BuiltModule {
  readonly file: string;
  readonly module: WebAssembly.Module;
}

async function built(folder: string, options: { readonly sourceDir?: string; readonly outDir: string }): Promise<BuiltModule> {
  const [agent] = await buildAgents({ ...options, only: [folder] });
  const file = agent?.file ?? join(options.outDir, `${folder}.wasm`);
  return { file, module: new WebAssembly.Module(readFileSync(file)) };
}

/** An agent of agents-as/. */
export function builtAgent(folder: string): Promise<BuiltModule> {
  return built(folder, { outDir: join(ROOT, "modules") });
}

/** An agent of tests/fixtures/agents/. */
export function builtFixture(folder: string): Promise<BuiltModule> {
  return built(folder, { sourceDir: join(ROOT, "tests/fixtures/agents"), outDir: join(ROOT, ".cache/test-agents") });
}
