/** Defaults, file, environment and flags, the later before the earlier, to one Config. */
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { SirsiError } from "../core/errors.ts";
import { acceptValue } from "./accept-value.ts";
import { buildConfig } from "./config.ts";
import type { Config } from "./config.ts";
import { findConfigFile, readConfigFile } from "./config-file.ts";
import type { ConfigFile } from "./config-file.ts";
import { processEnvironment, strangeVariables } from "./environment.ts";
import type { Environment } from "./environment.ts";
import { contradictions, idleSettings, withoutFleet } from "./contradictions.ts";
import { defaultHostName } from "./fleet-config.ts";
import { readSecrets } from "./secret.ts";
import { describeSource } from "./setting.ts";
import type { ResolvedSetting, Setting, Source } from "./setting.ts";
import { SETTINGS } from "./settings.ts";

export interface LoadOptions {
  /** By flag, dashes included: `{ "--grpc-listen": "127.0.0.1:0" }`. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** Default: the process environment. An empty variable counts as none. */
  readonly env?: Environment;
  /** Default: the working directory. */
  readonly cwd?: string;
  /** The file that --config names; it must exist. Default: SIRSI_CONFIG, else ./sirsi.toml when it is there. */
  readonly file?: string | undefined;
  /** The host is to be in a fleet: sirsi.fleet.toml takes the place of sirsi.toml, and a configuration of a host of its own is refused. */
  readonly fleet?: boolean;
  /** Processor cores, for shards.count. Default: what the system offers. */
  readonly cores?: number;
  /** Whether a person reads the log on a terminal, for log.format. Default: false. */
  readonly terminal?: boolean;
}

/** Throws CONFIG_INVALID that lists everything that is wrong at once. */
export function loadConfig(options: LoadOptions = {}): Config {
  const env = options.env ?? processEnvironment();
  const cwd = options.cwd ?? process.cwd();
  const path = findConfigFile(options.file ?? (env["SIRSI_CONFIG"] || undefined), cwd, options.fleet);
  const file = path === null ? null : readConfigFile(path, SETTINGS);
  const context = { cores: options.cores ?? availableParallelism(), terminal: options.terminal ?? false };
  const problems: string[] = [...(file?.problems ?? []), ...strangeFlags(options.flags ?? {})];

  const stated = SETTINGS.map((setting): ResolvedSetting => {
    const { raw, source } = choose(setting, file, env, options.flags ?? {});
    const fallback = () => acceptedFallback(setting, context, cwd);
    if (source.kind === "default") return { key: setting.key, value: fallback(), source };
    const text = source.kind !== "file";
    const outcome = acceptValue(setting, raw, text, source.kind === "file" ? dirname(source.file) : cwd);
    if (outcome.kind === "value") return { key: setting.key, value: outcome.value, source };
    problems.push(`${describeSource(source)}: ${setting.key} ${outcome.problem}`);
    return { key: setting.key, value: fallback(), source };
  });
  const secrets = readSecrets(SETTINGS, stated, (setting, text) => {
    const outcome = acceptValue(setting, text, true, cwd);
    return outcome.kind === "value" ? null : `whose content ${outcome.problem}`;
  });
  const resolved = named(secrets.resolved);
  problems.push(...secrets.problems);
  // With a default in the place of what was refused, they would be told what nobody wrote.
  if (problems.length === 0) problems.push(...contradictions(resolved));
  if (problems.length === 0 && options.fleet === true) problems.push(...withoutFleet(resolved, path));
  if (problems.length > 0) throw invalid(problems);
  return buildConfig(resolved, path, [...strangeVariables(env, SETTINGS), ...idleSettings(secrets.resolved)]);
}

/** With the host's name, which when none is stated comes from another setting. */
function named(resolved: readonly ResolvedSetting[]): readonly ResolvedSetting[] {
  const dataDir = resolved.find(({ key }) => key === "store.data_dir")?.value as string;
  return resolved.map((setting) => (setting.key === "fleet.host_name" && setting.value === "" ? { ...setting, value: defaultHostName(dataDir) } : setting));
}

function choose(setting: Setting, file: ConfigFile | null, env: Environment, flags: Readonly<Record<string, string | undefined>>): { raw: unknown; source: Source } {
  const flag = setting.flag === null ? undefined : flags[setting.flag];
  if (setting.flag !== null && flag !== undefined) return { raw: flag, source: { kind: "flag", name: setting.flag } };
  const variable = setting.env === null ? undefined : env[setting.env];
  if (setting.env !== null && variable) return { raw: variable, source: { kind: "env", name: setting.env } };
  const stated = file?.values.get(setting.key);
  if (file !== null && stated !== undefined) return { raw: stated.raw, source: { kind: "file", file: file.path, line: stated.line } };
  return { raw: undefined, source: { kind: "default" } };
}

function acceptedFallback(setting: Setting, context: { cores: number; terminal: boolean }, cwd: string): ResolvedSetting["value"] {
  const outcome = acceptValue(setting, setting.fallback(context), false, cwd);
  if (outcome.kind === "value") return outcome.value;
  throw new SirsiError("INTERNAL", `the default of ${setting.key} ${outcome.problem}; mend the settings table`);
}

function strangeFlags(flags: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set(SETTINGS.map((setting) => setting.flag));
  return Object.keys(flags)
    .filter((flag) => !known.has(flag))
    .map((flag) => `flag ${flag}: there is no such flag`);
}

function invalid(problems: readonly string[]): SirsiError {
  const text = problems.length === 1 ? (problems[0] as string) : `${problems.length} settings cannot be used:\n${problems.map((problem) => `  ${problem}`).join("\n")}`;
  return new SirsiError("CONFIG_INVALID", text, { fields: problems.map((problem) => ({ field: "config", description: problem })) });
}
