/** The fenced blocks of a page, and whether what a program printed is what the page says it prints. */

export interface Block {
  readonly language: string;
  readonly text: string;
  /** The file that a comment above it names; null for none. */
  readonly file: string | null;
}

export function blocksOf(page: string): readonly Block[] {
  const found = page.matchAll(/^(?:<!-- file: (\S+) -->\n)?```(\w+)\n([\s\S]*?)\n```$/gm);
  return Array.from(found, ([, file, language = "", text = ""]) => ({ language, text, file: file ?? null }));
}

/**
 * Whether `printed` is `shown`. A line "…" stands for any lines, "…" in a line for any
 * text, and the number of spaces counts for nothing: tables grow with their contents.
 */
export function isShown(shown: string, printed: string): boolean {
  const lines = squeeze(shown).map((line) => (line === "…" ? "(?:[^\\n]*\\n)*?" : `${line.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&").replaceAll("…", "[^\\n]*?")}\\n`));
  return new RegExp(`^${lines.join("")}$`).test(`${squeeze(printed).join("\n")}\n`);
}

function squeeze(text: string): string[] {
  return text.trimEnd().split("\n").map((line) => line.replaceAll(/\s+/g, " ").trim());
}
