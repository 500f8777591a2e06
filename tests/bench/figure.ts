/** One measured figure: ours, the bare baseline of the same run, how the two compare, and the target. */

export type Unit = "µs" | "ms" | "s" | "/s" | "MB" | "KB" | "×" | "";

/** The median over the rounds, and the quartiles around it. */
export interface Reading {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly unit: Unit;
}

export interface Comparison {
  /** `ratio`: ours divided by bare; `added`: ours less bare. Taken round by round, then the median. */
  readonly as: "ratio" | "added";
  readonly reading: Reading;
}

export interface Target {
  /** What the bound is held against. */
  readonly of: "ours" | "compared";
  readonly bound: "at most" | "at least";
  readonly value: number;
}

export interface Figure {
  readonly what: string;
  readonly ours: Reading;
  readonly bare: { readonly what: string; readonly reading: Reading } | null;
  readonly compared: Comparison | null;
  /** Null: for information. */
  readonly target: Target | null;
}

export type Verdict = "PASS" | "MISS" | "";

export function verdictOf(figure: Figure): Verdict {
  const { target } = figure;
  if (target === null) return "";
  const held = target.of === "ours" ? figure.ours : figure.compared?.reading;
  if (held === undefined) return "MISS";
  const met = target.bound === "at most" ? held.median <= target.value : held.median >= target.value;
  return met ? "PASS" : "MISS";
}

/** Three digits that count. */
function digits(value: number, unit: Unit): string {
  const size = Math.abs(value);
  const places = unit === "" || unit === "/s" || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 || unit === "×" ? 2 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: places, minimumFractionDigits: unit === "×" ? places : 0 });
}

export function valueText(value: number, unit: Unit): string {
  return unit === "" || unit === "×" || unit === "/s" ? `${digits(value, unit)}${unit}` : `${digits(value, unit)} ${unit}`;
}

export function readingText({ median, low, high, unit }: Reading): string {
  const value = valueText(median, unit);
  return low === high ? value : `${value} (${digits(low, unit)} – ${digits(high, unit)})`;
}

export function comparisonText({ as, reading }: Comparison): string {
  return as === "added" ? `+${readingText(reading)}` : readingText(reading);
}

export function targetText(figure: Figure): string {
  const { target } = figure;
  if (target === null) return "";
  const added = target.of === "compared" && figure.compared?.as === "added" ? "+" : "";
  const unit = target.of === "ours" ? figure.ours.unit : (figure.compared?.reading.unit ?? "");
  return `${target.bound === "at most" ? "≤" : "≥"} ${added}${valueText(target.value, unit)}`;
}
