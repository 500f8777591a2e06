/** docs/configuration.md and sirsi.toml.example, out of the settings table. */
import { OTHER_VARIABLES } from "./environment.ts";
import type { Setting, SettingKind, SettingValue } from "./setting.ts";
import { SETTINGS } from "./settings.ts";
import { unreachable } from "../core/errors.ts";

/** A fixed machine, so that what is written is the same everywhere. */
const PLAIN = { cores: 2, terminal: false };

const OPENING = `# Configuration

<!-- Made from runtime/config/settings.ts by \`node scripts/generate-docs.ts\`; a test holds it to the code. -->

A host takes each setting from the first of these that has it: a flag of \`sirsi serve\`, an environment variable, the configuration file, the default. \`sirsi config show\` prints the result and where each value came from.

The file is the one that \`--config\` names, else the one that \`SIRSI_CONFIG\` names, else \`sirsi.toml\` in the working directory when it is there; with \`--fleet\` it is \`sirsi.fleet.toml\` there. Relative paths in it stand on its own directory; all others stand on the working directory. \`sirsi.toml.example\` has every setting with its default.

Lists in the environment are separated by commas, labels are NAME=TEXT there. An empty variable counts as none. A key that is not known, a value of the wrong type and a value out of range are refused at start, all of them at once.

A secret is never shown: \`sirsi config show\` and messages have \`***\` in its place. Each has a twin whose name ends in \`_file\`: the file that the secret is read from, as containers mount them. A line break at the end of it does not count. Setting both is refused.

A host is in a fleet when \`store.url\` and \`event_bus.servers\` are both set; one without the other is refused. \`sirsi.fleet.toml\` is a complete example, and [operate.md](operate.md) leads through it.

The data directory is \`.sirsi\` in the working directory, like the \`.git\` of a checkout: two projects on one machine never share agents by accident, and removing the directory is a clean start. A service of the system names its own, such as \`/var/lib/sirsi\`.
`;

export function configurationReference(): string {
  const parts = [OPENING];
  for (const [section, settings] of sections()) {
    parts.push(`## [${section}]\n`, "| setting | value | default | meaning | environment, flag |", "|---|---|---|---|---|");
    for (const setting of settings) {
      const from = [setting.env, setting.flag].flatMap((name) => (name === null ? [] : [`\`${name}\``])).join(", ");
      parts.push(`| \`${lastName(setting)}\` | ${describeKind(setting.kind)} | ${describeDefault(setting)} | ${setting.meaning} | ${from === "" ? "file only" : from} |`);
    }
    parts.push("");
  }
  parts.push("## Other environment variables\n", "| variable | meaning |", "|---|---|");
  for (const [name, meaning] of Object.entries(OTHER_VARIABLES)) parts.push(`| \`${name}\` | ${meaning} |`);
  parts.push("| `NO_COLOR` | The command line writes no colours. |");
  return `${parts.join("\n")}\n`;
}

/** Every setting as a comment with its default; uncommented, it says what the defaults say. */
export function exampleFile(): string {
  const parts = ["# Every setting of a sirsi host, with its default. Copy this to sirsi.toml and uncomment what you change.", "# docs/configuration.md says more.", ""];
  for (const [section, settings] of sections()) {
    parts.push(`[${section}]`);
    for (const setting of settings) {
      const computed = setting.fallbackWords === null ? "" : ` Default: ${setting.fallbackWords}.`;
      parts.push(`# ${setting.meaning} (${describeKind(setting.kind)})${computed}`);
      if (setting.kind.type === "table") parts.push(`# [${setting.key}]`, `# NAME = ${JSON.stringify(setting.kind.choices)}`);
      else parts.push(`#${lastName(setting)} = ${tomlValue(setting.fallback(PLAIN))}`);
    }
    parts.push("");
  }
  return parts.join("\n");
}

function sections(): Map<string, Setting[]> {
  const sections = new Map<string, Setting[]>();
  for (const setting of SETTINGS) {
    const section = setting.key.slice(0, setting.key.lastIndexOf("."));
    sections.set(section, [...(sections.get(section) ?? []), setting]);
  }
  return sections;
}

function lastName(setting: Setting): string {
  return setting.key.slice(setting.key.lastIndexOf(".") + 1);
}

/** What a value may be, in words. */
export function describeKind(kind: SettingKind): string {
  switch (kind.type) {
    case "integer":
      return `${kind.min} to ${kind.max}${kind.unit === "" ? "" : ` ${kind.unit}`}`;
    case "boolean":
      return "true or false";
    case "choice":
      return kind.choices.join(", ");
    case "text":
      return kind.shape;
    case "path":
      return "path";
    case "file":
      return "path, empty for none";
    case "listen":
      return "host:port, loopback";
    case "address":
      return "host:port, empty for none";
    case "texts":
      return `list of ${kind.shape}`;
    case "labels":
      return "table of text";
    case "list":
      return `list of ${kind.choices.join(", ")}`;
    case "table":
      return `table of lists of ${kind.choices.join(", ")}`;
    default:
      return unreachable(kind);
  }
}

/** The default in words or as TOML. */
export function describeDefault(setting: Setting): string {
  return setting.fallbackWords ?? `\`${tomlValue(setting.fallback(PLAIN))}\``;
}

/** A value as TOML, and as `config show` prints it. */
export function tomlValue(value: SettingValue): string {
  if (Array.isArray(value)) return `[${value.map((item) => JSON.stringify(item)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const entries = Object.entries(value as Readonly<Record<string, string | readonly string[]>>);
  return entries.length === 0 ? "{}" : `{ ${entries.map(([name, list]) => `${JSON.stringify(name)} = ${tomlValue(list)}`).join(", ")} }`;
}
