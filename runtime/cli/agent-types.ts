/** What a module's manifest says to a person who chooses an agent type. */
import type { Module } from "../client/index.ts";

/** Type, version, name and description of each. */
export function agentTypeRows(modules: readonly Module[]): string[][] {
  return modules.map((module) => {
    const { displayName, description } = manifestWords(module.active?.manifestJson ?? "");
    return [module.name, module.active?.version ?? "", displayName, description];
  });
}

function manifestWords(json: string): { displayName: string; description: string } {
  const manifest = parsed(json);
  const word = (name: string) => (typeof manifest[name] === "string" ? manifest[name] : "");
  return { displayName: word("displayName"), description: word("description") };
}

/** A host of another version may send something else; the name alone is then enough. */
function parsed(json: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}
