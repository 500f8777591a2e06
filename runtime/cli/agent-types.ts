/** What a module's manifest says to a person who chooses an agent type. */
import type { Module } from "../client/index.ts";
import { manifestJson, manifestWord } from "./manifest-json.ts";

/** Type, version, name and description of each. */
export function agentTypeRows(modules: readonly Module[]): string[][] {
  return modules.map((module) => {
    const { displayName, description } = manifestWords(module.active?.manifestJson ?? "");
    return [module.name, module.active?.version ?? "", displayName, description];
  });
}

function manifestWords(json: string): { displayName: string; description: string } {
  const manifest = manifestJson(json);
  return { displayName: manifestWord(manifest, "displayName"), description: manifestWord(manifest, "description") };
}
