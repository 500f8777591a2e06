/** sirsi.toml: found, read, and flattened to settings with the line each stands on. */
import { readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { closest } from "fastest-levenshtein";
import { TomlError, parse } from "smol-toml";
import { SirsiError } from "../core/errors.ts";
import type { Setting } from "./setting.ts";

export interface FileSetting {
  readonly raw: unknown;
  readonly line: number | null;
}

export interface ConfigFile {
  readonly path: string;
  readonly values: ReadonlyMap<string, FileSetting>;
  readonly problems: readonly string[];
}

const DEFAULT_NAME = "sirsi.toml";
/** What `sirsi serve --fleet` looks for in its place. */
export const FLEET_NAME = "sirsi.fleet.toml";

/** The file to read, or null when none was named and the default one is not there. */
export function findConfigFile(named: string | undefined, cwd: string, fleet = false): string | null {
  const path = resolve(cwd, named ?? (fleet ? FLEET_NAME : DEFAULT_NAME));
  const found = statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
  if (found) return path;
  if (named === undefined) return null;
  throw new SirsiError("CONFIG_INVALID", `the configuration file ${path} does not exist or is not a file; correct --config or SIRSI_CONFIG, or leave it out`);
}

export function readConfigFile(path: string, settings: readonly Setting[]): ConfigFile {
  const text = readText(path);
  const values = new Map<string, FileSetting>();
  const problems: string[] = [];
  const known = new Map(settings.map((setting) => [setting.key, setting]));
  const sections = sectionsOf(settings);
  const lines = linesOf(text);

  const walk = (table: object, prefix: string) => {
    for (const [name, raw] of Object.entries(table)) {
      const key = prefix === "" ? name : `${prefix}.${name}`;
      const line = lines.get(key) ?? null;
      const at = line === null ? path : `${path}:${line}`;
      if (known.has(key)) values.set(key, { raw, line });
      else if (!sections.has(key)) problems.push(`${at}: there is no setting ${key}; the nearest is ${closest(key, [...known.keys(), ...sections])}`);
      else if (isTable(raw)) walk(raw, key);
      else problems.push(`${at}: ${key} is a section; write [${key}] and its settings under it`);
    }
  };
  walk(parseToml(text, path), "");
  return { path, values, problems };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SirsiError("CONFIG_INVALID", `the configuration file ${path} cannot be read (${reason}); check its permissions`, { cause });
  }
}

function parseToml(text: string, path: string): object {
  try {
    return parse(text, { unsafeKeyBehaviour: "throw", maxDepth: 16 });
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause;
    const what = cause.message.split("\n", 1)[0] ?? "";
    throw new SirsiError("CONFIG_INVALID", `${path}:${cause.line}:${cause.column}: ${what}; correct the TOML there`, { cause });
  }
}

function isTable(raw: unknown): raw is object {
  return typeof raw === "object" && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}

function sectionsOf(settings: readonly Setting[]): Set<string> {
  const sections = new Set<string>();
  for (const { key } of settings) {
    for (let dot = key.indexOf("."); dot !== -1; dot = key.indexOf(".", dot + 1)) sections.add(key.slice(0, dot));
  }
  return sections;
}

const HEADER = /^\s*\[\s*([^[\]]+?)\s*\]\s*(?:#.*)?$/;
const ASSIGNMENT = /^\s*([A-Za-z0-9_."'-]+(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=/;

/** The line of every key and header, for people; the parser keeps no positions. */
function linesOf(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  let section = "";
  for (const [index, line] of text.split("\n").entries()) {
    const header = HEADER.exec(line)?.[1];
    const name = ASSIGNMENT.exec(line)?.[1];
    if (header !== undefined) section = plainKey(header);
    const key = header !== undefined ? section : name === undefined ? null : section === "" ? plainKey(name) : `${section}.${plainKey(name)}`;
    if (key !== null && !lines.has(key)) lines.set(key, index + 1);
  }
  return lines;
}

function plainKey(key: string): string {
  return key.replaceAll(/["'\s]/g, "");
}
