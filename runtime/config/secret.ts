/** Settings that hold secrets: what is shown of them, and the files they may be read from. */
import { readFileSync } from "node:fs";
import { describeSource } from "./setting.ts";
import type { ResolvedSetting, Secrecy, Setting, SettingValue } from "./setting.ts";

const COVER = "***";

/** Fit for every eye. */
export function covered(value: SettingValue, secret: Secrecy | null): SettingValue {
  if (secret === null || typeof value !== "string" || value === "") return value;
  return secret === "all" ? COVER : coveredUrl(value);
}

/**
 * To the last @, wherever it stands: a password that was not percent-encoded may hold any
 * character that would end it in a URL.
 */
function coveredUrl(url: string): string {
  return url
    .replace(/^([a-z][a-z0-9+.-]*:\/\/[^:@/]*):.*@/i, `$1:${COVER}@`)
    .replaceAll(/([?&][^=&#]*(?:pass|token|secret)[^=&#]*=)[^&#]*/gi, `$1${COVER}`);
}

/** The setting that names the file a secret is read from. */
export function fileKey(key: string): string {
  return `${key}_file`;
}

export interface Disclosure {
  readonly resolved: readonly ResolvedSetting[];
  readonly problems: readonly string[];
}

/** Reads the secrets whose files are named; `accept` takes what was read, or says what is amiss with it. */
export function readSecrets(settings: readonly Setting[], resolved: readonly ResolvedSetting[], accept: (setting: Setting, text: string) => string | null): Disclosure {
  const byKey = new Map(resolved.map((setting) => [setting.key, setting]));
  const problems: string[] = [];
  for (const setting of settings) {
    const stated = byKey.get(setting.key);
    const file = byKey.get(fileKey(setting.key));
    if (setting.secret === null || stated === undefined || typeof file?.value !== "string" || file.value === "") continue;
    const at = `${describeSource(file.source)}: ${file.key}`;
    if (stated.value !== "") {
      problems.push(`${at} and ${setting.key} (${describeSource(stated.source)}) are both set; keep one of them`);
      continue;
    }
    const text = contentOf(file.value);
    const problem = text.kind === "text" ? accept(setting, text.text) : text.problem;
    if (problem !== null) problems.push(`${at} names ${file.value}, ${problem}`);
    else if (text.kind === "text") byKey.set(setting.key, { key: setting.key, value: text.text, source: file.source });
  }
  return { resolved: [...byKey.values()], problems };
}

type Content = { readonly kind: "text"; readonly text: string } | { readonly kind: "problem"; readonly problem: string };

/** Without the line break that editors put at the end. */
function contentOf(path: string): Content {
  try {
    const text = readFileSync(path, "utf8").replace(/\r?\n$/, "");
    return text === "" ? { kind: "problem", problem: "which is empty; put the secret into it" } : { kind: "text", text };
  } catch (thrown) {
    const reason = thrown instanceof Error && "code" in thrown ? String(thrown.code) : String(thrown);
    return { kind: "problem", problem: `which cannot be read (${reason}); correct the path, or the file's permissions` };
  }
}
