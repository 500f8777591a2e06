/** What a ledger says of itself. Read with suspicion: what has another shape is a violation, not an exception. */
import type { ChainLine } from "./chain.ts";

export interface ReportLine extends ChainLine {
  readonly hash: string;
}

export interface Report {
  /** The ledger's name. */
  readonly name: string;
  /** The build that answered. */
  readonly build: string;
  readonly position: number;
  readonly hash: string;
  readonly balance: number;
  /** By sender: all numbers up to the first have been taken, and the others one by one. */
  readonly taken: Readonly<Record<string, readonly number[]>>;
  /** How many messages it told each agent, by agent id. */
  readonly told: Readonly<Record<string, number>>;
  /** What it noted last, by document key. */
  readonly notes: Readonly<Record<string, number>>;
  /** Its log above the position that was asked for. */
  readonly lines: readonly ReportLine[];
  /** What it says must not have happened. */
  readonly anomalies: readonly string[];
}

type Raw = Omit<Report, "lines"> & { readonly lines: readonly (readonly [number, string, number, string, number, string])[] };

export function readReport(text: string): Report {
  const raw = JSON.parse(text) as Raw;
  return { ...raw, lines: raw.lines.map(([position, sender, sequence, kind, amount, hash]) => ({ position, sender, sequence, kind, amount, hash })) };
}
