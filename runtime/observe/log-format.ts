/** Log lines for a person at a terminal. */

const LEVELS: Readonly<Record<number, { readonly name: string; readonly color: string }>> = {
  10: { name: "TRACE", color: "90" },
  20: { name: "DEBUG", color: "36" },
  30: { name: "INFO ", color: "32" },
  40: { name: "WARN ", color: "33" },
  50: { name: "ERROR", color: "31" },
  60: { name: "FATAL", color: "35" },
};

/** Shown in their own way, or of no use to a person. */
const HIDDEN = new Set(["level", "time", "msg", "err", "pid", "hostname"]);

/** Terminals obey escape codes; a guest's log line must not reach them as such. */
function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? plain(value) : plain(JSON.stringify(value));
  return plain(JSON.stringify(value) ?? String(value));
}

function paint(text: string, code: string, color: boolean): string {
  return color ? `\u001b[${code}m${text}\u001b[0m` : text;
}

/** One JSON line of the logger as `12:34:56.789 INFO  message key=value`, with an error's stack below. */
export function formatLogLine(line: string, color: boolean): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return `${plain(line.trimEnd())}\n`;
  }
  const level = LEVELS[Number(record["level"])] ?? { name: "?????", color: "0" };
  const time = typeof record["time"] === "string" ? record["time"].slice(11, 23) : "";
  const facts = Object.entries(record)
    .filter(([key]) => !HIDDEN.has(key))
    .map(([key, value]) => paint(`${plain(key)}=`, "90", color) + shown(value));
  const message = typeof record["msg"] === "string" ? plain(record["msg"]) : "";
  const head = [paint(time, "90", color), paint(level.name, level.color, color), message, ...facts].filter((part) => part !== "").join(" ");
  const error = record["err"] as { stack?: unknown; message?: unknown } | undefined;
  const stack = error?.stack ?? error?.message;
  return typeof stack === "string" ? `${head}\n  ${plain(stack).replaceAll("\n", "\n  ")}\n` : `${head}\n`;
}
