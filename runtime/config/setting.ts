/** What one configuration setting is, and where a value can come from. */
import { unreachable } from "../core/errors.ts";

export type SettingValue = number | boolean | string | readonly string[] | Readonly<Record<string, readonly string[]>>;

export type SettingKind =
  | { readonly type: "integer"; readonly min: number; readonly max: number; readonly unit: string }
  | { readonly type: "boolean" }
  | { readonly type: "choice"; readonly choices: readonly string[] }
  /** `pattern` with `shape`, the words that say what it wants. */
  | { readonly type: "text"; readonly pattern: RegExp; readonly shape: string }
  /** A file or directory; relative ones stand on the file's directory, or else on the working directory. */
  | { readonly type: "path" }
  /** host:port of a loopback interface. */
  | { readonly type: "listen" }
  | { readonly type: "list"; readonly choices: readonly string[] | null }
  /** A table of free names, each with a list out of `choices`. File only. */
  | { readonly type: "table"; readonly choices: readonly string[] };

/** What computed defaults are computed from. */
export interface DefaultContext {
  readonly cores: number;
  readonly terminal: boolean;
}

export interface Setting {
  /** `section.name`, as the file has it. */
  readonly key: string;
  readonly kind: SettingKind;
  readonly fallback: (context: DefaultContext) => SettingValue;
  /** The default in words, when it is computed; null when `fallback` is constant. */
  readonly fallbackWords: string | null;
  readonly meaning: string;
  /** Null for what only a file can say. */
  readonly env: string | null;
  /** `--name`, of `sirsi serve` and `sirsi config show`; null for none. */
  readonly flag: string | null;
}

export type Source =
  | { readonly kind: "default" }
  | { readonly kind: "file"; readonly file: string; readonly line: number | null }
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

export interface ResolvedSetting {
  readonly key: string;
  readonly value: SettingValue;
  readonly source: Source;
}

/** "default", "/etc/sirsi.toml:12", "env SIRSI_GRPC_LISTEN" or "flag --grpc-listen". */
export function describeSource(source: Source): string {
  switch (source.kind) {
    case "default":
      return "default";
    case "file":
      return source.line === null ? source.file : `${source.file}:${source.line}`;
    case "env":
      return `env ${source.name}`;
    case "flag":
      return `flag ${source.name}`;
    default:
      return unreachable(source);
  }
}
