/** The options of commands that read a host's configuration, made from the settings table. */
import { Option } from "commander";
import { SETTINGS, describeDefault, loadConfig } from "../config/index.ts";
import type { Config } from "../config/index.ts";
import type { Invocation } from "./invocation.ts";

export interface HostOptions {
  readonly config?: string;
  readonly fleet?: boolean;
}

interface FlagOption {
  readonly flag: string;
  readonly option: Option;
}

function flagOptions(): FlagOption[] {
  return SETTINGS.flatMap((setting) => {
    if (setting.flag === null) return [];
    const place = setting.kind.type === "path" ? "path" : setting.kind.type === "listen" ? "host:port" : "value";
    const words = `${lowerFirst(setting.meaning.replace(/\.$/, ""))} (default: ${describeDefault(setting).replaceAll("`", "").replaceAll('"', "")})`;
    const option = new Option(`${setting.flag} <${place}>`, words);
    return [{ flag: setting.flag, option: setting.kind.type === "choice" ? option.choices(setting.kind.choices) : option }];
  });
}

export function hostOptions(): Option[] {
  const config = new Option("-c, --config <file>", "the configuration file (default: SIRSI_CONFIG, else ./sirsi.toml when it is there)");
  const fleet = new Option("--fleet", "as a host of a fleet: reads ./sirsi.fleet.toml when no file is named, and refuses a configuration that has no fleet");
  return [config, fleet, ...flagOptions().map(({ option }) => option)];
}

export function loadHostConfig(invocation: Invocation<HostOptions>): Config {
  const stated = invocation.options as Readonly<Record<string, unknown>>;
  const flags = flagOptions().flatMap(({ flag, option }) => {
    const value = stated[option.attributeName()];
    return typeof value === "string" ? [[flag, value] as const] : [];
  });
  return loadConfig({
    flags: Object.fromEntries(flags),
    env: invocation.terminal.env,
    cwd: invocation.terminal.cwd,
    file: invocation.options.config,
    fleet: invocation.options.fleet ?? false,
    terminal: invocation.terminal.stderr.isTerminal,
  });
}

function lowerFirst(text: string): string {
  return text.startsWith("SIRSI") ? text : text.charAt(0).toLowerCase() + text.slice(1);
}
