/** How an error is told to a person: what happened, why, what to do next. */
import { ClientError } from "../client/index.ts";
import { ERROR_TABLE, RpcCode, SirsiError, adviceBeside } from "../core/errors.ts";
import type { ErrorRow } from "../core/errors.ts";
import { cleanText } from "./text.ts";

/** The command line cannot be carried out as it was written. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly next: string;

  constructor(message: string, next: string) {
    super(message);
    this.next = next;
  }
}

export interface Failure {
  readonly what: string;
  /** Empty when there is nothing to add. */
  readonly reason: string;
  readonly why: string;
  /** Empty when `what` says it already. */
  readonly next: string;
  /** Facts: field violations, then the error's own metadata. */
  readonly facts: readonly (readonly [string, string])[];
}

export function failureOf(error: unknown, address: string): Failure {
  if (error instanceof UsageError) return { what: error.message, reason: "", why: "", next: error.next, facts: [] };
  if (error instanceof SirsiError) return { what: error.message, reason: error.code, why: error.row.meaning, next: adviceBeside(error.message, error.row), facts: Object.entries(error.details.metadata ?? {}) };
  if (error instanceof ClientError) return clientFailure(error, address);
  return {
    what: error instanceof Error ? error.message : String(error),
    reason: "INTERNAL",
    why: "A fault of the command line itself.",
    next: "Report it with the command you gave.",
    facts: [],
  };
}

function clientFailure(error: ClientError, address: string): Failure {
  const row = rowOf(error.reason);
  const facts: (readonly [string, string])[] = [
    ...error.fieldViolations.map(({ field, description }) => [field, description] as const),
    ...error.preconditions.map(({ subject, description }) => [subject, description] as const),
    ...Object.entries(error.metadata),
  ];
  if (error.retryAfterMs !== null) facts.push(["retry after", `${error.retryAfterMs} ms`]);
  if (row !== null) {
    // A host's message ends with the row's advice when it has none of its own.
    const what = error.message.replace(row.next, "").trim();
    return { what, reason: error.reason, why: row.meaning, next: adviceBeside(what, row), facts };
  }
  if (error.rpcCode === RpcCode.UNAVAILABLE) {
    const next = "Start one with `sirsi serve`, or say where it is with --address or SIRSI_ADDRESS.";
    return { what: `no host answers at ${address}`, reason: "", why: error.message.replace(/\.? Resolution note: $/, ""), next, facts };
  }
  if (error.rpcCode === RpcCode.DEADLINE_EXCEEDED) {
    return { what: "the answer did not come in time", reason: "", why: error.message, next: "Allow more time with --timeout.", facts };
  }
  return { what: error.message, reason: "", why: `The call ended with ${error.rpcName}.`, next: `Check that a sirsi host is what listens at ${address}.`, facts };
}

function rowOf(reason: string): ErrorRow | null {
  const table: Readonly<Record<string, ErrorRow>> = ERROR_TABLE;
  return Object.hasOwn(table, reason) ? (table[reason] ?? null) : null;
}

export function failureText(failure: Failure): string {
  const why = [failure.reason, failure.why].filter((part) => part !== "").join(": ");
  const lines = [`error: ${cleanText(failure.what)}`];
  if (why !== "") lines.push(`  why:  ${cleanText(why)}`);
  const unsaid = failure.facts.filter(([, value]) => !failure.what.includes(value));
  for (const [name, value] of unsaid) lines.push(`        ${cleanText(name)}: ${cleanText(value)}`);
  if (failure.next !== "") lines.push(`  next: ${failure.next}`);
  return `${lines.join("\n")}\n`;
}

/** For --output json: one line, so that a program can read it too. */
export function failureJson(failure: Failure): string {
  const { what, reason, why, next, facts } = failure;
  return `${JSON.stringify({ error: { message: what, reason, why, next, facts: Object.fromEntries(facts) } })}\n`;
}
