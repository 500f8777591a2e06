/** What one configuration setting is, and where a value can come from. */
import { unreachable } from "../core/errors.ts";

export type SettingValue = number | boolean | string | readonly string[] | Readonly<Record<string, string | readonly string[]>>;

export type SettingKind =
  | { readonly type: "integer"; readonly min: number; readonly max: number; readonly unit: string }
  | { readonly type: "boolean" }
  | { readonly type: "choice"; readonly choices: readonly string[] }
  /** `pattern` with `shape`, the words that say what it wants. */
  | { readonly type: "text"; readonly pattern: RegExp; readonly shape: string }
  /** A file or directory; relative ones stand on the file's directory, or else on the working directory. */
  | { readonly type: "path" }
  /** The same, or empty for none. */
  | { readonly type: "file" }
  /** host:port of a loopback interface. */
  | { readonly type: "listen" }
  /** host:port of anywhere, or empty for none. */
  | { readonly type: "address" }
  | { readonly type: "list"; readonly choices: readonly string[] }
  /** A list of texts of one shape; what does not fit is not quoted, for it may hold a secret. */
  | { readonly type: "texts"; readonly pattern: RegExp; readonly shape: string }
  /** A table of free names, each with a text. In the environment: NAME=TEXT, separated by commas. */
  | { readonly type: "labels" }
  /** A table of free names, each with a list out of `choices`. File only. */
  | { readonly type: "table"; readonly choices: readonly string[] };

/** What computed defaults are computed from. */
export interface DefaultContext {
  readonly cores: number;
  readonly terminal: boolean;
}

/** What nobody may see of a value: all of it, or the password in a URL. */
export type Secrecy = "all" | "url";

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
  /** Null for what everybody may see. A secret has a sibling, its key with `_file` behind it. */
  readonly secret: Secrecy | null;
}

export type Source =
  | { readonly kind: "default" }
  | { readonly kind: "file"; readonly file: string; readonly line: number | null }
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "flag"; readonly name: string };

export interface ResolvedSetting {
  readonly key: string;
  /** In a Config: with what is secret covered. */
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
