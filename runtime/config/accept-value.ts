/** Checks one raw value, typed from a file or text from elsewhere, against its setting. */
import { resolve } from "node:path";
import { closest } from "fastest-levenshtein";
import { unreachable } from "../core/errors.ts";
import { isLoopback, parseAddress } from "../core/address.ts";
import type { Setting, SettingValue } from "./setting.ts";

export type ValueOutcome =
  | { readonly kind: "value"; readonly value: SettingValue }
  /** Reads on after the key: "must be …, not …". */
  | { readonly kind: "problem"; readonly problem: string };

const ok = (value: SettingValue): ValueOutcome => ({ kind: "value", value });
const bad = (problem: string): ValueOutcome => ({ kind: "problem", problem });

/** `text` says that `raw` came from the environment or a flag and still needs its type. */
export function acceptValue(setting: Setting, raw: unknown, text: boolean, baseDir: string): ValueOutcome {
  const { kind } = setting;
  switch (kind.type) {
    case "integer":
      return acceptInteger(text ? integerFrom(raw) : raw, raw, kind);
    case "boolean":
      return acceptBoolean(text ? (BOOLEANS.get(String(raw).toLowerCase()) ?? raw) : raw);
    case "choice":
      if (typeof raw === "string" && kind.choices.includes(raw)) return ok(raw);
      return bad(`must be one of ${kind.choices.join(", ")}, not ${shown(raw)}${hint(raw, kind.choices)}`);
    case "text":
      if (typeof raw === "string" && kind.pattern.test(raw)) return ok(raw);
      return bad(`must be ${kind.shape}${setting.secret === null ? `, not ${shown(raw)}` : "; what it is now is not shown, for it is a secret"}`);
    case "path":
      return typeof raw === "string" && raw !== "" && !raw.includes("\0") ? ok(resolve(baseDir, raw)) : bad(`must be a path, not ${shown(raw)}`);
    case "file":
      return raw === "" ? ok("") : typeof raw === "string" && !raw.includes("\0") ? ok(resolve(baseDir, raw)) : bad(`must be a path, not ${shown(raw)}`);
    case "listen":
      return acceptListen(raw);
    case "address":
      return raw === "" ? ok("") : acceptAddress(raw);
    case "texts":
      return acceptTexts(text ? splitList(String(raw)) : raw, kind.pattern, kind.shape);
    case "labels":
      return acceptLabels(text ? labelsFrom(String(raw)) : raw);
    case "list":
      return acceptList(text ? splitList(String(raw)) : raw, kind.choices);
    case "table":
      return acceptTable(raw, kind.choices);
    default:
      return unreachable(kind);
  }
}

const BOOLEANS = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

function integerFrom(raw: unknown): unknown {
  return typeof raw === "string" && /^-?\d+(_\d+)*$/.test(raw) ? Number(raw.replaceAll("_", "")) : raw;
}

function acceptInteger(value: unknown, raw: unknown, kind: { min: number; max: number; unit: string }): ValueOutcome {
  const range = `${kind.min} to ${kind.max}${kind.unit === "" ? "" : ` ${kind.unit}`}`;
  if (typeof value !== "number" || !Number.isInteger(value)) return bad(`must be a whole number from ${range}, not ${shown(raw)}`);
  if (value < kind.min || value > kind.max) return bad(`is ${value}; the range is ${range}`);
  return ok(value);
}

function acceptBoolean(value: unknown): ValueOutcome {
  return typeof value === "boolean" ? ok(value) : bad(`must be true or false, not ${shown(value)}`);
}

function acceptListen(raw: unknown): ValueOutcome {
  if (typeof raw !== "string") return bad(`must be host:port, not ${shown(raw)}`);
  const outcome = parseAddress(raw);
  if (outcome.kind === "problem") return bad(`${shown(raw)} ${outcome.problem}`);
  if (isLoopback(outcome.address.host)) return ok(raw);
  return bad(
    `is ${raw}, which other machines can reach; this version has no TLS and no authentication yet, ` +
      "so it listens on loopback only: use 127.0.0.1, [::1] or localhost, with a proxy before it if others must come in",
  );
}

function acceptAddress(raw: unknown): ValueOutcome {
  if (typeof raw !== "string") return bad(`must be host:port, not ${shown(raw)}`);
  const outcome = parseAddress(raw);
  return outcome.kind === "problem" ? bad(`${shown(raw)} ${outcome.problem}`) : ok(raw);
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function acceptTexts(raw: unknown, pattern: RegExp, shape: string): ValueOutcome {
  if (!Array.isArray(raw)) return bad(`must be a list of strings, not a ${typeof raw}`);
  const wrong = raw.findIndex((item) => typeof item !== "string" || !pattern.test(item));
  if (wrong !== -1) return bad(`must hold only ${shape}; entry ${wrong + 1} is something else`);
  return ok(Object.freeze([...new Set(raw as readonly string[])]));
}

const LABEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/;
const LABEL_TEXT = /^[^\p{Cc},]{1,253}$/u;

/** As a table; an entry without "=" is a label without a text, which is refused. */
function labelsFrom(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    splitList(text).map((item) => {
      const at = item.indexOf("=");
      return at === -1 ? [item, ""] : [item.slice(0, at).trim(), item.slice(at + 1).trim()];
    }),
  );
}

function acceptLabels(raw: unknown): ValueOutcome {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return bad(`must be a table of NAME = "text", not ${shown(raw)}`);
  for (const [name, label] of Object.entries(raw)) {
    if (!LABEL_NAME.test(name)) return bad(`has ${shown(name)}; a name is made of letters, digits and . _ / -`);
    if (name === "zone") return bad("has zone, which is a setting of its own; set fleet.zone");
    if (typeof label !== "string" || !LABEL_TEXT.test(label)) return bad(`has ${name}, which must be 1 to 253 characters without a comma, not ${shown(label)}`);
  }
  return ok(Object.freeze(Object.fromEntries(Object.entries(raw) as [string, string][])));
}

function acceptList(raw: unknown, choices: readonly string[]): ValueOutcome {
  if (!Array.isArray(raw)) return bad(`must be a list of strings, not ${shown(raw)}`);
  const list: string[] = [];
  for (const item of raw as unknown[]) {
    if (typeof item !== "string") return bad(`must hold only strings, not ${shown(item)}`);
    if (!choices.includes(item)) {
      return bad(`holds ${shown(item)}; it may hold ${choices.join(", ")}${hint(item, choices)}`);
    }
    if (!list.includes(item)) list.push(item);
  }
  return ok(Object.freeze(list));
}

function acceptTable(raw: unknown, choices: readonly string[]): ValueOutcome {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return bad(`must be a table of NAME = [...], not ${shown(raw)}`);
  const table: [string, readonly string[]][] = [];
  for (const [name, list] of Object.entries(raw)) {
    const outcome = acceptList(list, choices);
    if (outcome.kind === "problem") return bad(`has ${name}, which ${outcome.problem}`);
    table.push([name, outcome.value as readonly string[]]);
  }
  return ok(Object.freeze(Object.fromEntries(table)));
}

function shown(raw: unknown): string {
  const text = JSON.stringify(raw) ?? String(raw);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

function hint(raw: unknown, choices: readonly string[]): string {
  return typeof raw === "string" && raw !== "" ? ` (did you mean ${closest(raw, choices)}?)` : "";
}
